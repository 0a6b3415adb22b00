"""Rows and scores of every query in, `Ranking` out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from isogloss.search.ranking import Ranking
from isogloss.types import Hits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.search.sequence_search import Answer
    from isogloss.search.store import Store
    from isogloss.types import Sequences

__all__ = ["ranking_of"]


def ranking_of(
    store: Store, queries: Sequences, k: int, answers: Sequence[Answer], everything: int | None
) -> Ranking:
    """The first `k` of every answer by id, equal scores in the order of ids.

    Args:
        store: that the rows of the answers belong to.
        queries: asked.
        k: hits wanted.
        answers: one a query, with every row that shares the last score.
        everything: items that might have answered; who scored them all is exact. None where
            scores are not exact at all.
    """
    firsts = np.cumsum([0, *(segment.count for segment in store.segments)])
    ids, scores, tied = [], [], []
    for answer in answers:
        owners = np.searchsorted(firsts, answer.rows, side="right") - 1
        locals_ = answer.rows - firsts[owners]
        named = sorted(
            (-score, store.segments[owner].id(row))
            for owner, row, score in zip(
                owners.tolist(), locals_.tolist(), answer.scores.tolist(), strict=True
            )
        )
        values = [value for value, _ in named]
        same = [
            values[place] in values[max(place - 1, 0) : place]
            or values[place] in values[place + 1 : place + 2]
            for place in range(min(k, len(named)))
        ]
        ids.append(tuple(name for _, name in named[:k]))
        scores.append(tuple(-value for value in values[:k]))
        tied.append(tuple(same))
    return Ranking(
        Hits(queries.ids, tuple(ids), tuple(scores)),
        tuple(tied),
        all(answer.scored == everything for answer in answers),
        tuple(answer.scored for answer in answers),
    )
