"""Neighbours of both sides in, pairs with margins out; nothing here knows what was compared.

forward (N, K) and backward (M, K) neighbours -> densities -> margins -> pairs
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import numpy.typing as npt

from isogloss.errors import UnknownName

if TYPE_CHECKING:
    from isogloss.scores.margin import MarginKind
    from isogloss.types import FloatArray

__all__ = [
    "Neighbours",
    "PairTable",
    "Retrieval",
    "candidate_margins",
    "densities",
    "margins",
    "pairs_of",
]

Retrieval = Literal["intersection", "forward", "backward", "max"]
Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """The nearest items of every item: `columns` (N, K) int64 and `scores` (N, K) float32.

    Best first. Where an item has fewer than K neighbours, the rest of its row is -1 with score 0.
    """

    columns: Rows
    scores: FloatArray

    def __post_init__(self) -> None:
        if self.columns.ndim != 2 or self.columns.shape != self.scores.shape:
            raise ValueError(
                f"columns {self.columns.shape} and scores {self.scores.shape} must be one (N, K)"
            )

    def __len__(self) -> int:
        return len(self.columns)


@dataclass(frozen=True, slots=True, eq=False)
class PairTable:
    """Pairs, best margin first; equal margins stand in the order of `a`, then `b`.

    Attributes:
        a: (P,) rows of the first side.
        b: (P,) rows of the second.
        margin: (P,) float64.
        score: (P,) float32, the similarity itself.
        rank_forward: (P,) place of `b` among the neighbours of `a` by margin, from 1; 0 when it is
            not among them.
        rank_backward: (P,) place of `a` among those of `b`.
        tied: (P,) another neighbour of `a` or of `b` has the same margin.
    """

    a: Rows
    b: Rows
    margin: Floats
    score: FloatArray
    rank_forward: Rows
    rank_backward: Rows
    tied: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.a)

    def above(self, threshold: float) -> PairTable:
        """The pairs whose margin is at least `threshold`."""
        count = int(np.searchsorted(-self.margin, -threshold, side="right"))
        return self.take(slice(0, count))

    def take(self, rows: slice | Rows) -> PairTable:
        """The pairs at `rows`."""
        return PairTable(
            self.a[rows],
            self.b[rows],
            self.margin[rows],
            self.score[rows],
            self.rank_forward[rows],
            self.rank_backward[rows],
            self.tied[rows],
        )


def densities(neighbours: Neighbours, k: int) -> Floats:
    """Mean score of the `k` nearest of every item: (N,) float64; 0 for an item without any."""
    columns, scores = neighbours.columns[:, :k], neighbours.scores[:, :k]
    there = columns >= 0
    counts = there.sum(axis=1)
    sums = np.where(there, scores, 0).sum(axis=1, dtype=np.float64)
    means: Floats = np.divide(sums, counts, out=np.zeros(len(columns)), where=counts > 0)
    return means


def margins(scores: FloatArray, here: Floats, there: Floats, kind: MarginKind) -> Floats:
    """Margin of scores between items of density `here` and `there`, all of one shape, float64.

    Raises:
        UnknownName: `kind` is none of 'ratio', 'distance', 'absolute'.
        ValueError: 'ratio' where a mean density is negative, or 0 and the score is not: the order
            would turn around.

    Source: Artetxe and Schwenk 2019, eq. 1 and sec. 3.1.
    """
    wide = scores.astype(np.float64)
    if kind == "absolute":
        return wide
    density = (here + there) / 2
    if kind == "distance":
        return wide - density
    if kind != "ratio":
        raise UnknownName("margin", kind, ("ratio", "distance", "absolute"))
    undefined = (density < 0) | ((density == 0) & (wide != 0))
    if undefined.any():
        raise ValueError(
            f"the ratio margin of {int(undefined.sum())} candidates is undefined: the mean score "
            f"of their neighbours is as low as {float(density[undefined].min()):.4g}; use the "
            "distance margin"
        )
    ratio: Floats = np.divide(wide, density, out=np.zeros_like(wide), where=density > 0)
    return ratio


def candidate_margins(
    lists: Neighbours, here: Floats, there: Floats, kind: MarginKind
) -> tuple[Rows, Floats]:
    """Neighbours of every item in the order of their margin: columns and margins, (N, K) each.

    Places without a neighbour come last, with column -1 and margin -inf.
    """
    present = lists.columns >= 0
    beside = there[np.where(present, lists.columns, 0)] if len(there) else np.zeros(present.shape)
    around = np.broadcast_to(here[:, np.newaxis], present.shape)
    found = np.full(present.shape, -np.inf)
    found[present] = margins(lists.scores[present], around[present], beside[present], kind)
    order = np.lexsort((lists.columns, -found), axis=1)
    return np.take_along_axis(lists.columns, order, 1), np.take_along_axis(found, order, 1)


def pairs_of(
    forward: Neighbours,
    backward: Neighbours,
    *,
    neighbours: int = 4,
    kind: MarginKind = "ratio",
    retrieval: Retrieval = "intersection",
) -> PairTable:
    """Pairs between two sides, best margin first.

    Args:
        forward: neighbours of the N items of the first side among the second.
        backward: neighbours of the M items of the second side among the first.
        neighbours: k; of longer lists the first k count.
        kind: of margin.
        retrieval: 'intersection' keeps a pair when each is the other's best by margin; 'forward'
            takes the best of every item of the first side, 'backward' of the second; 'max' takes
            the pairs of both in the order of their margin, each item once.

    Returns:
        At most min(N, M) pairs, N with 'forward', M with 'backward'. Of several neighbours with
        the best margin the one of the lowest row is taken, and `tied` says so.

    Raises:
        ValueError: `neighbours` is below 1, or the ratio margin is undefined.
        UnknownName: `kind` or `retrieval` is unknown.

    Source: Artetxe and Schwenk 2019, sec. 3.2.
    """
    if neighbours < 1:
        raise ValueError(f"neighbours must be at least 1, got {neighbours}")
    if retrieval not in get_args(Retrieval):
        raise UnknownName("retrieval", retrieval, get_args(Retrieval))
    here, there = densities(forward, neighbours), densities(backward, neighbours)
    ahead = candidate_margins(_first(forward, neighbours), here, there, kind)
    back = candidate_margins(_first(backward, neighbours), there, here, kind)
    a, b = _chosen(ahead, back, retrieval)
    return _table(a, b, ahead, back, (forward, backward), neighbours)


def _first(lists: Neighbours, k: int) -> Neighbours:
    return Neighbours(lists.columns[:, :k], lists.scores[:, :k])


_Ordered = tuple[Rows, Floats]


def _chosen(ahead: _Ordered, back: _Ordered, retrieval: Retrieval) -> tuple[Rows, Rows]:
    a_ahead, b_ahead, m_ahead = _best_pairs(ahead)
    b_back, a_back, m_back = _best_pairs(back)
    if retrieval == "forward":
        return a_ahead, b_ahead
    if retrieval == "backward":
        return a_back, b_back
    if retrieval == "intersection":
        best_a = np.full(len(back[0]), -1, np.int64)
        best_a[b_back] = a_back
        mutual = best_a[b_ahead] == a_ahead
        return a_ahead[mutual], b_ahead[mutual]
    every_a, every_b = np.concatenate([a_ahead, a_back]), np.concatenate([b_ahead, b_back])
    order = np.lexsort((every_b, every_a, -np.concatenate([m_ahead, m_back])))
    free_a, free_b = np.ones(len(ahead[0]), np.bool_), np.ones(len(back[0]), np.bool_)
    kept = []
    for pair in order:
        if free_a[every_a[pair]] and free_b[every_b[pair]]:
            free_a[every_a[pair]] = free_b[every_b[pair]] = False
            kept.append(pair)
    rows = np.array(kept, np.int64)
    return every_a[rows], every_b[rows]


def _best_pairs(ordered: _Ordered) -> tuple[Rows, Rows, Floats]:
    columns, found = ordered
    if not columns.shape[1]:
        empty = np.zeros(0, np.int64)
        return empty, empty, np.zeros(0)
    rows = np.flatnonzero(columns[:, 0] >= 0)
    return rows, columns[rows, 0], found[rows, 0]


def _table(
    a: Rows,
    b: Rows,
    ahead: _Ordered,
    back: _Ordered,
    lists: tuple[Neighbours, Neighbours],
    k: int,
) -> PairTable:
    at_ahead, at_back = ahead[0][a] == b[:, np.newaxis], back[0][b] == a[:, np.newaxis]
    by_ahead, by_back = at_ahead.any(axis=1), at_back.any(axis=1)
    place_ahead = np.argmax(at_ahead, axis=1) if at_ahead.shape[1] else np.zeros(len(a), np.int64)
    place_back = np.argmax(at_back, axis=1) if at_back.shape[1] else np.zeros(len(b), np.int64)
    margin = np.where(by_ahead, _at(ahead[1], a, place_ahead), _at(back[1], b, place_back))
    # Scores stand in the order of the lists, margins in their own.
    score = np.where(by_ahead, _score(lists[0], a, b, k), _score(lists[1], b, a, k)).astype(
        np.float32
    )
    equal_ahead = (ahead[1][a] == margin[:, np.newaxis]).sum(axis=1) > by_ahead
    equal_back = (back[1][b] == margin[:, np.newaxis]).sum(axis=1) > by_back
    order = np.lexsort((b, a, -margin))
    return PairTable(
        a,
        b,
        margin,
        score,
        np.where(by_ahead, place_ahead + 1, 0),
        np.where(by_back, place_back + 1, 0),
        equal_ahead | equal_back,
    ).take(order)


def _at(values: Floats, rows: Rows, places: Rows) -> Floats:
    found: Floats = values[rows, places] if values.shape[1] else np.zeros(len(rows))
    return found


def _score(lists: Neighbours, rows: Rows, columns: Rows, k: int) -> FloatArray:
    there = lists.columns[rows, :k] == columns[:, np.newaxis]
    found: FloatArray = np.where(there, lists.scores[rows, :k], 0).sum(axis=1)
    return found
