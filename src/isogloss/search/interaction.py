"""Query steps against units instead of steps: SeqSim of the second stage of a sequence index."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    import numpy.typing as npt

    from isogloss.search.units import Units
    from isogloss.types import FloatArray

__all__ = ["UnitTable"]

_LEVELS = 255
_STEPS_AT_ONCE = 1024


class UnitTable:
    """Cosines of one query's steps with all units, in bytes, from which items are scored.

    An item is scored as if each of its steps had the direction of its unit: P is the mean over
    its steps of the best cosine with a step of the query, R the mean over the query's steps of the
    best cosine with one of its units, and F1 of both comes out. P needs one number a unit; R is a
    maximum over the rows of the item's units.

    Args:
        unit_steps: (T, D) steps of the query at length 1 or 0, T at least 1.
        units: of the index.
    """

    def __init__(self, unit_steps: FloatArray, units: Units) -> None:
        directions = units.directions
        blocks = range(0, len(unit_steps), _STEPS_AT_ONCE)
        low, high = np.inf, -np.inf
        for first in blocks:
            cosines = directions @ unit_steps[first : first + _STEPS_AT_ONCE].T
            low, high = min(low, float(cosines.min())), max(high, float(cosines.max()))
        # Bytes: a row of 64 steps is one register, and the whole table stays in the cache. The
        # rounding, 1/510 of the span, is far below what taking units for steps costs.
        self._low = low
        self._step = (high - low) / _LEVELS
        levels = 1 / self._step if self._step > 0 else 0.0
        self._table = np.empty((len(directions), len(unit_steps)), dtype=np.uint8)
        for first in blocks:
            if len(blocks) > 1:  # else they are at hand
                cosines = directions @ unit_steps[first : first + _STEPS_AT_ONCE].T
            scaled = np.rint((cosines - np.float32(low)) * np.float32(levels))
            self._table[:, first : first + _STEPS_AT_ONCE] = np.minimum(scaled, _LEVELS)
        self._best = self._table.max(axis=1)

    def scores(
        self, arrays: Mapping[str, np.ndarray[Any, Any]], rows: npt.NDArray[np.int64]
    ) -> FloatArray:
        """F1 of the query with the units of each of `rows` of a segment: (n,) float32."""
        from isogloss.search import index_kernels

        found = np.empty(len(rows), dtype=np.float32)
        index_kernels.interact(
            self._table,
            self._best,
            self._low,
            self._step,
            rows,
            arrays["run_offsets"],
            arrays["run_units"],
            arrays["run_lengths"],
            found,
        )
        return found
