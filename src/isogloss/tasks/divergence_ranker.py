"""A ranker of sentence pairs by how much meaning they share, learnt from synthetic divergences.

Used by `divergence`: features of pairs, weights from pairs of which one lost more, and the
thresholds and areas by which scores are judged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from isogloss.errors import MissingExtra
from isogloss.measures.correlation import average_ranks
from isogloss.tasks.sentence_pairs import cosines, length_ratios, texts_of
from isogloss.tasks.synthetic_divergence import KINDS
from isogloss.tasks.token_differences import best_cosines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.tasks.synthetic_divergence import Divergent
    from isogloss.types import FloatArray, Item

__all__ = [
    "area_under_curve",
    "best_threshold",
    "learnt_ranker",
    "pair_features",
    "ranked_rightly",
]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


def area_under_curve(scores: Floats, truth: Floats) -> float:
    """The probability that a positive scores above a negative, ties counting half.

    0.5 where one of the two classes is absent.
    """
    positive = truth > 0
    n, m = int(positive.sum()), int((~positive).sum())
    if not n or not m:
        return 0.5
    ranks = average_ranks(scores)
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * m))


def best_threshold(scores: Floats, truth: Floats) -> float:
    """The threshold with the best F1 of `scores > threshold`; the lowest of equally good ones.

    It lies midway between two scores, or below all of them.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(truth[order] > 0)
    places = np.arange(1, len(scores) + 1)
    f1 = 2 * hits / (places + max(1, int((truth > 0).sum())))
    last = np.append(np.diff(ranked) < 0, True)  # equal scores cannot be parted
    best = int(np.flatnonzero(last & (f1 >= f1[last].max() - 1e-12))[-1])
    if best + 1 == len(ranked):
        return float(np.nextafter(ranked[-1], -np.inf))
    return float((ranked[best] + ranked[best + 1]) / 2)


def pair_features(
    sides: Sequence[tuple[Item, Item]], first: Sequence[FloatArray], second: Sequence[FloatArray]
) -> Floats:
    """Six numbers of every pair, (N, 6), all larger where more is shared.

    Cosine of the sums of words; mean and lower tenth of the words' best cosines, both ways; shorter
    over longer length.
    """
    pooled = [np.stack([rows.sum(axis=0) for rows in side]) for side in (first, second)]
    best = [best_cosines(a, b) for a, b in zip(first, second, strict=True)]
    texts = [texts_of([pair[k] for pair in sides]) for k in (0, 1)]
    columns = [
        cosines(*pooled),
        *(np.array([both[k].mean() for both in best]) for k in (0, 1)),
        *(np.array([np.quantile(both[k], 0.1) for both in best]) for k in (0, 1)),
        length_ratios(*texts),
    ]
    return np.stack(columns, axis=1)


def learnt_ranker(table: Floats, made: Sequence[Divergent], kept: Flags) -> tuple[Floats, float]:
    """Weights of the ranker (F,) and the threshold of minus its score, from the pairs kept.

    Logistic regression on differences of features between two pairs of one seed of which one lost
    more; the threshold has the best F1 on the same pairs, equivalents counted three times.

    Args:
        table: (N, F) features of synthetic pairs.
        made: the pairs.
        kept: (N,) which are learnt from.

    Raises:
        ValueError: no two pairs of one seed are kept.
        MissingExtra: scikit-learn is not installed.
    """
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise MissingExtra("text", "scikit-learn") from error
    rank = {kind: place for place, kind in enumerate(("equivalent", "replacement", "unrelated"))}
    rank["deletion"] = rank["replacement"]
    rows: dict[int, list[int]] = {}
    for number, one in enumerate(made):
        if kept[number]:
            rows.setdefault(one.seed, []).append(number)
    differences = [
        table[a] - table[b]
        for group in rows.values()
        for a in group
        for b in group
        if rank[made[a].kind] < rank[made[b].kind]
    ]
    if not differences:
        raise ValueError("too few translations are left to learn from; use fewer folds")
    better = np.array(differences)
    spread = np.maximum(better.std(axis=0), 1e-9)
    both = np.concatenate([better, -better]) / spread
    answers = np.repeat([1, 0], len(better))
    model = LogisticRegression(fit_intercept=False, max_iter=1000).fit(both, answers)
    weights = np.asarray(model.coef_[0] / spread, dtype=np.float64)
    inside = np.flatnonzero(kept)
    truth = np.array([float(made[n].kind != "equivalent") for n in inside.tolist()])
    # Three kinds diverge and one does not; counting each equivalent three times balances them.
    balanced = np.concatenate([inside, np.repeat(inside[truth == 0], 2)])
    y = np.concatenate([truth, np.zeros(2 * int((truth == 0).sum()))])
    return weights, best_threshold(-(table[balanced] @ weights), y)


def ranked_rightly(
    table: Floats, made: Sequence[Divergent], kept: Flags, weights: Floats
) -> dict[str, Floats]:
    """For each kind, 1 where a seed's equivalent ranks above it, half where they tie."""
    scores = table @ weights
    own = {one.seed: n for n, one in enumerate(made) if one.kind == "equivalent" and kept[n]}
    found: dict[str, list[float]] = {kind: [] for kind in KINDS[1:]}
    for number, one in enumerate(made):
        if one.kind != "equivalent" and kept[number]:
            difference = scores[own[one.seed]] - scores[number]
            found[one.kind].append(0.5 * (np.sign(difference) + 1))
    return {kind: np.array(values) for kind, values in found.items() if values}
