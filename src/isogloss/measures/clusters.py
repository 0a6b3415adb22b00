"""Two groupings of the same things in, how well one tells the other (V-measure) out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["VMeasure", "v_measure"]

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class VMeasure:
    """Agreement of clusters with classes, each in [0, 1].

    `homogeneity`: each cluster holds one class only. `completeness`: each class lies in one
    cluster. `v` is their harmonic mean.
    """

    homogeneity: float
    completeness: float
    v: float


def v_measure(
    classes: Sequence[Any] | npt.NDArray[Any], clusters: Sequence[Any] | npt.NDArray[Any]
) -> VMeasure:
    """How well `clusters` agree with `classes`; the names of neither matter.

    It does not allow for chance: with as many clusters as things it is homogeneous whatever the
    classes. Hold it against the value for shuffled classes.

    Args:
        classes: (N,) the truth.
        clusters: (N,) what was found.

    Returns:
        1 everywhere for no things, and where one grouping has a single group the part that asks
        for nothing is 1.

    Raises:
        ValueError: the two differ in length.

    Source: Rosenberg and Hirschberg 2007, with beta 1.
    """
    if len(classes) != len(clusters):
        raise ValueError(f"{len(classes)} classes for {len(clusters)} clusters")
    if not len(classes):
        return VMeasure(1.0, 1.0, 1.0)
    row = np.unique(np.asarray(classes), return_inverse=True)[1]
    column = np.unique(np.asarray(clusters), return_inverse=True)[1]
    table = np.zeros((row.max() + 1, column.max() + 1))
    np.add.at(table, (row, column), 1)
    joint = table / table.sum()
    of_class, of_cluster = joint.sum(axis=1), joint.sum(axis=0)
    shared = _entropy(of_class) + _entropy(of_cluster) - _entropy(joint.ravel())
    homogeneity = _share(shared, _entropy(of_class))
    completeness = _share(shared, _entropy(of_cluster))
    both = homogeneity + completeness
    return VMeasure(
        homogeneity, completeness, 2 * homogeneity * completeness / both if both > 0 else 0.0
    )


def _entropy(shares: Doubles) -> float:
    positive = shares[shares > 0]
    return float(-(positive * np.log(positive)).sum())


def _share(shared: float, entropy: float) -> float:
    if entropy <= 1e-12:
        return 1.0
    return min(1.0, max(0.0, shared / entropy))
