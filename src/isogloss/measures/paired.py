"""Per-item statistics of two encoders in; their difference, its interval and a p-value out.

Both were measured on the same items, so what makes an item hard is in both and cancels: a paired
test sees differences that two separate intervals hide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from isogloss.measures.bootstrap import two_way_samples

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["PairedTest", "holm", "paired_bootstrap", "paired_two_way"]

Floats = npt.NDArray[np.floating]

# Resamples computed at one time are bounded by this many numbers, so memory does not grow with n.
_CELLS_AT_ONCE = 2_000_000
# Sums of the same numbers in another order differ by less.
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class PairedTest:
    """First minus second: `difference`, its interval, the two-sided p-value, and N items.

    `p_value` is at least 1 / (resamples + 1): a bootstrap of B resamples cannot say less.
    """

    difference: float
    low: float
    high: float
    p_value: float
    n: int


def paired_bootstrap(
    first: Floats,
    second: Floats,
    *,
    resamples: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
) -> PairedTest | None:
    """Whether two encoders differ in a mean or rate, by resampling the items they share.

    Each resample draws items with replacement and takes both encoders' statistics of the drawn
    items. The interval is the percentile interval of the resampled differences d*; the p-value is
    the share of resamples with abs(d* - d) >= abs(d), that is, how often a difference as large
    would come from items of which neither encoder is better at.

    Args:
        first: (N,) one number an item, whose mean is compared; or (N, C) with C at least 2, whose
            rate is: the sum of all columns but the last over the sum of the last (CER: three kinds
            of errors, then the length of the reference).
        second: the same of the other encoder, items in the same order.
        resamples: B, how often N items are drawn.
        level: share of the resampled differences inside the interval.
        seed: fixes the draw.

    Returns:
        None where nothing can be resampled: N is 0 or 1, `resamples` is 0, or a rate's
        denominators are all 0. Equal statistics give a difference of 0, an interval of width 0 and
        a p-value of 1.

    Raises:
        ValueError: the shapes differ or are not (N,) or (N, C >= 2), a number is not finite,
            `resamples` is negative, or `level` is not between 0 and 1.

    Source: Efron and Tibshirani 1993, chapter 16 (centring for the null hypothesis); Koehn 2004
    and Berg-Kirkpatrick et al. 2012 for its use with systems.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    _check(resamples, level)
    if a.shape != b.shape or a.ndim not in (1, 2) or (a.ndim == 2 and a.shape[1] < 2):
        raise ValueError(
            f"expected two arrays of one shape, (N,) or (N, C >= 2), got {a.shape} and {b.shape}"
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("per-item statistics hold NaN or infinity")
    n = len(a)
    if n < 2 or not resamples:
        return None
    if a.ndim == 1:
        gaps = a - b
        if not gaps.any():
            return PairedTest(0.0, 0.0, 0.0, 1.0, n)
        samples = _resampled([gaps], resamples, seed)[0] / n
        return _tested(float(gaps.mean()), samples, level, n)
    columns = [a[:, :-1].sum(axis=1), a[:, -1], b[:, :-1].sum(axis=1), b[:, -1]]
    if not columns[1].sum() or not columns[3].sum():
        return None
    top_a, below_a, top_b, below_b = _resampled(columns, resamples, seed)
    usable = (below_a != 0) & (below_b != 0)
    samples = top_a[usable] / below_a[usable] - top_b[usable] / below_b[usable]
    sums = [float(column.sum()) for column in columns]
    return _tested(sums[0] / sums[1] - sums[2] / sums[3], samples, level, n)


def paired_two_way(
    first: Mapping[tuple[str, str], Floats],
    second: Mapping[tuple[str, str], Floats],
    *,
    strata: Mapping[str, str] | None = None,
    resamples: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
) -> PairedTest | None:
    """As `paired_bootstrap` for tables of sites: sentences and sites are resampled.

    Only cells (pair of sites, sentence) that both encoders have are compared, so the difference is
    that of the means over pairs of what they share.

    Args:
        first: for each ordered pair of sites an (S,) row over one common list of S sentences, NaN
            where the pair lacks one (see `two_way_interval`).
        second: the same of the other encoder, over the same S sentences.
        strata: group of each site; sites are drawn within their group.
        resamples: B, how many tables are drawn.
        level: share of the resampled differences inside the interval.
        seed: fixes the draw.

    Returns:
        None where the two share no cell, or there are fewer than 2 sentences, or `resamples` is 0.
        `n` is the number of sentences with a shared cell.

    Raises:
        ValueError: rows differ in length, or as `two_way_interval`.

    Source: the pigeonhole bootstrap of Owen 2007, on differences.
    """
    _check(resamples, level)
    gaps: dict[tuple[str, str], Floats] = {}
    for pair, row in first.items():
        if pair not in second:
            continue
        a, b = np.asarray(row, dtype=np.float64), np.asarray(second[pair], dtype=np.float64)
        if a.shape != b.shape:
            raise ValueError(f"pair {pair} has rows of {a.shape} and {b.shape} sentences")
        gap = a - b
        if not np.isnan(gap).all():
            gaps[pair] = gap
    samples = two_way_samples(gaps, strata=strata, resamples=resamples, seed=seed)
    if samples is None or not len(samples):
        return None
    table = np.array(list(gaps.values()))
    n = int((~np.isnan(table)).any(axis=0).sum())
    return _tested(float(np.nanmean(table, axis=1).mean()), samples, level, n)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for their number, in the same order: each at least as large, at most 1.

    Rejecting those that are still at most alpha errs in any of them with a probability of at most
    alpha, whatever their dependence.

    Raises:
        ValueError: a value is not between 0 and 1.

    Source: Holm 1979.
    """
    for value in p_values:
        if not 0 <= value <= 1:
            raise ValueError(f"a p-value lies between 0 and 1, got {value}")
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def _check(resamples: int, level: float) -> None:
    if resamples < 0:
        raise ValueError(f"resamples must not be negative, got {resamples}")
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level}")


def _resampled(
    columns: Sequence[npt.NDArray[np.float64]], resamples: int, seed: int
) -> list[npt.NDArray[np.float64]]:
    """Sums of each column over the same `resamples` draws of N items: (B,) each."""
    n = len(columns[0])
    stacked = np.stack(columns, axis=1)  # (N, C)
    rng = np.random.default_rng(seed)
    at_once = max(1, min(resamples, _CELLS_AT_ONCE // n))
    sums = []
    for done in range(0, resamples, at_once):
        count = min(at_once, resamples - done)
        drawn = rng.integers(0, n, (count, n)) + np.arange(0, count * n, n)[:, np.newaxis]
        times = np.bincount(drawn.ravel(), minlength=count * n).reshape(count, n)
        sums.append(times @ stacked)
    return list(np.concatenate(sums).T)


def _tested(
    difference: float, samples: npt.NDArray[np.float64], level: float, n: int
) -> PairedTest | None:
    if not len(samples):
        return None
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
    extreme = np.abs(samples - difference) >= abs(difference) - _ROUNDING
    # The observed table counts as one draw, so that no finite number of draws gives 0.
    p_value = (1 + int(extreme.sum())) / (1 + len(samples))
    return PairedTest(difference, float(low), float(high), p_value, n)
