"""What every transform is: vectors in and fitted, others in and changed, judged items refused.

A transform of your own is a dataclass that inherits from `FittedTransform` (its fields are its
options) and writes `learn` and `change`, or one that inherits from `AffineTransform` and writes
`maps` alone. `check_transform` tells whether it keeps the contract.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeVar

import numpy as np

from isogloss.adapt.affine import IDENTITY, Affine, NotInvertible
from isogloss.adapt.rows import POOLED, Rows, checked_values, row_items, rows_of
from isogloss.errors import IsoglossError
from isogloss.types import Sequences, Vectors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from isogloss.adapt.affine import Doubles

__all__ = [
    "PER",
    "UNSEEN",
    "AffineTransform",
    "Fitted",
    "FittedItems",
    "FittedTransform",
    "Per",
    "Unseen",
    "UnseenVariety",
    "check_choice",
    "refuse_fitted",
    "unseen_ways",
]

V = TypeVar("V", bound=Vectors | Sequences)

Per = Literal["all", "variety"]
Unseen = Literal["error", "pooled", "keep"]
PER: tuple[Per, ...] = ("all", "variety")
UNSEEN: tuple[Unseen, ...] = ("error", "pooled", "keep")

# Rows turned into float64 at one time.
_ROWS_AT_ONCE = 16_384


class UnseenVariety(IsoglossError, ValueError):
    """A variety that the transform was not fitted on and has no map for."""


class FittedItems(IsoglossError, ValueError):
    """Somebody wants to judge a transform on what it was fitted on."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a transform was fitted on: item ids, meanings, rows of each variety, and the encoder."""

    ids: frozenset[str]
    meanings: frozenset[str]
    varieties: Mapping[str, int]
    made_by: str

    def refuse(self, ids: Sequence[str], meanings: Sequence[str | None] | None = None) -> None:
        """Nothing, when none of the items was fitted on.

        Raises:
            FittedItems: an id, or a meaning, is among those that were fitted on. A translation of
                a fitted sentence tells as much as the sentence.
        """
        seen = [id_ for id_ in ids if id_ in self.ids]
        if seen:
            raise FittedItems(
                f"{len(seen)} of {len(ids)} items to judge were fitted on, first '{seen[0]}'; "
                "judge on items of another split"
            )
        known = {m for m in meanings or () if m is not None}
        shared = sorted(known & self.meanings)
        if shared:
            raise FittedItems(
                f"{len(shared)} of {len(known)} meanings to judge were fitted on (in other items), "
                f"first '{shared[0]}'; split by meaning"
            )


