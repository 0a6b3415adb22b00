"""Queries in, the best of all items out, every one scored; for `exact=True` and checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from isogloss.corpora.progress import with_progress
from isogloss.search.encoding import rebuilt_steps
from isogloss.search.sequence_search import SequenceSearch, best_of
from isogloss.search.units import centred_directions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import ThreadPoolExecutor

    import numpy.typing as npt

    from isogloss.types import FloatArray, Sequences

__all__ = ["exhaustive"]

# Steps rebuilt at a time, for all queries together: as float32 of 512 dimensions, 128 MiB.
_STEPS_AT_ONCE = 1 << 16

Best = tuple["npt.NDArray[np.int64]", "FloatArray"]


def exhaustive(
    search: SequenceSearch,
    queries: Sequences,
    k: int,
    allowed: npt.NDArray[np.bool_],
    pool: ThreadPoolExecutor | None = None,
) -> list[Best]:
    """For every query the rows of the `k` best of all `allowed` items, and their scores, falling.

    Rows that share the last score are all there. Memory holds a block of items, never all. With a
    `pool`, queries are shared among its threads.
    """
    zero = np.zeros(queries.values.shape[1])
    asked = [centred_directions(queries[number], zero)[0] for number in range(len(queries))]
    # Not before the line above, which says what to install where numba is absent.
    from isogloss.scores.seqsim_kernels import score_candidates

    found: list[Best] = [(np.zeros(0, np.int64), np.zeros(0, np.float32)) for _ in asked]
    blocks = list(_blocks(search, allowed)) if asked else []
    for rows in with_progress(blocks, "exact search", total=len(blocks)):
        for number, _, local in search.by_segment(rows):
            steps, offsets = rebuilt_steps(search.arrays[number], local, search.units.prototypes)
            own = local + search.firsts[number]

            def one(
                unit_steps: FloatArray,
                best: Best,
                own: npt.NDArray[np.int64] = own,
                steps: FloatArray = steps,
                offsets: npt.NDArray[np.int64] = offsets,
            ) -> Best:
                scores = score_candidates(unit_steps, steps, offsets)
                rows, before = best
                return best_of(np.concatenate([rows, own]), np.concatenate([before, scores]), k)

            found = list(pool.map(one, asked, found) if pool else map(one, asked, found))
    return found


def _blocks(
    search: SequenceSearch, allowed: npt.NDArray[np.bool_]
) -> Iterator[npt.NDArray[np.int64]]:
    """The allowed rows in order, as many at a time as have `_STEPS_AT_ONCE` steps."""
    rows = np.flatnonzero(allowed)
    ends = np.cumsum(search.lengths[rows])
    first = 0
    while first < len(rows):
        start = ends[first - 1] if first else 0
        last = int(np.searchsorted(ends, start + _STEPS_AT_ONCE, side="right"))
        last = max(last, first + 1)
        yield rows[first:last]
        first = last
