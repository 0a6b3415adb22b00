"""Compiled loops of `search/units.py`: unit steps, the best unit, the nearest units, residuals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from isogloss.search.compiled import compiled, compiled_any_order

if TYPE_CHECKING:
    import numpy.typing as npt

    from isogloss.types import FloatArray

__all__ = [
    "directions_of",
    "distances_of",
    "largest_of_rows",
    "nearest",
    "quantised",
    "rebuilt_int8",
    "rebuilt_units",
    "settled",
    "summed",
    "to_length_one",
]


@compiled
def directions_of(
    steps: FloatArray,
    mean: npt.NDArray[np.float64],
    directions: FloatArray,
    norms: npt.NDArray[np.float64],
) -> None:
    """Rows less `mean`, divided by their norm (zeros stay zeros), and their norms, written out.

    Sums run in order in float64: a row's result does not depend on the rows beside it, which a
    matrix library does not promise.
    """
    for t in range(steps.shape[0]):
        total = 0.0
        for d in range(steps.shape[1]):
            value = np.float64(steps[t, d]) - mean[d]
            total += value * value
        norm = np.sqrt(total)
        norms[t] = norm
        for d in range(steps.shape[1]):
            if norm > 0:
                directions[t, d] = np.float32((np.float64(steps[t, d]) - mean[d]) / norm)
            else:
                directions[t, d] = 0


@compiled_any_order
def largest_of_rows(
    table: FloatArray,
    tolerance: float,
    best: npt.NDArray[np.int64],
    close: npt.NDArray[np.bool_],
) -> None:
    """Column of each row's largest entry, and whether another lies within `tolerance` of it."""
    for t in range(table.shape[0]):
        row = table[t]
        largest = row[0]
        for k in range(row.shape[0]):
            largest = max(largest, row[k])
        bar = np.float32(largest - tolerance)
        count = 0
        for k in range(row.shape[0]):
            count += row[k] >= bar
        close[t] = count > 1
        for k in range(row.shape[0]):
            if row[k] == largest:
                best[t] = k
                break


@compiled
def settled(
    directions: FloatArray,
    centroids: FloatArray,
    table: FloatArray,
    tolerance: float,
    best: npt.NDArray[np.int64],
    close: npt.NDArray[np.bool_],
) -> None:
    """Decide rows marked `close` by cosines summed in order in float64; the first wins a tie.

    The table's last bits depend on how the matrix library cut its blocks; the decision must not.
    """
    for t in range(table.shape[0]):
        if not close[t]:
            continue
        bar = table[t, best[t]] - tolerance
        winner = -1
        highest = -2.0
        for k in range(table.shape[1]):
            if table[t, k] < bar:
                continue
            cosine = 0.0
            for d in range(directions.shape[1]):
                cosine += np.float64(directions[t, d]) * np.float64(centroids[k, d])
            if cosine > highest:
                highest = cosine
                winner = k
        best[t] = winner


@compiled
def nearest(table: FloatArray, columns: npt.NDArray[np.int64], values: FloatArray) -> None:
    """The largest entries of every row, largest first, as (T, n) columns and values."""
    wanted = columns.shape[1]
    for t in range(table.shape[0]):
        held = 0
        for k in range(table.shape[1]):
            value = table[t, k]
            if held == wanted and value <= values[t, wanted - 1]:
                continue
            place = held if held < wanted else wanted - 1
            while place > 0 and values[t, place - 1] < value:
                values[t, place] = values[t, place - 1]
                columns[t, place] = columns[t, place - 1]
                place -= 1
            values[t, place] = value
            columns[t, place] = k
            if held < wanted:
                held += 1


