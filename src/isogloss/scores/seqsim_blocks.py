"""Refusals and blocks of whole items, which all ways to SeqSim share; called by `seqsim*.py`."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from isogloss.types import Sequences

__all__ = [
    "blocks",
    "check_dimensions",
    "check_steps",
    "compiled_loops",
    "refuse_step",
    "thread_count",
]


def compiled_loops() -> bool:
    """Whether numba is installed, so that `scores/seqsim_kernels.py` can be imported."""
    return find_spec("numba") is not None


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
    if not memory_budget_mb > 0:
        raise ValueError(f"memory_budget_mb must be positive, got {memory_budget_mb}")
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
        "check its audio and the encoder"
    )


def blocks(offsets: npt.NDArray[np.int64], most_steps: int) -> list[tuple[int, int]]:
    """Ranges of whole items with at most `most_steps` steps each; a longer item is alone."""
    ranges = []
    first = 0
    while first < len(offsets) - 1:
        last = int(np.searchsorted(offsets, offsets[first] + most_steps, side="right")) - 1
        last = max(last, first + 1)
        ranges.append((first, last))
        first = last
    return ranges
