"""Steps made ready for the compiled loops of SeqSim: unit length, packed, quantised.

Called by `scores/seqsim_kernels.py` and `scores/seqsim_tiles.py` where numba is installed. Every
compiled function releases the GIL and is kept on disk by numba.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

from isogloss.scores.seqsim_instructions import SHAPE

if TYPE_CHECKING:
    from isogloss.types import FloatArray

__all__ = [
    "COMPILES",
    "CORES",
    "MOST_INT8_DIMENSIONS",
    "PANEL",
    "aligned",
    "compiled",
    "compiled_with",
    "pack_float32",
    "pack_int8",
    "quantise",
    "unit_steps",
]

COMPILES = not numba.config.DISABLE_JIT
"""False where numba is told to interpret, which it cannot do with machine instructions."""
CORES = int(numba.config.NUMBA_NUM_THREADS)
"""Threads by default: NUMBA_NUM_THREADS where it is set, else cores this process may run on."""
PANEL = SHAPE.columns
"""Columns that lie together in packed steps."""
MOST_INT8_DIMENSIONS = 2**16
"""A sum of more products of 255 by 127 could leave 32 bits."""

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """`function` compiled when first called, to run beside other threads."""
    return compiled_with(function, False)


def _summed(function: F) -> F:
    """As `compiled`, with sums in the order that suits the machine: the same for every row."""
    return compiled_with(function, {"reassoc", "contract"})


def compiled_with(function: F, fastmath: bool | set[str]) -> F:
    """As `compiled`, with what numba's `fastmath` allows."""
    try:
        return cast("F", numba.njit(nogil=True, cache=True, fastmath=fastmath)(function))
    except RuntimeError:
        # numba found no folder that it may write to, so this process compiles for itself.
        return cast("F", numba.njit(nogil=True, fastmath=fastmath)(function))


def aligned(shape: tuple[int, ...], kind: Any = np.float32) -> npt.NDArray[Any]:
    """An uninitialised array that starts on a cache line: unaligned vectors load at half speed."""
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    room = np.empty(size + 64, dtype=np.uint8)
    start = -room.ctypes.data % 64
    array: npt.NDArray[Any] = room[start : start + size].view(kind).reshape(shape)
    return array


@_summed
def _squares(values: FloatArray, row: int) -> float:
    total = 0.0
    for k in range(values.shape[1]):
        # In float64 the square of no float32 value leaves the range.
        total += np.float64(values[row, k]) * np.float64(values[row, k])
    return total


@compiled
def unit_steps(values: FloatArray, out: FloatArray) -> int:
    """`values` (T, D) divided by their norms into `out`; a row of zeros stays zeros.

    Returns the first row that holds NaN or infinity, or -1.
    """
    for row in range(values.shape[0]):
        total = _squares(values, row)
        if not np.isfinite(total):
            return row
        factor = 1 / np.sqrt(total) if total > 0 else 0.0
        for k in range(values.shape[1]):
            out[row, k] = np.float32(values[row, k] * factor)
    return -1


@compiled
def pack_float32(unit: FloatArray, out: FloatArray) -> None:
    """Steps (U, D) into panels: `out` is (ceil(U / PANEL), D, PANEL); the last is filled with 0."""
    for panel in range(out.shape[0]):
        first = panel * PANEL
        for column in range(PANEL):
            step = first + column
            if step < unit.shape[0]:
                for k in range(unit.shape[1]):
                    out[panel, k, column] = unit[step, k]
            else:
                for k in range(unit.shape[1]):
                    out[panel, k, column] = 0


@compiled
def quantise(
    unit: FloatArray,
    out: npt.NDArray[np.int8],
    scales: FloatArray,
    starts: npt.NDArray[np.int32],
    errors: FloatArray,
) -> None:
    """Symmetric int8 of each unit step: `unit` is `out` * `scales` + a rest of norm <= `errors`.

    `out` is (T, D rounded up to a multiple of 4), filled with 0; `scales`, `starts` (-128 times the
    sum of the row) and `errors` are (T,). A zero step has scale 0 and error 0.
    """
    dimensions = unit.shape[1]
    for row in range(unit.shape[0]):
        largest = np.float32(0)
        for k in range(dimensions):
            largest = max(largest, abs(unit[row, k]))
        scale = np.float32(largest / np.float32(127))
        # Below this the reciprocal could overflow; a unit step of fewer than 10^70 dimensions is
        # far above it.
        usable = scale > np.float32(1e-36)
        factor = np.float32(1) / scale if usable else np.float32(0)
        total = np.int32(0)
        rest = 0.0
        for k in range(dimensions):
            value = np.int32(np.rint(unit[row, k] * factor))
            value = max(min(value, np.int32(127)), np.int32(-127))
            out[row, k] = value
            total += value
            left = np.float64(unit[row, k]) - np.float64(scale) * np.float64(value)
            rest += left * left
        for k in range(dimensions, out.shape[1]):
            out[row, k] = 0
        scales[row] = scale if usable else np.float32(0)
        starts[row] = -128 * total
        # Up by more than the rounding of the sum, the root and the conversion.
        errors[row] = np.float32(np.sqrt(rest) * (1 + 1e-6))


@compiled
def pack_int8(codes: npt.NDArray[np.int8], out: npt.NDArray[np.uint8]) -> None:
    """Codes (U, D) + 128 into panels: `out` is (ceil(U / PANEL), D / 4, PANEL, 4) uint8."""
    for panel in range(out.shape[0]):
        first = panel * PANEL
        for column in range(PANEL):
            step = first + column
            for group in range(out.shape[1]):
                for byte in range(4):
                    if step < codes.shape[0]:
                        value = np.int32(codes[step, group * 4 + byte]) + 128
                        out[panel, group, column, byte] = value
                    else:
                        out[panel, group, column, byte] = 128
