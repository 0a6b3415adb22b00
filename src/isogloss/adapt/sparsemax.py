"""Scores in, weights that sum to 1 with most of them exactly 0 out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["sparsemax"]


def sparsemax(scores: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """The point of the simplex nearest to each row of `scores`, (N, K) float64.

    Rows sum to 1; adding a number to a row changes nothing; with one column the weight is 1.

    Raises:
        ValueError: `scores` is not (N, K) with K at least 1, or not finite.

    Source: Martins and Astudillo 2016, algorithm 1.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 2 or not values.shape[1] or not np.isfinite(values).all():
        raise ValueError(f"scores must be finite (N, K) with K at least 1, got {values.shape}")
    falling = -np.sort(-values, axis=1)
    sums = np.cumsum(falling, axis=1) - 1
    counts = np.arange(1, values.shape[1] + 1)
    support = (counts * falling > sums).sum(axis=1, keepdims=True)
    threshold = np.take_along_axis(sums, support - 1, axis=1) / support
    weights: npt.NDArray[np.float64] = np.clip(values - threshold, 0, None)
    return weights
