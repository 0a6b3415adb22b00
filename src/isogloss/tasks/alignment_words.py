"""States of words in context in; do words find their translations, and do concepts align.

Called by `alignment` for each layer and pair of varieties. Which words belong together says a
lexicon of the user's, links of sentence pairs, or, for want of both, that they are written alike.
"""

from __future__ import annotations

import zlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from isogloss.encoders.item_text import text_of
from isogloss.encoders.words import item_spans
from isogloss.errors import BadRecord, MissingExtra
from isogloss.measures.concepts import AlignedConcepts, calign, colap, concept_matches
from isogloss.measures.retrieval import gold_ranks
from isogloss.measures.rows import unit_rows
from isogloss.measures.separation import separation_of_table
from isogloss.scores.csls import csls_scores
from isogloss.tasks.alignment_pairs import Estimate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from isogloss.tasks.alignment_encode import WordStates
    from isogloss.types import FloatArray, Item

__all__ = [
    "MATCHES",
    "OVERLAPS",
    "ConceptOptions",
    "WordPairs",
    "concept_estimates",
    "item_words",
    "linked_words",
    "read_lexicon",
    "word_estimates",
]

Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Lexicon = dict[tuple[str, str], dict[str, frozenset[str]]]

MATCHES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Thresholds of CALIGN's curve."""
OVERLAPS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)
"""Thresholds of COLAP's curve."""

_LEAST_PAIRS = 10
_STARTS = 3
_LEAST_STATES = 40


@dataclass(frozen=True, slots=True)
class ConceptOptions:
    """What concept clusters are; every one of these changes CALIGN or COLAP.

    Attributes:
        clusters: of each variety (CALIGN) and of both (COLAP); cut to a fifth of the states.
        least_count: word types with fewer states are left out;
        most_count: of commoner ones that many states are kept.
        match: CALIGN's share of translated types.
        least_types: of a cluster that CALIGN judges.
        least_size_ratio: of two clusters that CALIGN puts together.
        overlap: COLAP's share of members.
        least_tokens: of a cluster that COLAP judges.
        seed: of the clusters.
    """

    clusters: int = 100
    least_count: int = 2
    most_count: int = 20
    match: float = 0.5
    least_types: int = 3
    least_size_ratio: float = 0.1
    overlap: float = 0.3
    least_tokens: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("clusters", "least_count", "most_count", "least_types", "least_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.match <= 1:
            raise ValueError(f"match must be above 0 and at most 1, got {self.match}")
        if not 0 < self.overlap <= 0.5:
            raise ValueError(f"overlap must be above 0 and at most 0.5, got {self.overlap}")
        if not 0 <= self.least_size_ratio <= 1:
            raise ValueError(f"least_size_ratio must be in [0, 1], got {self.least_size_ratio}")


@dataclass(frozen=True, slots=True, eq=False)
class WordPairs:
    """Rows of two varieties' word states that belong together, (L,) each, and how we know."""

    first: Indices
    second: Indices
    basis: str


def item_words(item: Item) -> tuple[str, ...]:
    """The words of an item, lower case, numbered as its states are."""
    text = text_of(item)
    return tuple(text[a:b].casefold() for a, b in item_spans(item))


def read_lexicon(path: Path) -> Lexicon:
    """Translations from a TSV: variety, word, variety, word; both directions are known then.

    Returns:
        (from, to) to word to its translations, all in lower case.

    Raises:
        BadRecord: a line that is not UTF-8 or has not four cells.
        OSError: the file cannot be read.
    """
    found: dict[tuple[str, str], dict[str, set[str]]] = {}
    for number, raw in enumerate(path.read_bytes().splitlines(), 1):
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise BadRecord(path, number, "line", "not UTF-8; save the file as UTF-8") from error
        if not line.strip() or line.startswith("#"):
            continue
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) != 4 or not all(cells):
            raise BadRecord(
                path, number, "line",
                f"expected variety, word, variety, word, parted by tabs; got {len(cells)} cells",
            )  # fmt: skip
        a, word, b, other = cells
        for one, here, two, there in ((a, word, b, other), (b, other, a, word)):
            words = found.setdefault((one, two), {})
            words.setdefault(here.casefold(), set()).add(there.casefold())
    if not found:
        raise BadRecord(path, 1, "line", "the lexicon is empty")
    return {
        pair: {word: frozenset(there) for word, there in words.items()}
        for pair, words in found.items()
    }


