"""A table of scores and what is relevant in, the average precision of every query out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from isogloss.types import FloatArray

__all__ = ["average_precision"]


def average_precision(
    scores: FloatArray, relevant: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Average precision of each query with any number of right answers: (N,) in (0, 1].

    The mean, over the right answers, of the precision at the place where each is reached. Answers
    of equal score are reached together, so a tie never helps: a constant table gives the share of
    relevant answers.

    Args:
        scores: (N, M) larger is nearer; -inf for what is not to be ranked (it comes last).
        relevant: (N, M) which answers are right.

    Raises:
        ValueError: shapes do not fit, M is 0, a score is NaN, or a query has no right answer (its
            row is named).

    Source: the mean of precisions over recall steps, as scikit-learn's average_precision_score
    computes it.
    """
    if scores.ndim != 2 or scores.shape != relevant.shape or not scores.shape[1]:
        raise ValueError(
            f"scores and relevant must be one (N, M) with M at least 1, got {scores.shape} and "
            f"{relevant.shape}"
        )
    broken = np.flatnonzero(np.isnan(scores).any(axis=1))
    if len(broken):
        raise ValueError(f"scores of query {broken[0]} hold NaN ({len(broken)} such queries)")
    wanted = relevant.sum(axis=1)
    if not wanted.all():
        raise ValueError(f"query {int(np.argmin(wanted > 0))} has no right answer")
    order = np.argsort(-scores, axis=1, kind="stable")
    ranked = np.take_along_axis(scores, order, axis=1)
    hits = np.take_along_axis(relevant, order, axis=1)
    width = scores.shape[1]
    last = np.full(scores.shape, width - 1)
    ends = ranked[:, 1:] != ranked[:, :-1]
    last[:, :-1] = np.where(ends, np.arange(width - 1), width - 1)
    # The place where the run of equal scores ends that a place belongs to.
    last = np.minimum.accumulate(last[:, ::-1], axis=1)[:, ::-1]
    reached = np.take_along_axis(np.cumsum(hits, axis=1), last, axis=1)
    precision = reached / (last + 1)
    found: npt.NDArray[np.float64] = (precision * hits).sum(axis=1) / wanted
    return found
