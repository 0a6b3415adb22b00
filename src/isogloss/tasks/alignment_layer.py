"""Vectors of one layer in, every number of that layer out; called by `alignment` layer by layer."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss.errors import MissingExtra
from isogloss.measures.bootstrap import percentile_interval
from isogloss.measures.rows import unit_rows
from isogloss.tasks.alignment_explain import MEASURES
from isogloss.tasks.alignment_matrix import (
    distance_estimates,
    map_places,
    similarity_matrix,
    source_choice,
    variety_tree,
)
from isogloss.tasks.alignment_pairs import Estimate, interval_of, mean_estimate, pair_estimates
from isogloss.tasks.alignment_result import AlignmentRow
from isogloss.tasks.alignment_varieties import Layer, VarietyOptions, variety_estimates
from isogloss.tasks.alignment_words import concept_estimates, linked_words, word_estimates

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from isogloss.tasks.alignment_encode import WordStates
    from isogloss.tasks.alignment_pairs import CcaOptions, Draws
    from isogloss.tasks.alignment_sets import AlignedSets
    from isogloss.tasks.alignment_words import ConceptOptions, Doubles, Lexicon
    from isogloss.types import FloatArray

__all__ = ["LayerFound", "LayerWork", "gradient_rows", "layer_rows"]

Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, eq=False)
class LayerWork:
    """What every layer of a run shares."""

    sets: AlignedSets
    pairs: Pairs
    draws: Draws
    measures: tuple[str, ...]
    distances: Mapping[str, Doubles]
    words: Mapping[int, tuple[str, ...]]
    lexicon: Lexicon | None
    cca: CcaOptions
    varieties: VarietyOptions
    concepts: ConceptOptions
    neighbours: int
    word_neighbours: int
    word_pairs: int
    permutations: int
    level: float
    seed: int
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def resamples(self) -> int:
        """Of the intervals that are not over meanings."""
        return len(self.draws.counts)

    def of_kind(self, kind: str) -> tuple[str, ...]:
        """The measures of one kind that were asked for."""
        return tuple(name for name in self.measures if MEASURES[name] == kind)


@dataclass(eq=False)
class LayerFound:
    """What was found at one layer."""

    rows: list[AlignmentRow] = field(default_factory=list)
    similarity: dict[str, Any] | None = None
    tree: dict[str, Any] | None = None
    places: dict[str, Any] | None = None
    sources: list[dict[str, Any]] = field(default_factory=list)
    curves: dict[str, Any] = field(default_factory=dict)


def layer_rows(
    work: LayerWork, site: str, layer: int, vectors: FloatArray, words: WordStates | None
) -> LayerFound:
    """Every number of one layer, means over pairs first."""
    found = LayerFound()
    told: dict[str, str] = {}
    # Once for all pairs: among many varieties every one is in many pairs.
    units = unit_rows(vectors) if work.of_kind("pair") else np.zeros((0, 0))
    by_pair = [
        (
            (a, b),
            _pair(work, vectors, units, a, b, told) + _words(work, words, a, b, found.curves, told),
        )
        for a, b in work.pairs
    ]
    _add_pairs(found.rows, work, site, layer, by_pair)
    _add_means(found.rows, work, site, layer, _varieties(work, vectors, told))
    if "similarity" in work.measures:
        _similarity(work, site, layer, vectors, found, told)
    for name, reason in told.items():
        work.notes.setdefault(f"{name}, {site} layer {layer}", reason)
    return found


def gradient_rows(
    work: LayerWork,
    gradients: Mapping[int, FloatArray],
    place: Mapping[int, int],
    estimates: Any,
) -> list[AlignmentRow]:
    """Gradient cosines of every block; `place` maps places of items to rows of `gradients`."""
    rows: list[AlignmentRow] = []
    for block, values in gradients.items():
        by_pair = []
        for a, b in work.pairs:
            here = [
                (place[int(i)], place[int(j)])
                for i, j in work.sets.table[[a, b]].T
                if int(i) in place and int(j) in place
            ]
            if len(here) < 2:
                continue
            first, second = np.array(here).T
            found = estimates(
                values[first], values[second], resamples=work.resamples, seed=work.seed
            )
            by_pair.append(((a, b), found))
        _add_pairs(rows, work, "gradients", block, by_pair)
    return rows


def _pair(
    work: LayerWork,
    vectors: FloatArray,
    units: Doubles,
    a: int,
    b: int,
    told: dict[str, str],
) -> list[Estimate]:
    names = work.of_kind("pair")
    if not names:
        return []
    shared = work.sets.shared(a, b)
    here, there = work.sets.table[a, shared], work.sets.table[b, shared]
    return pair_estimates(
        vectors[here],
        vectors[there],
        names,
        draws=work.draws.at(shared),
        neighbours=work.neighbours,
        cca=work.cca,
        notes=told,
        units=(units[here], units[there]),
    )


def _words(
    work: LayerWork,
    states: WordStates | None,
    a: int,
    b: int,
    curves: dict[str, Any],
    told: dict[str, str],
) -> list[Estimate]:
    names = work.of_kind("words")
    if not names:
        return []
    if states is None:
        told |= dict.fromkeys(names, "the encoder does not tell words")
        return []
    table, varieties = work.sets.table, work.sets.varieties
    lexicon = None
    if work.lexicon is not None:
        lexicon = work.lexicon.get((varieties[a], varieties[b]))
        if lexicon is None:
            told |= dict.fromkeys(names, "the lexicon has no words of some pairs of varieties")
            return []
    sides = [{m: int(i) for m, i in enumerate(table[v]) if i >= 0} for v in (a, b)]
    found: list[Estimate] = []
    if "words" in names:
        linked = linked_words(
            states, sides[0], sides[1], work.words, lexicon, most=work.word_pairs, seed=work.seed
        )
        try:
            found += word_estimates(
                states.values, linked, neighbours=work.word_neighbours,
                resamples=work.resamples, seed=work.seed,
            )  # fmt: skip
        except ValueError as error:
            told["words"] = str(error)
    if "concepts" in names:
        rows = [np.flatnonzero(np.isin(states.item, list(side.values()))) for side in sides]
        types = [
            [work.words[int(states.item[r])][int(states.word[r])] for r in own] for own in rows
        ]
        curve: dict[str, Any] = {}
        try:
            found += concept_estimates(
                states.values, (rows[0], rows[1]), (types[0], types[1]), lexicon,
                options=work.concepts, resamples=work.resamples, curves=curve,
            )  # fmt: skip
            curves[f"{varieties[a]} {varieties[b]}"] = curve
        except (ValueError, MissingExtra) as error:
            told["concepts"] = str(error)
    return found


def _varieties(work: LayerWork, vectors: FloatArray, told: dict[str, str]) -> list[Estimate]:
    names = work.of_kind("varieties")
    if not names:
        return []
    variety, meaning = np.nonzero(work.sets.table >= 0)
    layer = Layer(
        vectors[work.sets.table[variety, meaning]],
        variety.astype(np.int64),
        meaning.astype(np.int64),
        work.sets.varieties,
        work.sets.groups,
    )
    return variety_estimates(layer, names, draws=work.draws, options=work.varieties, notes=told)


def _similarity(
    work: LayerWork,
    site: str,
    layer: int,
    vectors: FloatArray,
    found: LayerFound,
    told: dict[str, str],
) -> None:
    similar = similarity_matrix(vectors, work.sets, work.draws)
    v = len(similar.names)
    low, high = np.full((v, v), np.nan), np.full((v, v), np.nan)
    for i, j in np.argwhere(~np.isnan(similar.values)):
        bounds = percentile_interval(similar.samples[:, i, j], work.level)
        if bounds is not None:
            value = similar.values[i, j]
            low[i, j], high[i, j] = min(bounds[0], value), max(bounds[1], value)
    found.similarity = {
        "names": list(similar.names),
        "values": _plain(similar.values),
        "low": _plain(low),
        "high": _plain(high),
        "shared": similar.shared.tolist(),
    }
    found.tree = variety_tree(similar)
    names, places = map_places(similar)
    found.places = {"names": names, "places": places.tolist()}
    above = np.triu_indices(v, 1)
    known = ~np.isnan(similar.values[above])
    if known.any():
        drawn = similar.samples[:, above[0], above[1]][:, known]
        usable = drawn[~np.isnan(drawn).any(axis=1)]
        mean = Estimate(
            "mean similarity",
            float(similar.values[above][known].mean()),
            usable.mean(axis=1),
            int(known.sum()),
        )
        _add_means(found.rows, work, site, layer, [mean])
    estimates = distance_estimates(
        similar, work.distances, permutations=work.permutations, seed=work.seed, notes=told
    )
    found.sources, stability = source_choice(similar, seed=work.seed)
    if stability is not None:
        estimates.append(stability)
    _add_means(found.rows, work, site, layer, estimates)


def _add_pairs(
    rows: list[AlignmentRow],
    work: LayerWork,
    site: str,
    layer: int,
    by_pair: list[tuple[tuple[int, int], list[Estimate]]],
) -> None:
    grouped: dict[str, list[Estimate]] = defaultdict(list)
    sizes: dict[str, int] = defaultdict(int)
    single: list[AlignmentRow] = []
    for (a, b), estimates in by_pair:
        for one in estimates:
            grouped[one.name].append(one)
            sizes[one.name] += one.n if one.direction != "back" else 0
            ends = (b, a) if one.direction == "back" else (a, b)
            pair = (work.sets.varieties[ends[0]], work.sets.varieties[ends[1]])
            single.append(_row(work, site, layer, one, pair))
    means = [mean_estimate(group) for group in grouped.values()]
    _add_means(rows, work, site, layer, means, sizes)
    rows += single


def _add_means(
    rows: list[AlignmentRow],
    work: LayerWork,
    site: str,
    layer: int,
    estimates: Iterable[Estimate],
    sizes: Mapping[str, int] | None = None,
) -> None:
    for one in estimates:
        row = _row(work, site, layer, one, None, (sizes or {}).get(one.name))
        rows.append(row)


def _row(
    work: LayerWork,
    site: str,
    layer: int,
    one: Estimate,
    pair: tuple[str, str] | None,
    n: int | None = None,
) -> AlignmentRow:
    bounds = interval_of(one, work.level)
    low, high = bounds if bounds is not None else (None, None)
    return AlignmentRow(
        one.name, layer, site, one.value, low, high, one.n if n is None else n, one.rises, pair,
        one.note,
    )  # fmt: skip


def _plain(table: Doubles) -> list[list[float | None]]:
    return [[None if np.isnan(cell) else float(cell) for cell in row] for row in table]
