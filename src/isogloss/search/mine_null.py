"""Neighbours and mutual pairs in, what the items would have found without their partners out.

For every pair (a, b) the question is asked again as if b were not there: does a then find another
partner that wants it back, and at which margin? Everything else stays as it is, so whoever a meets
still has its own partner to prefer. Where (a, b) is right, a then is an item whose partner is
absent, and what it finds is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from isogloss.search.mine_pairs import Neighbours, candidate_margins, densities

if TYPE_CHECKING:
    from isogloss.scores.margin import MarginKind
    from isogloss.search.mine_pairs import PairTable

__all__ = ["Bereft", "bereft"]

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Bereft:
    """The first items of P pairs, each asked again without its partner.

    Attributes:
        accepted: (P,) margin of the mutual pair that the item would form, -inf for none.
        density: (P,) mean score of its nearest items then: how close it is to what it is not.
    """

    accepted: Floats
    density: Floats


def bereft(
    forward: Neighbours,
    backward: Neighbours,
    pairs: PairTable,
    *,
    neighbours: int,
    kind: MarginKind,
) -> Bereft:
    """What each pair's `a` would find without its `b`.

    Args:
        forward: lists of the first side, at least `neighbours` + 1 long where there are as many
            items, so that one more stands behind each partner.
        backward: lists of the second side.
        pairs: mutual pairs.
        neighbours: k.
        kind: of margin.
    """
    here, there = densities(forward, neighbours), densities(backward, neighbours)
    left = _without(forward, pairs.a, pairs.b, neighbours)
    density = densities(left, neighbours)
    columns, found = candidate_margins(left, density, there, kind)
    accepted = np.full(len(pairs), -np.inf)
    if not columns.shape[1]:
        return Bereft(accepted, density)
    partner, best = columns[:, 0], found[:, 0]
    asked = np.flatnonzero(partner >= 0)
    rows = partner[asked]
    lists = Neighbours(backward.columns[rows, :neighbours], backward.scores[rows, :neighbours])
    columns, found = candidate_margins(lists, there[rows], here, kind)
    itself = columns == pairs.a[asked][:, np.newaxis]
    others = np.where(itself, -np.inf, found).max(axis=1, initial=-np.inf)
    wanted = itself.any(axis=1) & (best[asked] >= others)
    accepted[asked[wanted]] = best[asked[wanted]]
    return Bereft(accepted, density)


def _without(forward: Neighbours, a: Rows, b: Rows, k: int) -> Neighbours:
    """Lists of the rows `a` less the columns `b`, k long."""
    columns, scores = forward.columns[a], forward.scores[a]
    gone = columns == b[:, np.newaxis]
    # A stable sort moves the partner behind the others and keeps their order.
    order = np.argsort(gone, axis=1, kind="stable")[:, :k]
    kept = np.take_along_axis(np.where(gone, -1, columns), order, 1)
    return Neighbours(kept, np.take_along_axis(scores, order, 1))
