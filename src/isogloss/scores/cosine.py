"""Two sets of vectors in, the cosine of every pair out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from isogloss.types import FloatArray, Vectors

__all__ = ["cosine"]


def cosine(a: Vectors, b: Vectors) -> FloatArray:
    """Cosine of every row of `a` with every row of `b`.

    Args:
        a: (N, D) vectors of any length; a zero row has cosine 0 with everything.
        b: (M, D) vectors of the same D.

    Returns:
        (N, M) float32 in [-1, 1]; N or M may be 0.

    Raises:
        ValueError: D differs, or a row holds NaN or infinity (its id is named).
    """
    if a.values.shape[1] != b.values.shape[1]:
        raise ValueError(
            f"vectors have {a.values.shape[1]} and {b.values.shape[1]} dimensions; "
            "compare outputs of one encoder and layer"
        )
    unit_a = _unit_rows(a)
    unit_b = unit_a if a is b else _unit_rows(b)
    cosines: FloatArray = np.clip(unit_a @ unit_b.T, -1, 1)
    return cosines


def _unit_rows(vectors: Vectors) -> FloatArray:
    broken = np.flatnonzero(~np.isfinite(vectors.values).all(axis=1))
    if len(broken):
        raise ValueError(f"item '{vectors.ids[broken[0]]}' holds NaN or infinity")
    largest = np.abs(vectors.values).max(axis=1, keepdims=True, initial=0)
    scaled = np.divide(
        vectors.values, largest, out=np.zeros_like(vectors.values), where=largest > 0
    )
    norms = np.linalg.norm(scaled, axis=1, keepdims=True)
    unit: FloatArray = np.divide(scaled, norms, out=scaled, where=norms > 0)
    return unit
