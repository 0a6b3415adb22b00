"""Every step of a query against every step of an item: the map that the page draws."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from isogloss.types import FloatArray

__all__ = ["similarity_map"]


def similarity_map(query: FloatArray, item: FloatArray) -> dict[str, Any]:
    """Cosines in 8 bits, the best partner of each step, precision, recall and SeqSim.

    Args:
        query: (T, D) steps, T at least 1; a row of zeros has cosine 0 with everything.
        item: (U, D) steps, U at least 1.

    Returns:
        `rows` T, `columns` U, `low` and `high` (what bytes 0 and 255 stand for), `cosines` (base64
        of T x U uint8, row by row), `best_columns` (T), `best_rows` (U), `precision`, `recall`,
        `score`.

    Raises:
        ValueError: a side has no step, or the widths differ.

    Source: Ma et al. 2025 (SeqSim); 0 where precision or recall is not positive.
    """
    if not len(query) or not len(item) or query.shape[1] != item.shape[1]:
        raise ValueError(f"cannot compare steps of shape {query.shape} with {item.shape}")
    cosines = np.clip(_unit(query) @ _unit(item).T, -1.0, 1.0)
    best_of_rows, best_of_columns = cosines.max(axis=1), cosines.max(axis=0)
    precision = float(best_of_rows.mean(dtype=np.float64))
    recall = float(best_of_columns.mean(dtype=np.float64))
    positive = precision > 0 and recall > 0
    low, high = float(cosines.min()), float(cosines.max())
    scale = 255.0 / (high - low) if high > low else 0.0
    levels = np.rint((cosines - np.float32(low)) * np.float32(scale))
    return {
        "rows": len(query),
        "columns": len(item),
        "low": low,
        "high": high,
        "cosines": base64.b64encode(np.clip(levels, 0, 255).astype(np.uint8)).decode("ascii"),
        "best_columns": cosines.argmax(axis=1).tolist(),
        "best_rows": cosines.argmax(axis=0).tolist(),
        "precision": precision,
        "recall": recall,
        "score": 2 * precision * recall / (precision + recall) if positive else 0.0,
    }


def _unit(steps: FloatArray) -> FloatArray:
    norms = np.linalg.norm(steps, axis=1, keepdims=True)
    unit: FloatArray = np.divide(steps, norms, out=np.zeros_like(steps), where=norms > 0)
    return unit
