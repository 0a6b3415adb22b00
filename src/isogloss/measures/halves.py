"""Random halves of the items in, intervals for statistics that repeated items would spoil out.

Similarity matrices (CKA, RSA, CCA) must not meet two copies of one item: a copy is its own nearest
neighbour, and the ordinary bootstrap would raise every such measure. Halves drawn without
replacement hold no copies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from isogloss.measures.bootstrap import percentile_interval

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["around_value", "half_interval", "random_halves"]

Doubles = npt.NDArray[np.float64]
Interval = tuple[float, float]

# A half must hold enough items for what is measured of it: two always lie alike.
_LEAST = 8


def random_halves(n: int, *, resamples: int = 200, seed: int = 0) -> npt.NDArray[np.bool_]:
    """Which of `n` items are in each half: (B, n) bool, n // 2 or n - n // 2 to a row.

    Halves come in pairs, one the rest of the other, so that their mean is that of all items. B is
    0 when n is below 8, and `resamples` rounded up to an even number otherwise.

    Raises:
        ValueError: `resamples` is negative.
    """
    if resamples < 0:
        raise ValueError(f"resamples must not be negative, got {resamples}")
    if n < _LEAST or not resamples:
        return np.zeros((0, n), dtype=np.bool_)
    rng = np.random.default_rng(seed)
    halves = np.zeros((resamples + resamples % 2, n), dtype=np.bool_)
    for row in range(0, len(halves), 2):
        halves[row, rng.permutation(n)[: n // 2]] = True
        halves[row + 1] = ~halves[row]
    return halves


def around_value(value: float, samples: Doubles) -> Doubles:
    """Values on halves, moved so that their mean is `value`: (B,), NaN left out.

    A half of m of n items, drawn without replacement, differs from all n with variance
    s^2 (1/m - 1/n) where n items vary with s^2 / n: for m = n / 2 these are equal, so the spread
    of halves is the spread of the measure itself. Their mean may differ, because some measures
    depend on the number of items; only the spread is used.
    """
    known = samples[~np.isnan(samples)]
    return known - known.mean() + value if len(known) else known


def half_interval(
    value: float,
    statistic: Callable[[npt.NDArray[np.bool_]], float],
    n: int,
    *,
    resamples: int = 200,
    level: float = 0.95,
    seed: int = 0,
) -> Interval | None:
    """Interval around `value` from the `statistic` of random halves of `n` items, (low, high).

    Args:
        value: the statistic of all items.
        statistic: gets (n,) bool, the items of a half; NaN where it is undefined.
        n: number of items; below 8 there is no interval.
        resamples: how many halves.
        level: share of the halves inside the bounds.
        seed: of the draw.

    Returns:
        None where there is nothing to resample or every half is undefined.

    Source: the random half-sample form of subsampling (Politis and Romano 1994).
    """
    halves = random_halves(n, resamples=resamples, seed=seed)
    samples = np.array([statistic(half) for half in halves], dtype=np.float64)
    return percentile_interval(around_value(value, samples), level)
