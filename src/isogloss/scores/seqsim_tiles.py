"""Sequences prepared for the compiled loops, and tables of scores filled by threads.

Called by `scores/seqsim.py` and `search/exact.py` where numba is installed; importing it imports
numba.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from isogloss.scores import seqsim_kernels as kernels
from isogloss.scores import seqsim_preparation as preparation
from isogloss.scores.seqsim_blocks import blocks, check_steps, refuse_step, tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

    from isogloss.types import FloatArray, Sequences

__all__ = [
    "Codes",
    "PackedCodes",
    "PackedSteps",
    "all_pairs",
    "block_tasks",
    "column_ranges",
    "in_threads",
    "own_offsets",
    "pack",
    "pack_codes",
    "quantised",
    "score_block",
    "score_block_codes",
    "score_chosen",
    "unit",
]

T = TypeVar("T")
R = TypeVar("R")

# Many with many runs at the same speed from here on; larger blocks only balance worse.
_MOST_ROW_STEPS = 1024
_MOST_COLUMN_STEPS = 2048
_FEWEST_STEPS = 192
_BLOCKS_A_THREAD = 8
# Rows of steps that one call prepares.
_ROWS_AT_ONCE = 4096
# Parts for each thread that wait at one time: a million of them would fill a gigabyte.
_WAITING = 16
# What `score_block` holds: the best of a column for an item, the best of a row, and P and R.
_BEST_BYTES, _SCORE_BYTES = 4, 16


def in_threads(work: Callable[[T], R], parts: Iterable[T], threads: int) -> Iterator[R]:
    """Results of `work`, which releases the GIL, in the order of `parts`."""
    if threads == 1:
        yield from map(work, parts)
        return
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for part in parts:
                waiting.append(pool.submit(work, part))
                if len(waiting) >= _WAITING * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def own_offsets(sequences: Sequences) -> npt.NDArray[np.int64]:
    """Offsets as the loops want them: a read-only array would be compiled for once more."""
    return np.array(sequences.offsets, dtype=np.int64)


def unit(sequences: Sequences, threads: int = 1) -> FloatArray:
    """Steps of norm 1 (or 0): (sum T, D) float32, on a cache line.

    Raises:
        ValueError: an item has no steps, or holds NaN or infinity.
    """
    check_steps(sequences)
    values = np.ascontiguousarray(sequences.values)
    out: FloatArray = preparation.aligned(values.shape)

    def prepare(first: int) -> int:
        rows = slice(first, first + _ROWS_AT_ONCE)
        broken = int(preparation.unit_steps(values[rows], out[rows]))
        return first + broken if broken >= 0 else -1

    for broken in in_threads(prepare, range(0, len(values), _ROWS_AT_ONCE), threads):
        if broken >= 0:
            refuse_step(sequences, broken)
    return out


def column_ranges(
    offsets: npt.NDArray[np.int64], memory_budget_mb: float, threads: int
) -> list[tuple[int, int]]:
    """Blocks of whole items that are packed together."""
    fitting = (memory_budget_mb * 2**20 / threads / _BEST_BYTES) ** 0.5
    return blocks(offsets, max(1, min(_MOST_COLUMN_STEPS, int(fitting))))


def block_tasks(
    a: npt.NDArray[np.int64],
    b: npt.NDArray[np.int64],
    columns: list[tuple[int, int]],
    memory_budget_mb: float,
    threads: int,
    *,
    same: bool = False,
) -> list[tuple[tuple[int, int], int]]:
    """Ranges of items to score with numbers of blocks: enough of them for all threads."""
    share = int(a[-1] - a[0]) * len(columns) // (_BLOCKS_A_THREAD * threads)
    most_steps = min(_MOST_ROW_STEPS, max(share, _FEWEST_STEPS))
    room = memory_budget_mb * 2**20 / threads
    found = tasks(
        a,
        b,
        columns,
        most_steps,
        room=room,
        row=0,
        column=_BEST_BYTES,
        score=_SCORE_BYTES,
        same=same,
    )
    return list(found)


@dataclass(frozen=True, slots=True, eq=False)
class PackedSteps:
    """Blocks of items as panels of columns: `panels[b]` holds items `ranges[b]`."""

    offsets: npt.NDArray[np.int64]
    ranges: list[tuple[int, int]]
    panels: list[FloatArray]


@dataclass(frozen=True, slots=True, eq=False)
class Codes:
    """Steps as int8, row by row: a step is `codes * scales` and a rest of norm <= `errors`."""

    offsets: npt.NDArray[np.int64]
    codes: npt.NDArray[np.int8]
    scales: FloatArray
    starts: npt.NDArray[np.int32]
    errors: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class PackedCodes:
    """As `PackedSteps`, quantised; `scales[b]` and `errors[b]` have a value for each column."""

    offsets: npt.NDArray[np.int64]
    ranges: list[tuple[int, int]]
    panels: list[npt.NDArray[np.uint8]]
    scales: list[FloatArray]
    errors: list[FloatArray]


def pack(
    steps: FloatArray,
    offsets: npt.NDArray[np.int64],
    ranges: list[tuple[int, int]],
    threads: int = 1,
) -> PackedSteps:
    """Unit steps (sum U, D) as columns."""

    def one(items: tuple[int, int]) -> FloatArray:
        first, last = offsets[items[0]], offsets[items[1]]
        panels = -(-int(last - first) // preparation.PANEL)
        out = preparation.aligned((panels, steps.shape[1], preparation.PANEL))
        preparation.pack_float32(steps[first:last], out)
        return out

    return PackedSteps(offsets, ranges, list(in_threads(one, ranges, threads)))


def quantised(steps: FloatArray, offsets: npt.NDArray[np.int64], threads: int = 1) -> Codes:
    """Unit steps (sum T, D) as int8 rows."""
    count, dimensions = steps.shape
    codes = preparation.aligned((count, -(-dimensions // 4) * 4), np.int8)
    scales, errors = preparation.aligned((count,)), preparation.aligned((count,))
    starts = preparation.aligned((count,), np.int32)

    def one(first: int) -> None:
        rows = slice(first, first + _ROWS_AT_ONCE)
        preparation.quantise(steps[rows], codes[rows], scales[rows], starts[rows], errors[rows])

    for _ in in_threads(one, range(0, count, _ROWS_AT_ONCE), threads):
        pass
    return Codes(offsets, codes, scales, starts, errors)


def pack_codes(codes: Codes, ranges: list[tuple[int, int]], threads: int = 1) -> PackedCodes:
    """Int8 steps as columns."""
    groups = codes.codes.shape[1] // 4

    def one(
        items: tuple[int, int],
    ) -> tuple[npt.NDArray[np.uint8], FloatArray, FloatArray]:
        first, last = codes.offsets[items[0]], codes.offsets[items[1]]
        panels = -(-int(last - first) // preparation.PANEL)
        out = preparation.aligned((panels, groups, preparation.PANEL, 4), np.uint8)
        preparation.pack_int8(codes.codes[first:last], out)
        scales = preparation.aligned((panels * preparation.PANEL,))
        errors = preparation.aligned((panels * preparation.PANEL,))
        for padded, values in ((scales, codes.scales), (errors, codes.errors)):
            padded[: last - first] = values[first:last]
            padded[last - first :] = 0
        return out, scales, errors

    packed = list(in_threads(one, ranges, threads))
    return PackedCodes(
        codes.offsets,
        ranges,
        [panels for panels, _, _ in packed],
        [scales for _, scales, _ in packed],
        [errors for _, _, errors in packed],
    )


Table = npt.NDArray[np.float64]


def score_block(
    left: FloatArray,
    offsets: npt.NDArray[np.int64],
    rows: tuple[int, int],
    right: PackedSteps,
    block: int,
) -> tuple[Table, Table]:
    """Precision and recall, (n, m) float64, of items `rows` with those of a block of columns."""
    columns, room = _room(rows, right, block)
    row_offsets = offsets[rows[0] : rows[1] + 1]
    kernels.block_float32(left, row_offsets, right.panels[block], columns, *room)
    return room[3], room[4]


def score_block_codes(
    left: Codes, rows: tuple[int, int], right: PackedCodes, block: int
) -> tuple[Table, Table]:
    """The most that precision and recall can be, but for rounding, from quantised steps."""
    columns, room = _room(rows, right, block)
    kernels.block_int8(
        left.codes,
        left.scales,
        left.errors,
        left.starts,
        left.offsets[rows[0] : rows[1] + 1],
        right.panels[block],
        right.scales[block],
        right.errors[block],
        columns,
        *room,
    )
    return room[3], room[4]


def _room(
    rows: tuple[int, int], right: PackedSteps | PackedCodes, block: int
) -> tuple[npt.NDArray[np.int64], tuple[FloatArray, FloatArray, FloatArray, Table, Table]]:
    """Offsets of a block of columns, and the last arguments of the compiled loops."""
    first, last = right.ranges[block]
    offsets = right.offsets[first : last + 1]
    shape = (rows[1] - rows[0], last - first)
    room = kernels.workspace(*shape, int(offsets[-1] - offsets[0]))
    return offsets, (*room, np.empty(shape), np.empty(shape))


def score_chosen(
    query: FloatArray,
    steps: FloatArray,
    offsets: npt.NDArray[np.int64],
    chosen: npt.NDArray[np.int64],
) -> FloatArray:
    """Scores of one query (T, D) with the items `chosen`, (C,); all steps have norm 1 or 0.

    They are those of `all_pairs` to the last bit.
    """
    if not len(chosen):
        return np.empty(0, dtype=np.float32)
    packed = preparation.aligned(
        (-(-len(query) // preparation.PANEL), query.shape[1], preparation.PANEL)
    )
    preparation.pack_float32(query, packed)
    columns = np.array([0, len(query)], dtype=np.int64)
    scores: FloatArray = np.empty((len(chosen), 1), dtype=np.float32)
    room = kernels.workspace(1, 1, len(query))
    kernels.chosen_float32(steps, offsets, chosen, packed, columns, *room, scores)
    return scores[:, 0]


def all_pairs(a: Sequences, b: Sequences, *, memory_budget_mb: float, threads: int) -> FloatArray:
    """As `seqsim`, of sequences of equal D: (N, M) float32."""
    scores: FloatArray = np.empty((len(a), len(b)), dtype=np.float32)
    same = a is b
    unit_a = unit(a, threads)
    unit_b = unit_a if same else unit(b, threads)
    if scores.size == 0:
        return scores
    offsets, others = own_offsets(a), own_offsets(b)
    columns = column_ranges(others, memory_budget_mb, threads)
    packed = pack(unit_b, others, columns, threads)
    del unit_b  # large, and from here on only its packed copy is read

    def one(task: tuple[tuple[int, int], int]) -> None:
        (top, bottom), block = task
        first, last = columns[block]
        table = score_block(unit_a, offsets, (top, bottom), packed, block)
        kernels.f1_scores(*table, scores[top:bottom, first:last])
        if same:
            # A score does not change by a bit when its two sequences change places, so where two
            # blocks overlap both write the same.
            scores[first:last, top:bottom] = scores[top:bottom, first:last].T

    parts = block_tasks(offsets, others, columns, memory_budget_mb, threads, same=same)
    for _ in in_threads(one, parts, threads):
        pass
    return scores
