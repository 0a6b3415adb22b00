"""Clusters of token states in, how many mean the same across two varieties (CALIGN, COLAP) out.

A concept is a cluster of token states. CALIGN asks whether clusters found for each variety alone
translate into each other, COLAP whether clusters found for both together hold tokens of both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["AlignedConcepts", "calign", "colap", "concept_matches"]

Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.integer]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class AlignedConcepts:
    """Result: `share` of clusters that count, and which: `hits` (K,) bool for judged clusters.

    `share` is NaN where no cluster could be judged; `left_out` counts those too small.
    """

    share: float
    hits: Bools
    left_out: int


def concept_matches(
    source: Sequence[tuple[int, str]],
    target: Sequence[tuple[int, str]],
    lexicon: Mapping[str, frozenset[str]],
) -> tuple[Doubles, Indices, Indices]:
    """For each source cluster and target cluster, the share of source types translated in target.

    Args:
        source: (cluster, word type) of each token state of the source variety.
        target: the same of the target variety.
        lexicon: source type to its translations; a type without one never matches.

    Returns:
        Shares (S, T) with S and T the numbers of clusters that hold anything, in order of their
        number, and the numbers of different types of each, (S,) and (T,).
    """
    of_source, of_target = _types(source), _types(target)
    places: dict[str, list[int]] = {}
    for column, there in enumerate(of_target):
        for word in there:
            places.setdefault(word, []).append(column)
    number = {word: i for i, word in enumerate(dict.fromkeys(word for _, word in source))}
    member = np.zeros((len(of_source), len(number)))
    for row, types in enumerate(of_source):
        member[row, [number[word] for word in types]] = 1
    translated = np.zeros((len(number), len(of_target)))
    for word, i in number.items():
        for other in lexicon.get(word, ()):
            translated[i, places.get(other, [])] = 1
    sizes_source = np.array([len(types) for types in of_source], dtype=np.int64)
    sizes_target = np.array([len(types) for types in of_target], dtype=np.int64)
    # Sums of ones are exact, so the order of words changes nothing.
    shares = member @ translated / np.maximum(sizes_source, 1)[:, np.newaxis]
    return shares, sizes_source, sizes_target


def calign(
    matches: tuple[Doubles, Indices, Indices],
    *,
    match: float = 0.5,
    least_types: int = 3,
    least_size_ratio: float = 0.1,
) -> AlignedConcepts:
    """CALIGN: share of source clusters that some target cluster translates, in [0, 1].

    A source cluster is judged when it has at least `least_types` types. It is aligned when a
    target cluster has translations for at least `match` of its types, and the two have sizes, in
    types, whose smaller is at least `least_size_ratio` of the larger: else one huge cluster would
    translate everything.

    Args:
        matches: from `concept_matches`.
        match: share of types, above 0 and at most 1.
        least_types: of a source cluster.
        least_size_ratio: from 0 (any sizes) to 1.

    Raises:
        ValueError: a threshold is out of its range.

    Source: Mousi et al. 2024, "Exploring Alignment in Shared Cross-lingual Spaces". The size
    ratio binds both ways here. Thresholds are ours; report them with the number.
    """
    if not 0 < match <= 1:
        raise ValueError(f"match must be above 0 and at most 1, got {match}")
    if least_types < 1 or not 0 <= least_size_ratio <= 1:
        raise ValueError(
            f"least_types must be at least 1 and least_size_ratio in [0, 1], got {least_types} "
            f"and {least_size_ratio}"
        )
    shares, source, target = matches
    judged = source >= least_types
    small = np.minimum(source[:, np.newaxis], target[np.newaxis, :])
    large = np.maximum(source[:, np.newaxis], target[np.newaxis, :])
    alike = small >= least_size_ratio * large
    reached = np.asarray((shares >= match - 1e-12) & alike, dtype=np.bool_)
    hits = np.asarray(reached.any(axis=1), dtype=np.bool_)[judged]
    return _result(hits, int((~judged).sum()))


def colap(
    clusters: Indices, second: Bools, *, overlap: float = 0.3, least_tokens: int = 5
) -> AlignedConcepts:
    """COLAP: share of joint clusters in which each variety has at least `overlap` of the members.

    In [0, 1]. Where one variety brings most tokens, even perfect mixing fails a high `overlap`:
    give both equally many.

    Args:
        clusters: (N,) the cluster of each token state of both varieties.
        second: (N,) whether the state is of the second variety.
        overlap: share of members, above 0 and at most 0.5.
        least_tokens: clusters with fewer members are not judged.

    Raises:
        ValueError: shapes differ, or a threshold is out of its range.

    Source: Mousi et al. 2024, as `calign`.
    """
    if not 0 < overlap <= 0.5:
        raise ValueError(f"overlap must be above 0 and at most 0.5, got {overlap}")
    if least_tokens < 1:
        raise ValueError(f"least_tokens must be at least 1, got {least_tokens}")
    clusters, second = np.asarray(clusters), np.asarray(second, dtype=bool)
    if clusters.ndim != 1 or clusters.shape != second.shape:
        raise ValueError(f"expected (N,) twice, got {clusters.shape} and {second.shape}")
    _, place = np.unique(clusters, return_inverse=True)
    members = np.bincount(place)
    share = np.bincount(place, weights=second, minlength=len(members)) / np.maximum(members, 1)
    judged = members >= least_tokens
    hits: Bools = (np.minimum(share, 1 - share) >= overlap - 1e-12)[judged]
    return _result(hits, int((~judged).sum()))


def _types(states: Sequence[tuple[int, str]]) -> list[set[str]]:
    found: dict[int, set[str]] = {}
    for cluster, word in states:
        found.setdefault(int(cluster), set()).add(word)
    return [found[cluster] for cluster in sorted(found)]


def _result(hits: Bools, left_out: int) -> AlignedConcepts:
    return AlignedConcepts(float(hits.mean()) if len(hits) else float("nan"), hits, left_out)
