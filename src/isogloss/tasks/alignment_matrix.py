"""Vectors of several varieties in; how like the model finds them, as a tree and beside maps, out.

The mean cosine of translations at one layer is a similarity of varieties. Called by `alignment`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from isogloss.measures.correlation import average_ranks, pearson
from isogloss.measures.mantel import mantel
from isogloss.measures.rows import unit_rows
from isogloss.measures.variety_tree import complete_linkage, leaf_order, newick
from isogloss.tasks.alignment_pairs import Draws, Estimate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from isogloss.tasks.alignment_sets import AlignedSets
    from isogloss.types import FloatArray

__all__ = [
    "VarietySimilarity",
    "distance_estimates",
    "map_places",
    "similarity_matrix",
    "source_choice",
    "variety_tree",
]

Doubles = npt.NDArray[np.float64]

_LEAST_VARIETIES = 4


@dataclass(frozen=True, slots=True, eq=False)
class VarietySimilarity:
    """`values` (V, V) mean cosine of translations, 1 on the diagonal, NaN where nothing is shared.

    `samples` (B, V, V) has the same on resampled meanings, `shared` (V, V) the numbers of items.
    """

    names: tuple[str, ...]
    values: Doubles
    samples: Doubles
    shared: npt.NDArray[np.int64]


def similarity_matrix(vectors: FloatArray, sets: AlignedSets, draws: Draws) -> VarietySimilarity:
    """How like the varieties are to a model at one layer: mean cosine of matched items.

    Args:
        vectors: (N, D), a row for each of `sets.items`.
        sets: which items mean the same.
        draws: resamples of the meanings of `sets`.

    Source: Lin et al. 2024, "mPLM-Sim" (there of multi-parallel sentences; here of the meanings
    that each two varieties share).
    """
    v, b = len(sets.varieties), len(draws.counts)
    unit = unit_rows(vectors)
    values, samples = np.full((v, v), np.nan), np.full((b, v, v), np.nan)
    shared = np.zeros((v, v), dtype=np.int64)
    for one in range(v):
        values[one, one] = 1.0
        samples[:, one, one] = 1.0
        shared[one, one] = int((sets.table[one] >= 0).sum())
        for other in range(one + 1, v):
            meanings = sets.shared(one, other)
            shared[one, other] = shared[other, one] = len(meanings)
            if not len(meanings):
                continue
            here, there = sets.table[one, meanings], sets.table[other, meanings]
            cosines = (unit[here] * unit[there]).sum(axis=1)
            values[one, other] = values[other, one] = cosines.mean()
            counts = draws.counts[:, meanings]
            total = counts.sum(axis=1)
            drawn = np.full(b, np.nan)
            np.divide(counts @ cosines, total, out=drawn, where=total > 0)
            samples[:, one, other] = samples[:, other, one] = drawn
    return VarietySimilarity(sets.varieties, values, samples, shared)


def variety_tree(similarity: VarietySimilarity) -> dict[str, Any] | None:
    """The tree of complete linkage over 1 - similarity, as plain data; None below two varieties.

    Keys: 'names', 'linkage' (as scipy lays it out), 'order' (to draw without crossings),
    'newick', and 'left_out': varieties that share no meaning with some other.
    """
    keep = _complete(similarity.values)
    if len(keep) < 2:
        return None
    distances = np.maximum(1 - similarity.values[np.ix_(keep, keep)], 0)
    linkage = complete_linkage(distances)
    names = [similarity.names[i] for i in keep]
    return {
        "names": names,
        "linkage": linkage.tolist(),
        "order": [names[i] for i in leaf_order(linkage)],
        "newick": newick(linkage, names),
        "left_out": [name for i, name in enumerate(similarity.names) if i not in keep],
    }


def distance_estimates(
    similarity: VarietySimilarity,
    distances: Mapping[str, Doubles],
    *,
    permutations: int = 999,
    seed: int = 0,
    notes: dict[str, str],
) -> list[Estimate]:
    """Spearman correlation of the model's distances with others, with Mantel's p in the note.

    Positive where varieties that are near by that evidence are near to the model. Varieties for
    which a distance is not known are left out of that one.

    Args:
        similarity: of one layer.
        distances: (V, V) by kind, NaN where not known.
        permutations: of Mantel's test.
        seed: of the test.
        notes: gets the reason where fewer than 4 varieties are left, or nothing varies.
    """
    found = []
    for kind, distance in distances.items():
        keep = _complete(similarity.values, distance)
        if len(keep) < _LEAST_VARIETIES:
            notes[f"distance {kind}"] = (
                f"known for {len(keep)} varieties that can be compared; {_LEAST_VARIETIES} are "
                "needed"
            )
            continue
        inside = np.ix_(keep, keep)
        own, other = 1 - similarity.values[inside], distance[inside]
        test = mantel(own, other, permutations=permutations, seed=seed)
        if test is None:
            notes[f"distance {kind}"] = "all equal among these varieties"
            continue
        above = np.triu_indices(len(keep), 1)
        ranks = average_ranks(other[above])
        samples = []
        for table in similarity.samples:
            cells = 1 - table[inside][above]
            value = None if np.isnan(cells).any() else pearson(average_ranks(cells), ranks)
            samples.append(np.nan if value is None else value)
        found.append(
            Estimate(
                f"correlation with {kind} distance",
                test.correlation,
                np.array(samples, dtype=np.float64),
                len(keep),
                note=f"{len(keep)} varieties, Mantel p {test.p:.3f}, {permutations} permutations",
            )
        )
    return found


def source_choice(
    similarity: VarietySimilarity, *, seed: int = 0
) -> tuple[list[dict[str, Any]], Estimate | None]:
    """For each target variety the others by similarity, and how firm the first choice is.

    Args:
        similarity: of one layer.
        seed: of the interval, over targets.

    Returns:
        A row for each target: 'target', 'source', 'similarity', 'stability' (share of resamples in
        which the same source comes first), and 'ranks', all sources, most similar first. The
        estimate is the mean stability over targets; None with fewer than three varieties, where
        there is nothing to choose.
    """
    v = len(similarity.names)
    rows: list[dict[str, Any]] = []
    firm = []
    for target in range(v):
        others = [i for i in range(v) if i != target and not np.isnan(similarity.values[target, i])]
        if len(others) < 2:
            continue
        order = sorted(others, key=lambda i: (-similarity.values[target, i], i))
        drawn = similarity.samples[:, target][:, order]
        usable = drawn[~np.isnan(drawn).any(axis=1)]
        stability = float((usable.argmax(axis=1) == 0).mean()) if len(usable) else None
        if len(usable):
            firm.append(usable.argmax(axis=1) == 0)
        rows.append(
            {
                "target": similarity.names[target],
                "source": similarity.names[order[0]],
                "similarity": float(similarity.values[target, order[0]]),
                "stability": stability,
                "ranks": [similarity.names[i] for i in order],
            }
        )
    if not firm:
        return rows, None
    size = min(len(row) for row in firm)
    # Resamples are counted, not drawn again: the interval is over targets.
    means = np.array([row[:size].mean() for row in firm])
    shape = (len(similarity.samples), len(means))
    drawn_targets = np.random.default_rng(seed).integers(0, len(means), shape)
    estimate = Estimate(
        "source choice stability",
        float(means.mean()),
        means[drawn_targets].mean(axis=1),
        len(means),
    )
    return rows, estimate


def map_places(similarity: VarietySimilarity) -> tuple[list[str], Doubles]:
    """Varieties as points whose distances are near 1 - similarity: names and (V, 2) places.

    Classical scaling: squared distances, centred twice, the two leading directions. Signs are
    fixed by the largest entry, so a map does not flip between runs. Varieties that share nothing
    with some other are left out.

    Source: Torgerson 1952.
    """
    keep = _complete(similarity.values)
    names = [similarity.names[i] for i in keep]
    distances = np.maximum(1 - similarity.values[np.ix_(keep, keep)], 0)
    np.fill_diagonal(distances, 0)
    square = np.square(distances)
    centred = square - square.mean(axis=0) - square.mean(axis=1, keepdims=True) + square.mean()
    sizes, axes = np.linalg.eigh(-centred / 2)
    order = np.argsort(sizes)[::-1][:2]
    places = np.zeros((len(keep), 2))
    for column, axis in enumerate(order):
        direction = axes[:, axis]
        direction = direction * np.sign(direction[np.argmax(np.abs(direction))] or 1)
        places[:, column] = direction * np.sqrt(max(float(sizes[axis]), 0))
    return names, places


def _complete(*tables: Doubles) -> list[int]:
    """Varieties among which nothing is NaN; the one with most gaps is left out first."""
    keep = list(range(len(tables[0])))
    while len(keep) > 1:
        inside = np.ix_(keep, keep)
        gaps = sum(np.isnan(table[inside]).sum(axis=1) for table in tables)
        if not np.any(gaps):
            break
        del keep[int(np.argmax(gaps))]
    return keep
