"""Arrays of vectors in, the same arrays checked, centred or scaled to length 1 out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["checked_pair", "checked_rows", "unit_rows"]

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating]


def checked_rows(x: Floats, *, least: int = 1, ids: Sequence[str] | None = None) -> Doubles:
    """`x` as (N, D) float64, when it can be measured.

    Args:
        x: (N, D) numbers, one row an item.
        least: how many rows the caller needs.
        ids: names of the rows, for the message.

    Raises:
        ValueError: not (N, D), fewer than `least` rows, or a row that holds NaN or infinity (its
            id, or its number, is named).
    """
    rows = np.asarray(x, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] < 1:
        raise ValueError(f"expected (N, D) vectors, got shape {rows.shape}")
    if len(rows) < least:
        raise ValueError(f"at least {least} items are needed, got {len(rows)}")
    broken = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(broken):
        first = int(broken[0])
        name = f"item '{ids[first]}'" if ids is not None else f"row {first}"
        raise ValueError(f"{name} holds NaN or infinity ({len(broken)} such rows)")
    return rows


def checked_pair(
    x: Floats, y: Floats, *, least: int = 2, same_width: bool = True
) -> tuple[Doubles, Doubles]:
    """Two sides of parallel vectors as float64: row i of `x` and of `y` mean the same.

    Raises:
        ValueError: as `checked_rows`, the numbers of rows differ, or, with `same_width`, D does.
    """
    a, b = checked_rows(x, least=least), checked_rows(y, least=least)
    if len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} rows; row i of both must mean the same")
    if same_width and a.shape[1] != b.shape[1]:
        raise ValueError(
            f"vectors have {a.shape[1]} and {b.shape[1]} dimensions; compare one encoder and layer"
        )
    return a, b


def unit_rows(x: Floats) -> Doubles:
    """Rows of `x` scaled to length 1: (N, D) float64; a row of zeros stays zero."""
    rows = np.asarray(x, dtype=np.float64)
    largest = np.abs(rows).max(axis=1, keepdims=True, initial=0)
    # First by the largest entry, so that squares neither overflow nor vanish.
    scaled = np.divide(rows, largest, out=np.zeros_like(rows), where=largest > 0)
    norms = np.linalg.norm(scaled, axis=1, keepdims=True)
    unit: Doubles = np.divide(scaled, norms, out=scaled, where=norms > 0)
    return unit
