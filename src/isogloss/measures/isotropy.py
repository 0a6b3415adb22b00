"""Vectors in; how evenly they use their space, and which dimensions stand out, out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isogloss.measures.rows import checked_rows, unit_rows

__all__ = [
    "OutlierDimension",
    "iso_score",
    "mean_random_cosine",
    "outlier_dimensions",
    "partition_isotropy",
    "random_cosine_samples",
    "spectrum",
    "top_component_share",
    "top_share_samples",
]

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating]

# Leading directions in which those of resampled items are sought.
_RITZ = 32


@dataclass(frozen=True, slots=True)
class OutlierDimension:
    """A dimension whose mean is extreme: its number from 0, its mean, and z among all means."""

    dimension: int
    mean: float
    z: float


def mean_random_cosine(x: Floats) -> float:
    """Mean cosine of two different items, in [-1, 1]; 0 for directions spread evenly.

    Exact over all pairs: with u the vectors at length 1, (|sum u|^2 - sum |u|^2) / (N (N - 1)).

    Args:
        x: (N, D) vectors, N at least 2; a zero row has cosine 0 with everything.

    Raises:
        ValueError: not (N, D) with N at least 2, or a row is not finite.

    Source: Ethayarajh 2019 (there called anisotropy; from a sample of pairs).
    """
    rows = checked_rows(x, least=2)
    return float(random_cosine_samples(rows, np.ones((1, len(rows))))[0])


def random_cosine_samples(x: Floats, counts: Floats) -> Doubles:
    """`mean_random_cosine` when item i is drawn counts[b, i] times; copies are no pair: (B,)."""
    unit = unit_rows(checked_rows(x, least=2))
    weights = np.asarray(counts, dtype=np.float64)
    squares = np.square(weights)
    own = squares @ np.square(unit).sum(axis=1)
    mass = np.square(weights.sum(axis=1)) - squares.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Doubles = (np.square(weights @ unit).sum(axis=1) - own) / mass
    return np.where(mass > 0, found, np.nan)


def spectrum(x: Floats) -> Doubles:
    """Variances along the principal directions, largest first: (min(N, D),), divisor N.

    Raises:
        ValueError: not (N, D) with N at least 2, or a row is not finite.
    """
    rows = checked_rows(x, least=2)
    centred = rows - rows.mean(axis=0)
    # Rounding of large equal numbers is no variance.
    centred[:, np.abs(centred).max(axis=0) <= 1e-9 * np.abs(rows).max(axis=0)] = 0
    narrow = centred.shape[1] <= len(centred)
    product = centred.T @ centred if narrow else centred @ centred.T
    found: Doubles = np.linalg.eigvalsh(product / len(rows))[::-1]
    return np.maximum(found, 0)


def iso_score(x: Floats) -> float:
    """IsoScore, in [0, 1]: 1 when variance is the same in every direction, 0 when in only one.

    Share of dimensions evenly used. With l the D variances along principal directions, the
    published chain of steps reduces to ((sum l)^2 / sum l^2 - 1) / (D - 1), that is, to the
    participation ratio, moved and scaled. Unlike cosines it ignores the mean vector. At most N - 1
    directions can vary, so with N below D it cannot reach 1. NaN where nothing varies or D is 1.

    Args:
        x: (N, D) vectors, N at least 2.

    Raises:
        ValueError: as `spectrum`.

    Source: Rudman et al. 2022, "IsoScore: Measuring the Uniformity of Embedding Space
    Utilization".
    """
    variances = spectrum(x)
    width = np.shape(x)[1]
    square = float(np.square(variances).sum())
    if width < 2 or square == 0:
        return float("nan")
    return float((variances.sum() ** 2 / square - 1) / (width - 1))


def partition_isotropy(x: Floats) -> float:
    """Least over greatest value of Z(c) = sum_i exp(c . x_i) over the axes c, in (0, 1].

    c runs over the eigenvectors of X'X in both directions. 1 for vectors that fill every direction
    alike. It depends on the scale of the vectors: give them at length 1 to compare models.

    Raises:
        ValueError: not (N, D) with N at least 2, or a row is not finite.

    Source: Mu and Viswanath 2018 (with eigenvectors for c; here with both signs, which an
    eigenvector leaves open).
    """
    rows = checked_rows(x, least=2)
    _, axes = np.linalg.eigh(rows.T @ rows)
    exponents = rows @ np.hstack([axes, -axes])
    # In logarithms: long vectors would overflow.
    top = exponents.max(axis=0)
    logs = np.log(np.exp(exponents - top).sum(axis=0)) + top
    return float(np.exp(logs.min() - logs.max()))


def top_component_share(x: Floats) -> float:
    """Share of the variance along the first principal direction, in (0, 1]; NaN if none varies.

    Raises:
        ValueError: as `spectrum`.
    """
    variances = spectrum(x)
    total = float(variances.sum())
    return float(variances[0]) / total if total > 0 else float("nan")


def top_share_samples(x: Floats, members: npt.NDArray[np.bool_]) -> Doubles:
    """`top_component_share` of each of B sets of items, (B,).

    Within the 32 leading directions of all items, so exact for D up to 32, and otherwise a little
    low where no direction leads; only the spread between sets is meant to be used.
    """
    rows = checked_rows(x, least=2)
    centred = rows - rows.mean(axis=0)
    weights = np.asarray(members, dtype=np.float64)
    sizes = np.maximum(weights.sum(axis=1), 1)
    means = weights @ centred / sizes[:, np.newaxis]
    total = weights @ np.square(centred).sum(axis=1) / sizes - np.square(means).sum(axis=1)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:_RITZ]
    along = centred @ axes.T
    kept = along.shape[1]
    products = (along[:, :, np.newaxis] * along[:, np.newaxis, :]).reshape(len(rows), -1)
    seconds = (weights @ products / sizes[:, np.newaxis]).reshape(-1, kept, kept)
    inside = means @ axes.T
    seconds = seconds - inside[:, :, np.newaxis] * inside[:, np.newaxis, :]
    largest = np.linalg.eigvalsh(seconds)[:, -1]
    share: Doubles = np.full(len(weights), np.nan)
    np.divide(largest, total, out=share, where=total > 0)
    return share


def outlier_dimensions(x: Floats, *, z: float = 3.0) -> tuple[OutlierDimension, ...]:
    """Dimensions whose mean lies more than `z` standard deviations off the mean of all means.

    Largest |z| first; () where the means do not differ. Such dimensions dominate cosines. With D
    dimensions no |z| can exceed (D - 1) / sqrt(D), so small models show none.

    Args:
        x: (N, D) vectors.
        z: how far off.

    Raises:
        ValueError: not (N, D) with N at least 1, a row is not finite, or `z` is not above 0.
    """
    if z <= 0:
        raise ValueError(f"z must be above 0, got {z}")
    means = checked_rows(x).mean(axis=0)
    centred = means - means.mean()
    spread = float(np.sqrt(np.mean(np.square(centred))))
    if spread <= 1e-12 * np.abs(means).max(initial=0):
        return ()
    scores = centred / spread
    order = np.argsort(-np.abs(scores), kind="stable")
    return tuple(
        OutlierDimension(int(i), float(means[i]), float(scores[i]))
        for i in order
        if abs(scores[i]) > z
    )
