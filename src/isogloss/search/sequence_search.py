"""One query in, its best items out: postings, then interaction of units, then SeqSim.

    query --nearest units--> tf-idf over postings --first--> P and R over units --candidates-->
    SeqSim over the steps kept --k--> answer

`search/sequence_index.py` calls it with a snapshot of the index.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from isogloss.search.encoding import rebuilt_steps
from isogloss.search.interaction import UnitTable
from isogloss.search.postings import document_counts, inverse_frequencies, query_weights
from isogloss.search.units import centred_directions

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from isogloss.search.store import Filter, Store
    from isogloss.search.units import Units
    from isogloss.types import FloatArray

__all__ = ["Answer", "Effort", "SequenceSearch", "best_of"]

# Candidates whose steps are rebuilt at a time, 1 MB of float32 at 60 steps of 128 dimensions, which
# stays in a core's cache; and between two looks at the clock, half a millisecond of work.
_SLICE = 32
# Fewer items than this take less time than waking another thread.
_WORTH_SHARING = 1024
_COUNT_WEIGHTS = np.sqrt(np.arange(256)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard to search for one query; the first three as in `IndexSettings`.

    `deadline` is a reading of `time.perf_counter`; None for none.
    """

    soft: int
    first: int
    candidates: int
    deadline: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What one query found, best first, and what that took; rows count through all segments.

    Attributes:
        rows: the best items, with every row that shares the last score.
        scores: of `rows`, falling.
        scored: items that were scored by SeqSim.
        out_of_time: candidates were left unscored because the budget was used up.
        touched: postings that were read.
        interacted: items whose units were compared.
        milliseconds: spent on postings, interaction and SeqSim.
    """

    rows: npt.NDArray[np.int64]
    scores: FloatArray
    scored: int
    out_of_time: bool = False
    touched: int = 0
    interacted: int = 0
    milliseconds: tuple[float, float, float] = (0.0, 0.0, 0.0)


class SequenceSearch:
    """What searching needs of one snapshot, made once: views, idf, lengths; threads may share it.

    Attributes:
        store: the snapshot.
        units: of the index.
        arrays: of every segment, by name.
        firsts: (segments + 1,) row with which every segment begins.
        count: N, rows of all segments, deleted ones included.
        lengths: (N,) steps of every row.
    """

    def __init__(self, store: Store, units: Units) -> None:
        self.store = store
        self.units = units
        self.arrays = [
            {name: np.asarray(array) for name, array in segment.arrays.items()}
            for segment in store.segments
        ]
        self.firsts = np.cumsum([0, *(segment.count for segment in store.segments)])
        self.count = int(self.firsts[-1])
        counts = document_counts(self.arrays, units.count)
        self._inverse = inverse_frequencies(counts, self.count)
        lengths = [np.diff(arrays["step_offsets"]) for arrays in self.arrays]
        self.lengths = np.concatenate([np.zeros(0, np.int64), *lengths])
        self._shrink = self._inverse_norms()

    def allowed(self, filter: Filter | None) -> npt.NDArray[np.bool_]:
        """Which rows are alive and let through: (N,)."""
        masks = [
            np.ones(segment.count, dtype=np.bool_) if mask is None else mask
            for segment, mask in zip(self.store.segments, self.store.chosen(filter), strict=True)
        ]
        return np.concatenate([np.zeros(0, dtype=np.bool_), *masks])

    def answer(
        self,
        query: FloatArray,
        k: int,
        allowed: npt.NDArray[np.bool_],
        effort: Effort,
        pool: ThreadPoolExecutor | None = None,
        threads: int = 1,
    ) -> Answer:
        """The `k` best items among the `allowed` rows (N,) for one query (T, D).

        At least `k` candidates are scored, whatever the deadline. With a `pool` the work of this
        query is shared among `threads` of it.
        """
        began = time.perf_counter()
        wanted = max(effort.candidates, k)
        touched, rows = self._by_postings(query, allowed, max(effort.first, wanted), effort.soft)
        by_postings = time.perf_counter()
        unit_steps = centred_directions(query, np.zeros(query.shape[1]))[0]
        interacted = 0
        candidates = rows
        # With time to spare for all of them their order does not matter.
        if len(rows) > wanted or effort.deadline is not None:
            interacted = len(rows)
            close = self._interaction(unit_steps, rows, pool, threads)
            candidates = rows[np.lexsort((rows, -close))[:wanted]]
        by_interaction = time.perf_counter()
        scores = self._scores(unit_steps, candidates, k, effort.deadline, pool, threads)
        best = best_of(candidates[: len(scores)], scores, k)
        ended = time.perf_counter()
        return Answer(
            *best,
            scored=len(scores),
            out_of_time=len(scores) < len(candidates),
            touched=touched,
            interacted=interacted,
            milliseconds=(
                1e3 * (by_postings - began),
                1e3 * (by_interaction - by_postings),
                1e3 * (ended - by_interaction),
            ),
        )

    def by_segment(
        self, rows: npt.NDArray[np.int64]
    ) -> list[tuple[int, npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        """(segment, places in `rows`, rows within the segment) for every segment that has any."""
        if len(self.arrays) == 1:
            return [(0, np.arange(len(rows)), rows)]
        owner = np.searchsorted(self.firsts, rows, side="right") - 1
        found = []
        for number in np.unique(owner).tolist():
            places = np.flatnonzero(owner == number)
            found.append((number, places, rows[places] - self.firsts[number]))
        return found

    def _by_postings(
        self, query: FloatArray, allowed: npt.NDArray[np.bool_], first: int, soft: int
    ) -> tuple[int, npt.NDArray[np.int64]]:
        """Postings touched, and at most `first` rows with the largest tf-idf products, ascending.

        Where no more than `first` rows are allowed, these are the answer: a filter that leaves few
        items never starves the stages behind.
        """
        from isogloss.search import index_kernels

        if np.count_nonzero(allowed) <= first:
            return 0, np.flatnonzero(allowed)
        units, weights = query_weights(*self.units.nearest(query, soft), self._inverse)
        scores = np.zeros(self.count, dtype=np.float32)
        touched = 0
        for number, arrays in enumerate(self.arrays):
            touched += index_kernels.tf_idf(
                units,
                weights,
                arrays["posting_units"],
                arrays["posting_offsets"],
                arrays["posting_rows"],
                arrays["posting_counts"],
                _COUNT_WEIGHTS,
                scores[self.firsts[number] : self.firsts[number + 1]],
            )
        # Cosine of the two bags, but for the norm of the query's, which changes no order.
        scores *= self._shrink
        chosen = np.empty(first, dtype=np.int64)
        count = index_kernels.select(scores, allowed, first, chosen)
        return touched, chosen[:count]

    def _inverse_norms(self) -> FloatArray:
        """1 / norm of the tf-idf weights of every row, 0 where there are none: (N,)."""
        from isogloss.search import index_kernels

        squares = np.zeros(self.count, dtype=np.float32)
        for number, arrays in enumerate(self.arrays):
            units = arrays["posting_units"].astype(np.int64)
            index_kernels.tf_idf(
                units,
                self._inverse[units] ** 2,
                arrays["posting_units"],
                arrays["posting_offsets"],
                arrays["posting_rows"],
                arrays["posting_counts"],
                _COUNT_WEIGHTS**2,
                squares[self.firsts[number] : self.firsts[number + 1]],
            )
        found = np.zeros_like(squares)
        np.divide(1, np.sqrt(squares), out=found, where=squares > 0)
        return found

    def _interaction(
        self,
        unit_steps: FloatArray,
        rows: npt.NDArray[np.int64],
        pool: ThreadPoolExecutor | None,
        threads: int,
    ) -> FloatArray:
        """SeqSim of the query with the units of `rows`, (n,)."""
        table = UnitTable(unit_steps, self.units)
        scores = np.empty(len(rows), dtype=np.float32)

        def part(first: int, last: int) -> None:
            for number, places, local in self.by_segment(rows[first:last]):
                scores[first:last][places] = table.scores(self.arrays[number], local)

        borders = [len(rows) * number // threads for number in range(threads + 1)]
        if pool is None or len(rows) < _WORTH_SHARING:
            part(0, len(rows))
        else:
            list(pool.map(part, borders[:-1], borders[1:]))
        return scores

    def _scores(
        self,
        unit_steps: FloatArray,
        candidates: npt.NDArray[np.int64],
        k: int,
        deadline: float | None,
        pool: ThreadPoolExecutor | None,
        threads: int,
    ) -> FloatArray:
        """SeqSim of the query with all `candidates`, or the first that there is time for."""
        from isogloss.scores.seqsim_kernels import score_candidates

        def part(rows: npt.NDArray[np.int64]) -> FloatArray:
            scores = np.empty(len(rows), dtype=np.float32)
            most = np.sort(self.lengths[rows])[-_SLICE:].sum()
            room = np.empty((int(most), unit_steps.shape[1]), dtype=np.float32)
            for number, places, local in self.by_segment(rows):
                for at in range(0, len(local), _SLICE):
                    few = local[at : at + _SLICE]
                    steps, offsets = rebuilt_steps(
                        self.arrays[number], few, self.units.prototypes, room=room
                    )
                    scores[places[at : at + _SLICE]] = score_candidates(unit_steps, steps, offsets)
            return scores

        found = [np.zeros(0, dtype=np.float32)]
        done = 0
        share = _SLICE if deadline is not None else max(_SLICE, -(-len(candidates) // threads))
        while done < len(candidates):
            if deadline is not None and done >= k and time.perf_counter() >= deadline:
                break
            parts = [
                candidates[at : at + share]
                for at in range(done, min(done + share * threads, len(candidates)), share)
            ]
            found += pool.map(part, parts) if pool is not None else map(part, parts)
            done += sum(len(rows) for rows in parts)
        return np.concatenate(found)


def best_of(
    rows: npt.NDArray[np.int64], scores: FloatArray, k: int
) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """The `k` largest scores, falling, and all that equal the last of them; lower rows first."""
    if len(scores) > 4 * k:
        # Sorting 100,000 scores for ten of them would take longer than finding the tenth.
        bar = np.partition(scores, len(scores) - k)[len(scores) - k]
        near = scores >= bar
        rows, scores = rows[near], scores[near]
    order = np.lexsort((rows, -scores))
    if len(order) > k:
        last = scores[order[k - 1]]
        order = order[: k + int(np.count_nonzero(scores[order[k:]] == last))]
    return rows[order], scores[order]
