"""What does the cheapest repair buy: transforms fitted on half of the meanings, judged on the rest.

One call of `compare_transforms` takes vectors of one layer; `compare_models` takes models, layers
and the n-gram floor, and is what `isogloss adapt compare` runs.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss import __version__
from isogloss.adapt.judge import Judgement, Score, judge_vectors
from isogloss.adapt.pairs import PairedMap
from isogloss.adapt.registry import make_transform
from isogloss.adapt.split import divide_by_meaning
from isogloss.encoders.pool import mean_pool
from isogloss.errors import IsoglossError
from isogloss.measures import PairedTest, paired_two_way, two_way_interval
from isogloss.types import Sequences, Vectors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from isogloss.adapt.transform import FittedTransform
    from isogloss.types import FloatArray

__all__ = ["RAW", "CompareSettings", "ComparedTransform", "Comparison", "compare_transforms"]

RAW = "identity"
"""The vectors as they are, which every other transform is set against."""

Hits = dict[tuple[str, str], "FloatArray"]


@dataclass(frozen=True)
class CompareSettings:
    """How transforms are compared.

    Attributes:
        transforms: specs; `identity`, the vectors as they are, is always there.
        share: of the meanings that transforms are fitted on.
        seeds: of the division; each divides anew.
        score: 'cosine' of pooled vectors, or 'seqsim' of steps.
        fit_on: 'pooled' vectors or 'steps', where there are steps.
        resamples: of the intervals, over meanings.
        level: of the intervals.
    """

    transforms: tuple[str, ...]
    share: float = 0.5
    seeds: tuple[int, ...] = (0, 1, 2)
    score: Score = "cosine"
    fit_on: str = "pooled"
    resamples: int = 1000
    level: float = 0.95

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds must be different numbers, at least one, got {self.seeds}")
        if self.score not in ("cosine", "seqsim"):
            raise ValueError(f"score must be cosine or seqsim, got {self.score!r}")
        if self.fit_on not in ("pooled", "steps"):
            raise ValueError(f"fit_on must be pooled or steps, got {self.fit_on!r}")
        if not 0 < self.share < 1:
            raise ValueError(f"share must lie between 0 and 1, got {self.share}")
        for spec in self.transforms:
            make_transform(spec)

    @property
    def specs(self) -> tuple[str, ...]:
        """The transforms, the identity first, each once."""
        return tuple(dict.fromkeys((RAW, *self.transforms)))


@dataclass(frozen=True, slots=True, eq=False)
class ComparedTransform:
    """One row of the table.

    Attributes:
        model: whose vectors.
        layer: of the model; None its own.
        transform: the spec.
        r_at_1: mean over ordered pairs of varieties and seeds.
        low: lower bound of its interval over meanings, None where there is none.
        high: upper bound.
        per_seed: R@1 of each seed.
        gain: R@1 less that of the vectors as they are, on the same items, with interval and
            p-value; None for the identity and where nothing can be resampled.
        matched: mean similarity of translations.
        random: mean similarity of what is no translation.
        cka: debiased.
        probe: accuracy of the variety probe; chance is `probe_chance`.
        probe_chance: 1 / number of varieties.
        seconds: of one fit, the mean over seeds.
        parameters: numbers that were learnt.
        fitted_meanings: how many meanings each fit saw.
        judged_meanings: how many were judged, the mean over seeds.
        deviation: mean deviation from orthogonality of maps between varieties; None without any.
        notes: of the fits.
        problem: why there are no numbers; '' where there are.
    """

    model: str
    layer: int | None
    transform: str
    r_at_1: float | None = None
    low: float | None = None
    high: float | None = None
    per_seed: tuple[float, ...] = ()
    gain: PairedTest | None = None
    matched: float | None = None
    random: float | None = None
    cka: float | None = None
    probe: float | None = None
    probe_chance: float | None = None
    seconds: float = 0.0
    parameters: int = 0
    fitted_meanings: int = 0
    judged_meanings: float = 0.0
    deviation: float | None = None
    notes: tuple[str, ...] = ()
    problem: str = ""

    def as_json(self) -> dict[str, Any]:
        """Every field, by name."""
        told = {name: getattr(self, name) for name in self.__slots__}
        gain = self.gain
        told["gain"] = None if gain is None else {n: getattr(gain, n) for n in gain.__slots__}
        return told


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """The rows, what changes the numbers, and (id, reason) of items that were left out."""

    rows: tuple[ComparedTransform, ...]
    signature: Mapping[str, Any] = field(default_factory=dict)
    skipped: tuple[tuple[str, str], ...] = ()

    def as_json(self) -> dict[str, Any]:
        """What results.json holds."""
        return {
            "isogloss": __version__,
            "signature": dict(self.signature),
            "rows": [row.as_json() for row in self.rows],
            "skipped": [list(pair) for pair in self.skipped],
        }


@dataclass(slots=True)
class _Gathered:
    """What the seeds gave for one transform."""

    judged: list[Judgement] = field(default_factory=list)
    fitted: list[FittedTransform] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    fitted_meanings: list[int] = field(default_factory=list)
    problem: str = ""


def compare_transforms(
    vectors: Vectors | Sequences,
    *,
    varieties: Sequence[str],
    meanings: Sequence[str | None],
    settings: CompareSettings,
    model: str = "",
    layer: int | None = None,
    advance: Callable[[float], None] | None = None,
) -> list[ComparedTransform]:
    """A row for the identity and for each transform of `settings`.

    For each seed the meanings are divided; every transform is fitted on items of the one part and
    judged on those of the other, which the fit never sees. Items without a meaning take no part. A
    transform that cannot be fitted keeps its row, which says why.

    Args:
        vectors: of one layer, or steps.
        varieties: one an item.
        meanings: one an item.
        settings: which transforms, how often, how judged.
        model: noted in the rows.
        layer: noted in the rows.
        advance: told 1 after each fit and judgement.

    Raises:
        ValueError: too few meanings to divide, or no two varieties share meanings.
    """
    gathered = {spec: _Gathered() for spec in settings.specs}
    for seed in settings.seeds:
        fit_places, judge_places = divide_by_meaning(meanings, share=settings.share, seed=seed)
        fit_on = _part(vectors, fit_places)
        if settings.fit_on == "pooled" and isinstance(fit_on, Sequences):
            fit_on = mean_pool(fit_on)
        judged = _part(vectors, judge_places)
        told_fit = [varieties[i] for i in fit_places], [meanings[i] for i in fit_places]
        told = [varieties[i] for i in judge_places], [meanings[i] for i in judge_places]
        for spec, found in gathered.items():
            try:
                began = time.perf_counter()
                transform = make_transform(spec).fit(
                    fit_on, varieties=told_fit[0], meanings=told_fit[1]
                )
                found.seconds.append(time.perf_counter() - began)
                found.judged.append(
                    judge_vectors(
                        judged,
                        varieties=told[0],
                        meanings=told[1],
                        transform=transform,
                        score=settings.score,
                    )
                )
                found.fitted.append(transform)
                found.fitted_meanings.append(len(set(told_fit[1])))
            except (ValueError, IsoglossError) as error:
                if spec == RAW:
                    raise
                found.problem = found.problem or f"seed {seed}: {error}"
            if advance is not None:
                advance(1)
    raw = _joined_hits(gathered[RAW].judged)
    return [_row(spec, found, raw, settings, model, layer) for spec, found in gathered.items()]


def _row(
    spec: str,
    found: _Gathered,
    raw: Hits,
    settings: CompareSettings,
    model: str,
    layer: int | None,
) -> ComparedTransform:
    if found.problem or not found.judged:
        return ComparedTransform(model, layer, spec, problem=found.problem)
    hits = _joined_hits(found.judged)
    # Varieties are named, not drawn: meanings alone are resampled.
    strata = {name: name for pair in hits for name in pair}
    drawn: dict[str, Any] = {
        "strata": strata,
        "resamples": settings.resamples,
        "level": settings.level,
    }
    interval = two_way_interval(hits, **drawn)
    maps = [
        deviation
        for transform in found.fitted
        for part in getattr(transform, "parts", (transform,))
        if isinstance(part, PairedMap)
        for deviation in part.deviations_.values()
    ]
    notes = dict.fromkeys(note for transform in found.fitted for note in transform.notes_)
    return ComparedTransform(
        model,
        layer,
        spec,
        float(np.mean([np.nanmean(row) for row in hits.values()])),
        interval[0] if interval else None,
        interval[1] if interval else None,
        tuple(one.r_at_1 for one in found.judged),
        None if spec == RAW else paired_two_way(hits, raw, **drawn),
        float(np.mean([one.matched for one in found.judged])),
        float(np.mean([one.random for one in found.judged])),
        _mean([one.cka for one in found.judged]),
        _mean([one.probe for one in found.judged]),
        found.judged[0].probe_chance,
        float(np.mean(found.seconds)),
        found.fitted[0].parameters,
        round(float(np.mean(found.fitted_meanings))),
        float(np.mean([len(one.meanings) for one in found.judged])),
        _mean(maps),
        tuple(notes),
    )


def _joined_hits(judged: Sequence[Judgement]) -> Hits:
    """Hits by pair over all meanings of all seeds; one judged under several seeds is their mean."""
    everywhere = sorted({meaning for one in judged for meaning in one.meanings})
    place = {meaning: i for i, meaning in enumerate(everywhere)}
    sums: dict[tuple[str, str], FloatArray] = {}
    counts: dict[tuple[str, str], FloatArray] = {}
    for one in judged:
        columns = np.array([place[meaning] for meaning in one.meanings])
        for pair, row in one.hits.items():
            there = ~np.isnan(row)
            empty = np.zeros(len(everywhere), np.float32)
            sums.setdefault(pair, empty.copy())[columns[there]] += row[there]
            counts.setdefault(pair, empty.copy())[columns[there]] += 1
    return {
        pair: np.where(counts[pair] > 0, sums[pair] / np.maximum(counts[pair], 1), np.nan).astype(
            np.float32
        )
        for pair in sums
    }


def _part(vectors: Vectors | Sequences, places: Sequence[int]) -> Vectors | Sequences:
    if isinstance(vectors, Sequences):
        return vectors.select(places)
    chosen = list(places)
    return Vectors(tuple(vectors.ids[i] for i in chosen), vectors.values[chosen], vectors.made_by)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
