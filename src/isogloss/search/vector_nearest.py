"""Unit vectors in, the nearest rows of each query out, exactly; called by indexes and by mining.

A pass in float32 finds the rows that can still matter, then their cosines are summed again one
pair at a time. So a score depends on its two vectors alone: not on the other rows, the size of a
block or the number of threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from isogloss.types import FloatArray, Vectors

__all__ = ["centred_unit_rows", "check_finite", "nearest_rows", "pair_cosines", "rows_from"]

Rows = npt.NDArray[np.int64]

# Two cosines of one pair, summed in different orders, differ by less than this: (D + 2) roundings
# of values up to 1 would be 1e-4 at worst for D = 1024, and stay below 1e-6 in practice; rows this
# close behind the k-th are looked at again.
_ROUNDING = 1e-5
# Rows of a tile: 8 MiB of scores for 256 queries.
_TILE_ROWS = 8192
_CELLS_OF_PAIRS = 4_000_000


def check_finite(vectors: Vectors) -> None:
    """Refuse vectors that have no cosine.

    Raises:
        ValueError: a row holds NaN or infinity (its id is named).
    """
    broken = np.flatnonzero(~np.isfinite(vectors.values).all(axis=1))
    if len(broken):
        raise ValueError(
            f"item '{vectors.ids[broken[0]]}' holds NaN or infinity ({len(broken)} such items); "
            "check its recording or text, and the encoder"
        )


def centred_unit_rows(
    values: FloatArray, centre: FloatArray | None
) -> tuple[FloatArray, FloatArray]:
    """Rows less `centre` with length 1 (or 0), and the lengths taken off: (N, D) and (N,).

    The mean goes before the length does: unit rows that are centred afterwards no longer have
    length 1, and their products are no cosines. A row equal to the centre stays a row of zeros.

    Args:
        values: (N, D) float32, finite.
        centre: (D,) float32; None leaves the origin where it is.
    """
    unit, lengths = np.empty(values.shape, np.float32), np.empty(len(values), np.float32)
    origin = 0.0 if centre is None else centre.astype(np.float64)
    # A few rows at a time, so that what is mapped from disk is never held whole in float64.
    for first in range(0, len(values), _TILE_ROWS):
        rows = slice(first, first + _TILE_ROWS)
        moved = values[rows].astype(np.float64) - origin
        largest = np.abs(moved).max(axis=1, keepdims=True, initial=0)
        scaled = np.divide(moved, largest, out=np.zeros_like(moved), where=largest > 0)
        norms = np.linalg.norm(scaled, axis=1, keepdims=True)
        np.divide(scaled, norms, out=scaled, where=norms > 0)
        unit[rows], lengths[rows] = scaled, (norms * largest)[:, 0]
    return unit, lengths


def nearest_rows(
    queries: FloatArray,
    rows: FloatArray,
    k: int,
    *,
    order: Rows | None = None,
    chosen: Rows | None = None,
) -> tuple[Rows, FloatArray]:
    """The `k` rows of largest cosine for each query, best first: (Q, k) row numbers and scores.

    Args:
        queries: (Q, D) float32 rows of length 1 or 0.
        rows: (N, D) float32 rows of length 1 or 0; it may be mapped from disk, and is read once, a
            tile at a time.
        k: cut to the number of rows.
        order: (N,) place of each row among equals: of two equal scores, the row of the smaller
            number comes first. By default the row's own number.
        chosen: row numbers to look at, rising; default all.

    Returns:
        Row numbers (Q, min(k, rows)) int64 and cosines (Q, ...) float32 in [-1, 1].
    """
    count = len(rows) if chosen is None else len(chosen)
    k = min(k, count)
    if k < 1 or not len(queries):
        return np.zeros((len(queries), 0), np.int64), np.zeros((len(queries), 0), np.float32)
    kept: list[Rows] = [np.zeros(0, np.int64) for _ in queries]
    roughly: list[FloatArray] = [np.zeros(0, np.float32) for _ in queries]
    for first in range(0, count, _TILE_ROWS):
        numbers = (
            np.arange(first, min(first + _TILE_ROWS, count))
            if chosen is None
            else chosen[first : first + _TILE_ROWS]
        )
        tile = rows[numbers[0] : numbers[-1] + 1] if chosen is None else rows[numbers]
        scores = queries @ tile.T
        for query, row in enumerate(scores):
            known = roughly[query]
            if len(known) < k:
                close = np.arange(len(row))
            else:
                # What cannot reach the k best so far is not worth sorting.
                close = np.flatnonzero(row >= np.partition(known, -k)[-k] - _ROUNDING)
            if not len(close):
                continue
            kept[query], roughly[query] = _cut(
                np.concatenate([kept[query], numbers[close]]),
                np.concatenate([known, row[close]]),
                k,
            )
    found = np.empty((len(queries), k), np.int64)
    exact = np.empty((len(queries), k), np.float32)
    for query, numbers in enumerate(kept):
        scores = pair_cosines(queries[query], rows, numbers)
        place = numbers if order is None else order[numbers]
        best = np.lexsort((place, -scores))[:k]
        found[query], exact[query] = numbers[best], scores[best]
    return found, exact


def pair_cosines(query: FloatArray, rows: FloatArray, numbers: Rows) -> FloatArray:
    """Cosine of one unit vector (D,) with `rows[numbers]`: (C,) float32, each summed by itself."""
    scores = np.empty(len(numbers), np.float32)
    at_once = max(1, _CELLS_OF_PAIRS // max(1, rows.shape[1]))
    wide = query.astype(np.float64)
    for first in range(0, len(numbers), at_once):
        part = rows[numbers[first : first + at_once]]
        scores[first : first + at_once] = np.clip((part * wide).sum(axis=1), -1, 1)
    return scores


def rows_from(
    query: FloatArray, rows: FloatArray, least: float, *, chosen: Rows | None = None
) -> tuple[Rows, FloatArray]:
    """Every row whose cosine with a unit vector (D,) is at least `least`: (C,) numbers, scores."""
    count = len(rows) if chosen is None else len(chosen)
    kept = [np.zeros(0, np.int64)]
    for first in range(0, count, _TILE_ROWS):
        numbers = (
            np.arange(first, min(first + _TILE_ROWS, count))
            if chosen is None
            else chosen[first : first + _TILE_ROWS]
        )
        tile = rows[numbers[0] : numbers[-1] + 1] if chosen is None else rows[numbers]
        kept.append(numbers[tile @ query >= least - _ROUNDING])
    near = np.concatenate(kept)
    scores = pair_cosines(query, rows, near)
    enough = scores >= least
    return near[enough], scores[enough]


def _cut(numbers: Rows, scores: FloatArray, k: int) -> tuple[Rows, FloatArray]:
    """Those whose exact score may be among the k best, with all that come close to the k-th."""
    if len(scores) <= k:
        return numbers, scores
    least = np.partition(scores, -k)[-k] - _ROUNDING
    near = scores >= least
    return numbers[near], scores[near]
