"""Two columns of numbers and many weightings of them in, Spearman's correlation of each out.

For bootstrap intervals: the weights are how often each pair was drawn, so a thousand resamples need
one sort and not a thousand. Called by tasks on judged sentences.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["weighted_spearman"]

Floats = npt.NDArray[np.floating]
Doubles = npt.NDArray[np.float64]


def weighted_spearman(x: Floats, y: Floats, weights: Floats) -> Doubles:
    """Spearman's correlation of `x` and `y` with each pair repeated as its weight says: (B,).

    Ties share their average rank. NaN where a column does not vary among the pairs that count.

    Args:
        x: (N,) numbers.
        y: (N,) numbers.
        weights: (B, N) whole numbers from 0, how often each pair counts.

    Raises:
        ValueError: the shapes do not fit, or `x` or `y` holds NaN or infinity.

    Source: `correlation.spearman` of the repeated pairs, to which it is equal.
    """
    if x.ndim != 1 or x.shape != y.shape or weights.ndim != 2 or weights.shape[1:] != x.shape:
        raise ValueError(
            f"x and y must be (N,) and weights (B, N), got {x.shape}, {y.shape}, {weights.shape}"
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("a column holds NaN or infinity, which have no rank")
    if not len(x):
        return np.full(len(weights), np.nan)
    middle = (weights.sum(axis=1, keepdims=True) + 1) / 2
    of_pair, squares = zip(
        *(_centred_ranks(column, weights, middle) for column in (x, y)), strict=True
    )
    products = (weights * of_pair[0] * of_pair[1]).sum(axis=1)
    scale = np.sqrt(squares[0] * squares[1])
    found: Doubles = np.full(len(weights), np.nan)
    np.divide(products, scale, out=found, where=scale > 0)
    return np.clip(found, -1, 1)


def _centred_ranks(column: Floats, weights: Floats, middle: Doubles) -> tuple[Doubles, Doubles]:
    """Average ranks less their mean, (B, N), and the weighted sum of their squares, (B,)."""
    _, group = np.unique(column, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    counts = np.add.reduceat(weights[:, order], starts, axis=1)
    ranks = np.cumsum(counts, axis=1) - (counts - 1) / 2 - middle
    return ranks[:, group], (counts * ranks**2).sum(axis=1)
