"""Pairs without any known answer in, an estimate of how many of them are right out.

Of N items, those in no mutual pair (U) are known to have found nobody. Items without a findable
partner either end there or form a wrong pair, and in which proportion is measured on the items of
the pairs themselves, each asked again as if its partner were absent (`mine_null`). If of these a
share q forms a pair at or above a margin and a share r forms none, then U items that found nobody
stand for U q / r wrong pairs at or above that margin.

What is assumed: an item whose partner is absent behaves as an item of equal density whose partner
was taken away. There are two readings of "the items of the pairs". The bold one asks all of them,
also those that are wrongly paired and have lost nothing but a rival; it finds too few wrong pairs
when many pairs are wrong. The cautious one weighs them by how right the bold one thinks they are.
It is the estimate, the bold one only the upper end of the interval: with known answers the cautious
reading was right on average on speech and too low where topics crowd the partners, the bold one too
high nearly everywhere (docs/mining.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from isogloss.search.mine_null import bereft
from isogloss.search.mine_pairs import densities, pairs_of

if TYPE_CHECKING:
    from isogloss.scores.margin import MarginKind
    from isogloss.search.mine_pairs import Neighbours, PairTable

__all__ = ["Estimate", "NullModel", "fit_null"]

Floats = npt.NDArray[np.float64]

_DRAWS = 1000
# Spread, as a log, of the ratio between the odds of absent partners and of those taken away. On
# synthetic speech with known answers the log of true over estimated wrong pairs spread by 0.13 to
# 0.25 where there were fifty wrong pairs or more, counting included (docs/mining.md).
_MISFIT = 0.3
# What `promised` believes its precision with; of promises on fresh data with known answers 90 to
# 100 in a hundred were kept (docs/mining.md): the lowest threshold that promises is a lucky one.
_CONFIDENCE = 0.95
_PLACES = 256
_MOST_STRATA = 8
_LEAST_IN_STRATUM = 30
# Weight of all strata together beside each one's own items.
_PRIOR = 5.0
# More rounds make the cautious reading more so by little, one round makes it too bold where few
# pairs are right (planted data, tests/search/test_mine_estimate.py).
_REWEIGHED = 2


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is believed of the pairs at or above a threshold.

    Attributes:
        threshold: margin.
        pairs: how many there are.
        precision: share believed right, by the cautious reading; None when there is no pair.
        low: lower end of the interval, from the cautious reading.
        high: upper end, from the bold one.
        recall: share of the findable pairs that are among them, None likewise.
    """

    threshold: float
    pairs: int
    precision: float | None
    low: float | None
    high: float | None
    recall: float | None


@dataclass(frozen=True, slots=True, eq=False)
class _Reading:
    """Weighed counts of items asked again: which stratum, at which margin they would have paired.

    Attributes:
        margins: (P,) ascending, -inf for none.
        above: (P + 1, S) weight of items at place i of `margins` and behind it.
        unpaired: (S,) items in no pair.
    """

    margins: Floats
    above: Floats
    unpaired: Floats

    def counts(self, thresholds: Floats) -> tuple[Floats, Floats]:
        """Weights at or above each threshold (T, S), and of items that paired with nobody (S,)."""
        # Those who would pair with nobody stand at -inf and are above no threshold.
        finite = np.maximum(thresholds, np.finfo(np.float64).min)
        found = self.above[np.searchsorted(self.margins, finite, side="left")]
        total = self.above[0]
        paired = self.above[int(np.searchsorted(self.margins, -np.inf, side="right"))]
        weight = max(float(total.sum()), 1e-12)
        share = found.sum(axis=1, keepdims=True) / weight
        none = total - paired
        return found + _PRIOR * share, none + _PRIOR * float(none.sum()) / weight

    def wrong(self, thresholds: Floats) -> Floats:
        """Expected wrong pairs at or above each threshold: (T,)."""
        found, none = self.counts(thresholds)
        # Nobody who ended alone among the items asked: the odds are unknown, and at least these.
        odds = found / np.maximum(none, 0.5)
        expected: Floats = odds @ self.unpaired
        return expected

    def drawn(self, threshold: float, rng: np.random.Generator) -> Floats:
        """Draws of the number of wrong pairs: (draws,)."""
        found, none = self.counts(np.array([threshold]))
        shape = (_DRAWS, len(self.unpaired))
        # Half a count for what was not seen, shared among the strata: none seen is not impossible.
        unseen = 0.5 / len(self.unpaired)
        odds = rng.gamma(found[0] + unseen, 1.0, shape) / rng.gamma(none + 0.5, 1.0, shape)
        expected = (rng.gamma(np.maximum(self.unpaired, 1e-9), 1.0, shape) * odds).sum(axis=1)
        expected *= np.exp(_MISFIT * rng.standard_normal(_DRAWS))
        wrong: Floats = rng.poisson(np.minimum(expected, 1e12)).astype(np.float64)
        return wrong