def linked_words(
    states: WordStates,
    first: Mapping[int, int],
    second: Mapping[int, int],
    words: Mapping[int, tuple[str, ...]],
    lexicon: Mapping[str, frozenset[str]] | None,
    *,
    most: int = 2000,
    seed: int = 0,
) -> WordPairs:
    """Word states of parallel sentences that translate each other.

    A pair is sure only when each word has one partner in the other sentence, and occurs once in
    its own; other words are passed over. Without a lexicon, words that are written alike are
    partners: names, numbers, loans, and in close varieties much of the vocabulary.

    Args:
        states: of both varieties.
        first: meaning to place of the item of the one variety;
        second: of the other.
        words: place of an item to its words.
        lexicon: word to translations.
        most: pairs kept, in an order fixed by `seed`.
        seed: of that order.
    """
    row = {
        (int(i), int(w)): r for r, (i, w) in enumerate(zip(states.item, states.word, strict=True))
    }
    found: list[tuple[int, int, str]] = []
    for meaning in sorted(first.keys() & second.keys()):
        a, b = first[meaning], second[meaning]
        here, there = words.get(a, ()), words.get(b, ())
        count_a, count_b = Counter(here), Counter(there)
        place_b = {word: i for i, word in enumerate(there)}
        takers = Counter(
            other for word in count_a for other in _partners(word, lexicon) & place_b.keys()
        )
        for i, word in enumerate(here):
            partners = _partners(word, lexicon) & place_b.keys()
            if count_a[word] != 1 or len(partners) != 1:
                continue
            other = next(iter(partners))
            if count_b[other] != 1 or takers[other] != 1 or not _is_word(word):
                continue
            rows = row.get((a, i)), row.get((b, place_b[other]))
            if rows[0] is not None and rows[1] is not None:
                found.append((rows[0], rows[1], f"{meaning}:{word}"))
    found.sort(key=lambda one: (zlib.crc32(f"{seed}:{one[2]}".encode(errors="replace")), one[2]))
    kept = np.array([one[:2] for one in found[:most]], dtype=np.int64).reshape(-1, 2)
    basis = "words written alike" if lexicon is None else "lexicon"
    return WordPairs(kept[:, 0], kept[:, 1], basis)


def word_estimates(
    values: FloatArray, pairs: WordPairs, *, neighbours: int = 10, resamples: int = 200,
    seed: int = 0,
) -> list[Estimate]:  # fmt: skip
    """Contextual word retrieval by CSLS both ways, with the cosines of matched and random words.

    'word R@1': whether the very occurrence in the parallel sentence is the nearest of all.

    Raises:
        ValueError: fewer than 10 pairs.

    Source: Cao et al. 2020, "Multilingual Alignment of Contextual Word Representations".
    """
    if len(pairs.first) < _LEAST_PAIRS:
        raise ValueError(
            f"{len(pairs.first)} word pairs by {pairs.basis}; at least {_LEAST_PAIRS} are needed "
            "(a lexicon helps: --lexicon)"
        )
    unit_a, unit_b = unit_rows(values[pairs.first]), unit_rows(values[pairs.second])
    cosines = unit_a @ unit_b.T
    table = csls_scores(cosines.astype(np.float32), neighbours=neighbours)
    n = len(cosines)
    gold = np.arange(n)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, n, (resamples, n))
    found = []
    for direction, scores in (("there", table), ("back", table.T)):
        hits = (gold_ranks(scores, gold).ranks == 1).astype(np.float64)
        found.append(
            Estimate(
                "word R@1", float(hits.mean()), hits[drawn].mean(axis=1), n, direction=direction,
                note=pairs.basis,
            )
        )  # fmt: skip
    apart = separation_of_table(cosines)
    for name, level, items, rises in (
        ("word cosine matched", apart.matched, apart.matched_items, True),
        ("word cosine random", apart.random, apart.random_items, False),
    ):
        found.append(
            Estimate(name, level, items[drawn].mean(axis=1), n, rises=rises, note=pairs.basis)
        )
    return found


