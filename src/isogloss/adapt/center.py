"""Transforms that move: centring, the shift from one variety to another, unit length, identity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from isogloss.adapt.affine import IDENTITY, Affine
from isogloss.adapt.rows import POOLED, Rows
from isogloss.adapt.transform import (
    PER,
    UNSEEN,
    AffineTransform,
    FittedTransform,
    Per,
    Unseen,
    check_choice,
)
from isogloss.errors import IsoglossError, UnknownName
from isogloss.measures.rows import unit_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from isogloss.adapt.affine import Doubles

__all__ = ["Center", "Identity", "MeanShift", "Unit", "check_unseen"]


@dataclass(kw_only=True)
class Center(AffineTransform):
    """Rows less the mean of their variety, or of all rows.

    Attributes:
        per: 'variety', which takes away what the varieties differ in on average, or 'all'.
        unseen: what becomes of a variety that was not fitted on: 'error', 'pooled' (less the mean
            of all rows that were fitted on), 'keep' (nothing).

    Source: Libovický, Rosa and Fraser 2020 for centring by language.
    """

    name = "center"
    per: Per = "variety"
    unseen: Unseen = "error"

    def __post_init__(self) -> None:
        check_choice(self, per=PER, unseen=UNSEEN)
        check_unseen(self, self.per, self.unseen)

    def maps(self, rows: Rows) -> dict[str, Affine]:
        """A mean to take away, by variety."""
        groups = rows.groups(self.per)
        if self.unseen == "pooled":
            groups[POOLED] = rows.values
        for variety, values in groups.items():
            if len(values) == 1 and len(rows.values) > 1:
                self.note(f"variety '{variety}' has one row, whose place becomes the origin")
        return {name: Affine(before=values.mean(axis=0)) for name, values in groups.items()}


@dataclass(kw_only=True)
class MeanShift(AffineTransform):
    """Rows of one variety plus the way from its mean to that of another.

    Distances within a variety stay as they are. This is the mandatory baseline of every steering.

    Attributes:
        target: the variety whose mean the others get; None takes the one with the most meanings.
        source: the only variety to be moved; None moves all but `target`.
        unseen: what becomes of a variety that was not fitted on: 'error', 'pooled' (moved from the
            mean of all rows that were fitted on), 'keep' (nothing).
        means_: the mean (D,) of each variety.
        target_: the target that was taken.
    """

    name = "shift"
    target: str | None = None
    source: str | None = None
    unseen: Unseen = "error"

    def __post_init__(self) -> None:
        check_choice(self, unseen=UNSEEN)
        if self.source is not None and self.source == self.target:
            raise ValueError(f"shift from '{self.source}' to itself moves nothing")
        self.means_: dict[str, Doubles] = {}
        self.target_ = ""

    def maps(self, rows: Rows) -> dict[str, Affine]:
        """A way to go, by variety."""
        names, means = rows.means()
        for named in (self.target, self.source):
            if named is not None and named not in names:
                raise UnknownName("variety to fit a shift on", named, names)
        self.means_ = dict(zip(names, means, strict=True))
        self.target_ = self.target or rows.richest()
        moved = names if self.source is None else (self.source,)
        found = {
            name: Affine(after=self.vector(name, self.target_))
            if name in moved and name != self.target_
            else IDENTITY
            for name in names
        }
        if self.unseen == "pooled":
            found[POOLED] = Affine(after=self.means_[self.target_] - rows.values.mean(axis=0))
        return found

    def vector(self, source: str, target: str) -> Doubles:
        """The way (D,) from the mean of `source` to that of `target`, in the units of the rows.

        Raises:
            UnknownName: one of them was not fitted on.
        """
        for name in (source, target):
            if name not in self.means_:
                raise UnknownName("variety that the shift was fitted on", name, self.means_)
        return self.means_[target] - self.means_[source]

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """The maps and the means."""
        return super().state() | {f"mean/{name}": mean for name, mean in self.means_.items()}

    def described(self) -> dict[str, Any]:
        """The maps there are, and the target."""
        return super().described() | {"target": self.target_}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]], described: Mapping[str, Any]) -> None:
        """Take back maps and means."""
        super().restore({k: a for k, a in arrays.items() if k.startswith("map/")}, described)
        self.means_ = {
            name.removeprefix("mean/"): mean
            for name, mean in arrays.items()
            if name.startswith("mean/")
        }
        self.target_ = described["target"]

    @property
    def parameters(self) -> int:
        """Numbers of the maps; the means are kept for `vector`."""
        return sum(one.numbers for one in self.maps_.values())


@dataclass(kw_only=True)
class Identity(AffineTransform):
    """Rows as they are: the control of every comparison."""

    name = "identity"

    def maps(self, rows: Rows) -> dict[str, Affine]:
        """One map that does nothing."""
        return {POOLED: IDENTITY}


@dataclass(kw_only=True)
class Unit(FittedTransform):
    """Rows of length 1; a row of zeros stays one."""

    name = "unit"

    def learn(self, rows: Rows) -> None:
        """Nothing."""

    def change(self, rows: Doubles, variety: str) -> Doubles:
        """`rows` (N, D), each of length 1."""
        return unit_rows(rows)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Nothing is learnt."""
        return {}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]], described: Mapping[str, Any]) -> None:
        """Nothing to take back."""
        if arrays:
            raise IsoglossError(f"unit length learns nothing, the file holds {sorted(arrays)[:3]}")


def check_unseen(transform: FittedTransform, per: Per, unseen: Unseen) -> None:
    """Nothing, unless `unseen` is asked for where one map serves every variety.

    Raises:
        ValueError: it is.
    """
    if per == "all" and unseen != "error":
        raise ValueError(
            f"{transform.name}: unseen={unseen} changes nothing with per=all, where one map serves "
            "every variety"
        )
