"""What every index offers, wherever it lies: steps or vectors in a folder, steps in an engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

from isogloss.errors import IsoglossError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from isogloss.search.ranking import Ranking
    from isogloss.search.store_filter import Filter
    from isogloss.types import FloatArray, Hits, Item, Measurement

__all__ = ["IndexUnavailable", "ItemGroup", "SearchIndex"]


class IndexUnavailable(IsoglossError):
    """What holds an index does not answer now; the same question may be answered later."""


@dataclass(frozen=True, slots=True)
class ItemGroup:
    """How many items one variety has at one site, None for no site, and the id of one of them."""

    variety: str
    site: str | None
    items: int
    example: str


class SearchIndex(Protocol):
    """Items that are found by what they sound like.

    Queries and what is appended are `Sequences` where `kind` is 'sequences', and `Vectors` where it
    is 'vectors'; `encoder_note.fitting` makes the one that an index takes.
    """

    @property
    def kind(self) -> str:
        """'sequences' or 'vectors'."""
        ...

    @property
    def shown(self) -> str:
        """Where it lies, as a person may read it: never with a password."""
        ...

    @property
    def made_by(self) -> str:
        """Of the encoder whose steps are inside; queries must be of the same."""
        ...

    @property
    def step_seconds(self) -> float | None:
        """Time between two steps; None where there are none or it is unknown."""
        ...

    @property
    def dimensions(self) -> int:
        """D."""
        ...

    @property
    def settings(self) -> Any:
        """How it was built: a dataclass."""
        ...

    @property
    def version(self) -> int:
        """Number of writes up to what this object shows."""
        ...

    @property
    def stamp(self) -> str:
        """Names the content that this object shows; another one after every write."""
        ...

    def __len__(self) -> int:
        """Items that can be found."""
        ...

    def mark(self) -> object:
        """Equal as long as nobody wrote to the index, in any process; costs little."""
        ...

    def newest(self) -> Self:
        """The index as it was last committed; may be this object."""
        ...

    def ids(self, filter: Filter | None = None) -> list[str]:
        """Of all items, or of those that `filter` lets through; the same order at each call."""
        ...

    def known(self, ids: Sequence[str]) -> set[str]:
        """Those of `ids` that are here."""
        ...

    def item(self, id: str) -> Item:
        """The item called `id`; ValueError when there is none."""
        ...

    def items(self, ids: Sequence[str]) -> dict[str, Item]:
        """The items of those of `ids` that are here."""
        ...

    def steps(self, id: str) -> FloatArray:
        """Steps (T, D) of `id`, one where `kind` is 'vectors'; ValueError when there is none."""
        ...

    def step_count(self, id: str) -> int:
        """T of `id`; ValueError when there is none."""
        ...

    def groups(self) -> list[ItemGroup]:
        """All items, counted by variety and site."""
        ...

    def figures(self) -> Mapping[str, int]:
        """Sizes of what holds the index: 'bytes', and others by their names."""
        ...

    def search(
        self,
        queries: Any,
        k: int = 10,
        *,
        filter: Filter | None = None,
        candidates: int | None = None,
        budget_ms: float | None = None,
    ) -> Hits:
        """The `k` best items of each query, best first."""
        ...

    def search_ranked(
        self,
        queries: Any,
        k: int = 10,
        *,
        filter: Filter | None = None,
        candidates: int | None = None,
        budget_ms: float | None = None,
        exact: bool = False,
    ) -> Ranking:
        """The `k` best items of each query, with ties; `exact` scores every item."""
        ...

    def check_exactness(
        self, queries: Any, *, k: int = 10, sample: int = 50, seed: int = 0
    ) -> Measurement:
        """Share of the `k` exact best items that a search finds, mean over sampled queries."""
        ...

    def append(self, sequences: Any, items: Iterable[Item], *, replace: bool = False) -> int:
        """Add items; an id that is here is refused, or takes the new ones with `replace`."""
        ...

    def delete(self, ids: Iterable[str]) -> int:
        """Take `ids` out; how many were here."""
        ...

    def compact(self) -> int:
        """Give back the room of what was deleted; the version then."""
        ...

    def close(self) -> None:
        """Give back what an open index holds, such as connections."""
        ...
