"""Compiled loops of SeqSim: steps in, precision and recall out; used where numba is installed.

`scores/seqsim_tiles.py`, `search/exact.py` and the index call it. `score_candidates` is for one
query with a list of candidates; the rest for blocks of many with many. Every function here releases
the GIL, so threads work beside each other, and compiles once for each machine (numba keeps the
result on disk). A product of two steps is one chain of multiply-adds whatever the block, thread or
order, so a score depends on nothing but its pair, to the last bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from isogloss.errors import IsoglossError
from isogloss.scores.seqsim_instructions import (
    SHAPE,
    column_max,
    row_max,
    tile_float32,
    tile_int8,
)
from isogloss.scores.seqsim_preparation import (
    COMPILES,
    PANEL,
    aligned,
    compiled,
    pack_float32,
    unit_steps,
)

if TYPE_CHECKING:
    from isogloss.types import FloatArray

__all__ = [
    "FAST_INT8",
    "block_float32",
    "block_int8",
    "chosen_float32",
    "f1_scores",
    "highest_scores",
    "score_candidates",
    "workspace",
]

FAST_INT8 = SHAPE.fast_int8
"""Whether this processor multiplies bytes much faster than floats."""

_ROWS = SHAPE.rows
# A row chunk of this many bytes and one packed panel stay in a second-level cache of 512 KB.
_CHUNK_BYTES = 1 << 18
_MOST_CHUNK_ROWS = 32 * _ROWS


def workspace(items: int, rows: int, columns: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Room for one thread's calls of `block_float32` or `block_int8`.

    `items` is the most items of `left`, `rows` the most items of `right`, `columns` the most steps
    of `right` in one call.
    """
    panels = -(-columns // PANEL)
    return (
        aligned((_MOST_CHUNK_ROWS + _ROWS, PANEL)),
        aligned((items, panels * PANEL)),
        aligned((_MOST_CHUNK_ROWS, rows)),
    )


@compiled
def _chunk_maxima(
    rows: int,
    top: int,
    row_offsets: npt.NDArray[np.int64],
    item: int,
    panel: int,
    column_offsets: npt.NDArray[np.int64],
    other: int,
    cells: FloatArray,
    best_columns: FloatArray,
    best_rows: FloatArray,
) -> int:
    """Raise the maxima with a chunk of `rows` rows from row `top`, and one panel of columns.

    `item` holds row `top`, `other` holds the panel's first column. Returns the item of `right` that
    holds the first column of the next panel.
    """
    width = best_columns.shape[1]
    bottom = top + rows
    row = top
    while row < bottom:
        end = min(row_offsets[item + 1], bottom)
        if end > row:
            best = best_columns.ctypes.data + 4 * (item * width + panel * PANEL)
            column_max(cells.ctypes.data + 4 * PANEL * (row - top), end - row, best)
        row = end
        item += 1
    first = panel * PANEL
    last = min(first + PANEL, column_offsets[-1] - column_offsets[0])
    column = first
    while column < last:
        end = min(column_offsets[other + 1] - column_offsets[0], last)
        if end > column:
            best = best_rows.ctypes.data + 4 * other
            row_max(cells.ctypes.data, rows, column - first, end - first, best, best_rows.shape[1])
        column = end
        if column_offsets[other + 1] - column_offsets[0] <= last:
            other += 1
    return other


@compiled
def _add_rows(
    rows: int,
    top: int,
    row_offsets: npt.NDArray[np.int64],
    item: int,
    best_rows: FloatArray,
    precision: npt.NDArray[np.float64],
) -> int:
    """Add the best cosines of a chunk's rows to the sums of their items; the item of the next."""
    others = precision.shape[1]
    for row in range(rows):
        while row_offsets[item + 1] <= top + row:
            item += 1
        for other in range(others):
            precision[item, other] += best_rows[row, other]
    while item < precision.shape[0] and row_offsets[item + 1] <= top + rows:
        item += 1
    return item


@compiled
def _means(
    row_offsets: npt.NDArray[np.int64],
    column_offsets: npt.NDArray[np.int64],
    best_columns: FloatArray,
    precision: npt.NDArray[np.float64],
    recall: npt.NDArray[np.float64],
) -> None:
    start = column_offsets[0]
    for item in range(precision.shape[0]):
        for other in range(precision.shape[1]):
            total = 0.0
            for column in range(column_offsets[other] - start, column_offsets[other + 1] - start):
                total += best_columns[item, column]
            recall[item, other] = total / (column_offsets[other + 1] - column_offsets[other])
            precision[item, other] /= row_offsets[item + 1] - row_offsets[item]


@compiled
def block_float32(
    left: FloatArray,
    row_offsets: npt.NDArray[np.int64],
    right: FloatArray,
    column_offsets: npt.NDArray[np.int64],
    cells: FloatArray,
    best_columns: FloatArray,
    best_rows: FloatArray,
    precision: npt.NDArray[np.float64],
    recall: npt.NDArray[np.float64],
) -> None:
    """Precision and recall of n items with m others, each into (n, m) float64.

    Args:
        left: (T, D) unit steps of whatever holds the n items.
        row_offsets: (n + 1,) rows of `left` at which they begin and the last ends.
        right: the m others, packed by `pack_float32` from their first step on.
        column_offsets: (m + 1,), counted from any start.
        cells: from `workspace`, large enough, as the next two.
        best_columns: from `workspace`.
        best_rows: from `workspace`.
        precision: (n, m) output.
        recall: (n, m) output.
    """
    items, others = precision.shape
    depth = left.shape[1]
    most = _CHUNK_BYTES // max(1, 4 * depth) // _ROWS * _ROWS
    most = max(_ROWS, min(_MOST_CHUNK_ROWS, most))
    columns = column_offsets[-1] - column_offsets[0]
    panels = (columns + PANEL - 1) // PANEL
    best_columns[:items, : panels * PANEL] = -np.inf
    precision[:] = 0
    item = 0
    top = row_offsets[0]
    while top < row_offsets[-1]:
        rows = min(most, row_offsets[-1] - top)
        best_rows[:rows, :others] = -np.inf
        other = 0
        for panel in range(panels):
            for row in range(0, rows, _ROWS):
                tile_float32(
                    left.ctypes.data + 4 * depth * (top + row),
                    depth,
                    rows - row,
                    right.ctypes.data + 4 * depth * PANEL * panel,
                    columns - panel * PANEL,
                    depth,
                    cells.ctypes.data + 4 * PANEL * row,
                )
            other = _chunk_maxima(
                rows,
                top,
                row_offsets,
                item,
                panel,
                column_offsets,
                other,
                cells,
                best_columns,
                best_rows,
            )
        item = _add_rows(rows, top, row_offsets, item, best_rows, precision)
        top += rows
    _means(row_offsets, column_offsets, best_columns, precision, recall)


@compiled
def block_int8(
    left: npt.NDArray[np.int8],
    left_scales: FloatArray,
    left_errors: FloatArray,
    left_starts: npt.NDArray[np.int32],
    row_offsets: npt.NDArray[np.int64],
    right: npt.NDArray[np.uint8],
    right_scales: FloatArray,
    right_errors: FloatArray,
    column_offsets: npt.NDArray[np.int64],
    cells: FloatArray,
    best_columns: FloatArray,
    best_rows: FloatArray,
    precision: npt.NDArray[np.float64],
    recall: npt.NDArray[np.float64],
) -> None:
    """The most that precision and recall of quantised steps can be, but for rounding.

    `left` comes from `quantise`, `right` from `pack_int8`; `right_scales` and `right_errors` are
    (panels * PANEL,); the rest is as in `block_float32`. Only where `FAST_INT8`.
    """
    items, others = precision.shape
    depth = left.shape[1]
    groups = depth // 4
    most = _CHUNK_BYTES // max(1, depth) // _ROWS * _ROWS
    most = max(_ROWS, min(_MOST_CHUNK_ROWS, most))
    columns = column_offsets[-1] - column_offsets[0]
    panels = (columns + PANEL - 1) // PANEL
    best_columns[:items, : panels * PANEL] = -np.inf
    precision[:] = 0
    item = 0
    top = row_offsets[0]
    while top < row_offsets[-1]:
        rows = min(most, row_offsets[-1] - top)
        best_rows[:rows, :others] = -np.inf
        other = 0
        for panel in range(panels):
            for row in range(0, rows, _ROWS):
                tile_int8(
                    left.ctypes.data + depth * (top + row),
                    groups,
                    rows - row,
                    right.ctypes.data + depth * PANEL * panel,
                    columns - panel * PANEL,
                    groups,
                    left_starts.ctypes.data + 4 * (top + row),
                    left_scales.ctypes.data + 4 * (top + row),
                    left_errors.ctypes.data + 4 * (top + row),
                    right_scales.ctypes.data + 4 * PANEL * panel,
                    right_errors.ctypes.data + 4 * PANEL * panel,
                    cells.ctypes.data + 4 * PANEL * row,
                )
            other = _chunk_maxima(
                rows,
                top,
                row_offsets,
                item,
                panel,
                column_offsets,
                other,
                cells,
                best_columns,
                best_rows,
            )
        item = _add_rows(rows, top, row_offsets, item, best_rows, precision)
        top += rows
    _means(row_offsets, column_offsets, best_columns, precision, recall)


@compiled
def f1_scores(
    precision: npt.NDArray[np.float64], recall: npt.NDArray[np.float64], out: FloatArray
) -> None:
    """2PR / (P + R) into `out`, at most 1, and 0 where P <= 0 or R <= 0."""
    for item in range(out.shape[0]):
        for other in range(out.shape[1]):
            p, r = precision[item, other], recall[item, other]
            score = 2 * p * r / (p + r) if p > 0 and r > 0 else 0.0
            out[item, other] = np.float32(min(score, 1.0))


@compiled
def highest_scores(
    precision: npt.NDArray[np.float64],
    recall: npt.NDArray[np.float64],
    slack: float,
    out: FloatArray,
) -> None:
    """The most that the float32 score can be where `block_int8` gave `precision` and `recall`.

    `slack` bounds the rounding of both ways. The derivation is in docs/exact.md.
    """
    for item in range(out.shape[0]):
        for other in range(out.shape[1]):
            p, r = precision[item, other] + slack, recall[item, other] + slack
            score = 2 * p * r / (p + r) + 1e-12 if p > 0 and r > 0 else 0.0
            out[item, other] = np.float32(min(score, 1.0))


@compiled
def chosen_float32(
    left: FloatArray,
    row_offsets: npt.NDArray[np.int64],
    chosen: npt.NDArray[np.int64],
    right: FloatArray,
    column_offsets: npt.NDArray[np.int64],
    cells: FloatArray,
    best_columns: FloatArray,
    best_rows: FloatArray,
    out: FloatArray,
) -> None:
    """Scores of the items `chosen` of `left` with the one item of `right`, into `out` (C, 1).

    The other arguments are those of `block_float32`; nothing is copied.
    """
    precision, recall = np.empty((1, 1)), np.empty((1, 1))
    for place in range(len(chosen)):
        item = chosen[place]
        block_float32(
            left,
            row_offsets[item : item + 2],
            right,
            column_offsets,
            cells,
            best_columns,
            best_rows,
            precision,
            recall,
        )
        f1_scores(precision, recall, out[place : place + 1])


def score_candidates(
    query: FloatArray, values: npt.NDArray[Any], offsets: npt.NDArray[np.int64]
) -> FloatArray:
    """SeqSim of one query with each of C candidates: (C,) float32, equal to `seqsim` to the bit.

    One thread, with the GIL released, so a caller may split candidates over threads. A thousand
    candidates of 60 steps and 128 dimensions take about 10 ms with a query of 60 steps.

    Args:
        query: (T, D) steps of norm 1 or 0, T at least 1.
        values: (sum U, D) steps of all candidates, one behind the other: float32 of norm 1 or 0,
            or int8 of any length, whose step is then the code divided by its norm (a positive scale
            for each step changes no cosine, so no scales are asked for).
        offsets: (C + 1,) rows of `values` at which candidates begin; `offsets[C]` is the end of
            the last. They need not start with 0.

    Returns:
        (C,) float32 in [0, 1], 0 where P <= 0 or R <= 0. C may be 0.

    Raises:
        ValueError: the query or a candidate has no steps, D differs, or the offsets leave `values`.
        IsoglossError: NUMBA_DISABLE_JIT is set.
    """
    if not COMPILES:
        raise IsoglossError("SeqSim's loops cannot run uncompiled; unset NUMBA_DISABLE_JIT")
    query = np.ascontiguousarray(query, dtype=np.float32)
    offsets = np.array(offsets, dtype=np.int64)  # writable: numba compiles once less
    if query.ndim != 2 or values.ndim != 2 or query.shape[1] != values.shape[1]:
        raise ValueError(f"query has shape {query.shape} and the candidates {values.shape}")
    count = len(offsets) - 1
    if not len(query) or (count > 0 and np.diff(offsets).min() <= 0):
        raise ValueError("the query or a candidate has no steps")
    # The loops below trust these.
    if count > 0 and not 0 <= offsets[0] < offsets[-1] <= len(values):
        raise ValueError(
            f"offsets run from {offsets[0]} to {offsets[-1]}, and there are {len(values)} steps"
        )
    scores = np.empty((max(count, 0), 1), dtype=np.float32)
    if count <= 0:
        return scores[:, 0]
    packed = aligned((-(-len(query) // PANEL), query.shape[1], PANEL))
    pack_float32(query, packed)
    columns = np.array([0, len(query)], dtype=np.int64)
    if values.dtype == np.int8:
        codes = values[offsets[0] : offsets[-1]]
        values = np.empty(codes.shape, dtype=np.float32)
        unit_steps(codes, values)
        offsets = offsets - offsets[0]
    else:
        values = np.ascontiguousarray(values, dtype=np.float32)
    # Maxima of a part of the candidates at a time, so that they stay in the cache.
    part = max(1, (1 << 15) // len(query))
    room = workspace(min(part, count), 1, len(query))
    for first in range(0, count, part):
        last = min(first + part, count)
        precision = np.empty((last - first, 1))
        recall = np.empty((last - first, 1))
        block_float32(values, offsets[first : last + 1], packed, columns, *room, precision, recall)
        f1_scores(precision, recall, scores[first:last])
    return scores[:, 0]
