"""MUVERA: one fixed-dimensional vector a multi-vector item, whose inner product stands for MaxSim.

Written from the paper for comparison; the search benchmark calls it. Nothing of ours depends on it.

Space is cut by `bits` random hyperplanes into `2 ** bits` cells. A query's block for a cell is the
sum of the steps in it, a document's is their mean; a document's empty cell takes the step whose
cell is nearest in Hamming distance. Each block is projected to `width` dimensions by random signs,
and `repetitions` independent cuts stand one behind the other. `both_ways` adds the same with the
roles exchanged, for a score that, as SeqSim, is a mean over the steps of both sides.

Source: Dhulipala, Hadian, Jayaram, Lee and Mirrokni 2024, "MUVERA: Multi-Vector Retrieval via
Fixed Dimensional Encodings", section 2 (SimHash partition, inner and final projection, fill_empty).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from isogloss.types import Sequences

__all__ = ["Muvera"]

_STEPS_AT_ONCE = 1 << 17
Role = Literal["query", "item"]


@dataclass(frozen=True, slots=True)
class Muvera:
    """An encoding.

    Attributes:
        bits: hyperplanes of a cut (k_sim in the paper).
        repetitions: independent cuts (R_reps).
        width: dimensions of a projected block (d_proj).
        both_ways: encode each side as query and as item.
        final: dimensions of a last random projection (d_final); None for none.
        seed: of hyperplanes and projections.
    """

    bits: int = 3
    repetitions: int = 20
    width: int = 16
    both_ways: bool = False
    final: int | None = None
    seed: int = 0

    @property
    def dimensions(self) -> int:
        """Length of an encoding."""
        whole = self.repetitions * 2**self.bits * self.width * (2 if self.both_ways else 1)
        return whole if self.final is None else self.final

    def encode(self, sequences: Sequences, role: Role, mean: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Encodings of all sequences: (N, dimensions) float32.

        Args:
            sequences: with at least one step each.
            role: on which side of the search they stand.
            mean: (D,) that is subtracted before steps are put to length 1.
        """
        made = np.empty((len(sequences), self.dimensions), np.float32)
        final = self._final()
        for first, last in _pieces(sequences):
            start, stop = sequences.offsets[first], sequences.offsets[last]
            steps = np.asarray(sequences.values[start:stop]) - mean
            norms = np.linalg.norm(steps, axis=1, keepdims=True)
            steps = np.divide(steps, norms, out=np.zeros_like(steps), where=norms > 0)
            offsets = sequences.offsets[first : last + 1] - start
            parts = self._blocks(steps, offsets, role)
            if self.both_ways:
                # The item stands as query against the query as item: the other half of SeqSim.
                other: Role = "item" if role == "query" else "query"
                parts = np.concatenate([parts, self._blocks(steps, offsets, other)], axis=1)
            made[first:last] = parts if final is None else parts @ final
        return made

    def _blocks(
        self, steps: npt.NDArray[Any], offsets: npt.NDArray[np.int64], role: Role
    ) -> npt.NDArray[Any]:
        """(n, repetitions * cells * width) of the sequences in `steps`."""
        rng = np.random.default_rng(self.seed)
        count, cells = len(offsets) - 1, 2**self.bits
        owner = np.repeat(np.arange(count), np.diff(offsets))
        made = np.empty((count, self.repetitions, cells, self.width), np.float32)
        for repetition in range(self.repetitions):
            planes = rng.standard_normal((steps.shape[1], self.bits)).astype(np.float32)
            signs = rng.choice([-1.0, 1.0], (steps.shape[1], self.width)).astype(np.float32)
            narrow = steps @ (signs / np.float32(np.sqrt(self.width)))
            cell = ((steps @ planes > 0) << np.arange(self.bits)).sum(axis=1)
            place = owner * cells + cell
            sums: npt.NDArray[Any] = np.stack(
                [
                    np.bincount(place, weights=narrow[:, axis], minlength=count * cells)
                    for axis in range(self.width)
                ],
                axis=1,
            )
            filled = np.bincount(place, minlength=count * cells)
            if role == "item":
                sums /= np.maximum(filled, 1)[:, None]
                empty = np.flatnonzero(filled == 0)
                sums[empty] = narrow[_nearest_steps(empty, cell, offsets, cells)]
            else:
                # A mean over the query's steps, so that length does not change a query's scale
                # where both directions are added.
                sums /= np.repeat(np.diff(offsets), cells)[:, None]
            made[:, repetition] = sums.reshape(count, cells, self.width)
        return made.reshape(count, -1)

    def _final(self) -> npt.NDArray[Any] | None:
        if self.final is None:
            return None
        whole = self.repetitions * 2**self.bits * self.width * (2 if self.both_ways else 1)
        rng = np.random.default_rng([self.seed, 1])
        signs = rng.choice([-1.0, 1.0], (whole, self.final)).astype(np.float32)
        return signs / np.float32(np.sqrt(self.final))


def _nearest_steps(
    empty: npt.NDArray[np.int64],
    cell: npt.NDArray[np.int64],
    offsets: npt.NDArray[np.int64],
    cells: int,
) -> npt.NDArray[np.int64]:
    """For every empty (item, cell) the item's first step in the nearest cell (Hamming distance)."""
    distance = np.bitwise_count(np.arange(cells)[:, None] ^ np.arange(cells)[None, :])
    count = len(offsets) - 1
    # First step of every item in every cell, -1 for none.
    first = np.full(count * cells, -1)
    owner = np.repeat(np.arange(count), np.diff(offsets))
    steps = np.arange(len(cell))[::-1]
    first[(owner * cells + cell)[::-1]] = steps
    table = first.reshape(count, cells)
    items, wanted = np.divmod(empty, cells)
    far = np.where(table[items] >= 0, distance[wanted], cells)
    chosen: npt.NDArray[np.int64] = table[items, far.argmin(axis=1)]
    return chosen


def _pieces(sequences: Sequences) -> Iterator[tuple[int, int]]:
    """Ranges of sequences of some hundred thousand steps together."""
    first = 0
    while first < len(sequences):
        until = sequences.offsets[first] + _STEPS_AT_ONCE
        last = max(first + 1, int(np.searchsorted(sequences.offsets, until, side="right")) - 1)
        last = min(last, len(sequences))
        yield first, last
        first = last