@dataclass(kw_only=True)
class FittedTransform:
    """A change of representation: its fields are its options, what it learns ends in `_`.

    Everything is computed in float64 and given back in float32. A row is changed by itself and its
    variety alone: the same alone as in any batch.

    Attributes:
        fitted_: what it was fitted on; None before `fit`.
        dimensions_: (D, E), what goes in and what comes out.
        notes_: what the fit had to do otherwise than asked for, such as fewer rows than dimensions.
    """

    name: ClassVar[str] = ""
    """The name in the registry."""

    fitted_: Fitted | None = dataclasses.field(default=None, init=False, repr=False, compare=False)
    dimensions_: tuple[int, int] = dataclasses.field(
        default=(0, 0), init=False, repr=False, compare=False
    )
    notes_: tuple[str, ...] = dataclasses.field(default=(), init=False, repr=False, compare=False)

    def fit(
        self,
        vectors: Vectors | Sequences,
        *,
        varieties: Sequence[str],
        meanings: Sequence[str | None] | None = None,
    ) -> Self:
        """Learn from `vectors` and return self; what was learnt before is forgotten.

        Args:
            vectors: one row an item, or `Sequences`: then one row a step, and pairs are pairs of
                mean steps.
            varieties: one an item.
            meanings: one an item, None where it is not known; maps between varieties pair the
                items that share one.

        Raises:
            ValueError: nothing to fit on, lengths that differ, a value that is not finite, or what
                this transform cannot be fitted on.
        """
        rows = rows_of(vectors, varieties, meanings)
        self.notes_ = ()
        self.learn(rows)
        self.dimensions_ = (
            rows.dimensions,
            self.change(rows.values[:1], rows.varieties[0]).shape[1],
        )
        self.fitted_ = Fitted(
            frozenset(vectors.ids),
            frozenset(m for m in meanings or () if m is not None),
            dict(sorted(Counter(rows.varieties).items())),
            vectors.made_by,
        )
        return self

    def transform(self, vectors: V, *, varieties: Sequence[str]) -> V:
        """`vectors` changed: ids, offsets and words kept, float32; steps take their item's variety.

        `made_by` gains the transform and a checksum of what it learnt.

        Raises:
            IsoglossError: not fitted yet.
            UnseenVariety: a variety that was not fitted on, where `unseen` says so.
            ValueError: other dimensions than fitted on, a value that is not finite, or lengths
                that differ.
        """
        return self._mapped(vectors, varieties, self.change, self.dimensions_, f";{self.signed()}")

    def inverse(self, vectors: V, *, varieties: Sequence[str]) -> V:
        """What `transform` would turn into `vectors`, up to float32.

        Raises:
            NotInvertible: the transform takes something away.
            IsoglossError, ValueError: as `transform`.
        """
        back = (self.dimensions_[1], self.dimensions_[0])
        return self._mapped(vectors, varieties, self.undo, back, f";undo-{self.signed()}")

    def refuse_fitted(
        self, ids: Sequence[str], meanings: Sequence[str | None] | None = None
    ) -> None:
        """Nothing, when none of the items was fitted on (see `Fitted.refuse`)."""
        self.require_fitted().refuse(ids, meanings)

    def save(self, folder: Path) -> None:
        """Write it into `folder`; `load_transform` reads it (see `save_transform`)."""
        from isogloss.adapt.store import save_transform

        save_transform(self, folder)

    def require_fitted(self) -> Fitted:
        """What it was fitted on.

        Raises:
            IsoglossError: nothing yet.
        """
        if self.fitted_ is None:
            raise IsoglossError(f"transform '{self.spec}' is not fitted; call fit first")
        return self.fitted_

    @property
    def spec(self) -> str:
        """The text that `make_transform` makes an equal, unfitted transform of."""
        options = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name) if field.init else None
            if field.init and value != field.default:
                shown = str(value).lower() if isinstance(value, bool) else str(value)
                options.append(f"{field.name}={shown}")
        return self.name + (":" + ",".join(options) if options else "")

    def signed(self) -> str:
        """The spec and eight digits of a checksum of what was learnt."""
        digest = hashlib.sha256(self.spec.encode())
        for name, array in sorted(self.state().items()):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return f"{self.spec}@{digest.hexdigest()[:8]}"

    @property
    def parameters(self) -> int:
        """How many numbers were learnt."""
        return sum(int(array.size) for array in self.state().values())

    # What a transform writes.

    def learn(self, rows: Rows) -> None:
        """Learn from `rows`, in float64."""
        raise NotImplementedError

    def change(self, rows: Doubles, variety: str) -> Doubles:
        """`rows` (N, D) of one variety changed, (N, E) float64."""
        raise NotImplementedError

    def undo(self, rows: Doubles, variety: str) -> Doubles:
        """`rows` (N, E) of one variety changed back."""
        raise NotInvertible(f"transform '{self.name}' has no inverse")

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """What was learnt, as arrays by name."""
        raise NotImplementedError

    def described(self) -> dict[str, Any]:
        """What was learnt besides, as JSON."""
        return {}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]], described: Mapping[str, Any]) -> None:
        """Take back what `state` and `described` gave."""
        raise NotImplementedError

    def note(self, message: str) -> None:
        """Add a note to `notes_`."""
        self.notes_ = (*self.notes_, message)

    def _mapped(
        self,
        vectors: V,
        varieties: Sequence[str],
        change: Callable[[Doubles, str], Doubles],
        dimensions: tuple[int, int],
        suffix: str,
    ) -> V:
        self.require_fitted()
        if isinstance(varieties, str) or len(varieties) != len(vectors):
            raise ValueError(
                f"{len(vectors)} items need {len(vectors)} varieties, got {varieties!r:.80}"
            )
        values = checked_values(vectors)
        if values.shape[1] != dimensions[0]:
            raise ValueError(
                f"'{self.spec}' takes {dimensions[0]} dimensions, the vectors have "
                f"{values.shape[1]}; use the encoder and layer that it was fitted on"
            )
        out = np.empty((len(values), dimensions[1]), np.float32)
        owners = row_items(vectors)
        numbers = {name: i for i, name in enumerate(dict.fromkeys(varieties))}
        of_row = np.array([numbers[name] for name in varieties], dtype=np.int64)[owners]
        for variety, number in numbers.items():
            places = np.flatnonzero(of_row == number)
            for first in range(0, len(places), _ROWS_AT_ONCE):
                some = places[first : first + _ROWS_AT_ONCE]
                with np.errstate(over="ignore"):
                    out[some] = change(values[some].astype(np.float64), variety)
        made_by = vectors.made_by + suffix
        changed = dataclasses.replace(vectors, values=out, made_by=made_by)
        checked_values(changed)
        return changed