class NullModel:
    """Estimated numbers of wrong pairs at any threshold; made by `fit_null`.

    Attributes:
        items: N, of the smaller side.
        mutual: mutual pairs at any margin.
        findable: estimated number of items whose right partner can be found at all.
    """

    def __init__(
        self, margin: Floats, others: Floats, items: int, readings: list[_Reading]
    ) -> None:
        """Take descending margins of mutual pairs and of other pairs, N, and both readings."""
        self._margin = margin
        self._others = others
        self._bold, self._cautious = readings
        self.items = items
        self.mutual = len(margin)
        # Not the right ones of all pairs: beyond some depth the estimate grows by more wrong pairs
        # than there are pairs, and those found before do not go away.
        right = np.arange(1, len(margin) + 1) - self._wrong_mutual(margin)
        self.findable = float(right.max(initial=0.0))

    def pairs(self, thresholds: Floats) -> npt.NDArray[np.int64]:
        """Pairs at or above each threshold: (T,)."""
        return _at_least(self._margin, thresholds) + _at_least(self._others, thresholds)

    def wrong(self, thresholds: Floats) -> Floats:
        """Expected wrong pairs at or above each threshold: (T,)."""
        wrong: Floats = self._wrong_mutual(thresholds) + _at_least(self._others, thresholds)
        return wrong

    def _wrong_mutual(self, thresholds: Floats) -> Floats:
        wrong = self._cautious.wrong(thresholds)
        return np.minimum(wrong, _at_least(self._margin, thresholds))

    def precisions(self, thresholds: Floats) -> Floats:
        """Estimated share of right pairs at or above each threshold: (T,), 1 without pairs."""
        pairs, wrong = self.pairs(thresholds), self.wrong(thresholds)
        shares: Floats = np.divide(pairs - wrong, pairs, out=np.ones(len(pairs)), where=pairs > 0)
        return shares

    def promised(self, threshold: float, *, seed: int = 0) -> float:
        """The precision that the pairs at or above `threshold` reach with a probability of 0.95.

        1 without pairs. It lies below `precisions`: few pairs promise little, however good.
        """
        asked = np.array([threshold])
        pairs = int(self.pairs(asked)[0])
        if not pairs:
            return 1.0
        drawn = self._cautious.drawn(threshold, np.random.default_rng(seed))
        mutual = float(_at_least(self._margin, asked)[0])
        return max(0.0, mutual - float(np.quantile(drawn, _CONFIDENCE))) / pairs

    def promising(self, precision: float, *, seed: int = 0) -> float | None:
        """The lowest margin of a pair at which `precision` is promised; None where none does.

        Among many pairs not every margin is tried: some hundreds at equal steps of rank, then
        those behind the last that does.
        """
        margins = -np.sort(-np.unique(np.concatenate([self._margin, self._others])))
        first, last = 0, len(margins) - 1
        best = -1
        while first <= last:
            places = np.unique(np.linspace(first, last, _PLACES).round().astype(np.int64))
            promised = [self.promised(float(margins[place]), seed=seed) for place in places]
            enough = places[np.array(promised) >= precision]
            best = int(enough[-1]) if len(enough) else best
            behind = places[places > best]
            if not len(enough) or not len(behind) or len(places) == last - first + 1:
                break
            first, last = best + 1, int(behind[0]) - 1
        return None if best < 0 else float(margins[best])

    def at(self, threshold: float, *, seed: int = 0) -> Estimate:
        """The estimate at `threshold`, with a 95 % interval around both readings."""
        asked = np.array([threshold])
        pairs = int(self.pairs(asked)[0])
        if not pairs:
            return Estimate(threshold, 0, None, None, None, None)
        precision = float(self.precisions(asked)[0])
        rng = np.random.default_rng(seed)
        mutual = float(_at_least(self._margin, asked)[0])
        most = np.quantile(self._cautious.drawn(threshold, rng), 0.975)
        least = np.quantile(self._bold.drawn(threshold, rng), 0.025)
        low, high = (max(0.0, mutual - float(wrong)) / pairs for wrong in (most, least))
        recall = min(1.0, precision * pairs / self.findable) if self.findable else None
        return Estimate(
            threshold, pairs, precision, min(low, precision), max(high, precision), recall
        )


