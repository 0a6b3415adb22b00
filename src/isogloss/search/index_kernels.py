"""Compiled loops of the sequence index: runs, postings, tf-idf sums, selection, interaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from isogloss.search.compiled import compiled

if TYPE_CHECKING:
    import numpy.typing as npt

    from isogloss.types import FloatArray

__all__ = [
    "count_postings",
    "encode_runs",
    "fill_postings",
    "interact",
    "select",
    "tf_idf",
]

_MOST_RUN = 255
_BINS = 4096


@compiled
def encode_runs(
    units: npt.NDArray[np.int64],
    offsets: npt.NDArray[np.int64],
    run_units: npt.NDArray[np.uint16],
    run_lengths: npt.NDArray[np.uint8],
    run_offsets: npt.NDArray[np.int64],
) -> int:
    """Write the runs of equal units of every item; returns how many there are.

    A run ends with its item, and after 255 steps. `run_units` and `run_lengths` have room for one
    run a step.
    """
    run = -1
    for item in range(offsets.shape[0] - 1):
        run_offsets[item] = run + 1
        for t in range(offsets[item], offsets[item + 1]):
            same = t > offsets[item] and units[t] == units[t - 1]
            if same and run_lengths[run] < _MOST_RUN:
                run_lengths[run] += 1
            else:
                run += 1
                run_units[run] = units[t]
                run_lengths[run] = 1
    run_offsets[offsets.shape[0] - 1] = run + 1
    return run + 1


@compiled
def count_postings(
    run_offsets: npt.NDArray[np.int64],
    run_units: npt.NDArray[np.uint16],
    first_row: int,
    last_row_of: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
) -> None:
    """Add to `counts` the items that hold each unit; `last_row_of` starts as -1 everywhere."""
    for item in range(run_offsets.shape[0] - 1):
        for run in range(run_offsets[item], run_offsets[item + 1]):
            unit = run_units[run]
            if last_row_of[unit] != first_row + item:
                last_row_of[unit] = first_row + item
                counts[unit] += 1


@compiled
def fill_postings(
    run_offsets: npt.NDArray[np.int64],
    run_units: npt.NDArray[np.uint16],
    run_lengths: npt.NDArray[np.uint8],
    first_row: int,
    last_row_of: npt.NDArray[np.int64],
    places: npt.NDArray[np.int64],
    rows: npt.NDArray[np.uint32],
    counts: npt.NDArray[np.uint8],
) -> None:
    """Write the postings of some items behind those of the rows before; counts stop at 255.

    `places` is where the next posting of each unit goes; `last_row_of` starts as -1 everywhere.
    """
    for item in range(run_offsets.shape[0] - 1):
        row = first_row + item
        for run in range(run_offsets[item], run_offsets[item + 1]):
            unit = run_units[run]
            if last_row_of[unit] != row:
                last_row_of[unit] = row
                rows[places[unit]] = row
                counts[places[unit]] = 0
                places[unit] += 1
            place = places[unit] - 1
            counts[place] = min(np.int64(counts[place]) + run_lengths[run], _MOST_RUN)


@compiled
def tf_idf(
    units: npt.NDArray[np.int64],
    weights: FloatArray,
    posting_units: npt.NDArray[np.uint16],
    posting_offsets: npt.NDArray[np.int64],
    posting_rows: npt.NDArray[np.uint32],
    posting_counts: npt.NDArray[np.uint8],
    of_count: FloatArray,
    scores: FloatArray,
) -> int:
    """Add weight times `of_count[count]` to the score of every item that holds a unit.

    `units` ascend. Returns the number of postings touched.
    """
    touched = 0
    for number in range(units.shape[0]):
        at = np.searchsorted(posting_units, units[number])
        if at == posting_units.shape[0] or posting_units[at] != units[number]:
            continue
        weight = weights[number]
        for place in range(posting_offsets[at], posting_offsets[at + 1]):
            scores[posting_rows[place]] += weight * of_count[posting_counts[place]]
        touched += posting_offsets[at + 1] - posting_offsets[at]
    return touched


@compiled
def select(
    scores: FloatArray, allowed: npt.NDArray[np.bool_], wanted: int, chosen: npt.NDArray[np.int64]
) -> int:
    """Rows of the `wanted` largest scores among the allowed, ascending; the lower row wins a tie.

    Scores are not negative. `chosen` has room for `wanted` rows. Returns how many there are.
    """
    largest = np.float32(0)
    for row in range(scores.shape[0]):
        if allowed[row]:
            largest = max(largest, scores[row])
    bins = np.zeros(_BINS + 1, dtype=np.int64)
    factor = np.float32(0)
    if largest > 0:
        factor = np.float32(_BINS / np.float64(largest))
    for row in range(scores.shape[0]):
        if allowed[row]:
            bins[min(_BINS, int(scores[row] * factor))] += 1
    above = 0
    border = _BINS
    while border > 0 and above + bins[border] < wanted:
        above += bins[border]
        border -= 1
    # Of the bin at the border only the best go on: sort it.
    inside = np.empty(bins[border], dtype=np.float32)
    held = 0
    for row in range(scores.shape[0]):
        if allowed[row] and min(_BINS, int(scores[row] * factor)) == border:
            inside[held] = scores[row]
            held += 1
    room = min(wanted - above, held)
    bar = np.float32(0)
    ties = 0
    if room > 0:
        inside.sort()
        bar = inside[held - room]
        for place in range(held - room, held):
            ties += inside[place] == bar
    count = 0
    for row in range(scores.shape[0]):
        if not allowed[row]:
            continue
        place = min(_BINS, int(scores[row] * factor))
        take = place > border
        if place == border and room > 0:
            take = scores[row] > bar
            if scores[row] == bar and ties > 0:
                ties -= 1
                take = True
        if take:
            chosen[count] = row
            count += 1
    return count


@compiled
def interact(
    table: npt.NDArray[np.uint8],
    best_of_unit: npt.NDArray[np.uint8],
    low: float,
    step: float,
    rows: npt.NDArray[np.int64],
    run_offsets: npt.NDArray[np.int64],
    run_units: npt.NDArray[np.uint16],
    run_lengths: npt.NDArray[np.uint8],
    scores: FloatArray,
) -> None:
    """F1 of the query with the unit sequence of each of `rows`.

    `table` is (K + 1, T) uint8: cosine of unit and query step, less `low`, in units of `step`.
    `best_of_unit` is the maximum of each of its rows.
    """
    steps = table.shape[1]
    best = np.empty(steps, dtype=np.uint8)
    for number in range(rows.shape[0]):
        best[:] = 0
        precision = np.int64(0)
        length = 0
        for run in range(run_offsets[rows[number]], run_offsets[rows[number] + 1]):
            unit = run_units[run]
            precision += np.int64(best_of_unit[unit]) * run_lengths[run]
            length += run_lengths[run]
            row = table[unit]
            for t in range(steps):
                best[t] = max(best[t], row[t])
        recall = np.int64(0)
        for t in range(steps):
            recall += np.int64(best[t])
        p = low + step * precision / max(length, 1)
        r = low + step * recall / max(steps, 1)
        scores[number] = np.float32(2 * p * r / (p + r)) if p > 0 and r > 0 else np.float32(0)