@dataclass(kw_only=True)
class AffineTransform(FittedTransform):
    """A transform that is one affine map for all rows, or one for each variety.

    Attributes:
        maps_: a map by variety; under '*' that of all rows together, where there is one.
    """

    maps_: dict[str, Affine] = dataclasses.field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def maps(self, rows: Rows) -> dict[str, Affine]:
        """The maps that `rows` teach."""
        raise NotImplementedError

    def learn(self, rows: Rows) -> None:
        """Keep the maps that `rows` teach."""
        self.maps_ = self.maps(rows)

    def map_of(self, variety: str) -> Affine:
        """The map for rows of `variety`.

        Raises:
            UnseenVariety: there is none.
        """
        found = self.maps_.get(variety, self.maps_.get(POOLED))
        if found is not None:
            return found
        if getattr(self, "unseen", "error") == "keep":
            return IDENTITY
        known = ", ".join(sorted(self.maps_))
        raise UnseenVariety(
            f"'{self.spec}' was fitted on {known}, and not on variety '{variety}'; fit on items of "
            f"it too{unseen_ways(self)}"
        )

    def change(self, rows: Doubles, variety: str) -> Doubles:
        """`rows` by the map of their variety."""
        return self.map_of(variety)(rows)

    def undo(self, rows: Doubles, variety: str) -> Doubles:
        """`rows` by the inverse of the map of their variety."""
        try:
            return self.map_of(variety).inverse()(rows)
        except NotInvertible as error:
            raise NotInvertible(f"'{self.spec}' has no inverse: {error}") from error

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """The arrays of every map, under 'map/VARIETY/field'."""
        return {
            f"map/{variety}/{field}": array
            for variety, one in self.maps_.items()
            for field, array in one.arrays().items()
        }

    def described(self) -> dict[str, Any]:
        """The varieties that have a map, also where it is the identity."""
        return {"maps": sorted(self.maps_)}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]], described: Mapping[str, Any]) -> None:
        """Take back the maps."""
        split: dict[str, dict[str, Doubles]] = {name: {} for name in described["maps"]}
        for name, array in arrays.items():
            variety, _, field = name.removeprefix("map/").rpartition("/")
            split[variety][field] = array
        self.maps_ = {name: Affine.of_arrays(found) for name, found in split.items()}


def refuse_fitted(
    transform: FittedTransform, ids: Sequence[str], meanings: Sequence[str | None] | None = None
) -> None:
    """Nothing, when `transform` was fitted on none of the items; see `Fitted.refuse`."""
    transform.refuse_fitted(ids, meanings)


def unseen_ways(transform: FittedTransform) -> str:
    """The values of `unseen` that would take other varieties, as the end of a message."""
    ways = []
    for way in UNSEEN[1:]:
        option: dict[str, Any] = {"unseen": way}
        try:
            # Not every transform has both, nor with all its other options.
            dataclasses.replace(transform, **option)
        except (TypeError, ValueError):
            continue
        ways.append(f"unseen={way}")
    return f", or choose {' or '.join(ways)}" if ways else ""


def check_choice(transform: FittedTransform, **allowed: Sequence[object]) -> None:
    """Nothing, when each named option has one of its allowed values.

    Raises:
        ValueError: one has not.
    """
    for option, values in allowed.items():
        found = getattr(transform, option)
        if found not in values:
            raise ValueError(
                f"{transform.name}: {option} must be one of {', '.join(map(str, values))}, "
                f"got {found!r}"
            )
