"""Vectors in, a map out that makes their covariance the identity; used by `comparison`.

An encoder spreads its vectors along few directions, and cosines see little but those. Whitening
gives every direction the same variance, so small ones count as much; with few vectors they are
noise, which shrinkage holds down.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterable

    from isogloss.types import FloatArray

__all__ = ["Whitening", "fit_whitening"]

# Rows turned into float64 at one time.
_ROWS_AT_ONCE = 65_536


@dataclass(frozen=True, slots=True, eq=False)
class Whitening:
    """x to (x - `mean`) @ `matrix`, with `mean` (D,) and symmetric `matrix` (D, D), float32."""

    mean: FloatArray
    matrix: FloatArray

    def __call__(self, values: FloatArray) -> FloatArray:
        """`values` (N, D) whitened, (N, D) float32."""
        return ((values - self.mean) @ self.matrix).astype(np.float32)


def fit_whitening(arrays: Iterable[FloatArray], *, shrinkage: float) -> Whitening:
    """The ZCA map of the rows of all `arrays`: of all whitening maps that which moves them least.

    The covariance is C' = (1 - s) C + s t I, with s the shrinkage and t the mean variance of a
    dimension; the map is its inverse square root. With s = 0 the mapped rows have the identity as
    covariance, with s = 1 they are only scaled. A direction without any variance is mapped to 0.

    Args:
        arrays: one or more (N, D) float32.
        shrinkage: s, in [0, 1].

    Raises:
        ValueError: there are fewer than 2 rows; `shrinkage` is 0 and there are not more rows than
            dimensions, so that all of them would end up equally far apart; rows are not finite, or
            all the same.

    Source: Kessy, Lewin and Strimmer 2018 for ZCA; Ledoit and Wolf 2004 for the target t I.
    """
    if not 0 <= shrinkage <= 1:
        raise ValueError(f"shrinkage must lie between 0 and 1, got {shrinkage}")
    count, mean, covariance = _moments(arrays)
    dimensions = len(mean)
    if count < 2 or (shrinkage == 0 and count <= dimensions):
        raise ValueError(
            f"{count} vectors of {dimensions} dimensions cannot be whitened with shrinkage "
            f"{shrinkage}; raise the shrinkage or fit on more recordings"
        )
    if not np.isfinite(covariance).all():
        raise ValueError("vectors to whiten hold NaN or infinity")
    target = np.trace(covariance) / dimensions
    if target <= 0:
        raise ValueError(f"all {count} vectors to whiten are the same")
    shrunk = (1 - shrinkage) * covariance + shrinkage * target * np.eye(dimensions)
    variances, directions = np.linalg.eigh(shrunk)
    real = variances > dimensions * np.finfo(np.float32).eps * variances.max()
    scale = np.where(real, 1 / np.sqrt(np.where(real, variances, 1)), 0)
    matrix = (directions * scale) @ directions.T
    return Whitening(mean.astype(np.float32), matrix.astype(np.float32))


def _moments(
    arrays: Iterable[FloatArray],
) -> tuple[int, npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Number of rows, their mean (D,) and covariance (D, D), divided by N - 1."""
    found = list(arrays)
    count = sum(len(array) for array in found)
    dimensions = found[0].shape[1]
    mean = np.zeros(dimensions)
    for array in found:
        mean += array.sum(axis=0, dtype=np.float64) / max(count, 1)
    products = np.zeros((dimensions, dimensions))
    for array in found:
        for first in range(0, len(array), _ROWS_AT_ONCE):
            centred = array[first : first + _ROWS_AT_ONCE].astype(np.float64) - mean
            products += centred.T @ centred
    return count, mean, products / max(count - 1, 1)