def fit_null(
    forward: Neighbours,
    backward: Neighbours,
    *,
    neighbours: int = 4,
    kind: MarginKind = "ratio",
    retrieved: PairTable | None = None,
) -> NullModel:
    """A model of wrong pairs from neighbours alone; no known answer is used.

    It is taken from the smaller side. Only mutual pairs are modelled; of pairs that are not mutual
    all are counted as wrong.

    Args:
        forward: neighbours of the first side, at least `neighbours` + 1 long where there are as
            many items.
        backward: of the second.
        neighbours: k of the margins.
        kind: of margin.
        retrieved: the pairs whose precision is asked for; default the mutual ones.

    Source: our own; the proportion of true nulls is that of Storey 2002 with "found nobody" in the
    place of large p-values, and the bereft items are decoys as in Elias and Gygi 2007.
    """
    mutual = pairs_of(forward, backward, neighbours=neighbours, kind=kind)
    table = mutual if retrieved is None else retrieved
    partner = np.full(len(forward), -1, np.int64)
    partner[mutual.a] = mutual.b
    agreed = partner[table.a] == table.b
    if len(forward) > len(backward):
        forward, backward = backward, forward
    pairs = pairs_of(forward, backward, neighbours=neighbours, kind=kind)
    asked = bereft(forward, backward, pairs, neighbours=neighbours, kind=kind)
    alone = np.ones(len(forward), np.bool_)
    alone[pairs.a] = False
    density = densities(forward, neighbours)[alone]
    strata = max(1, min(_MOST_STRATA, len(pairs) // _LEAST_IN_STRATUM)) if len(density) else 1
    inner = np.linspace(0, 1, strata + 1)[1:-1]
    edges = np.quantile(density, inner) if len(inner) else np.zeros(0)
    stratum = np.searchsorted(edges, asked.density)
    unpaired = np.bincount(np.searchsorted(edges, density), minlength=strata).astype(np.float64)
    bold = _reading(asked.accepted, stratum, unpaired, np.ones(len(pairs)))
    cautious = bold
    for _ in range(_REWEIGHED):
        wrong = np.minimum(
            np.maximum.accumulate(cautious.wrong(pairs.margin)), 1 + np.arange(len(pairs))
        )
        right = np.clip(1 - _rising(np.diff(wrong, prepend=0.0)), 0, 1)
        cautious = _reading(asked.accepted, stratum, unpaired, right)
    return NullModel(table.margin[agreed], table.margin[~agreed], len(forward), [bold, cautious])


def _reading(
    accepted: Floats, stratum: npt.NDArray[np.integer], unpaired: Floats, weights: Floats
) -> _Reading:
    order = np.argsort(accepted, kind="stable")
    by_stratum = np.zeros((len(accepted) + 1, len(unpaired)))
    by_stratum[np.arange(len(accepted)), stratum[order]] = weights[order]
    return _Reading(accepted[order], by_stratum[::-1].cumsum(axis=0)[::-1], unpaired)


def _rising(values: Floats) -> Floats:
    """The nearest numbers to `values` that never fall: neighbours that do are pooled."""
    pools: list[tuple[float, int]] = []
    for value in values.tolist():
        pools.append((value, 1))
        while len(pools) > 1 and pools[-2][0] * pools[-1][1] > pools[-1][0] * pools[-2][1]:
            (sum_last, n_last), (sum_before, n_before) = pools.pop(), pools.pop()
            pools.append((sum_before + sum_last, n_before + n_last))
    return np.repeat([total / n for total, n in pools], [n for _, n in pools])


def _at_least(descending: Floats, thresholds: Floats) -> npt.NDArray[np.int64]:
    return np.searchsorted(-descending, -thresholds, side="right")
