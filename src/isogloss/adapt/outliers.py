"""Outlier dimensions, whose mean is far larger than that of the others, are set to 0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from isogloss.adapt.affine import Affine
from isogloss.adapt.center import check_unseen
from isogloss.adapt.rows import POOLED, Rows
from isogloss.adapt.transform import PER, UNSEEN, AffineTransform, Per, Unseen, check_choice
from isogloss.measures import outlier_dimensions

if TYPE_CHECKING:
    import numpy.typing as npt

    from isogloss.adapt.affine import Doubles

__all__ = ["DropOutliers"]


@dataclass(kw_only=True)
class DropOutliers(AffineTransform):
    """Rows with 0 in the dimensions whose mean stands out.

    The number of dimensions stays, so that cosines are those of the others.

    Attributes:
        sigma: a dimension stands out when its mean lies more than so many standard deviations of
            the D means off the mean of all of them (`isogloss.measures.outlier_dimensions`).
        largest: set the so many dimensions with the largest |mean| to 0 instead.
        per: 'all', or 'variety' for dimensions of each variety.
        unseen: with per='variety', as in `Center`.
        dimensions_out_: the dimensions set to 0, by variety, '*' for all.
    """

    name = "outliers"
    sigma: float = 3.0
    largest: int | None = None
    per: Per = "all"
    unseen: Unseen = "error"

    def __post_init__(self) -> None:
        check_choice(self, per=PER, unseen=UNSEEN)
        check_unseen(self, self.per, self.unseen)
        if self.sigma <= 0:
            raise ValueError(f"outliers: sigma must be above 0, got {self.sigma}")
        if self.largest is not None and self.largest < 1:
            raise ValueError(f"outliers: largest must be at least 1, got {self.largest}")
        if self.largest is not None and self.sigma != 3.0:
            raise ValueError("outliers: largest leaves nothing for sigma to say; name one of them")

    @property
    def dimensions_out_(self) -> dict[str, tuple[int, ...]]:
        """The dimensions set to 0, by variety."""
        return {
            name: () if one.scale is None else tuple(np.flatnonzero(one.scale == 0).tolist())
            for name, one in self.maps_.items()
        }

    def maps(self, rows: Rows) -> dict[str, Affine]:
        """Ones and zeros to multiply with, by variety."""
        if self.largest is not None and self.largest >= rows.dimensions:
            raise ValueError(
                f"outliers: {self.largest} of {rows.dimensions} dimensions leave nothing"
            )
        groups = rows.groups(self.per)
        if self.unseen == "pooled":
            groups[POOLED] = rows.values
        found = {}
        for variety, values in groups.items():
            out = _standing_out(values, self.sigma, self.largest)
            if not len(out):
                self.note(f"outliers: {variety}: no dimension stands out")
            scale = np.ones(rows.dimensions)
            scale[out] = 0
            found[variety] = Affine(scale=scale)
        return found


def _standing_out(values: Doubles, sigma: float, largest: int | None) -> npt.NDArray[np.int64]:
    if largest is None:
        found = [one.dimension for one in outlier_dimensions(values, z=sigma)]
        return np.sort(np.array(found, dtype=np.int64))
    first = np.argsort(-np.abs(values.mean(axis=0)), kind="stable")[:largest]
    return np.sort(first).astype(np.int64)
