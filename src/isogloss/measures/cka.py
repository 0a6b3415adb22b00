"""Parallel vectors in, centred kernel alignment (CKA) out: plain, debiased, and of random halves.

CKA asks whether the items lie alike among themselves on both sides. Rotation, shift and one common
scale of either side change nothing.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from isogloss.measures.rows import checked_pair

__all__ = ["cka_of_grams", "cka_samples", "debiased_cka", "linear_cka"]

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating]

# A unit of the data's own size below which a similarity matrix does not vary.
_NOTHING = 1e-12
_LEAST_DEBIASED = 4


def linear_cka(x: Floats, y: Floats) -> float:
    """Linear CKA of two parallel sides, in [0, 1]; NaN where a side does not vary.

    |Yc' Xc|^2 / (|Xc' Xc| |Yc' Yc|) with Frobenius norms and centred columns. It grows when there
    are few items for many dimensions: unrelated vectors with N below D come near 1. Use
    `debiased_cka` there.

    Args:
        x: (N, D) vectors, N at least 2.
        y: (N, E) vectors of the same items; E may differ from D.

    Raises:
        ValueError: shapes do not fit, N is below 2, or a row is not finite.

    Source: Kornblith et al. 2019, with linear kernels.
    """
    a, b = checked_pair(x, y, same_width=False)
    k, gram_y = _grams(a, b)
    return cka_of_grams(k, gram_y)


def debiased_cka(x: Floats, y: Floats) -> float:
    """Linear CKA from unbiased estimates of HSIC, at most 1, about 0 for unrelated vectors.

    The biased form compares each item with itself, which alone makes it positive; here such cells
    are left out, and the value may fall below 0. NaN where a side does not vary enough for its
    estimate to be positive.

    Args:
        x: (N, D) vectors, N at least 4.
        y: (N, E) vectors of the same items.

    Raises:
        ValueError: shapes do not fit, N is below 4, or a row is not finite.

    Source: the unbiased HSIC of Song et al. 2012, put into CKA as in Nguyen et al. 2021.
    """
    a, b = checked_pair(x, y, least=_LEAST_DEBIASED, same_width=False)
    k, gram_y = _grams(a, b)
    return cka_of_grams(k, gram_y, debiased=True)


def cka_of_grams(k: Floats, gram_y: Floats, *, debiased: bool = False) -> float:
    """CKA of two (N, N) similarity matrices, whatever kernel made them; NaN if undefined.

    Raises:
        ValueError: the matrices are not square of one N, or N is too small (2, debiased 4).
    """
    first, second = np.array(k, dtype=np.float64), np.array(gram_y, dtype=np.float64)
    if first.ndim != 2 or first.shape != second.shape or first.shape[0] != first.shape[1]:
        raise ValueError(f"expected two (N, N) matrices, got {first.shape} and {second.shape}")
    least = _LEAST_DEBIASED if debiased else 2
    if len(first) < least:
        raise ValueError(f"CKA needs at least {least} items, got {len(first)}")
    everything = np.ones((1, len(first)), dtype=np.bool_)
    return float(_of_members(first, second, everything, debiased)[0])


def cka_samples(
    x: Floats, y: Floats, members: npt.NDArray[np.bool_], *, debiased: bool = False
) -> Doubles:
    """CKA of each of B sets of items, (B,): three matrix products for all sets together.

    Args:
        x: (N, D) vectors.
        y: (N, E) vectors of the same items.
        members: (B, N) which items are in each set, such as `random_halves`.
        debiased: leave out what compares an item with itself.

    Returns:
        NaN where a set has too few items or a side does not vary.

    Raises:
        ValueError: as `linear_cka`.
    """
    a, b = checked_pair(x, y, same_width=False)
    k, gram_y = _grams(a, b)
    return _of_members(k, gram_y, members, debiased)


def _grams(x: Doubles, y: Doubles) -> tuple[Doubles, Doubles]:
    """Inner products of centred rows; centring changes no CKA and keeps the numbers small."""
    grams = []
    for side in (x, y):
        centred = side - side.mean(axis=0)
        # Rounding of large equal numbers is no variance.
        centred[:, np.abs(centred).max(axis=0) <= 1e-9 * np.abs(side).max(axis=0)] = 0
        largest = np.abs(centred).max(initial=0)
        centred = centred / largest if largest > 0 else centred
        grams.append(centred @ centred.T)
    return grams[0], grams[1]


def _of_members(
    k: Doubles, gram_y: Doubles, members: npt.NDArray[np.bool_], debiased: bool
) -> Doubles:
    weights = np.asarray(members, dtype=np.float64)
    if debiased:
        k, gram_y = k - np.diag(np.diagonal(k)), gram_y - np.diag(np.diagonal(gram_y))
    sums = weights @ k, weights @ gram_y
    hsic = _unbiased_hsic if debiased else _biased_hsic
    cross = hsic(k, gram_y, weights, sums[0], sums[1])
    own_x = hsic(k, k, weights, sums[0], sums[0])
    own_y = hsic(gram_y, gram_y, weights, sums[1], sums[1])
    scale_x, scale_y = np.square(k).sum(), np.square(gram_y).sum()
    least = _LEAST_DEBIASED if debiased else 2
    defined = (own_x > _NOTHING * scale_x) & (own_y > _NOTHING * scale_y)
    defined &= weights.sum(axis=1) >= least
    scale = np.sqrt(np.where(defined, own_x * own_y, 1.0))
    found: Doubles = np.where(defined, cross / scale, np.nan)
    return np.minimum(found, 1.0)


def _biased_hsic(k: Doubles, m: Doubles, weights: Doubles, of_k: Doubles, of_m: Doubles) -> Doubles:
    """Sum of the entrywise product of both centred matrices, for each row of members."""
    n = np.maximum(weights.sum(axis=1), 1)
    both = ((weights @ (k * m)) * weights).sum(axis=1)
    shared = (of_k * of_m * weights).sum(axis=1)
    totals = (of_k * weights).sum(axis=1) * (of_m * weights).sum(axis=1)
    found: Doubles = both - 2 * shared / n + totals / n**2
    return found


def _unbiased_hsic(
    k: Doubles, m: Doubles, weights: Doubles, of_k: Doubles, of_m: Doubles
) -> Doubles:
    """N (n - 3) times the unbiased HSIC; the factor is the same in all three places of CKA."""
    n = np.maximum(weights.sum(axis=1), _LEAST_DEBIASED)
    both = ((weights @ (k * m)) * weights).sum(axis=1)
    shared = (of_k * of_m * weights).sum(axis=1)
    totals = (of_k * weights).sum(axis=1) * (of_m * weights).sum(axis=1)
    found: Doubles = both + totals / ((n - 1) * (n - 2)) - 2 * shared / (n - 2)
    return found
