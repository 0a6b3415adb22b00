"""Iterative normalisation: rows of length 1 and mean 0 at the same time, in every variety."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss.adapt.center import check_unseen
from isogloss.adapt.rows import POOLED, Rows
from isogloss.adapt.transform import (
    PER,
    UNSEEN,
    FittedTransform,
    Per,
    Unseen,
    UnseenVariety,
    unseen_ways,
)
from isogloss.adapt.transform import check_choice as _check_choice
from isogloss.measures.rows import unit_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from isogloss.adapt.affine import Doubles

__all__ = ["IterativeNormalization"]


@dataclass(kw_only=True)
class IterativeNormalization(FittedTransform):
    """Rows made unit length, then less their mean, again and again until both hold.

    Other rows go through the same rounds with the means that were found. A rotation between two
    varieties can be exact only where their rows have the same lengths and means, hence before
    `procrustes`.

    Attributes:
        per: 'variety', or 'all' for one sequence of means.
        rounds: at most so many.
        tolerance: it ends when the mean of unit rows is no longer than that.
        unseen: with per='variety', as in `Center`.
        means_: (rounds done, D) by variety, '*' for all.

    Source: Zhang et al. 2019.
    """

    name = "iterative"
    per: Per = "variety"
    rounds: int = 50
    tolerance: float = 1e-6
    unseen: Unseen = "error"

    def __post_init__(self) -> None:
        _check_choice(self, per=PER, unseen=UNSEEN)
        check_unseen(self, self.per, self.unseen)
        if self.rounds < 1 or not self.tolerance > 0:
            raise ValueError(
                "iterative: rounds must be at least 1 and tolerance above 0, "
                f"got {self.rounds}, {self.tolerance}"
            )
        self.means_: dict[str, Doubles] = {}

    def learn(self, rows: Rows) -> None:
        """The mean of every round."""
        groups = rows.groups(self.per)
        if self.unseen == "pooled":
            groups[POOLED] = rows.values
        self.means_ = {}
        for variety, values in groups.items():
            if len(values) == 1:
                raise ValueError(
                    f"iterative: variety '{variety}' has one row, which centring makes zero; fit "
                    "on more items of it, or choose per=all"
                )
            means: list[Doubles] = []
            for _ in range(self.rounds):
                values = unit_rows(values)
                means.append(values.mean(axis=0))
                if np.linalg.norm(means[-1]) <= self.tolerance:
                    break
                values = values - means[-1]
            else:
                self.note(
                    f"iterative: {variety}: after {self.rounds} rounds the mean is "
                    f"{np.linalg.norm(means[-1]):.2g} long"
                )
            self.means_[variety] = np.stack(means)

    def change(self, rows: Doubles, variety: str) -> Doubles:
        """`rows` through the rounds; the last step makes them unit length."""
        name = variety if variety in self.means_ else POOLED
        if name not in self.means_:
            if self.unseen == "keep":
                return rows
            raise UnseenVariety(
                f"'{self.spec}' was fitted on {', '.join(sorted(self.means_))}, and not on variety "
                f"'{variety}'; fit on items of it too{unseen_ways(self)}"
            )
        for mean in self.means_[name]:
            rows = unit_rows(rows) - mean
        return unit_rows(rows)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """The means of all rounds."""
        return {f"means/{name}": means for name, means in self.means_.items()}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]], described: Mapping[str, Any]) -> None:
        """Take them back."""
        self.means_ = {name.removeprefix("means/"): means for name, means in arrays.items()}
