"""Which documents tell the same, and which of their sentences? Comparable documents.

    sentence vectors -> similarities -> matched sentences -> support of document pairs -> F1

A corpus of documents in several varieties and an encoder in; F1 of document pairs and of sentence
pairs inside them out. Thresholds are chosen on other documents than they are judged on.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003  (recipes are read by the fields' types)
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from isogloss import __version__
from isogloss.encoders.item_text import text_of
from isogloss.tasks.comparison import at_layer
from isogloss.tasks.divergence_ranker import best_threshold
from isogloss.tasks.ngram_floor import ngram_scores
from isogloss.tasks.sentences import as_read, place_of, reader_of, usable, vectors_of
from isogloss.tasks.token_differences import unit_rows
from isogloss.types import Measurement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from isogloss.types import Corpus, Encoder, FloatArray, Item

__all__ = ["MATCHES", "ComparableDocuments", "matched_pairs"]

Match = Literal["both", "either", "first", "second", "all"]
MATCHES: tuple[Match, ...] = get_args(Match)
"""Which of the pairs above the threshold count: those that are the best of both sentences, of
either, of the first side, of the second, or all."""

Scores = npt.NDArray[np.float64]
Counts = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ComparableDocuments:
    """Documents of the same content, and their common sentences, found among all of two varieties.

    Two sentences match when they are each other's best (see `match`) above a threshold. A pair of
    documents is as well supported as 2 m / (n1 + n2), with m matched sentences of n1 and n2; each
    document is paired with the one that supports it best and is supported best by it. The
    threshold is the one with the best F1 of sentences on the other half of the documents.

    Attributes:
        document: where the name of a document stands: 'meaning' (the part before its last colon,
            as in STORY:PAGE) or a key of `extra`.
        pairs: pairs of varieties such as 'yue-cmn'; empty takes all that share documents.
        match: see `MATCHES`.
        split: only items of this split; None for all.
        layer: layer of the encoder, where the encoder can change it; None keeps the encoder's own.
        pool: how steps become the vector of a sentence.
        floors: whether TF-IDF of character n-grams stands beside the encoder ('... by tfidf').
        bootstrap: resamples of documents for every interval; 0 for none.
        level: of every interval.
        seed: of halves and intervals.
        cache_dir: where encoded items are kept; does not change a number.
        progress: bars on stderr; does not change a number.

    Source: the matching modes are those of 20min-XD (Wastl et al. 2025), where a threshold was
    tuned on the documents that were judged; here it is not.
    """

    document: str = "meaning"
    pairs: tuple[str, ...] = ()
    match: Match = "both"
    split: str | None = None
    layer: int | None = None
    pool: str = "mean"
    floors: bool = True
    bootstrap: int = 1000
    level: float = 0.95
    seed: int = 0
    cache_dir: Path | None = None
    progress: bool = False

    def __post_init__(self) -> None:
        if self.match not in MATCHES:
            raise ValueError(f"match '{self.match}' is none of {', '.join(MATCHES)}")
        if self.bootstrap < 0:
            raise ValueError(f"bootstrap must not be negative, got {self.bootstrap}")

    def run(self, corpus: Corpus, encoder: Encoder) -> list[Measurement]:
        """'document F1 X-Y' and 'sentence F1 X-Y' of every pair of varieties, and by TF-IDF.

        Items without text or without a document are left out and counted in the signature.

        Raises:
            ValueError: no two varieties share two documents, a pair asked for is not there or
                shares fewer than two, or a vector holds NaN or infinity (its id is named).
        """
        reader = reader_of(at_layer(encoder, self.layer))
        left_out: Counter[str] = Counter()
        sides = self._documents(corpus, left_out)
        signature = {
            "task": "comparable-documents",
            "encoder": reader.made_by,
            "corpus": corpus.name,
            "corpus_sha": corpus.sha,
            "split": self.split,
            "match": self.match,
            "pool": self.pool,
            "left_out": dict(left_out),
            "seed": self.seed,
            "isogloss": __version__,
        }
        measured: list[Measurement] = []
        for first, second in self._asked(sides):
            a, b = ([i for doc in sides[x].values() for i in doc] for x in (first, second))
            vectors = vectors_of(
                [as_read(item) for item in [*a, *b]],
                reader,
                pool=self.pool,
                cache_dir=self.cache_dir,
                progress=self.progress,
            ).values
            ways = {"": _cosines(vectors[: len(a)], vectors[len(a) :])}
            if self.floors:
                texts = ([text_of(item) for item in side] for side in (a, b))
                ways[" by tfidf"] = ngram_scores(*texts).astype(np.float64)
            names = [[name for name, doc in sides[x].items() for _ in doc] for x in (first, second)]
            for way, scores in ways.items():
                measured += self._judged(f"{first}-{second}{way}", scores, (a, b), names, signature)
        return measured

    def _documents(
        self, corpus: Corpus, left_out: Counter[str]
    ) -> dict[str, dict[str, list[Item]]]:
        """Variety to documents to sentences."""
        found: dict[str, dict[str, list[Item]]] = {}
        for item in corpus.items:
            if self.split is not None and item.split not in (None, self.split):
                continue
            if self.document == "meaning":
                name = (item.meaning or "").rpartition(":")[0]
            else:
                name = item.extra.get(self.document, "")
            lacking = usable(item) or (None if name else "no document")
            if lacking is not None:
                left_out[lacking] += 1
            else:
                found.setdefault(item.variety, {}).setdefault(name, []).append(item)
        return found

    def _asked(self, sides: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
        codes = sorted(sides)
        if self.pairs:
            asked = []
            for text in self.pairs:
                options = [(x, y) for x in codes for y in codes if f"{x}-{y}" == text and x != y]
                if not options:
                    raise ValueError(
                        f"no pair '{text}' of varieties with documents; there are "
                        f"{', '.join(codes) or 'none'}"
                    )
                asked.append(options[0])
        else:
            asked = [(x, y) for n, x in enumerate(codes) for y in codes[n + 1 :]]
        shared = [(x, y) for x, y in asked if len(set(sides[x]) & set(sides[y])) > 1]
        lost = [f"{x}-{y}" for x, y in asked if (x, y) not in shared]
        if self.pairs and shared and lost:
            raise ValueError(f"the varieties of '{lost[0]}' share fewer than two documents")
        if not shared:
            raise ValueError(
                "no two varieties share two documents; say where the documents' names stand "
                "(document='meaning' takes STORY of STORY:PAGE)"
            )
        return shared

    def _judged(
        self,
        name: str,
        scores: Scores,
        items: tuple[Sequence[Item], Sequence[Item]],
        names: Sequence[Sequence[str]],
        signature: Mapping[str, Any],
    ) -> list[Measurement]:
        meanings = [[item.meaning for item in side] for side in items]
        half = [
            np.array([place_of(n, "half", self.seed) >= 0.5 for n in side]).astype(np.int64)
            for side in names
        ]
        # Thresholds come from pairs whose documents are both in the other half.
        accepted = np.zeros(scores.shape, dtype=bool)
        best = matched_pairs(scores, self.match)
        limits = []
        for part in (0, 1):
            rows, columns = (np.flatnonzero(side == 1 - part) for side in half)
            inside = best[np.ix_(rows, columns)]
            values = scores[np.ix_(rows, columns)][inside]
            truth = np.array(
                [
                    meanings[0][rows[i]] == meanings[1][columns[j]]
                    and meanings[0][rows[i]] is not None
                    for i, j in np.argwhere(inside).tolist()
                ],
                dtype=np.float64,
            )
            limit = best_threshold(values, truth) if truth.any() else np.inf
            limits.append(limit)
            # A pair is judged by the half of its first document.
            accepted |= best & (scores > limit) & (half[0] == part)[:, None]
        documents = [list(dict.fromkeys(side)) for side in names]
        place = [{n: k for k, n in enumerate(side)} for side in documents]
        lengths = [np.bincount([place[k][n] for n in names[k]]) for k in (0, 1)]
        matched = np.zeros((len(documents[0]), len(documents[1])))
        own: dict[str, list[float]] = {n: [0.0, 0.0, 0.0] for n in documents[0]}
        for i, j in np.argwhere(accepted).tolist():
            matched[place[0][names[0][i]], place[1][names[1][j]]] += 1
            own[names[0][i]][1] += 1
            own[names[0][i]][0] += meanings[0][i] is not None and meanings[0][i] == meanings[1][j]
        there = set(meanings[1]) - {None}
        for i, meaning in enumerate(meanings[0]):
            own[names[0][i]][2] += meaning in there
        support = 2 * matched / (lengths[0][:, None] + lengths[1])
        found = matched_pairs(support, "both") & (support > 0)
        pages: dict[str, list[float]] = {n: [0.0, 0.0, 0.0] for n in documents[0]}
        for i, j in np.argwhere(found).tolist():
            pages[documents[0][i]][1] += 1
            pages[documents[0][i]][0] += documents[0][i] == documents[1][j]
        for n in documents[0]:
            pages[n][2] += n in place[1]
        told = {**signature, "thresholds": [float(x) if np.isfinite(x) else None for x in limits]}
        return [
            self._f1(f"document F1 {name}", pages, told),
            self._f1(f"sentence F1 {name}", own, told),
        ]

    def _f1(
        self, name: str, counts: Mapping[str, Sequence[float]], signature: Mapping[str, Any]
    ) -> Measurement:
        table = np.array(list(counts.values()), dtype=np.float32)
        value = float(_f1_of(table.sum(axis=0, dtype=np.float64)[None])[0])
        low = high = None
        if self.bootstrap and len(table) > 1:
            rng = np.random.default_rng(self.seed)
            drawn = rng.integers(0, len(table), size=(self.bootstrap, len(table)))
            samples = _f1_of(table[drawn].sum(axis=1, dtype=np.float64))
            tail = (1 - self.level) / 2
            bounds = np.quantile(samples, [tail, 1 - tail])
            low, high = min(float(bounds[0]), value), max(float(bounds[1]), value)
        return Measurement(
            name,
            value,
            low,
            high,
            len(table),
            signature=signature,
            per_item=table,
            item_keys=tuple(counts),
        )


def matched_pairs(scores: Scores, match: Match) -> npt.NDArray[np.bool_]:
    """(N, M) which pairs are the best of one or both sides; the first of equal ones is the best.

    With 'all' every pair is there. An empty side gives no pairs.
    """
    if match == "all" or not scores.size:
        return np.ones(scores.shape, dtype=bool)
    of_rows = np.zeros(scores.shape, dtype=bool)
    of_rows[np.arange(len(scores)), scores.argmax(axis=1)] = True
    of_columns = np.zeros(scores.shape, dtype=bool)
    of_columns[scores.argmax(axis=0), np.arange(scores.shape[1])] = True
    return {
        "both": of_rows & of_columns,
        "either": of_rows | of_columns,
        "first": of_rows,
        "second": of_columns,
    }[match]


def _f1_of(sums: Scores) -> Scores:
    """F1 of rows (right, found, true); 0 where nothing is found nor true."""
    total = sums[:, 1] + sums[:, 2]
    found: Scores = np.divide(2 * sums[:, 0], total, out=np.zeros(len(sums)), where=total > 0)
    return found


def _cosines(first: FloatArray, second: FloatArray) -> Scores:
    return np.asarray(unit_rows(first) @ unit_rows(second).T, dtype=np.float64)
