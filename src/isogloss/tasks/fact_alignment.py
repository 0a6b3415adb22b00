"""Which facts does a sentence tell? Facts and sentences of many languages, many to many.

    facts 'relation | object' and sentences -> four similarities -> mean -> facts above a limit

A corpus with facts and sentences of the same entities and an encoder of text in; precision, recall
and F1 of the links out, beside what words alone find.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003  (recipes are read by the fields' types)
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from isogloss import __version__
from isogloss.encoders.item_text import text_of
from isogloss.encoders.words import words_of
from isogloss.tasks.comparison import at_layer
from isogloss.tasks.divergence_ranker import best_threshold
from isogloss.tasks.sentence_pairs import cosines, plain_text
from isogloss.tasks.sentences import as_read, place_of, reader_of, usable, vectors_of
from isogloss.types import Item, Measurement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from isogloss.types import Corpus, Encoder

__all__ = ["FactAlignment", "term_similarity"]

Floats = npt.NDArray[np.float64]
# XAlign (Abhishek et al. 2022) as its code weighs words and pairs of words.
_UNIGRAMS, _BIGRAMS = 0.8, 0.2


@dataclass(frozen=True)
class FactAlignment:
    """Links between facts and sentences of the same entity.

    Facts are items with `extra['kind'] = 'fact'` and a text such as 'occupation | writer';
    sentences are the other items. `extra['entity']` says what both are about, and only facts of
    the same entity are candidates. `extra['facts']` of a sentence lists the ids of the facts it
    tells, separated by blanks; it may be empty.

    The score is the mean of up to four similarities: words shared by fact and sentence, the same of
    the sentence's `translation` where it has one, and the cosines of fact with sentence and with
    translation. The limit is the one with the best F1 on entities of the other half.

    Attributes:
        most: facts linked to one sentence at most, best first.
        split: only items of this split; None for all.
        layer: layer of the encoder, where the encoder can change it; None keeps the encoder's own.
        pool: how steps become the vector of a text.
        floors: whether words alone stand beside it ('... by words').
        bootstrap: resamples of entities for every interval; 0 for none.
        level: of every interval.
        seed: of halves and intervals.
        cache_dir: where encoded items are kept; does not change a number.
        progress: bars on stderr; does not change a number.

    Source: the first stage of XAlign (Abhishek et al. 2022). Its second stage, inference by a
    trained model of entailment, is not here.
    """

    most: int = 10
    split: str | None = "test"
    layer: int | None = None
    pool: str = "mean"
    floors: bool = True
    bootstrap: int = 1000
    level: float = 0.95
    seed: int = 0
    cache_dir: Path | None = None
    progress: bool = False

    def __post_init__(self) -> None:
        if self.most < 1 or self.bootstrap < 0:
            raise ValueError(
                f"most must be at least 1 and bootstrap not negative, got {self.most}, "
                f"{self.bootstrap}"
            )

    def run(self, corpus: Corpus, encoder: Encoder) -> list[Measurement]:
        """'fact F1', precision and recall over all sentences, F1 of each variety, and by words.

        Items without text and sentences whose entity has no fact are left out and counted in the
        signature.

        Raises:
            ValueError: there are no facts, no sentences with `facts`, fewer than two entities, a
                sentence names a fact that its entity does not have, or a vector holds NaN or
                infinity (its id is named).
        """
        reader = reader_of(at_layer(encoder, self.layer))
        left_out: Counter[str] = Counter()
        facts, sentences = self._sides(corpus, left_out)
        texts: dict[str, str] = {}
        for item in [*(f for group in facts.values() for f in group), *sentences]:
            texts[item.id] = text_of(item)
            if item.translation and item.translation.strip():
                texts[f"{item.id}\0"] = item.translation
        vectors = vectors_of(
            [as_read(Item(key, "und", text=text)) for key, text in texts.items()],
            reader,
            pool=self.pool,
            cache_dir=self.cache_dir,
            progress=self.progress,
        )
        row = {key: n for n, key in enumerate(vectors.ids)}
        found: list[tuple[Item, Item, float, float, bool]] = []
        for sentence in sentences:
            told = set(sentence.extra.get("facts", "").split())
            sides = [key for key in (sentence.id, f"{sentence.id}\0") if key in texts]
            own = facts[sentence.extra["entity"]]
            cosine_of = {
                (fact.id, key): float(value)
                for key in sides
                for fact, value in zip(
                    own,
                    cosines(
                        vectors.values[[row[fact.id] for fact in own]],
                        np.repeat(vectors.values[[row[key]]], len(own), axis=0),
                    ),
                    strict=True,
                )
            }
            for fact in own:
                words = [term_similarity(texts[fact.id], texts[key]) for key in sides]
                near = [cosine_of[fact.id, key] for key in sides]
                both = float(np.mean([*words, *near]))
                found.append((sentence, fact, both, float(np.mean(words)), fact.id in told))
        signature = {
            "task": "fact-alignment",
            "encoder": reader.made_by,
            "corpus": corpus.name,
            "corpus_sha": corpus.sha,
            "split": self.split,
            "pool": self.pool,
            "most": self.most,
            "left_out": dict(left_out),
            "seed": self.seed,
            "isogloss": __version__,
        }
        measured = self._judged(found, 2, "", signature)
        if self.floors:
            measured += self._judged(found, 3, " by words", signature)
        return measured

    def _sides(
        self, corpus: Corpus, left_out: Counter[str]
    ) -> tuple[dict[str, list[Item]], list[Item]]:
        facts: dict[str, list[Item]] = {}
        sentences: list[Item] = []
        for item in corpus.items:
            if self.split is not None and item.split not in (None, self.split):
                continue
            entity, lacking = item.extra.get("entity"), usable(item)
            if entity is None or lacking is not None:
                left_out[lacking or "no entity"] += 1
                continue
            if item.extra.get("kind") == "fact":
                facts.setdefault(entity, []).append(item)
            elif "facts" in item.extra:
                sentences.append(item)
            else:
                left_out["neither a fact nor a sentence with facts"] += 1
        alone = sum(item.extra["entity"] not in facts for item in sentences)
        if alone:
            left_out["its entity has no fact"] = alone
        sentences = [item for item in sentences if item.extra["entity"] in facts]
        if len({item.extra["entity"] for item in sentences}) < 2:
            raise ValueError(
                f"corpus '{corpus.name}' has no facts and sentences of two entities; facts need "
                "`kind` = fact and `entity` in extra, sentences `entity` and `facts`"
            )
        known_of = {entity: {fact.id for fact in group} for entity, group in facts.items()}
        for sentence in sentences:
            known = known_of[sentence.extra["entity"]]
            absent = [key for key in sentence.extra["facts"].split() if key not in known]
            if absent:
                raise ValueError(
                    f"sentence '{sentence.id}' tells fact '{absent[0]}', which is no fact of "
                    f"entity '{sentence.extra['entity']}'"
                )
        return facts, sentences

    def _judged(
        self,
        found: Sequence[tuple[Any, ...]],
        column: int,
        way: str,
        signature: Mapping[str, Any],
    ) -> list[Measurement]:
        scores = np.array([entry[column] for entry in found])
        truth = np.array([float(entry[4]) for entry in found])
        entities = [entry[0].extra["entity"] for entry in found]
        half = np.array([place_of(name, "half", self.seed) >= 0.5 for name in entities])
        half = half.astype(np.int64)
        if len(set(half.tolist())) < 2:  # few entities may all fall into one half
            order = {name: n for n, name in enumerate(sorted(set(entities)))}
            half = np.array([order[name] % 2 for name in entities])
        said = np.zeros(len(found), dtype=bool)
        for part in (0, 1):
            others = half != part
            limit = best_threshold(scores[others], truth[others]) if truth[others].any() else np.inf
            said |= (half == part) & (scores > limit)
        by_sentence: dict[str, list[int]] = {}
        for number, entry in enumerate(found):
            by_sentence.setdefault(entry[0].id, []).append(number)
        for numbers in by_sentence.values():
            best = sorted((n for n in numbers if said[n]), key=lambda n: -scores[n])
            said[best[self.most :]] = False
        varieties = [entry[0].variety for entry in found]
        rows: dict[str, dict[str, list[float]]] = {}
        for number, entity in enumerate(entities):
            for group in ("", f" {varieties[number]}"):
                counts = rows.setdefault(group, {}).setdefault(entity, [0.0, 0.0, 0.0])
                counts[0] += said[number] and truth[number]
                counts[1] += said[number]
                counts[2] += truth[number]
        measured = []
        for group, of_entity in rows.items():
            table = np.array(list(of_entity.values()), dtype=np.float32)
            sums = table.sum(axis=0, dtype=np.float64)
            low, high = self._interval(table)
            name, value = f"fact F1{group}{way}", _f1(sums)
            if low is not None and high is not None:
                low, high = min(low, value), max(high, value)
            measured.append(
                Measurement(
                    name, value, low, high, int(sums[2]), True, signature, table, tuple(of_entity)
                )
            )
            if not group:
                precision = float(sums[0] / sums[1]) if sums[1] else 0.0
                recall = float(sums[0] / sums[2]) if sums[2] else 0.0
                for kind, value in (("precision", precision), ("recall", recall)):
                    measured.append(
                        Measurement(
                            f"fact {kind}{way}", value, n=int(max(sums[2], 1)), signature=signature
                        )
                    )
        return [one for one in measured if one.n]

    def _interval(self, table: npt.NDArray[np.float32]) -> tuple[float | None, float | None]:
        if not self.bootstrap or len(table) < 2:
            return None, None
        rng = np.random.default_rng(self.seed)
        drawn = rng.integers(0, len(table), size=(self.bootstrap, len(table)))
        samples = [_f1(table[rows].sum(axis=0, dtype=np.float64)) for rows in drawn]
        tail = (1 - self.level) / 2
        low, high = np.quantile(samples, [tail, 1 - tail])
        return float(low), float(high)


def term_similarity(fact: str, sentence: str) -> float:
    """Cosine of counts of words (weight 0.8) and of pairs of words (0.2), in [0, 1].

    Bars of a fact separate words; no word is rarer than another. 0 where either side is empty.
    """
    sides = []
    for text in (fact, sentence):
        plain = plain_text(text.replace("|", " "))
        words = [plain[start:end] for start, end in words_of(plain)]
        sides.append((Counter(words), Counter(itertools.pairwise(words))))
    return _UNIGRAMS * _cosine(sides[0][0], sides[1][0]) + _BIGRAMS * _cosine(
        sides[0][1], sides[1][1]
    )


def _cosine(a: Counter[Any], b: Counter[Any]) -> float:
    norms = np.sqrt(sum(n * n for n in a.values()) * sum(n * n for n in b.values()))
    return float(sum(n * b[key] for key, n in a.items()) / norms) if norms else 0.0


def _f1(sums: Floats) -> float:
    total = float(sums[1] + sums[2])
    return 2 * float(sums[0]) / total if total else 0.0
