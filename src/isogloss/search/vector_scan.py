"""Segments of unit rows and queries in, the best ids of each query out; called by `VectorIndex`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from isogloss.search.vector_nearest import nearest_rows, pair_cosines, rows_from

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.search.store import Segment
    from isogloss.search.vector_ann import Graph
    from isogloss.types import FloatArray

__all__ = ["Answer", "SegmentRows", "ranked"]

Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

# A graph walks over what it may not return. Among 50,000 rows of which one in fifty was allowed,
# breadth 256 found .78 of the ten nearest; so a narrow filter is answered by reading its rows.
_NARROW = 0.1
_MOST_BREADTH = 4096


class SegmentRows:
    """The arrays of one segment: `unit` (N, D) float32, `length` (N,) float32, perhaps a graph."""

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        self.unit: FloatArray = segment.arrays["unit"]
        self.length: FloatArray = segment.arrays["length"]
        self.has_graph = bool(len(segment.arrays["graph"]))

    @cached_property
    def graph(self) -> Graph:
        """The graph of a segment that has one; faiss is imported when it is first wanted."""
        from isogloss.search.vector_ann import Graph

        return Graph(self.segment.arrays["graph"])


@dataclass(frozen=True, slots=True)
class Answer:
    """Hits of one query, best first, with their ties and how they were found."""

    ids: tuple[str, ...]
    scores: tuple[float, ...]
    tied: tuple[bool, ...]
    exact: bool
    scored: int


@dataclass(slots=True)
class _Found:
    """What one segment has for one query: at most k + 1 rows, best first."""

    rows: Rows
    scores: FloatArray
    exact: bool
    scored: int


def ranked(
    segments: Sequence[SegmentRows],
    chosen: Sequence[Mask | None],
    queries: FloatArray,
    k: int,
    breadth: int,
    flat_below: int | None,
) -> list[Answer]:
    """The `k` best of each query among the rows of `segments` that `chosen` allows.

    Args:
        segments: of one index.
        chosen: for each segment (N,) bool, or None for all that are alive.
        queries: (Q, D) float32 unit rows, centred as the segments are.
        k: hits wanted.
        breadth: of a walk over a graph.
        flat_below: segments with fewer allowed rows are read whole; None reads all.
    """
    found: list[list[_Found]] = [[] for _ in queries]
    allowed_rows: list[Rows | None] = []
    for kept, mask in zip(segments, chosen, strict=True):
        mask = np.asarray(kept.segment.alive if mask is None else mask)
        allowed = int(np.count_nonzero(mask))
        rows = None if allowed == len(mask) else np.flatnonzero(mask)
        allowed_rows.append(rows)
        if not allowed:
            for some in found:
                some.append(_Found(np.zeros(0, np.int64), np.zeros(0, np.float32), True, 0))
            continue
        flat = np.arange(len(queries))
        if (
            flat_below is not None
            and kept.has_graph
            and allowed >= max(flat_below, _NARROW * len(mask))
        ):
            share = allowed / len(mask)
            for query, answer in enumerate(
                _walked(kept, None if rows is None else mask, queries, k, breadth, share)
            ):
                found[query].append(answer)
            # A walk that came back with too few has met a filter that cuts the graph apart.
            flat = np.array(
                [q for q, some in enumerate(found) if len(some[-1].rows) < min(k + 1, allowed)],
                np.int64,
            )
            for query in flat.tolist():
                found[query].pop()
        if len(flat):
            numbers, scores = nearest_rows(queries[flat], kept.unit, k + 1, chosen=rows)
            for place, query in enumerate(flat.tolist()):
                found[query].append(_Found(numbers[place], scores[place], True, allowed))
    return [
        _merged(segments, allowed_rows, queries[query], some, k) for query, some in enumerate(found)
    ]


def _walked(
    kept: SegmentRows, mask: Mask | None, queries: FloatArray, k: int, breadth: int, share: float
) -> list[_Found]:
    wanted = min(breadth, len(kept.unit))
    numbers = kept.graph.candidates(queries, wanted, min(_MOST_BREADTH, int(breadth / share)), mask)
    answers = []
    for query, row in zip(queries, numbers, strict=True):
        near = np.sort(row[row >= 0])
        scores = pair_cosines(query, kept.unit, near)
        best = np.lexsort((near, -scores))[: k + 1]
        answers.append(_Found(near[best], scores[best], False, len(near)))
    return answers


def _merged(
    segments: Sequence[SegmentRows],
    allowed_rows: Sequence[Rows | None],
    query: FloatArray,
    found: Sequence[_Found],
    k: int,
) -> Answer:
    """One order over all segments: by score, equals by id."""
    every = np.concatenate([some.scores for some in found]) if found else np.zeros(0, np.float32)
    best = np.sort(every)[::-1][: k + 1]
    answers: list[tuple[float, str]] = []
    for kept, rows, some in zip(segments, allowed_rows, found, strict=True):
        numbers, scores = some.rows, some.scores
        if some.exact and len(best) > k and len(scores) > k and scores[k] == best[k - 1]:
            # More rows share the last place than were kept: their ids decide, so all are needed.
            numbers, scores = rows_from(query, kept.unit, float(scores[k]), chosen=rows)
        answers += [
            (-float(score), kept.segment.id(int(row)))
            for row, score in zip(numbers, scores, strict=True)
            if len(best) <= k or score >= best[k - 1]
        ]
    answers.sort()
    top = answers[:k]
    follows = float(best[k]) if len(best) > k else None
    values = [-negative for negative, _ in top]
    around = [None, *values, follows]
    tied = tuple(
        value == around[place] or value == around[place + 2] for place, value in enumerate(values)
    )
    return Answer(
        tuple(id for _, id in top),
        tuple(values),
        tied,
        all(some.exact for some in found),
        sum(some.scored for some in found),
    )
