"""Vectors of several varieties in; what tells varieties apart, and how they fill the space, out.

Called by `alignment` for each layer.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from isogloss.measures.clusters import v_measure
from isogloss.measures.dimension import (
    neighbour_ratios,
    participation_ratio,
    participation_samples,
    two_nn_of_ratios,
)
from isogloss.measures.halves import random_halves
from isogloss.measures.isotropy import (
    iso_score,
    mean_random_cosine,
    outlier_dimensions,
    random_cosine_samples,
    top_component_share,
    top_share_samples,
)
from isogloss.measures.rows import unit_rows
from isogloss.measures.variety_tree import complete_linkage, cut_tree
from isogloss.tasks.alignment_pairs import Draws, Estimate, recentred
from isogloss.tasks.linear_probe import fit_probe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from isogloss.types import FloatArray

__all__ = ["VARIETY_MEASURES", "Layer", "VarietyOptions", "variety_estimates"]

Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

_LEAST_FAMILIES = 2
# With the curvature known these reach what 200 reach without, and later ones change no guess.
_PROBE_STEPS = 80


@dataclass(frozen=True, slots=True)
class VarietyOptions:
    """What changes these numbers.

    Attributes:
        folds: of the probes; each fold holds out meanings.
        most_rows: rows of which inner products are kept for isotropy and dimension.
        outlier_z: how far off the mean of a dimension must be.
        permutations: shuffled families that the V-measure is held against.
        seed: of folds, rows and permutations.
        resamples: of intervals over rows.
    """

    folds: int = 5
    most_rows: int = 1500
    outlier_z: float = 3.0
    permutations: int = 199
    seed: int = 0
    resamples: int = 200


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """All vectors of one layer: `values` (N, D), `variety` (N,) and `meaning` (N,) by number."""

    values: FloatArray
    variety: Indices
    meaning: Indices
    names: tuple[str, ...]
    groups: tuple[str, ...]


def _identification(layer: Layer, draws: Draws, options: VarietyOptions) -> list[Estimate]:
    del draws
    return list(_probe(layer, options, centre=False))


def _neutrality(layer: Layer, draws: Draws, options: VarietyOptions) -> list[Estimate]:
    del draws
    return [replace(one, name=f"{one.name} centred") for one in _probe(layer, options, centre=True)]


def _probe(layer: Layer, options: VarietyOptions, *, centre: bool) -> tuple[Estimate, Estimate]:
    """Accuracy of a linear probe of the variety on meanings it has not seen, and neutrality.

    With `centre`, one half of the training meanings gives the means of varieties and the other
    trains the probe: on vectors whose own means were taken away, every linear probe learns
    nothing, which would say nothing.
    """
    fold = _folds(layer.meaning, options)
    guessed = np.zeros(len(fold), dtype=np.int64)
    # What is 0 but for rounding must not be blown up to variance 1.
    least = 1e-6 * float(np.abs(layer.values).max(initial=0))
    for number in range(int(fold.max()) + 1):
        test, train = fold == number, fold != number
        values = layer.values
        if centre:
            half = _folds(layer.meaning, options, folds=2, salt=number + 1) == 0
            values, known = _centred(layer, train & half), train & half
            train = train & ~half
            if not all(known[layer.variety == v].any() for v in range(len(layer.names))):
                raise ValueError("too few meanings to centre on some and to probe others")
        present = np.unique(layer.variety[train])
        if len(present) < 2:
            raise ValueError("too few meanings to hold some out of the probe")
        labels = np.searchsorted(present, layer.variety[train])
        probe = fit_probe(
            values[train], labels, len(present), least_spread=least, curved=True, steps=_PROBE_STEPS
        )
        guessed[test] = present[probe.guess(values[test])]
    right = guessed == layer.variety
    counts = np.bincount(layer.variety, minlength=len(layer.names))
    chance = float(counts.max() / counts.sum())
    accuracy = float(right.mean())
    samples = _by_meaning(right.astype(np.float64), layer.meaning, options)
    span = max(1 - chance, 1e-12)
    note = f"chance {chance:.3f}, {int(fold.max()) + 1} folds by meaning"
    first = Estimate(
        "variety identification", accuracy, samples, len(right), rises=False, note=note
    )
    value = float(np.clip(1 - (accuracy - chance) / span, 0, 1))
    second = Estimate(
        "neutrality", value, np.clip(1 - (samples - chance) / span, 0, 1), len(right), note=note
    )
    return first, second


def _folds(
    meaning: Indices, options: VarietyOptions, *, folds: int | None = None, salt: int = 0
) -> Indices:
    """The fold of each row; all rows of a meaning are in one. crc32, so that no process differs."""
    known = np.unique(meaning).tolist()
    order = sorted(known, key=lambda m: (zlib.crc32(f"{options.seed}:{salt}:{m}".encode()), m))
    count = min(folds or options.folds, len(known))
    fold = {m: i % count for i, m in enumerate(order)}
    return np.array([fold[m] for m in meaning.tolist()], dtype=np.int64)


def _centred(layer: Layer, known: npt.NDArray[np.bool_]) -> FloatArray:
    values = layer.values.copy()
    for v in range(len(layer.names)):
        own = known & (layer.variety == v)
        if own.any():
            values[layer.variety == v] -= layer.values[own].mean(axis=0)
    return values


def _by_meaning(per_row: Doubles, meaning: Indices, options: VarietyOptions) -> Doubles:
    """Means of rows when meanings are drawn with replacement, (B,)."""
    rng = np.random.default_rng(options.seed)
    _, place = np.unique(meaning, return_inverse=True)
    sums = np.bincount(place, weights=per_row)
    sizes = np.bincount(place).astype(np.float64)
    drawn = rng.integers(0, len(sums), (options.resamples, len(sums)))
    return np.asarray(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1), dtype=np.float64)


def _families(layer: Layer, draws: Draws, options: VarietyOptions) -> list[Estimate]:
    """V-measure of a tree of variety centroids, cut into as many groups as there are families."""
    families = sorted(set(layer.groups))
    v = len(layer.names)
    if not _LEAST_FAMILIES <= len(families) < v:
        raise ValueError(
            f"{v} varieties of {len(families)} families: the V-measure needs at least two "
            "families, and one with several varieties"
        )
    truth = np.array([families.index(group) for group in layer.groups])
    found = _clusters(_centroids(layer, None), len(families))
    value = v_measure(truth, found).v
    samples = np.array(
        [
            v_measure(truth, _clusters(_centroids(layer, half), len(families))).v
            for half in draws.halves
        ]
    )
    rng = np.random.default_rng(options.seed)
    null = np.array(
        [v_measure(rng.permutation(truth), found).v for _ in range(options.permutations)]
    )
    p = (1 + int((null >= value - 1e-12).sum())) / (1 + len(null))
    note = f"{len(families)} families; shuffled {null.mean():.3f}, p {p:.3f}"
    # A half has centroids of its own kind; its values stay in [0, 1], so they are not moved.
    return [Estimate("family V-measure", value, samples, v, note=note)]


def _centroids(layer: Layer, half: npt.NDArray[np.bool_] | None) -> Doubles:
    used = np.ones(len(layer.values), bool) if half is None else half[layer.meaning]
    rows = []
    for v in range(len(layer.names)):
        own = used & (layer.variety == v)
        if not own.any():
            own = layer.variety == v
        rows.append(layer.values[own].mean(axis=0, dtype=np.float64))
    return np.stack(rows)


def _clusters(centroids: Doubles, groups: int) -> Indices:
    # What all varieties share says nothing about which are near.
    unit = unit_rows(centroids - centroids.mean(axis=0))
    return cut_tree(complete_linkage(1 - np.clip(unit @ unit.T, -1, 1)), groups)


def _isotropy(layer: Layer, draws: Draws, options: VarietyOptions) -> list[Estimate]:
    del draws
    rows = _sample(layer, options)
    n = len(rows)
    rng = np.random.default_rng(options.seed)
    counts = rng.multinomial(n, np.full(n, 1 / n), options.resamples).astype(np.float64)
    halves = random_halves(n, resamples=options.resamples, seed=options.seed)
    share, iso = top_component_share(rows), iso_score(rows)
    width = rows.shape[1]
    ratios = participation_samples(rows, halves)
    isos = (ratios - 1) / (width - 1) if width > 1 else np.full(len(ratios), np.nan)
    note = "" if n > width else f"{n} items for {width} dimensions: cannot reach 1"
    return [
        Estimate(
            "random cosine", mean_random_cosine(rows), random_cosine_samples(rows, counts), n,
            rises=False,
        ),
        Estimate("IsoScore", iso, recentred(iso, isos), n, note=note),
        Estimate(
            "top component share", share, recentred(share, top_share_samples(rows, halves)), n,
            rises=False,
        ),
    ]  # fmt: skip


def _outliers(layer: Layer, draws: Draws, options: VarietyOptions) -> list[Estimate]:
    del draws
    rows = _sample(layer, options)
    found = outlier_dimensions(rows, z=options.outlier_z)
    rng = np.random.default_rng(options.seed)
    counts = rng.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), options.resamples)
    means = counts @ rows / len(rows)
    means = means - means.mean(axis=1, keepdims=True)
    spread = means.std(axis=1, keepdims=True)
    scores = np.divide(means, spread, out=np.zeros_like(means), where=spread > 0)
    samples = (np.abs(scores) > options.outlier_z).sum(axis=1).astype(np.float64)
    told = ", ".join(f"{one.dimension} (z {one.z:+.1f})" for one in found[:8])
    note = f"|z| > {options.outlier_z:g}: {told or 'none'}" + (", ..." if len(found) > 8 else "")
    return [Estimate("outlier dimensions", float(len(found)), samples, len(rows), False, note=note)]


def _dimension(layer: Layer, draws: Draws, options: VarietyOptions) -> list[Estimate]:
    del draws
    rows = _sample(layer, options)
    ratios = neighbour_ratios(rows)
    value = two_nn_of_ratios(ratios)
    rng = np.random.default_rng(options.seed)
    samples = np.full(options.resamples, np.nan)
    for b in range(options.resamples if len(ratios) else 0):
        samples[b] = two_nn_of_ratios(ratios[rng.integers(0, len(ratios), len(ratios))])
    halves = random_halves(len(rows), resamples=options.resamples, seed=options.seed)
    ratio = participation_ratio(rows)
    return [
        Estimate("TwoNN dimension", value, samples, len(ratios)),
        Estimate(
            "participation ratio", ratio, recentred(ratio, participation_samples(rows, halves)),
            len(rows),
        ),
    ]  # fmt: skip


def _sample(layer: Layer, options: VarietyOptions) -> Doubles:
    rows = layer.values.astype(np.float64)
    if len(rows) > options.most_rows:
        rng = np.random.default_rng(options.seed)
        rows = rows[np.sort(rng.permutation(len(rows))[: options.most_rows])]
    return rows


VARIETY_MEASURES: dict[str, Callable[[Layer, Draws, VarietyOptions], list[Estimate]]] = {
    "identification": _identification,
    "neutrality": _neutrality,
    "v-measure": _families,
    "isotropy": _isotropy,
    "outliers": _outliers,
    "dimension": _dimension,
}
"""Name of a measure of all varieties together to what computes it."""


def variety_estimates(
    layer: Layer,
    measures: Sequence[str],
    *,
    draws: Draws,
    options: VarietyOptions | None = None,
    notes: dict[str, Any] | None = None,
) -> list[Estimate]:
    """Measures of all vectors of one layer.

    Args:
        layer: the vectors.
        measures: keys of `VARIETY_MEASURES`.
        draws: resamples of meanings, by the numbers in `layer.meaning`.
        options: what changes the numbers.
        notes: when given, a measure that these vectors do not allow is left out and the reason
            put here; without it, it is raised.

    Raises:
        ValueError: a measure is unknown, or as said.
    """
    unknown = [name for name in measures if name not in VARIETY_MEASURES]
    if unknown:
        raise ValueError(f"unknown measure '{unknown[0]}'; known: {', '.join(VARIETY_MEASURES)}")
    found: list[Estimate] = []
    for name in measures:
        try:
            found += VARIETY_MEASURES[name](layer, draws, options or VarietyOptions())
        except ValueError as error:
            if notes is None:
                raise
            notes[name] = str(error)
    return found
