"""The cheapest monotone path through two documents: which sentences translate which.

Blocks of one or more neighbouring sentences of either side are matched in order, none crossing
another; a sentence may stay alone. What a block costs is the caller's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["block_shapes", "monotone_path", "windows_around"]

Costs = npt.NDArray[np.float64]
Block = tuple[tuple[int, ...], tuple[int, ...]]
Windows = npt.NDArray[np.int64]


def block_shapes(most: int) -> tuple[tuple[int, int], ...]:
    """Sizes (m, n) of blocks with at most `most` sentences of both sides together.

    `most` = 2 gives 1-1 alone, 3 adds 1-2 and 2-1, and so on, in order of size.

    Raises:
        ValueError: `most` is below 2.
    """
    if most < 2:
        raise ValueError(
            f"a block needs a sentence of each side, so most is at least 2, got {most}"
        )
    return tuple((m, total - m) for total in range(2, most + 1) for m in range(1, total))


def windows_around(path: Sequence[Block], rows: int, columns: int, width: int) -> Windows:
    """Columns (rows + 1, 2) that a path near `path` may visit: first and last, both included.

    The window of row i reaches `width` columns to both sides of where `path` crosses it, and from
    one row to the next windows overlap, so that a path from (0, 0) to the end is always inside.
    """
    low = np.full(rows + 1, columns, dtype=np.int64)
    high = np.zeros(rows + 1, dtype=np.int64)
    i = j = 0
    low[0] = 0
    for left, right in path:
        i_next, j_next = i + len(left), j + len(right)
        low[i : i_next + 1] = np.minimum(low[i : i_next + 1], j)
        high[i : i_next + 1] = np.maximum(high[i : i_next + 1], j_next)
        i, j = i_next, j_next
    low[rows] = min(low[rows], j)
    high[rows] = columns
    low, high = np.maximum(low - width, 0), np.minimum(high + width, columns)
    low = np.minimum.accumulate(low[::-1])[::-1]
    high = np.maximum.accumulate(high)
    return np.stack([low, high], axis=1)


def monotone_path(
    costs: Callable[[int, int, int, int, int], Costs],
    rows: int,
    columns: int,
    *,
    shapes: Sequence[tuple[int, int]],
    skip: float,
    windows: Windows | None = None,
) -> list[Block]:
    """The blocks of the cheapest path, in order; a sentence left alone is a block with one side.

    Among equally cheap ways, the first shape counts, then leaving a sentence of the first side.

    Args:
        costs: `costs(m, n, i, low, high)`, for the block of the m rows before row i with, for each
            j from low to high (both included), the n columns before column j: (high - low + 1,).
            Asked for with i >= m and low >= n alone.
        rows: sentences of the first document.
        columns: of the second.
        shapes: sizes (m, n) of blocks, both at least 1.
        skip: cost of each sentence left alone.
        windows: (rows + 1, 2) columns that the path may visit; None for all.

    Raises:
        ValueError: a cost is NaN, or the windows leave no path.

    Source: dynamic programming as in Gale and Church (1993), with blocks of any size as in Vecalign
    (Thompson and Koehn 2019).
    """
    if windows is None:
        windows = np.tile(np.array([0, columns], dtype=np.int64), (rows + 1, 1))
    best: list[Costs] = []
    came: list[npt.NDArray[np.int16]] = []
    for i in range(rows + 1):
        low, high = (int(value) for value in windows[i])
        total = np.full(high - low + 1, np.inf)
        how = np.full(high - low + 1, -3, dtype=np.int16)
        if i == 0 and low == 0:
            total[0] = 0.0
        for number, (m, n) in enumerate(shapes):
            first = max(low, n)
            if i < m or first > high:
                continue
            before = _slice(best[i - m], windows[i - m], first - n, high - n)
            if not np.isfinite(before).any():
                continue
            found = before + costs(m, n, i, first, high)
            if np.isnan(found).any():
                raise ValueError(f"the cost of a block of {m} and {n} sentences is NaN at row {i}")
            part = total[first - low :]
            better = found < part
            part[better] = found[better]
            how[first - low :][better] = number
        if i > 0:
            alone = _slice(best[i - 1], windows[i - 1], low, high) + skip
            better = alone < total
            total[better], how[better] = alone[better], -1
        # Leaving sentences of the second side alone, any number of them, in one pass.
        ramp = skip * np.arange(len(total))
        reached = np.minimum.accumulate(total - ramp) + ramp
        better = reached < total - 1e-12
        total[better], how[better] = reached[better], -2
        best.append(total)
        came.append(how)
    return _traced(came, windows, shapes, rows, columns)


def _slice(values: Costs, window: Windows, low: int, high: int) -> Costs:
    """Values at columns low to high of a row; infinite outside its window."""
    found = np.full(high - low + 1, np.inf)
    first, last = max(low, int(window[0])), min(high, int(window[1]))
    if first <= last:
        found[first - low : last - low + 1] = values[
            first - int(window[0]) : last - int(window[0]) + 1
        ]
    return found


def _traced(
    came: Sequence[npt.NDArray[np.int16]],
    windows: Windows,
    shapes: Sequence[tuple[int, int]],
    rows: int,
    columns: int,
) -> list[Block]:
    path: list[Block] = []
    i, j = rows, columns
    while i > 0 or j > 0:
        place = j - int(windows[i, 0])
        step = int(came[i][place]) if 0 <= place < len(came[i]) else -3
        if step == -3:
            raise ValueError("the windows leave no path through the documents")
        m, n = (1, 0) if step == -1 else (0, 1) if step == -2 else shapes[step]
        path.append((tuple(range(i - m, i)), tuple(range(j - n, j))))
        i, j = i - m, j - n
    return path[::-1]
