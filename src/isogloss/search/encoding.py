"""Sequences in, arrays of a segment out, and steps back from them; called by the sequence index."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from isogloss.search.step_sample import check_finite
from isogloss.search.units import centred_directions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    import numpy.typing as npt

    from isogloss.search.index_settings import IndexSettings
    from isogloss.search.units import Units
    from isogloss.types import FloatArray, Sequences

__all__ = ["check_sequences", "encode_segment", "rebuilt_steps"]

_BLOCK_STEPS = 1 << 16
_LARGEST = np.finfo(np.float32).max


def check_sequences(sequences: Sequences, dimensions: int) -> None:
    """Refuse what an index cannot hold or be asked, naming the item.

    Raises:
        ValueError: D is not `dimensions`, an item has no steps, or a step is not finite.
    """
    if sequences.values.shape[1] != dimensions:
        raise ValueError(
            f"steps have {sequences.values.shape[1]} dimensions, the index has {dimensions}; "
            "use the encoder and layer that the index was made with"
        )
    empty = np.flatnonzero(sequences.lengths == 0)
    if len(empty):
        raise ValueError(f"item '{sequences.ids[empty[0]]}' has no steps ({len(empty)} such items)")
    for first in range(0, len(sequences.values), _BLOCK_STEPS):
        piece = sequences.values[first : first + _BLOCK_STEPS]
        if not np.isfinite(piece.sum(axis=1, dtype=np.float64)).all():
            check_finite(sequences)


def encode_segment(
    sequences: Sequences, units: Units, settings: IndexSettings, *, threads: int | None = None
) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of a segment that holds `sequences`, in their order, by name.

    Always: `step_offsets` (N + 1,) int64; `run_offsets` (N + 1,) int64, `run_units` uint16 and
    `run_lengths` uint8, one a run; `errors` (N,) float32, the mean squared distance between the
    steps at length 1 and their prototypes. Unless
    `settings.residuals` is "none", per step: `residual_norms` float32 and either `residual_codes`
    int8 (S, D) with `residual_scales` float32, or `residual_halves` float16 (S, D).

    The same sequences, units and settings give the same bytes, whatever the threads.

    Raises:
        ValueError: as `check_sequences`.
        MissingExtra: numba is absent.
    """
    from isogloss.search import index_kernels, unit_kernels

    dimensions = units.prototypes.shape[1]
    check_sequences(sequences, dimensions)
    steps = len(sequences.values)
    assigned = np.empty(steps, dtype=np.int64)
    distances = np.empty(steps, dtype=np.float32)
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    if settings.residuals != "none":
        arrays["residual_norms"] = np.empty(steps, dtype=np.float32)
    if settings.residuals == "int8":
        arrays["residual_codes"] = np.empty((steps, dimensions), dtype=np.int8)
        arrays["residual_scales"] = np.empty(steps, dtype=np.float32)
    elif settings.residuals == "float16":
        arrays["residual_halves"] = np.empty((steps, dimensions), dtype=np.float16)
    zero = np.zeros(dimensions)
    for first in range(0, steps, _BLOCK_STEPS):
        part = slice(first, min(first + _BLOCK_STEPS, steps))
        block = np.ascontiguousarray(sequences.values[part])
        assigned[part] = units.assign(block, threads=threads)
        unit_steps, norms = centred_directions(block, zero)
        unit_kernels.distances_of(unit_steps, assigned[part], units.prototypes, distances[part])
        if settings.residuals != "none":
            arrays["residual_norms"][part] = np.minimum(norms, _LARGEST)
        if settings.residuals == "int8":
            unit_kernels.quantised(
                unit_steps,
                assigned[part],
                units.prototypes,
                arrays["residual_codes"][part],
                arrays["residual_scales"][part],
            )
        elif settings.residuals == "float16":
            arrays["residual_halves"][part] = unit_steps - units.prototypes[assigned[part]]
    run_units = np.empty(steps, dtype=np.uint16)
    run_lengths = np.empty(steps, dtype=np.uint8)
    run_offsets = np.empty(len(sequences) + 1, dtype=np.int64)
    runs = index_kernels.encode_runs(
        assigned, sequences.offsets, run_units, run_lengths, run_offsets
    )
    arrays["step_offsets"] = np.array(sequences.offsets)
    arrays["run_offsets"] = run_offsets
    arrays["run_units"] = run_units[:runs].copy()
    arrays["run_lengths"] = run_lengths[:runs].copy()
    sums = np.add.reduceat(distances, sequences.offsets[:-1], dtype=np.float64) if steps else zero
    arrays["errors"] = (sums[: len(sequences)] / sequences.lengths).astype(np.float32)
    return arrays


def rebuilt_steps(
    arrays: Mapping[str, np.ndarray[Any, Any]],
    rows: npt.NDArray[np.int64],
    prototypes: FloatArray,
    *,
    with_norms: bool = False,
    room: FloatArray | None = None,
) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """Steps of some rows of a segment, one behind the other, and their offsets.

    Steps have length 1 (or 0), to the precision of the residuals; `with_norms` gives them their
    length back. Without residuals they are the prototypes at length 1. `room`, (S, D), is used for
    the steps when it is large enough: fresh memory costs more than filling it.
    """
    from isogloss.search import unit_kernels

    lengths = arrays["step_offsets"][rows + 1] - arrays["step_offsets"][rows]
    offsets = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    if room is None or len(room) < offsets[-1]:
        room = np.empty((int(offsets[-1]), prototypes.shape[1]), dtype=np.float32)
    steps = room[: offsets[-1]]
    runs = (arrays["run_offsets"], arrays["run_units"], arrays["run_lengths"])
    places = (rows, arrays["step_offsets"], *runs, offsets, prototypes, steps)
    if "residual_codes" in arrays:
        unit_kernels.rebuilt_int8(arrays["residual_codes"], arrays["residual_scales"], *places)
    elif "residual_halves" in arrays:
        unit_kernels.rebuilt_units(*places)
        for number, row in enumerate(rows):
            first, last = arrays["step_offsets"][row], arrays["step_offsets"][row + 1]
            steps[offsets[number] : offsets[number + 1]] += arrays["residual_halves"][first:last]
    else:
        unit_kernels.rebuilt_units(*places)
    unit_kernels.to_length_one(steps)
    if with_norms and "residual_norms" in arrays:
        for number, row in enumerate(rows):
            first, last = arrays["step_offsets"][row], arrays["step_offsets"][row + 1]
            norms = arrays["residual_norms"][first:last, np.newaxis]
            steps[offsets[number] : offsets[number + 1]] *= norms
    return steps, offsets
