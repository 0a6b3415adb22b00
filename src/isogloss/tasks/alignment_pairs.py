"""Vectors of two varieties in, every alignment measure of the pair with its resamples out.

Measures of the same items are resampled together, so that means over pairs of varieties have
honest intervals: a meaning drawn twice is drawn twice in every pair.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from isogloss.measures.bootstrap import percentile_interval, resample_counts
from isogloss.measures.cca import (
    Reduced,
    canonical_means,
    canonical_samples,
    leading_directions,
)
from isogloss.measures.cka import cka_samples, debiased_cka, linear_cka
from isogloss.measures.halves import random_halves
from isogloss.measures.mexa import mutual_best
from isogloss.measures.neurons import average_neuron_correlation, neuron_correlation_samples
from isogloss.measures.retrieval import gold_ranks
from isogloss.measures.rows import checked_pair, unit_rows
from isogloss.measures.rsa import rsa_samples
from isogloss.measures.separation import separation_of_table, separation_samples
from isogloss.scores.margin import margin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from isogloss.types import FloatArray

__all__ = [
    "PAIR_MEASURES",
    "CcaOptions",
    "Draws",
    "Estimate",
    "interval_of",
    "make_draws",
    "mean_estimate",
    "pair_estimates",
    "recentred",
]

Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

# Each half of the items has a decomposition of its own; more of them would take most of the time.
_MOST_CCA_HALVES = 60


@dataclass(frozen=True, slots=True, eq=False)
class Draws:
    """Resamples of M meanings: `counts` (B, M) with replacement, `halves` (H, M) without."""

    counts: Doubles
    halves: npt.NDArray[np.bool_]

    def at(self, meanings: Indices) -> Draws:
        """The draws of some meanings."""
        return Draws(self.counts[:, meanings], self.halves[:, meanings])


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """A value and how it varies: `samples` (B,) on resamples, NaN where undefined.

    `direction` is 'both', or 'there' and 'back' for searches from the first side and the second.
    `note` says what a reader must know of this number.
    """

    name: str
    value: float
    samples: Doubles
    n: int
    rises: bool = True
    direction: str = "both"
    note: str = ""


@dataclass(frozen=True, slots=True)
class CcaOptions:
    """How many leading directions SVCCA and PWCCA keep: a number, or a share of the variance."""

    keep: int | None = None
    share: float = 0.99

    def __post_init__(self) -> None:
        if self.keep is not None and self.keep < 1:
            raise ValueError(f"directions kept must be at least 1, got {self.keep}")
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be above 0 and at most 1, got {self.share}")


def make_draws(meanings: int, *, resamples: int = 200, seed: int = 0) -> Draws:
    """Resamples of that many meanings; without rows when `resamples` is 0 or meanings are few."""
    blocks = list(resample_counts(meanings, resamples=resamples, seed=seed))
    counts = np.concatenate(blocks) if blocks else np.zeros((0, meanings))
    return Draws(counts, random_halves(meanings, resamples=resamples, seed=seed))


@dataclass(eq=False)
class _Pair:
    x: FloatArray
    y: FloatArray
    draws: Draws
    neighbours: int
    cca: CcaOptions
    units: tuple[Doubles, Doubles] | None = None
    cosines: Doubles = field(init=False)

    def __post_init__(self) -> None:
        a, b = checked_pair(self.x, self.y)
        first, second = self.units or (unit_rows(a), unit_rows(b))
        self.cosines = first @ second.T

    @property
    def n(self) -> int:
        return len(self.x)

    @cached_property
    def leading(self) -> tuple[Reduced, Reduced]:
        """The leading directions of both sides."""
        share = None if self.cca.keep else self.cca.share
        first, second = (
            leading_directions(side, keep=self.cca.keep, share=share) for side in (self.x, self.y)
        )
        return first, second

    @cached_property
    def canonical(self) -> tuple[tuple[float, Doubles], tuple[float, Doubles]]:
        """Value and halves of SVCCA, and of PWCCA: one decomposition serves both."""
        first, second = self.leading
        values = canonical_means(first, second)
        halves = self.draws.halves[:_MOST_CCA_HALVES]
        # The leading directions are found once; halves resample the items in them.
        drawn = canonical_samples(first.values, second.values, halves, axes=first.axes)
        return (values[0], drawn[0]), (values[1], drawn[1])

    @cached_property
    def table(self) -> FloatArray:
        """Cosines in single precision, so that equal vectors tie."""
        return self.cosines.astype(np.float32)

    def of_items(
        self, name: str, per_item: npt.NDArray[np.generic], direction: str, *, rises: bool = True
    ) -> Estimate:
        row = per_item.astype(np.float64)
        counts = self.draws.counts
        total = counts.sum(axis=1)
        samples = np.full(len(counts), np.nan)
        np.divide(counts @ row, total, out=samples, where=total > 0)
        return Estimate(name, float(row.mean()), samples, self.n, rises, direction)


def _retrieval(pair: _Pair) -> Iterable[Estimate]:
    gold = np.arange(pair.n)
    for direction, table in (("there", pair.table), ("back", pair.table.T)):
        ranks = gold_ranks(table, gold).ranks
        for k in (1, 5):
            yield pair.of_items(f"R@{k}", ranks <= k, direction)
        yield pair.of_items("MRR", 1 / ranks, direction)


def _xsim(pair: _Pair) -> Iterable[Estimate]:
    gold = np.arange(pair.n)
    for direction, table in (("there", pair.table), ("back", pair.table.T)):
        note = ""
        try:
            margins = margin(table, neighbours=pair.neighbours)
        except ValueError:
            # A mean cosine of neighbours at or below 0, as after centring, has no ratio.
            margins = margin(table, neighbours=pair.neighbours, kind="distance")
            note = "distance margin: a neighbourhood's mean is not above 0, so there is no ratio"
        wrong = gold_ranks(margins, gold).ranks > 1
        found = pair.of_items("xSIM", wrong, direction, rises=False)
        yield Estimate(
            found.name, found.value, found.samples, found.n, rises=False, direction=direction,
            note=note,
        )  # fmt: skip


def _separation(pair: _Pair) -> Iterable[Estimate]:
    found = separation_of_table(pair.cosines)
    matched, unrelated, gap = separation_samples(pair.cosines, pair.draws.counts)
    yield Estimate("cosine matched", found.matched, matched, pair.n)
    yield Estimate("cosine random", found.random, unrelated, pair.n, rises=False)
    yield Estimate("separation", found.separation, gap, pair.n)


def _cka(pair: _Pair) -> Iterable[Estimate]:
    value = linear_cka(pair.x, pair.y)
    samples = cka_samples(pair.x, pair.y, pair.draws.halves)
    note = "" if pair.n > pair.x.shape[1] else "fewer items than dimensions: biased upwards"
    yield Estimate("CKA", value, recentred(value, samples), pair.n, note=note)


def _debiased_cka(pair: _Pair) -> Iterable[Estimate]:
    value = debiased_cka(pair.x, pair.y)
    samples = cka_samples(pair.x, pair.y, pair.draws.halves, debiased=True)
    yield Estimate("debiased CKA", value, recentred(value, samples), pair.n)


def _svcca(pair: _Pair) -> Iterable[Estimate]:
    yield _canonical(pair, "SVCCA", weighted=False)


def _pwcca(pair: _Pair) -> Iterable[Estimate]:
    yield _canonical(pair, "PWCCA", weighted=True)


def _canonical(pair: _Pair, name: str, *, weighted: bool) -> Estimate:
    x, y = (side.values for side in pair.leading)
    value, samples = pair.canonical[1 if weighted else 0]
    note = ""
    free = x.shape[1] + y.shape[1] - (pair.n - 1)
    if free > 0:
        note = f"{free} correlations or fewer are 1 whatever the data, for want of items"
    return Estimate(name, value, recentred(value, samples), pair.n, note=note)


def _rsa(pair: _Pair) -> Iterable[Estimate]:
    counts = np.vstack([np.ones(pair.n), pair.draws.counts])
    found = rsa_samples(pair.x, pair.y, counts)
    yield Estimate("RSA", float(found[0]), found[1:], pair.n)


def _anc(pair: _Pair) -> Iterable[Estimate]:
    value = average_neuron_correlation(pair.x, pair.y)
    yield Estimate(
        "ANC", value, neuron_correlation_samples(pair.x, pair.y, pair.draws.counts), pair.n
    )


def _mexa(pair: _Pair) -> Iterable[Estimate]:
    yield pair.of_items("MEXA", mutual_best(pair.table), "both")


def _neuronxa(pair: _Pair) -> Iterable[Estimate]:
    yield pair.of_items("NeuronXA", mutual_best(pair.table), "both")


PAIR_MEASURES: dict[str, Callable[[_Pair], Iterable[Estimate]]] = {
    "retrieval": _retrieval,
    "xsim": _xsim,
    "separation": _separation,
    "cka": _cka,
    "debiased-cka": _debiased_cka,
    "svcca": _svcca,
    "pwcca": _pwcca,
    "rsa": _rsa,
    "anc": _anc,
    "mexa": _mexa,
    "neuronxa": _neuronxa,
}
"""Name of a measure of two parallel sides to what computes it."""


def pair_estimates(
    x: FloatArray,
    y: FloatArray,
    measures: Sequence[str],
    *,
    draws: Draws | None = None,
    neighbours: int = 4,
    cca: CcaOptions | None = None,
    notes: dict[str, str] | None = None,
    units: tuple[Doubles, Doubles] | None = None,
) -> list[Estimate]:
    """Measures of two parallel sides, retrieval always beside the similarities it stands on.

    Args:
        x: (N, D) vectors of one variety, N at least 2.
        y: (N, D) vectors of the other, row i the translation of row i of `x`.
        measures: keys of `PAIR_MEASURES`.
        draws: resamples of the N items; None for no intervals.
        neighbours: of the margin.
        cca: directions kept.
        notes: when a dict is given, a measure that these vectors do not allow (too few items for
            CCA, say) is left out and the reason put here by its name; without it, it is raised.
        units: rows of `x` and of `y` at length 1, where they are known from other pairs.

    Raises:
        ValueError: a measure is unknown, shapes do not fit, or a row is not finite.
    """
    unknown = [name for name in measures if name not in PAIR_MEASURES]
    if unknown:
        raise ValueError(f"unknown measure '{unknown[0]}'; known: {', '.join(PAIR_MEASURES)}")
    drawn = draws or make_draws(len(x), resamples=0)
    pair = _Pair(x, y, drawn, neighbours, cca or CcaOptions(), units)
    found: list[Estimate] = []
    for name in measures:
        try:
            found += PAIR_MEASURES[name](pair)
        except ValueError as error:
            if notes is None:
                raise
            notes[name] = str(error)
    return found


def recentred(value: float, samples: Doubles) -> Doubles:
    """Values on halves moved so that their mean is `value`, NaN kept: see `around_value`."""
    known = samples[~np.isnan(samples)]
    moved: Doubles = samples - known.mean() + value if len(known) else samples
    return moved


def mean_estimate(estimates: Sequence[Estimate]) -> Estimate:
    """The mean of one measure over pairs and directions, resampled as one.

    Pairs where the value is undefined (NaN) are left out; NaN where all are.
    """
    known = [one for one in estimates if not np.isnan(one.value)]
    first = estimates[0]
    if not known:
        return Estimate(first.name, float("nan"), np.zeros(0), 0, first.rises)
    rows = min(len(one.samples) for one in known)
    with warnings.catch_warnings():
        # A resample that is undefined for every pair stays undefined.
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        samples = np.nanmean([one.samples[:rows] for one in known], axis=0)
    notes = list(dict.fromkeys(one.note for one in known if one.note))
    return Estimate(
        first.name,
        float(np.mean([one.value for one in known])),
        np.asarray(samples, dtype=np.float64),
        sum(one.n for one in known),
        first.rises,
        note=notes[0] if len(notes) == 1 else "",
    )


def interval_of(estimate: Estimate, level: float = 0.95) -> tuple[float, float] | None:
    """Percentile bounds of an estimate that hold its value; None without resamples."""
    if np.isnan(estimate.value):
        return None
    bounds = percentile_interval(estimate.samples, level)
    if bounds is None:
        return None
    return min(bounds[0], estimate.value), max(bounds[1], estimate.value)
