"""Vectors in, how many dimensions they really fill out: participation ratio and TwoNN."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from isogloss.measures.isotropy import spectrum
from isogloss.measures.rows import checked_rows

__all__ = [
    "neighbour_ratios",
    "participation_ratio",
    "participation_samples",
    "two_nn",
    "two_nn_of_ratios",
]

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating]

_ROWS_AT_ONCE = 512


def participation_ratio(x: Floats) -> float:
    """(sum l)^2 / sum l^2 of the variances l along principal directions, from 1 to min(N - 1, D).

    The number of directions, if all of them varied alike. NaN where nothing varies.

    Args:
        x: (N, D) vectors, N at least 2.

    Raises:
        ValueError: not (N, D) with N at least 2, or a row is not finite.
    """
    variances = spectrum(x)
    square = float(np.square(variances).sum())
    return float(variances.sum()) ** 2 / square if square > 0 else float("nan")


def participation_samples(x: Floats, members: npt.NDArray[np.bool_]) -> Doubles:
    """`participation_ratio` of each of B sets of items, (B,); NaN where nothing varies.

    From sums over the matrix of inner products, so that no set needs its own spectrum.
    """
    rows = checked_rows(x, least=2)
    centred = rows - rows.mean(axis=0)
    gram = centred @ centred.T
    weights = np.asarray(members, dtype=np.float64)
    n = np.maximum(weights.sum(axis=1), 1)
    of_items = weights @ gram
    total = (of_items * weights).sum(axis=1)
    trace = weights @ np.diagonal(gram) - total / n
    square = ((weights @ np.square(gram)) * weights).sum(axis=1)
    square = square - 2 * (np.square(of_items) * weights).sum(axis=1) / n + total**2 / n**2
    clear = square > 1e-12 * np.square(gram).sum()
    found: Doubles = np.where(clear, trace**2 / np.where(clear, square, 1), np.nan)
    return found


def two_nn(x: Floats, *, discard: float = 0.1) -> float:
    """Intrinsic dimension from the ratio of second to first neighbour distances (TwoNN), above 0.

    For points of locally even density, P(ratio > m) = m^-d; d is the slope through the origin of
    -log(1 - F(m)) on log m. Items that occur twice have no first distance; of equal items one is
    kept. NaN with fewer than 3 different items.

    Args:
        x: (N, D) vectors.
        discard: share of the largest ratios left out of the fit; they depend least on d and most
            on the edges of the data. 0.1 as published.

    Raises:
        ValueError: not (N, D), a row is not finite, or `discard` is not in [0, 1).

    Source: Facco et al. 2017, "Estimating the intrinsic dimension of datasets by a minimal
    neighborhood information".
    """
    return two_nn_of_ratios(neighbour_ratios(x), discard=discard)


def neighbour_ratios(x: Floats) -> Doubles:
    """Second over first neighbour distance of each different item: (M,), each at least 1.

    Raises:
        ValueError: not (N, D), or a row is not finite.
    """
    rows = np.unique(checked_rows(x), axis=0)
    if len(rows) < 3:
        return np.zeros(0)
    rows = rows - rows.mean(axis=0)
    norms = np.square(rows).sum(axis=1)
    ratios = np.ones(len(rows))
    for first in range(0, len(rows), _ROWS_AT_ONCE):
        block = rows[first : first + _ROWS_AT_ONCE]
        squares = norms[first : first + len(block), np.newaxis] + norms - 2 * block @ rows.T
        squares[np.arange(len(block)), np.arange(first, first + len(block))] = np.inf
        nearest = np.argpartition(squares, 1, axis=1)[:, :2]
        # Again from the differences: the sum above loses the digits of near neighbours.
        apart = np.linalg.norm(rows[nearest] - block[:, np.newaxis], axis=2)
        apart.sort(axis=1)
        ratios[first : first + len(block)] = apart[:, 1] / apart[:, 0]
    return np.maximum(ratios, 1.0)


def two_nn_of_ratios(ratios: Floats, *, discard: float = 0.1) -> float:
    """The dimension that fits neighbour ratios; NaN where they tell none. See `two_nn`.

    Raises:
        ValueError: `discard` is not in [0, 1).
    """
    if not 0 <= discard < 1:
        raise ValueError(f"discard must be in [0, 1), got {discard}")
    logs = np.log(np.sort(np.asarray(ratios, dtype=np.float64)))
    # The last point has F = 1, whose logarithm is not finite; published fits leave it out too.
    kept = min(len(logs) - 1, int(np.floor(len(logs) * (1 - discard))))
    if kept < 1:
        return float("nan")
    below = -np.log1p(-np.arange(1, kept + 1) / len(logs))
    square = float(logs[:kept] @ logs[:kept])
    return float(below @ logs[:kept]) / square if square > 0 else float("nan")
