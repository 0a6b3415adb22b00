"""What maps between varieties share: pairs by meaning in, a map into the target's space out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss.adapt.affine import IDENTITY, Affine, orthogonality_deviation
from isogloss.adapt.rows import POOLED, Rows
from isogloss.adapt.transform import UNSEEN, AffineTransform, Unseen, check_choice
from isogloss.errors import UnknownName

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from isogloss.adapt.affine import Doubles

__all__ = ["PairedMap"]

_LEAST_PAIRS = 2


@dataclass(kw_only=True)
class PairedMap(AffineTransform):
    """Rows of every variety mapped into the space of one, learnt from items that mean the same.

    Where a variety has several items of one meaning, their mean is paired. The target's rows stay.

    Attributes:
        target: the variety whose space all come to; None takes the one with the most meanings.
        unseen: what becomes of a variety that was not fitted on: 'error', 'pooled' (the map that
            the pairs of all varieties together give), 'keep' (nothing).
        target_: the target that was taken.
        pairs_: how many pairs each map was learnt from.
        deviations_: how far each map is from a rotation (`orthogonality_deviation`).
    """

    target: str | None = None
    unseen: Unseen = "error"

    def __post_init__(self) -> None:
        check_choice(self, unseen=UNSEEN)
        self.target_ = ""
        self.pairs_: dict[str, int] = {}
        self.deviations_: dict[str, float] = {}

    def map_between(self, source: Doubles, target: Doubles, variety: str) -> Affine:
        """The map from `source` to `target`, (P, D) each, P at least 2."""
        raise NotImplementedError

    def map_of_target(self) -> Affine:
        """The map of the target's own rows."""
        return IDENTITY

    def maps(self, rows: Rows) -> dict[str, Affine]:
        """A map into the target's space, by variety."""
        if self.target is not None and self.target not in rows.names:
            raise UnknownName("target variety among those to fit on", self.target, rows.names)
        self.target_ = self.target or rows.richest()
        self.pairs_, self.deviations_ = {}, {}
        found: dict[str, Affine] = {}
        paired: list[tuple[Doubles, Doubles]] = []
        for variety in rows.names:
            if variety == self.target_:
                continue
            source, target = rows.pairs(variety, self.target_)
            if len(source) < _LEAST_PAIRS:
                raise ValueError(
                    f"{self.name}: variety '{variety}' shares {len(source)} meanings with "
                    f"'{self.target_}', which is too few to map by; at least {_LEAST_PAIRS} are "
                    "needed: leave the variety out or choose another target"
                )
            paired.append((source, target))
            found[variety] = self._kept(variety, source, target)
        if not found:
            raise ValueError(
                f"{self.name}: there is no variety but the target '{self.target_}' to map"
            )
        if self.unseen == "pooled":
            found[POOLED] = self._kept(
                POOLED,
                np.concatenate([source for source, _ in paired]),
                np.concatenate([target for _, target in paired]),
            )
        found[self.target_] = self.map_of_target()
        return found

    def described(self) -> dict[str, Any]:
        """The maps there are, the target, pairs and deviations."""
        return super().described() | {
            "target": self.target_,
            "pairs": self.pairs_,
            "deviations": self.deviations_,
        }

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]], described: Mapping[str, Any]) -> None:
        """Take it all back."""
        super().restore(arrays, described)
        self.target_ = described["target"]
        self.pairs_ = dict(described["pairs"])
        self.deviations_ = dict(described["deviations"])

    def _kept(self, variety: str, source: Doubles, target: Doubles) -> Affine:
        who = "all varieties" if variety == POOLED else f"'{variety}'"
        if len(source) < source.shape[1]:
            self.note(
                f"{self.name}: {who} to '{self.target_}': {len(source)} pairs of "
                f"{source.shape[1]} dimensions; what no pair spans is a guess"
            )
        found = self.map_between(source, target, variety)
        self.pairs_[variety] = len(source)
        if found.matrix is not None:
            self.deviations_[variety] = orthogonality_deviation(found.matrix)
        return found
