"""Encoded parts in, one segment of a sequence index out: for building, appending and compacting.

A segment is its parts joined: whole numbers are shifted, postings are made anew from the runs. So
it does not matter how a corpus was cut, or who encoded which part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from isogloss.search.postings import postings_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

    import numpy.typing as npt

    from isogloss.search.store import Batch, Segment
    from isogloss.types import Item

__all__ = ["PER_ITEM", "arrays_of_rows", "parts_of_segments", "write_parts"]

PER_ITEM = ("errors",)
"""Arrays with one row an item, which the store checks."""

_OF_STEPS = ("residual_norms", "residual_codes", "residual_scales", "residual_halves")
_OF_RUNS = ("run_units", "run_lengths")
_ROWS_AT_ONCE = 4096


def write_parts(
    batch: Batch,
    parts: Iterable[tuple[Sequence[Item], Mapping[str, np.ndarray[Any, Any]]]],
    units: int,
) -> None:
    """Add items and arrays of `encode_segment` to a segment, part by part, then its postings.

    Memory holds one part, and 3 bytes a run for the postings.
    """
    steps = runs = 0
    kept: list[dict[str, np.ndarray[Any, Any]]] = []
    for items, arrays in parts:
        if not items:
            continue
        joined = dict(arrays)
        # Offsets begin with 0 once; every part behind the first leaves its own 0 out.
        start = 1 if kept else 0
        joined["step_offsets"] = arrays["step_offsets"][start:] + steps
        joined["run_offsets"] = arrays["run_offsets"][start:] + runs
        batch.add(items, joined)
        steps += int(arrays["step_offsets"][-1])
        runs += int(arrays["run_offsets"][-1])
        kept.append({name: arrays[name] for name in ("run_offsets", *_OF_RUNS)})
    if kept:
        batch.add([], postings_of(kept, units))


def parts_of_segments(
    segments: Iterable[Segment],
) -> Iterator[tuple[list[Item], dict[str, np.ndarray[Any, Any]]]]:
    """The alive rows of `segments` as parts again, some thousands at a time."""
    for segment in segments:
        alive = np.flatnonzero(segment.alive)
        for first in range(0, len(alive), _ROWS_AT_ONCE):
            rows = alive[first : first + _ROWS_AT_ONCE]
            yield [segment.item(int(row)) for row in rows], arrays_of_rows(segment.arrays, rows)


def arrays_of_rows(
    arrays: Mapping[str, np.ndarray[Any, Any]], rows: npt.NDArray[np.int64]
) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of some rows, as `encode_segment` would have made them; postings are left out."""
    found: dict[str, np.ndarray[Any, Any]] = {"errors": arrays["errors"][rows]}
    for offsets, names in (("step_offsets", _OF_STEPS), ("run_offsets", _OF_RUNS)):
        starts, ends = arrays[offsets][rows], arrays[offsets][rows + 1]
        shifted = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum(ends - starts, out=shifted[1:])
        places = np.repeat(starts - shifted[:-1], ends - starts) + np.arange(shifted[-1])
        found[offsets] = shifted
        found.update({name: arrays[name][places] for name in names if name in arrays})
    return found
