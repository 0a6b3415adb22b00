"""A table of scores in, the same scores set against their neighbourhoods out (margin)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from isogloss.errors import UnknownName

if TYPE_CHECKING:
    from isogloss.types import FloatArray

__all__ = ["MarginKind", "margin", "neighbourhoods"]

MarginKind = Literal["ratio", "distance", "absolute"]


def margin(scores: FloatArray, *, neighbours: int = 4, kind: MarginKind = "ratio") -> FloatArray:
    """Margin of every pair: (N, M) float32, larger is nearer.

    With d(i, j) the mean of r(i) and r(j), where r is the mean of the `neighbours` largest scores
    of a row or column: 'ratio' is s / d, 'distance' is s - d, 'absolute' is s itself.

    Args:
        scores: (N, M) similarities, such as cosines or SeqSim.
        neighbours: k in the paper; 4 is the default of LASER's xSIM. Cut to M for rows and to N
            for columns when larger.
        kind: which of the three.

    Returns:
        (N, M) float32. The densities come from this table, so compare within one call only. With
        'ratio', a pair of score 0 and density 0 gets 0.

    Raises:
        ValueError: the table is not (N, M) with N and M at least 1, holds NaN or infinity,
            `neighbours` is below 1, or, with 'ratio', a density is negative (or 0 where the score
            is not): there the ratio turns the order around, so use 'distance'.
        UnknownName: `kind` is none of the three.

    Source: Artetxe and Schwenk 2019, eq. 1 and sec. 3.1.
    """
    if kind not in ("ratio", "distance", "absolute"):
        raise UnknownName("margin", kind, ("ratio", "distance", "absolute"))
    rows, columns = neighbourhoods(scores, neighbours)
    if kind == "absolute":
        return scores.astype(np.float32)
    density = (rows[:, np.newaxis] + columns) / 2
    if kind == "distance":
        return (scores - density).astype(np.float32)
    undefined = (density < 0) | ((density == 0) & (scores != 0))
    if undefined.any():
        row, column = np.argwhere(undefined)[0]
        raise ValueError(
            f"ratio margin is undefined at row {row}, column {column}: the mean score of the "
            f"neighbours is {density[row, column]:.4g}; use kind='distance'"
        )
    ratio = np.zeros_like(density)
    np.divide(scores, density, out=ratio, where=density > 0)
    return ratio.astype(np.float32)


def neighbourhoods(
    scores: FloatArray, neighbours: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean of the `neighbours` largest scores of each row (N,) and of each column (M,).

    Raises:
        ValueError: the table is empty, not two-dimensional or not finite, or `neighbours` < 1.
    """
    if scores.ndim != 2 or not scores.size:
        raise ValueError(f"scores must be (N, M) with N and M at least 1, got {scores.shape}")
    if not np.isfinite(scores).all():
        row, column = np.argwhere(~np.isfinite(scores))[0]
        raise ValueError(f"scores hold {scores[row, column]} at row {row}, column {column}")
    if neighbours < 1:
        raise ValueError(f"neighbours must be at least 1, got {neighbours}")
    return _mean_of_largest(scores, neighbours), _mean_of_largest(scores.T, neighbours)


def _mean_of_largest(scores: FloatArray, neighbours: int) -> npt.NDArray[np.float64]:
    width = scores.shape[1]
    k = min(neighbours, width)
    largest = np.partition(scores, width - k, axis=1)[:, width - k :]
    # The order in which partition leaves its tail is unspecified; sorting fixes the rounding.
    mean: npt.NDArray[np.float64] = np.sort(largest, axis=1).mean(axis=1, dtype=np.float64)
    return mean
