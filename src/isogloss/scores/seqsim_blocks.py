"""Refusals and blocks of whole items, which all ways to SeqSim share; called by `seqsim*.py`."""

from __future__ import annotations

import logging
import math
import os
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from isogloss.types import FloatArray, Sequences

__all__ = [
    "blocks",
    "check_dimensions",
    "check_steps",
    "compiled_loops",
    "mirror",
    "refuse_step",
    "tasks",
    "thread_count",
]


_LOG = logging.getLogger(__name__)
_MIRRORED_AT_ONCE = 512


@cache
def compiled_loops() -> bool:
    """Whether `scores/seqsim_kernels.py` can be used: numba is installed, works and may compile."""
    if find_spec("numba") is None:
        return False
    try:
        from isogloss.scores.seqsim_preparation import COMPILES
    except (ImportError, OSError) as problem:
        # numba refuses a numpy newer than itself; llvmlite may miss a library of the system.
        _LOG.warning("numba cannot be used, so numpy is, at half the speed: %s", problem)
        return False
    return COMPILES


def thread_count(threads: int | None) -> int:
    """`threads`, or as many as this process may use: its cores, or less where numba is told so.

    Raises:
        ValueError: `threads` is below 1.
    """
    if threads is not None:
        if threads < 1:
            raise ValueError(f"threads must be at least 1, got {threads}")
        return threads
    if compiled_loops():
        from isogloss.scores.seqsim_preparation import CORES

        return CORES
    return os.cpu_count() or 1


def check_dimensions(a: Sequences, b: Sequences, memory_budget_mb: float) -> None:
    """Refuse a budget that is not positive, and sequences that cannot be compared.

    Raises:
        ValueError: it says which, with the values found.
    """
    if not 0 < memory_budget_mb < math.inf:
        raise ValueError(f"memory_budget_mb must be positive and finite, got {memory_budget_mb}")
    if a.values.shape[1] != b.values.shape[1]:
        raise ValueError(
            f"sequences have {a.values.shape[1]} and {b.values.shape[1]} dimensions; "
            "compare outputs of one encoder and layer"
        )


def check_steps(sequences: Sequences) -> None:
    """Refuse an item without steps.

    Raises:
        ValueError: it names the first such item and says how many there are.
    """
    empty = np.flatnonzero(sequences.lengths == 0)
    if len(empty):
        raise ValueError(f"item '{sequences.ids[empty[0]]}' has no steps ({len(empty)} such items)")


def refuse_step(sequences: Sequences, row: int) -> None:
    """Refuse the row of `values` that holds NaN or infinity.

    Raises:
        ValueError: always; it names item and step.
    """
    item = int(np.searchsorted(sequences.offsets, row, side="right")) - 1
    step = int(row - sequences.offsets[item])
    raise ValueError(
        f"item '{sequences.ids[item]}' holds NaN or infinity at step {step}; "
        "check its recording or text, and the encoder"
    )


def blocks(
    offsets: npt.NDArray[np.int64], most_steps: int, most_items: int | None = None
) -> list[tuple[int, int]]:
    """Ranges of whole items with at most `most_steps` steps each; a longer item is alone."""
    ranges = []
    first, count = 0, len(offsets) - 1
    while first < count:
        last = int(np.searchsorted(offsets, offsets[first] + most_steps, side="right")) - 1
        if most_items is not None:
            last = min(last, first + most_items)
        last = max(last, first + 1)
        ranges.append((first, last))
        first = last
    return ranges


def tasks(
    a: npt.NDArray[np.int64],
    b: npt.NDArray[np.int64],
    columns: list[tuple[int, int]],
    most_steps: int,
    *,
    room: float,
    row: float,
    column: float,
    score: float,
    same: bool = False,
) -> Iterator[tuple[tuple[int, int], int]]:
    """Pairs of a range of items of `a` and the number of a block of `b`, together all with all.

    The shorter the items are, the more of them are in a block, and the larger are its tables: a
    range has at most `most_steps` steps, and so few items that `room` bytes hold `row` for each of
    its steps and item of the block, `column` for each of its items and step of the block, and
    `score` for each pair of items. A single item is never divided. When `same`, `a` is `b`, and
    what lies below the diagonal of the scores is left out.
    """
    for number, (first, last) in enumerate(columns):
        items, steps = last - first, int(b[last] - b[first])
        fitting = min(most_steps, room / 2 / (row * items) if row else most_steps)
        count = room / 2 / (column * steps + score * items)
        for top, bottom in blocks(a, max(1, int(fitting)), max(1, int(count))):
            if not same or last > top:
                yield (top, bottom), number


def mirror(scores: FloatArray) -> None:
    """Write what is above the diagonal below it too: two products may round differently."""
    count = len(scores)
    for first in range(0, count, _MIRRORED_AT_ONCE):
        last = min(first + _MIRRORED_AT_ONCE, count)
        scores[last:, first:last] = scores[first:last, last:].T
        corner = scores[first:last, first:last]
        corner[:] = np.triu(corner) + np.triu(corner, 1).T
