"""Whitening: every direction gets the same variance, by the map that moves the rows least (ZCA)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from isogloss.adapt.affine import Affine
from isogloss.adapt.center import check_unseen
from isogloss.adapt.rows import POOLED, Rows
from isogloss.adapt.transform import PER, UNSEEN, AffineTransform, Per, Unseen, check_choice

if TYPE_CHECKING:
    from isogloss.adapt.affine import Doubles

__all__ = ["ZCA", "Covariance", "check_shrinkage", "ledoit_wolf", "shrunk_covariance"]

# Rows squared at one time by the estimate of the shrinkage.
_ROWS_AT_ONCE = 16_384


@dataclass(kw_only=True)
class ZCA(AffineTransform):
    """Rows less their mean, times V diag(1 / sqrt(lambda + eps)) V'.

    V and lambda are the eigenvectors and eigenvalues of the covariance (divided by N - 1). On the
    rows that were fitted on the covariance becomes the identity, up to `eps`. A direction in which
    they do not vary at all becomes 0: nothing is known of it, and 1 / sqrt(eps) would make the
    noise of other items the largest thing there is.

    Attributes:
        per: 'all' for one map of all rows, 'variety' for one of each variety, which centres the
            varieties too.
        eps: added to each eigenvalue; in the squared units of the rows.
        shrinkage: s of (1 - s) C + s t I with t the mean variance; 'auto' is the estimate of Ledoit
            and Wolf, which is also taken, with a note, in the place of 0 where there are not more
            rows than dimensions.
        unseen: with per='variety', as in `Center`.
        shrinkage_: the one taken, by variety.

    Source: Kessy, Lewin and Strimmer 2018 for ZCA; Ledoit and Wolf 2004 for the shrinkage.
    """

    name = "zca"
    per: Per = "all"
    eps: float = 1e-5
    shrinkage: float | Literal["auto"] = 0.0
    unseen: Unseen = "error"

    def __post_init__(self) -> None:
        check_choice(self, per=PER, unseen=UNSEEN)
        check_unseen(self, self.per, self.unseen)
        if not 0 <= self.eps < np.inf:
            raise ValueError(f"zca: eps must be 0 or more, got {self.eps}")
        check_shrinkage(self.name, self.shrinkage)
        self.shrinkage_: dict[str, float] = {}

    def maps(self, rows: Rows) -> dict[str, Affine]:
        """A whitening map, by variety."""
        groups = rows.groups(self.per)
        if self.unseen == "pooled":
            groups[POOLED] = rows.values
        self.shrinkage_ = {}
        return {variety: self._map(variety, values) for variety, values in groups.items()}

    def _map(self, variety: str, values: Doubles) -> Affine:
        who = "all varieties" if variety == POOLED else f"variety '{variety}'"
        if len(values) < 2:
            raise ValueError(
                f"zca: {who}: {len(values)} row has no covariance; fit on more items"
                + ("" if self.per == "all" else ", or choose per=all")
            )
        found = shrunk_covariance(values, self.shrinkage)
        if found.note:
            self.note(f"zca: {who}: {found.note}")
        self.shrinkage_[variety] = found.shrinkage
        variances, directions = np.linalg.eigh(found.matrix)
        largest = float(variances[-1])
        if largest <= 0:
            raise ValueError(f"zca: all {len(values)} rows of {who} are the same")
        real = variances > len(variances) * np.finfo(np.float64).eps * largest * 16
        scale = np.where(real, 1 / np.sqrt(np.where(real, variances + self.eps, 1)), 0)
        missing = int((~real).sum())
        if missing:
            self.note(f"zca: {who}: {missing} directions do not vary and become 0")
        return Affine(found.mean, None, (directions * scale) @ directions.T, None)


class Covariance(NamedTuple):
    """Mean (D,), covariance (D, D), the shrinkage in it, and what had to be decided, '' nothing."""

    mean: Doubles
    matrix: Doubles
    shrinkage: float
    note: str


def check_shrinkage(name: str, shrinkage: float | str) -> None:
    """Nothing, when `shrinkage` is 'auto' or lies in [0, 1].

    Raises:
        ValueError: it is something else.
    """
    right = shrinkage == "auto" if isinstance(shrinkage, str) else 0 <= shrinkage <= 1
    if not right:
        raise ValueError(f"{name}: shrinkage must lie between 0 and 1 or be auto, got {shrinkage}")


def shrunk_covariance(values: Doubles, shrinkage: float | str, *, lost: int = 1) -> Covariance:
    """Covariance of `values` (N, D), divided by N - `lost` and shrunk to its mean variance.

    Args:
        values: at least 2 rows.
        shrinkage: in [0, 1], or 'auto' for the estimate of Ledoit and Wolf, which is also taken in
            the place of 0 where there are too few rows for every direction to vary.
        lost: how many means were estimated: 1, or the number of groups that were centred before.
    """
    count, dimensions = values.shape
    mean = values.mean(axis=0)
    centred = values - mean
    matrix = centred.T @ centred / max(count - lost, 1)
    note = ""
    few = count - lost < dimensions
    if isinstance(shrinkage, str) or (few and shrinkage == 0):
        shrinkage = ledoit_wolf(centred)
        if few:
            note = (
                f"{count} rows of {dimensions} dimensions; the covariance is shrunk by "
                f"{shrinkage:.3f} (Ledoit and Wolf)"
            )
    target = np.trace(matrix) / dimensions
    matrix = (1 - shrinkage) * matrix + shrinkage * target * np.eye(dimensions)
    return Covariance(mean, matrix, float(shrinkage), note)


def ledoit_wolf(centred: Doubles, *, dimensions: int | None = None) -> float:
    """The shrinkage, in [0, 1], that expects the least squared error of the covariance.

    1 where all rows are the same, and where all variances are.

    Args:
        centred: (N, D) rows less their mean.
        dimensions: D, where the rows are written in fewer coordinates, those that they span.

    Source: Ledoit and Wolf 2004; the same as scikit-learn's.
    """
    count = len(centred)
    dimensions = dimensions or centred.shape[1]
    matrix = centred.T @ centred / count
    target = np.trace(matrix) / dimensions
    gap = float(np.square(matrix).sum() - dimensions * target**2)
    if gap <= 0:
        return 1.0
    fourth = 0.0
    for first in range(0, count, _ROWS_AT_ONCE):
        lengths = np.square(centred[first : first + _ROWS_AT_ONCE]).sum(axis=1)
        fourth += float(np.square(lengths).sum())
    noise = (fourth / count - float(np.square(matrix).sum())) / count
    return float(np.clip(noise / gap, 0, 1))
