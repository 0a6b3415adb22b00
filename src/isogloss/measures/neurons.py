"""Parallel vectors in, the correlation of each dimension across the two sides out (ANC)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from isogloss.measures.rows import checked_pair

__all__ = [
    "average_neuron_correlation",
    "neuron_correlation_samples",
    "neuron_correlations",
]

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating]


def average_neuron_correlation(x: Floats, y: Floats) -> float:
    """Average Neuron-wise Correlation: the mean over dimensions of corr(x_d, y_d), in [-1, 1].

    It asks whether the very same dimension carries the same thing on both sides, so that a
    rotation, which leaves CKA at 1, brings it down. The sign counts: a dimension that runs the
    other way lowers the mean. Dimensions that do not vary on a side have no correlation and are
    left out; NaN where none is left.

    Args:
        x: (N, D) vectors, N at least 2.
        y: (N, D) vectors of the same items.

    Raises:
        ValueError: shapes do not fit, N is below 2, or a row is not finite.

    Source: Del and Fishel 2022, "Cross-lingual Similarity of Multilingual Representations
    Revisited".
    """
    found = neuron_correlations(x, y)
    known = found[~np.isnan(found)]
    return float(known.mean()) if len(known) else float("nan")


def neuron_correlations(x: Floats, y: Floats) -> Doubles:
    """Pearson's correlation of each dimension with itself on the other side: (D,), NaN if constant.

    Arguments and errors as `average_neuron_correlation`.
    """
    a, b = checked_pair(x, y)
    left, right = _standardised(a), _standardised(b)
    found = (left * right).mean(axis=0)
    constant = ~(left.any(axis=0) & right.any(axis=0))
    return np.where(constant, np.nan, np.clip(found, -1, 1))


def neuron_correlation_samples(x: Floats, y: Floats, counts: Floats) -> Doubles:
    """ANC when item i is drawn counts[b, i] times: (B,), NaN where it is undefined."""
    a, b = checked_pair(x, y)
    left, right = _standardised(a), _standardised(b)
    weights = np.asarray(counts, dtype=np.float64)
    total = weights.sum(axis=1, keepdims=True)
    weights = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
    mean_a, mean_b = weights @ left, weights @ right
    with np.errstate(invalid="ignore", divide="ignore"):
        spread_a = np.sqrt(np.maximum(weights @ np.square(left) - np.square(mean_a), 0))
        spread_b = np.sqrt(np.maximum(weights @ np.square(right) - np.square(mean_b), 0))
        clear = (spread_a > 1e-9) & (spread_b > 1e-9)
        covariance = weights @ (left * right) - mean_a * mean_b
        found = np.where(clear, covariance / (spread_a * spread_b), 0.0)
        mean: Doubles = found.sum(axis=1) / clear.sum(axis=1)
    return mean


def _standardised(x: Doubles) -> Doubles:
    """Columns with mean 0 and variance 1; zeros where a column does not vary."""
    centred = x - x.mean(axis=0)
    spread = np.sqrt(np.mean(np.square(centred), axis=0))
    # Rounding leaves a constant column of large numbers with a spread of its own.
    varies = spread > 1e-9 * np.abs(x).max(axis=0, initial=0)
    found: Doubles = np.zeros_like(centred)
    np.divide(centred, spread, out=found, where=varies & (spread > 0))
    return found
