"""`Vectors` or `Sequences` with their varieties and meanings in, float64 rows with names out.

Used by `transform`; every fit sees `Rows` and nothing else.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from isogloss.types import Sequences, Vectors

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from isogloss.adapt.affine import Doubles
    from isogloss.types import FloatArray

__all__ = ["POOLED", "Rows", "checked_values", "row_items", "rows_of"]

POOLED = "*"
"""The name under which a map for all varieties is kept; no variety is called so."""


@dataclass(frozen=True, eq=False)
class Rows:
    """`values` (N, D) float64, with the variety and the meaning (None: unknown) of each row."""

    values: Doubles
    varieties: tuple[str, ...]
    meanings: tuple[str | None, ...]

    @property
    def dimensions(self) -> int:
        """D."""
        return int(self.values.shape[1])

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The varieties, sorted."""
        return tuple(sorted(set(self.varieties)))

    def of(self, variety: str) -> Doubles:
        """The rows of one variety, (n, D)."""
        return self.values[self.places(variety)]

    def places(self, variety: str) -> npt.NDArray[np.int64]:
        """Which rows are of one variety."""
        return np.flatnonzero(np.asarray(self.varieties, dtype=object) == variety)

    def groups(self, per: str) -> dict[str, Doubles]:
        """{'*': all rows} for per='all', the rows of each variety for per='variety'."""
        if per == "all":
            return {POOLED: self.values}
        return {name: self.of(name) for name in self.names}

    def means(self) -> tuple[tuple[str, ...], Doubles]:
        """The varieties and the mean of each, (V, D)."""
        return self.names, np.stack([self.of(name).mean(axis=0) for name in self.names])

    @cached_property
    def by_meaning(self) -> dict[str, dict[str, Doubles]]:
        """For each variety the mean row (D,) of each of its meanings."""
        places: dict[tuple[str, str], list[int]] = {}
        for row, (variety, meaning) in enumerate(zip(self.varieties, self.meanings, strict=True)):
            if meaning is not None:
                places.setdefault((variety, meaning), []).append(row)
        found: dict[str, dict[str, Doubles]] = {}
        for (variety, meaning), rows in places.items():
            mean = self.values[rows[0]] if len(rows) == 1 else self.values[rows].mean(axis=0)
            found.setdefault(variety, {})[meaning] = mean
        return found

    def pairs(self, source: str, target: str) -> tuple[Doubles, Doubles]:
        """Rows of `source` and `target` that mean the same, (P, D) each, in order of meanings."""
        one, other = self.by_meaning.get(source, {}), self.by_meaning.get(target, {})
        shared = sorted(one.keys() & other.keys())
        if not shared:
            empty = self.values[:0]
            return empty, empty
        return np.stack([one[m] for m in shared]), np.stack([other[m] for m in shared])

    def richest(self) -> str:
        """The variety with the most meanings; of several the first by name."""
        counts = Counter({name: len(found) for name, found in self.by_meaning.items()})
        return min(self.names, key=lambda name: (-counts[name], name))


def rows_of(
    vectors: Vectors | Sequences,
    varieties: Sequence[str],
    meanings: Sequence[str | None] | None,
) -> Rows:
    """The rows to fit on: one an item, or for `Sequences` one a step.

    Steps carry the meaning of their item, so what is fitted on pairs sees the mean of each item's
    steps, and everything else sees the steps.

    Raises:
        ValueError: there is no row, lengths differ, or a value is not finite (the item is named).
    """
    values = checked_values(vectors)
    _check_lengths(len(vectors), "varieties", varieties)
    if meanings is not None:
        _check_lengths(len(vectors), "meanings", meanings)
    if not values.size:
        raise ValueError(f"there is nothing to fit on: {values.shape[0]} rows of {len(vectors)}")
    if POOLED in varieties:
        raise ValueError(f"'{POOLED}' stands for all varieties together; it cannot be one of them")
    owners = row_items(vectors).tolist()
    known: Sequence[str | None] = meanings if meanings is not None else [None] * len(vectors)
    return Rows(
        values.astype(np.float64),
        tuple(varieties[i] for i in owners),
        tuple(known[i] for i in owners),
    )


def row_items(vectors: Vectors | Sequences) -> npt.NDArray[np.int64]:
    """The number of the item that each row belongs to, (rows,)."""
    if isinstance(vectors, Sequences):
        return np.repeat(np.arange(len(vectors), dtype=np.int64), vectors.lengths)
    return np.arange(len(vectors), dtype=np.int64)


def checked_values(vectors: Vectors | Sequences) -> FloatArray:
    """The values, all finite.

    Raises:
        ValueError: an item holds NaN or infinity; its id is named.
    """
    # Means by rows, so that no mask as large as the values is made.
    with np.errstate(over="ignore", invalid="ignore"):
        sums = vectors.values.sum(axis=1, dtype=np.float64)
    broken = np.flatnonzero(~np.isfinite(sums))
    if len(broken):
        item = int(row_items(vectors)[broken[0]])
        raise ValueError(
            f"item '{vectors.ids[item]}' holds NaN or infinity; encode it again or leave it out"
        )
    return vectors.values


def _check_lengths(count: int, what: str, given: Sequence[object]) -> None:
    if isinstance(given, str) or len(given) != count:
        said = f"one name '{given}'" if isinstance(given, str) else f"{len(given)} {what}"
        raise ValueError(f"{count} items need {count} {what}, got {said}")