def concept_estimates(
    values: FloatArray,
    rows: tuple[Indices, Indices],
    types: tuple[Sequence[str], Sequence[str]],
    lexicon: Mapping[str, frozenset[str]] | None,
    *,
    options: ConceptOptions | None = None,
    resamples: int = 200,
    curves: dict[str, Any] | None = None,
) -> list[Estimate]:
    """CALIGN and COLAP of two varieties, beside what shuffled words and mixed varieties would give.

    Args:
        values: (S, D) word states.
        rows: those of the two varieties.
        types: the word type of each of these rows.
        lexicon: word to translations; None counts words written alike as translations.
        options: what clusters are, and the thresholds.
        resamples: of intervals over clusters.
        curves: when given, both measures over `MATCHES` and `OVERLAPS` are put here.

    Raises:
        ValueError: too few states, or no cluster that can be judged.
        MissingExtra: scikit-learn is not installed.
    """
    chosen = options or ConceptOptions()
    picked = [_picked(own, words, chosen) for own, words in zip(rows, types, strict=True)]
    size = min(len(own) for own, _ in picked)
    if size < _LEAST_STATES:
        raise ValueError(
            f"{size} word states of types that occur at least {chosen.least_count} times; at "
            f"least {_LEAST_STATES} are needed in each variety (more items help)"
        )
    # Equally many of both, or the larger variety would rule every joint cluster.
    (rows_a, types_a), (rows_b, types_b) = ((own[:size], words[:size]) for own, words in picked)
    clusters = min(chosen.clusters, max(2, size // 5))
    label_a = _clustered(values[rows_a], clusters, chosen.seed)
    label_b = _clustered(values[rows_b], clusters, chosen.seed)
    joint = _clustered(values[np.concatenate([rows_a, rows_b])], clusters, chosen.seed)
    second = np.arange(2 * size) >= size
    translations = lexicon if lexicon is not None else {w: frozenset({w}) for w in types_a}
    here = list(zip(label_a.tolist(), types_a, strict=True))
    there = list(zip(label_b.tolist(), types_b, strict=True))
    rng = np.random.default_rng(chosen.seed)
    basis = "words written alike" if lexicon is None else "lexicon"
    found: list[Estimate] = []
    by_direction: list[dict[str, float | None]] = []
    for direction, one, other, known in (
        ("there", here, there, translations),
        ("back", there, here, _inverted(translations)),
    ):
        matches = concept_matches(one, other, known)
        aligned = _calign(matches, chosen.match, chosen)
        shuffled = _calign(concept_matches(one, _shuffled(other, rng), known), chosen.match, chosen)
        note = f"shuffled words give {shuffled.share:.3f}; {basis}"
        found.append(_of_clusters("CALIGN", aligned, direction, note, resamples, rng))
        by_direction.append({str(m): _finite(_calign(matches, m, chosen).share) for m in MATCHES})
    least = chosen.least_tokens
    overlapping = colap(joint, second, overlap=chosen.overlap, least_tokens=least)
    mixed = colap(joint, rng.permutation(second), overlap=chosen.overlap, least_tokens=least)
    note = f"fully mixed varieties give {mixed.share:.3f}"
    found.append(_of_clusters("COLAP", overlapping, "both", note, resamples, rng))
    if curves is not None:
        there_and_back = zip(*(one.values() for one in by_direction), strict=True)
        curves["CALIGN"] = {
            str(m): None if a is None or b is None else (a + b) / 2
            for m, (a, b) in zip(MATCHES, there_and_back, strict=True)
        }
        curves["COLAP"] = {
            str(o): _finite(colap(joint, second, overlap=o, least_tokens=least).share)
            for o in OVERLAPS
        }
    return found


def _calign(
    matches: tuple[Doubles, npt.NDArray[np.integer], npt.NDArray[np.integer]],
    match: float,
    options: ConceptOptions,
) -> AlignedConcepts:
    return calign(
        matches,
        match=match,
        least_types=options.least_types,
        least_size_ratio=options.least_size_ratio,
    )


def _shuffled(states: list[tuple[int, str]], rng: np.random.Generator) -> list[tuple[int, str]]:
    """The same clusters and types, each type renamed to another one."""
    names = sorted({word for _, word in states})
    renamed = dict(zip(names, rng.permutation(names).tolist(), strict=True))
    return [(cluster, renamed[word]) for cluster, word in states]


def _inverted(lexicon: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for word, translations in lexicon.items():
        for other in translations:
            found.setdefault(other, set()).add(word)
    return {word: frozenset(back) for word, back in found.items()}


def _of_clusters(
    name: str,
    result: AlignedConcepts,
    direction: str,
    note: str,
    resamples: int,
    rng: np.random.Generator,
) -> Estimate:
    if not len(result.hits):
        raise ValueError(f"no cluster is large enough to be judged by {name}")
    hits = result.hits.astype(np.float64)
    drawn = rng.integers(0, len(hits), (resamples, len(hits)))
    return Estimate(
        name, result.share, hits[drawn].mean(axis=1), len(hits), direction=direction, note=note
    )


def _picked(
    rows: Indices, types: Sequence[str], options: ConceptOptions
) -> tuple[Indices, list[str]]:
    """Rows of types that are neither too rare nor, for their first occurrences, too common."""
    count = Counter(types)
    seen: Counter[str] = Counter()
    kept: list[int] = []
    for place, word in enumerate(types):
        if count[word] < options.least_count or not _is_word(word):
            continue
        seen[word] += 1
        if seen[word] <= options.most_count:
            kept.append(place)
    order = np.random.default_rng(options.seed).permutation(len(kept))
    places = [kept[i] for i in order]
    return rows[places], [types[i] for i in places]


def _clustered(values: FloatArray, clusters: int, seed: int) -> Indices:
    try:
        from sklearn.cluster import MiniBatchKMeans
    except ImportError as error:
        raise MissingExtra("text", "scikit-learn") from error
    rows = values.astype(np.float64)
    rng = np.random.default_rng(seed)
    starts = [_start(rows, min(clusters, len(rows)), rng) for _ in range(_STARTS)]
    best = min(starts, key=lambda one: one[1])[0]
    model = MiniBatchKMeans(
        n_clusters=len(best), init=best, n_init=1, random_state=seed, batch_size=1024
    )
    found: Indices = model.fit_predict(rows).astype(np.int64)
    return found


def _start(rows: Doubles, clusters: int, rng: np.random.Generator) -> tuple[Doubles, float]:
    """Centres (K, D) drawn far from each other, and the sum of squares that they leave.

    k-means++ with a few candidates at each draw; scikit-learn's own spends, on a thousand rows,
    ten times as long on checking its arguments.

    Source: Arthur and Vassilvitskii 2007.
    """
    candidates = 2 + int(np.log(clusters))
    lengths = np.square(rows).sum(axis=1)
    chosen = [int(rng.integers(len(rows)))]
    near = _squares(rows, lengths, np.array(chosen))[0]
    for _ in range(clusters - 1):
        mass = np.cumsum(near)
        drawn = np.searchsorted(mass, rng.random(candidates) * mass[-1], side="right")
        drawn = np.minimum(drawn, len(rows) - 1)
        left = np.minimum(near, _squares(rows, lengths, drawn))
        best = int(left.sum(axis=1).argmin())
        chosen.append(int(drawn[best]))
        near = left[best]
    return rows[chosen], float(near.sum())


def _squares(rows: Doubles, lengths: Doubles, places: Indices) -> Doubles:
    """Squared distances (K, N) of all rows from some of them."""
    apart = lengths[places, np.newaxis] + lengths - 2 * rows[places] @ rows.T
    return np.maximum(apart, 0.0)


def _partners(word: str, lexicon: Mapping[str, frozenset[str]] | None) -> frozenset[str]:
    return frozenset({word}) if lexicon is None else lexicon.get(word, frozenset())


def _is_word(word: str) -> bool:
    return any(character.isalnum() for character in word)


def _finite(value: float) -> float | None:
    return None if np.isnan(value) else value