@compiled
def quantised(
    unit_steps: FloatArray,
    units: npt.NDArray[np.int64],
    prototypes: FloatArray,
    codes: npt.NDArray[np.int8],
    scales: FloatArray,
) -> None:
    """`unit_steps` less the prototype of their unit, as 8-bit codes with one scale a step."""
    dimensions = unit_steps.shape[1]
    for t in range(unit_steps.shape[0]):
        prototype = prototypes[units[t]]
        largest = np.float32(0)
        for d in range(dimensions):
            largest = max(largest, abs(unit_steps[t, d] - prototype[d]))
        scale = largest / np.float32(127)
        scales[t] = scale
        for d in range(dimensions):
            if scale > 0:
                codes[t, d] = np.int8(np.rint((unit_steps[t, d] - prototype[d]) / scale))
            else:
                codes[t, d] = 0


@compiled
def distances_of(
    unit_steps: FloatArray,
    units: npt.NDArray[np.int64],
    prototypes: FloatArray,
    distances: FloatArray,
) -> None:
    """Squared distance of every step to the prototype of its unit."""
    for t in range(unit_steps.shape[0]):
        total = 0.0
        for d in range(unit_steps.shape[1]):
            difference = np.float64(unit_steps[t, d]) - np.float64(prototypes[units[t], d])
            total += difference * difference
        distances[t] = total


@compiled
def rebuilt_units(
    rows: npt.NDArray[np.int64],
    step_offsets: npt.NDArray[np.int64],
    run_offsets: npt.NDArray[np.int64],
    run_units: npt.NDArray[np.uint16],
    run_lengths: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    prototypes: FloatArray,
    steps: FloatArray,
) -> None:
    """The prototypes of the steps of `rows`; the steps of rows[i] start at `offsets[i]`."""
    for number in range(rows.shape[0]):
        t = offsets[number]
        for run in range(run_offsets[rows[number]], run_offsets[rows[number] + 1]):
            prototype = prototypes[run_units[run]]
            for _ in range(run_lengths[run]):
                for d in range(prototype.shape[0]):
                    steps[t, d] = prototype[d]
                t += 1


@compiled
def rebuilt_int8(
    codes: npt.NDArray[np.int8],
    scales: FloatArray,
    rows: npt.NDArray[np.int64],
    step_offsets: npt.NDArray[np.int64],
    run_offsets: npt.NDArray[np.int64],
    run_units: npt.NDArray[np.uint16],
    run_lengths: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    prototypes: FloatArray,
    steps: FloatArray,
) -> None:
    """As `rebuilt_units`, each step with its residual added."""
    for number in range(rows.shape[0]):
        t = offsets[number]
        stored = step_offsets[rows[number]]
        for run in range(run_offsets[rows[number]], run_offsets[rows[number] + 1]):
            prototype = prototypes[run_units[run]]
            for _ in range(run_lengths[run]):
                scale = scales[stored]
                code = codes[stored]
                for d in range(prototype.shape[0]):
                    steps[t, d] = prototype[d] + scale * np.float32(code[d])
                t += 1
                stored += 1


@compiled_any_order
def to_length_one(steps: FloatArray) -> None:
    """Divide every row by its norm in place; rows of zeros stay zeros.

    For rows of norm about 1, whose squares float32 holds.
    """
    for t in range(steps.shape[0]):
        row = steps[t]
        total = np.float32(0)
        for d in range(row.shape[0]):
            total += row[d] * row[d]
        if total > 0:
            factor = np.float32(1) / np.sqrt(total)
            for d in range(row.shape[0]):
                row[d] *= factor


@compiled
def summed(
    directions: FloatArray,
    units: npt.NDArray[np.int64],
    centroids: FloatArray,
    sums: npt.NDArray[np.float64],
    fits: npt.NDArray[np.float64],
) -> None:
    """Add every direction to the sum of its unit, in order, and note its cosine with the unit."""
    for t in range(directions.shape[0]):
        unit = units[t]
        cosine = 0.0
        for d in range(directions.shape[1]):
            value = np.float64(directions[t, d])
            sums[unit, d] += value
            cosine += value * centroids[unit, d]
        fits[t] = cosine
