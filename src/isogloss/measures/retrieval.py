"""A table of scores and the right answers in, recall, MRR and xSIM out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from isogloss.measures.bootstrap import bootstrap_interval
from isogloss.types import FloatArray, Measurement

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "GoldRanks",
    "chance_level",
    "gold_ranks",
    "mean_reciprocal_rank",
    "recall_at_k",
    "xsim_error",
]

Indices = npt.NDArray[np.integer]


@dataclass(frozen=True, slots=True, eq=False)
class GoldRanks:
    """Where each query's right answer stands: `ranks` (N,) from 1, `ties` (N,) other equals.

    `ranks` are pessimistic: a target with the same score as the right one counts as better, so a
    constant table scores nothing. `ranks - ties` is the most optimistic rank.
    """

    ranks: npt.NDArray[np.int64]
    ties: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ranks)


def gold_ranks(scores: FloatArray, gold: Indices) -> GoldRanks:
    """Rank of each query's right answer among all targets, ties counted against it.

    Args:
        scores: (N, M) larger is nearer.
        gold: (N,) column of each query's right answer.

    Raises:
        ValueError: shapes do not fit, N or M is 0, an index is outside 0..M-1, or a score is NaN
            (a NaN has no rank; it is never the best and never the worst).
    """
    gold = np.asarray(gold)
    if scores.ndim != 2 or not scores.size:
        raise ValueError(f"scores must be (N, M) with N and M at least 1, got {scores.shape}")
    if gold.shape != (len(scores),) or not np.issubdtype(gold.dtype, np.integer):
        raise ValueError(
            f"gold must hold {len(scores)} column numbers, got {gold.dtype} of shape {gold.shape}"
        )
    if gold.min() < 0 or gold.max() >= scores.shape[1]:
        raise ValueError(
            f"gold runs from {gold.min()} to {gold.max()}, but there are {scores.shape[1]} targets"
        )
    broken = np.flatnonzero(np.isnan(scores).any(axis=1))
    if len(broken):
        raise ValueError(f"scores of query {broken[0]} hold NaN ({len(broken)} such queries)")
    right = np.take_along_axis(scores, gold[:, np.newaxis], axis=1)
    ties = (scores == right).sum(axis=1, dtype=np.int64) - 1
    better = (scores > right).sum(axis=1, dtype=np.int64)
    return GoldRanks(1 + better + ties, ties)


def recall_at_k(
    scores: FloatArray | GoldRanks,
    gold: Indices | None = None,
    *,
    k: int = 1,
    targets: int | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    signature: Mapping[str, Any] | None = None,
) -> Measurement:
    """Share of queries whose right answer is among the `k` best targets, in [0, 1].

    Ties count against the query (see `GoldRanks`); the signature tells how many queries had any,
    the number of targets, and the value that chance would give.

    Args:
        scores: (N, M) table, or ranks already computed with `gold_ranks` (then `gold` is left out
            and `targets` gives M).
        gold: (N,) column of each query's right answer.
        k: how many targets may be looked at; with k >= M the value is 1.
        targets: M, needed only with ranks, and only for the chance level.
        resamples: for the bootstrap over queries; 0 for no interval.
        level: of the interval.
        seed: of the bootstrap.
        signature: what else changes the number; kept in the result.

    Returns:
        'R@k' with `per_item` (N,) of 0 and 1.

    Raises:
        ValueError: as `gold_ranks`, or `k` is below 1.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    ranks, targets = _ranks_of(scores, gold, targets)
    extra: dict[str, Any] = {"k": k}
    if targets is not None:
        extra |= {"targets": targets, "chance": chance_level(targets, k)}
    return _measured(f"R@{k}", ranks.ranks <= k, ranks, extra, (resamples, level, seed), signature)


def mean_reciprocal_rank(
    scores: FloatArray | GoldRanks,
    gold: Indices | None = None,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    signature: Mapping[str, Any] | None = None,
) -> Measurement:
    """Mean of 1 / rank of the right answer, in (0, 1], ties counted against it.

    Arguments and errors as `recall_at_k`; `per_item` is (N,).
    """
    ranks, _ = _ranks_of(scores, gold, None)
    return _measured("MRR", 1 / ranks.ranks, ranks, {}, (resamples, level, seed), signature)


def xsim_error(
    margins: FloatArray,
    gold: Indices,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    signature: Mapping[str, Any] | None = None,
) -> Measurement:
    """xSIM: share of queries whose best target by margin is wrong, in [0, 1]; smaller is better.

    The converse direction is `xsim_error(margins.T, ...)` with its own right answers, because
    margins are symmetric but best answers are not. Multiply by 100 for LASER's percentage. A tie
    for the best counts as an error.

    Args:
        margins: (N, M) from `isogloss.scores.margin` (ratio with 4 neighbours in LASER). Scores
            and measures share a rung, so the margin is computed by the caller and named in
            `signature`.
        gold: (N,) column of each query's right answer.
        resamples: for the bootstrap over queries; 0 for no interval.
        level: of the interval.
        seed: of the bootstrap.
        signature: what else changes the number; kept in the result.

    Raises:
        ValueError: as `gold_ranks`.

    Source: Artetxe and Schwenk 2019 for the margin; LASER, tasks/xsim, for the error.
    """
    ranks = gold_ranks(margins, gold)
    return _measured(
        "xSIM", ranks.ranks > 1, ranks, {}, (resamples, level, seed), signature, rises=False
    )


def chance_level(targets: int, k: int = 1) -> float:
    """Recall at `k` of a random order of `targets` targets: min(1, k / targets).

    Raises:
        ValueError: `targets` or `k` is below 1.
    """
    if targets < 1 or k < 1:
        raise ValueError(f"targets and k must be at least 1, got {targets} and {k}")
    return min(1.0, k / targets)


def _ranks_of(
    scores: FloatArray | GoldRanks, gold: Indices | None, targets: int | None
) -> tuple[GoldRanks, int | None]:
    if isinstance(scores, GoldRanks):
        if not len(scores):
            raise ValueError("there is no query")
        return scores, targets
    if gold is None:
        raise ValueError("gold is needed with a table of scores")
    return gold_ranks(scores, gold), scores.shape[1]


def _measured(
    name: str,
    per_item: npt.NDArray[Any],
    ranks: GoldRanks,
    extra: Mapping[str, Any],
    bootstrap: tuple[int, float, int],
    signature: Mapping[str, Any] | None,
    *,
    rises: bool = True,
) -> Measurement:
    resamples, level, seed = bootstrap
    statistics = per_item.astype(np.float32)
    interval = bootstrap_interval(
        per_item.astype(np.float64), resamples=resamples, level=level, seed=seed
    )
    return Measurement(
        name,
        float(per_item.mean(dtype=np.float64)),
        low=interval[0] if interval else None,
        high=interval[1] if interval else None,
        n=len(statistics),
        higher_is_better=rises,
        signature={
            **(signature or {}),
            **extra,
            "queries_with_ties": int((ranks.ties > 0).sum()),
            "ties": "against",
            "interval": f"bootstrap over queries, {resamples} resamples, level {level}, seed {seed}"
            if interval
            else None,
        },
        per_item=statistics,
    )
