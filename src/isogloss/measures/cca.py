"""Parallel vectors in, canonical correlations and their summaries (SVCCA, PWCCA) out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isogloss.measures.rows import checked_pair

__all__ = [
    "Reduced",
    "canonical_means",
    "canonical_samples",
    "cca_correlations",
    "cca_samples",
    "leading_directions",
    "pwcca",
    "svcca",
]

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating]

# A direction with less than this share of the largest singular value is rounding.
_NOTHING = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Reduced:
    """Leading directions of one side.

    `values` (N, K) are the items along them, centred; `axes` (K, D) the directions themselves;
    `share` the share of the variance that is kept.
    """

    values: Doubles
    axes: Doubles
    share: float


def leading_directions(
    x: Floats, *, keep: int | None = None, share: float | None = None
) -> Reduced:
    """The leading principal directions of centred `x`.

    Args:
        x: (N, D) vectors.
        keep: how many directions, cut to those that vary; or
        share: the fewest directions whose variance is at least this share of all; neither keeps
            every direction that varies.

    Raises:
        ValueError: both are given, `keep` is below 1, `share` is not in (0, 1], or nothing varies.
    """
    if keep is not None and share is not None:
        raise ValueError("give either a number of directions or a share of the variance")
    if keep is not None and keep < 1:
        raise ValueError(f"keep must be at least 1, got {keep}")
    if share is not None and not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1, got {share}")
    rows = np.asarray(x, dtype=np.float64)
    centred = rows - rows.mean(axis=0)
    largest = np.abs(rows).max(initial=0)
    if np.abs(centred).max(initial=0) <= 1e-9 * largest:
        raise ValueError("the vectors do not vary: they have no leading directions")
    left, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    sizes = np.where(sizes > _NOTHING * sizes[0], sizes, 0)
    variance = np.cumsum(np.square(sizes)) / np.square(sizes).sum()
    count = int(np.count_nonzero(sizes))
    if keep is not None:
        count = min(keep, count)
    elif share is not None:
        # Rounding must not ask for a direction more than all.
        count = min(count, int(np.searchsorted(variance, share - 1e-12)) + 1)
    return Reduced(left[:, :count] * sizes[:count], axes[:count], float(variance[count - 1]))


def cca_correlations(x: Floats, y: Floats) -> Doubles:
    """Canonical correlations of two sides, largest first: (min(rank x, rank y),) in [0, 1].

    Centred, N items span at most N - 1 dimensions: a side of N - 1 dimensions or more tells any
    other side completely, and every correlation is 1 whatever the data. That is refused. With N
    below D + E + 1 some are still 1 for nothing.

    Args:
        x: (N, D) vectors of full or lower rank.
        y: (N, E) vectors of the same items.

    Raises:
        ValueError: N is at most D + 1 or E + 1, shapes do not fit, a row is not finite, or a side
            does not vary.

    Source: Hotelling 1936; computed from orthonormal bases as in Bjorck and Golub 1973.
    """
    a, b = checked_pair(x, y, same_width=False)
    wide = max(a.shape[1], b.shape[1])
    _check_count(len(a), wide)
    return _correlations(_basis(a), _basis(b))


def svcca(x: Floats, y: Floats, *, keep: int | None = None, share: float | None = 0.99) -> float:
    """Mean canonical correlation of the leading directions of both sides, in [0, 1].

    Args:
        x: (N, D) vectors.
        y: (N, E) vectors of the same items.
        keep: how many directions of each side; None uses `share`.
        share: the directions that hold this share of each side's variance; unused with `keep`.

    Raises:
        ValueError: the items are not more than the directions kept, or as `cca_correlations`.

    Source: Raghu et al. 2017.
    """
    return canonical_means(*_kept(x, y, keep, share))[0]


def pwcca(x: Floats, y: Floats, *, keep: int | None = None, share: float | None = 0.99) -> float:
    """Canonical correlations weighted by how much of `x` their directions tell, in [0, 1].

    Not symmetric: the weights are those of the first side. The weight of a canonical direction is
    the sum over the D dimensions of `x`, as far as the directions kept hold them, of the absolute
    inner product with it; so unlike the correlations it depends on the axes of `x`.

    Arguments and errors as `svcca`; `share=1.0` keeps every direction that varies.

    Source: Morcos et al. 2018.
    """
    return canonical_means(*_kept(x, y, keep, share))[1]


def canonical_means(first: Reduced, second: Reduced) -> tuple[float, float]:
    """What `svcca` and `pwcca` give for sides whose leading directions are known.

    Raises:
        ValueError: the items are not more than the directions kept.
    """
    a, b = first.values, second.values
    _check_count(len(a), max(a.shape[1], b.shape[1]))
    basis, other = _basis(a), _basis(b)
    turned, sizes, _ = np.linalg.svd(basis.T @ other, full_matrices=False)
    canonical = basis @ turned
    weights = np.abs(canonical.T @ a @ first.axes).sum(axis=1)
    found = np.clip(sizes, 0, 1)
    return float(found.mean()), float((weights * found).sum() / weights.sum())


def cca_samples(
    x: Floats,
    y: Floats,
    members: npt.NDArray[np.bool_],
    *,
    weighted: bool = False,
    axes: Floats | None = None,
) -> Doubles:
    """Mean canonical correlation of each of B sets of items, (B,), by their covariances.

    NaN for a set with no more items than dimensions, or in which a side has not its full rank.

    Args:
        x: (N, K) directions of one side that vary, such as `leading_directions` gives.
        y: (N, L) of the other.
        members: (B, N) which items are in each set.
        weighted: as `pwcca` weighs, instead of the plain mean of `svcca`.
        axes: (K, D), where `x` is given along directions, those of `Reduced`: for the weights.
    """
    plain, weighed = canonical_samples(x, y, members, axes=axes)
    return weighed if weighted else plain


def canonical_samples(
    x: Floats, y: Floats, members: npt.NDArray[np.bool_], *, axes: Floats | None = None
) -> tuple[Doubles, Doubles]:
    """Mean canonical correlations of each of B sets of items, plain and weighed: (B,) each.

    Arguments and NaN as `cca_samples`; one decomposition serves both.
    """
    a, b = checked_pair(x, y, same_width=False)
    plain, weighed = np.full(len(members), np.nan), np.full(len(members), np.nan)
    for row, chosen in enumerate(members):
        if chosen.sum() <= max(a.shape[1], b.shape[1]) + 1:
            continue
        one, two = a[chosen] - a[chosen].mean(axis=0), b[chosen] - b[chosen].mean(axis=0)
        try:
            left, right = np.linalg.cholesky(one.T @ one), np.linalg.cholesky(two.T @ two)
        except np.linalg.LinAlgError:
            continue
        between = np.linalg.solve(right, np.linalg.solve(left, one.T @ two).T).T
        turned, sizes, _ = np.linalg.svd(between, full_matrices=False)
        found = np.clip(sizes, 0, 1)
        plain[row] = found.mean()
        told = turned.T @ left.T
        weights = np.abs(told if axes is None else told @ axes).sum(axis=1)
        weighed[row] = (weights * found).sum() / weights.sum()
    return plain, weighed


def _kept(x: Floats, y: Floats, keep: int | None, share: float | None) -> tuple[Reduced, Reduced]:
    a, b = checked_pair(x, y, same_width=False)
    cut = None if keep else share
    return leading_directions(a, keep=keep, share=cut), leading_directions(b, keep=keep, share=cut)


def _check_count(items: int, wide: int) -> None:
    if items <= wide + 1:
        raise ValueError(
            f"CCA needs more items than dimensions, got {items} items of {wide} dimensions: every "
            "correlation would be 1; keep fewer directions or give more items"
        )


def _basis(x: Doubles) -> Doubles:
    """Orthonormal basis of the centred columns, (N, rank)."""
    centred = x - x.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    if sizes[0] <= 1e-9 * np.abs(x).max(initial=0) * np.sqrt(x.size):
        raise ValueError("a side does not vary: it has no canonical correlation")
    found: Doubles = left[:, sizes > _NOTHING * sizes[0]]
    return found


def _correlations(a: Doubles, b: Doubles) -> Doubles:
    found: Doubles = np.clip(np.linalg.svd(a.T @ b, compute_uv=False), 0, 1)
    return found
