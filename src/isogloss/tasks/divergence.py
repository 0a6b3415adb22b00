"""Do two sentences mean the same, and which words differ? Ranked without judgements.

    translations -> synthetic divergences -> a ranker on few features -> pairs judged by people

A corpus of judged pairs in two varieties and an encoder of text in; area under the ROC curve, F1
and the agreement with token rationales out, beside cosine alone and spelling.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from isogloss import __version__
from isogloss.corpora.jsonl import read_corpus
from isogloss.measures.bootstrap import percentile_interval, resample_counts
from isogloss.measures.correlation import spearman
from isogloss.measures.weighted_ranks import weighted_spearman
from isogloss.tasks.comparison import at_layer
from isogloss.tasks.divergence_ranker import (
    area_under_curve,
    best_threshold,
    learnt_ranker,
    pair_features,
    ranked_rightly,
)
from isogloss.tasks.sentence_pairs import (
    character_dice,
    judged_pairs,
    length_ratios,
    texts_of,
)
from isogloss.tasks.sentences import as_read, place_of, reader_of, usable
from isogloss.tasks.synthetic_divergence import Divergent, synthetic_divergences
from isogloss.tasks.token_differences import (
    best_cosines,
    item_tokens,
    spelling_differences,
    token_vectors,
)
from isogloss.types import Measurement

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from isogloss.tasks.sentence_pairs import JudgedPair
    from isogloss.types import Corpus, Encoder, FloatArray, Item

__all__ = ["Divergence"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
_LEAST_SEEDS = 10
_MOST_SEEDS = 500


@dataclass(frozen=True)
class Divergence:
    """Semantic divergences between sentences of two varieties, of sentences and of words.

    The ranker is logistic regression on differences of features (cosine of the sentences, mean and
    lower-tenth best cosine of words both ways, length ratio), learnt from which of two synthetic
    pairs of one translation lost more. It never sees a judgement, except where the seeds are
    chosen by one (see `seeds`).

    Attributes:
        varieties: of both sides; by default the first two that pairs come in.
        label: name of the judgement in `extra`.
        equivalent: values of the label that mean the same meaning; every other is divergent.
        seeds: manifest of translations in both varieties from which divergences are made; by
            default the judged equivalents of other folds, so a pair is never its own seed.
        rationales: names in `extra` of the counts of annotators that marked each word, for the
            first and the second side; words are the item's own, separated by blanks.
        marked: annotators from which a word counts as marked.
        split: only items of this split; None for all.
        layer: layer of the encoder, where the encoder can change it; None keeps the encoder's own.
        folds: of pairs, for seeds and for the threshold of words.
        bootstrap: resamples of pairs for every interval; 0 for none.
        level: of every interval.
        seed: of synthetic pairs, folds and intervals.
        cache_dir: where encoded items are kept; does not change a number.
        progress: bars on stderr; does not change a number.

    Source: learning to rank of Divergent mBERT (Briakou and Carpuat 2020) on fixed vectors; words
    as RSD's diff_align (Vamvas and Sennrich 2023).
    """

    varieties: tuple[str, ...] = ()
    label: str = "label"
    equivalent: tuple[str, ...] = ("no_meaning_difference", "equivalent")
    seeds: str | None = None
    rationales: tuple[str, ...] = ("rationale_A", "rationale_B")
    marked: int = 2
    split: str | None = "test"
    layer: int | None = None
    folds: int = 5
    bootstrap: int = 1000
    level: float = 0.95
    seed: int = 0
    cache_dir: Path | None = None
    progress: bool = False

    def __post_init__(self) -> None:
        if self.varieties and len(self.varieties) != 2:
            raise ValueError(f"varieties are two codes, got {self.varieties}")
        if self.rationales and len(self.rationales) != 2:
            raise ValueError(f"rationales are two names or none, got {self.rationales}")
        if self.folds < 2 or self.marked < 1 or self.bootstrap < 0 or not self.equivalent:
            raise ValueError(
                "folds must be at least 2, marked at least 1, bootstrap not negative and "
                f"equivalent not empty, got {self.folds}, {self.marked}, {self.bootstrap} and "
                f"{self.equivalent}"
            )

    def run(self, corpus: Corpus, encoder: Encoder) -> list[Measurement]:
        """Measurements of sentences, then of words where there are rationales.

        'AUC divergent' (learnt), and by cosine, dice and length; 'AUC VALUE' of one kind of
        divergence against equivalents; 'F1 divergent' at the threshold that is best on synthetic
        pairs, and 'by saying yes'; 'ranking accuracy KIND' of synthetic pairs of held-out seeds;
        'Spearman words SIDE' and 'F1 words SIDE', by spelling and by saying yes.

        Raises:
            ValueError: judgements or varieties are missing, there are too few seeds, a rationale
                has another number of words than its sentence, or a vector holds NaN or infinity
                (its item is named).
            MissingExtra: scikit-learn is not installed.
            BadRecord, OSError: the manifest of `seeds` cannot be read.
        """
        reader = reader_of(at_layer(encoder, self.layer))
        pairs, left_out = judged_pairs(corpus, self.split)
        first, second = self._sides(pairs)
        known = [
            pair
            for pair in pairs
            if first in pair.first and second in pair.second and self.label in pair.judgements
        ]
        left_out["no judgement in both varieties"] = len(pairs) - len(known)
        truth = np.array([p.judgements[self.label] not in self.equivalent for p in known])
        if not truth.any() or truth.all():
            raise ValueError(
                f"'{self.label}' of {len(known)} pairs tells no equivalent from divergent ones; "
                f"equivalent are {', '.join(self.equivalent)}"
            )
        sides = [(as_read(p.first[first]), as_read(p.second[second])) for p in known]
        vectors = self._words(sides, reader)
        features = pair_features(sides, *vectors)
        fold_of = np.array([int(place_of(p.key, "fold", self.seed) * self.folds) for p in known])
        predicted, threshold, ranked = self._ranked(
            sides, truth, features, fold_of, reader, left_out
        )
        signature = {
            "task": "divergence",
            "encoder": reader.made_by,
            "corpus": corpus.name,
            "corpus_sha": corpus.sha,
            "split": self.split,
            "varieties": [first, second],
            "label": self.label,
            "seeds": self.seeds or "judged equivalents of other folds",
            "folds": self.folds,
            "left_out": left_out,
            "seed": self.seed,
            "isogloss": __version__,
        }
        measured = self._of_sentences(
            known, truth, features, sides, predicted, threshold, signature
        )
        for kind, rights in ranked.items():
            measured.append(self._measured(f"ranking accuracy {kind}", (rights,), _mean, signature))
        if self.rationales:
            measured += self._of_words(known, sides, vectors, fold_of, signature)
        return measured

    def _sides(self, pairs: Sequence[JudgedPair]) -> tuple[str, str]:
        if self.varieties:
            return self.varieties[0], self.varieties[1]
        for pair in pairs:
            for x in sorted(pair.first):
                for y in sorted(pair.second):
                    if x != y:
                        return x, y
        raise ValueError("no pair has its sides in two varieties; divergences are across varieties")

    def _ranked(
        self,
        sides: Sequence[tuple[Item, Item]],
        truth: Flags,
        features: Floats,
        fold_of: npt.NDArray[np.int64],
        reader: Encoder,
        left_out: dict[str, int],
    ) -> tuple[Floats, Floats, dict[str, Floats]]:
        """Divergence of pairs, their thresholds, and 1 where a held-out pair is ranked rightly."""
        if self.seeds is not None:
            seeds = self._own_seeds((sides[0][0].variety, sides[0][1].variety), left_out)
            made, table = self._synthetic(seeds, reader)
            parts = np.array(
                [place_of(seeds[one.seed][0].id, "part", self.seed) >= 0.5 for one in made]
            ).astype(np.int64)
            weights, limit = learnt_ranker(table, made, parts == 0)
            held_out = ranked_rightly(table, made, parts == 1, weights)
            return -(features @ weights), np.full(len(truth), limit), held_out
        equivalents = [pair for pair, differs in zip(sides, truth, strict=True) if not differs]
        own_fold = fold_of[~truth]
        made, table = self._synthetic(equivalents, reader)
        folds = np.array([own_fold[one.seed] for one in made])
        predicted, threshold = np.zeros(len(truth)), np.zeros(len(truth))
        ranked: dict[str, list[Floats]] = {}
        for fold in range(self.folds):
            asked = fold_of == fold
            if not asked.any():
                continue
            weights, limit = learnt_ranker(table, made, folds != fold)
            predicted[asked], threshold[asked] = -(features[asked] @ weights), limit
            for kind, rights in ranked_rightly(table, made, folds == fold, weights).items():
                ranked.setdefault(kind, []).append(rights)
        return predicted, threshold, {kind: np.concatenate(x) for kind, x in ranked.items()}

    def _own_seeds(
        self, varieties: tuple[str, str], left_out: dict[str, int]
    ) -> list[tuple[Item, Item]]:
        corpus = read_corpus(Path(str(self.seeds)))
        by_meaning: dict[str, dict[str, Item]] = {}
        for item in corpus.items:
            if item.meaning is not None and item.variety in varieties:
                by_meaning.setdefault(item.meaning, {})[item.variety] = item
        found = [
            (as_read(both[varieties[0]]), as_read(both[varieties[1]]))
            for both in by_meaning.values()
            if len(both) == 2 and all(usable(item) is None for item in both.values())
        ]
        order = sorted(range(len(found)), key=lambda n: place_of(found[n][0].id, "seed", self.seed))
        if len(found) > _MOST_SEEDS:
            left_out["seeds beyond 500"] = len(found) - _MOST_SEEDS
        return [found[n] for n in sorted(order[:_MOST_SEEDS])]

    def _synthetic(
        self, seeds: Sequence[tuple[Item, Item]], reader: Encoder
    ) -> tuple[list[Divergent], Floats]:
        if len(seeds) < _LEAST_SEEDS:
            raise ValueError(
                f"there are {len(seeds)} translations to make divergences of, the ranker needs "
                f"{_LEAST_SEEDS}; give a manifest of translations as seeds"
            )
        made = synthetic_divergences(seeds, seed=self.seed)
        sides = [(one.first, one.second) for one in made]
        return made, pair_features(sides, *self._words(sides, reader))

    def _words(
        self, sides: Sequence[tuple[Item, Item]], reader: Encoder
    ) -> tuple[list[FloatArray], list[FloatArray]]:
        first, second = (
            token_vectors(
                [pair[k] for pair in sides],
                reader,
                cache_dir=self.cache_dir,
                progress=self.progress,
            )
            for k in (0, 1)
        )
        return first, second

    def _of_sentences(
        self,
        known: Sequence[JudgedPair],
        truth: Flags,
        features: Floats,
        sides: Sequence[tuple[Item, Item]],
        predicted: Floats,
        threshold: Floats,
        signature: Mapping[str, Any],
    ) -> list[Measurement]:
        texts = [texts_of([pair[k] for pair in sides]) for k in (0, 1)]
        ways = {
            "": predicted,
            " by cosine": -features[:, 0],
            " by dice": -character_dice(*texts),
            " by length": -length_ratios(*texts),
        }
        y = truth.astype(np.float64)
        found = [
            self._measured(f"AUC divergent{way}", (scores, y), area_under_curve, signature)
            for way, scores in ways.items()
        ]
        values = [pair.judgements[self.label] for pair in known]
        for value in sorted({v for v, differs in zip(values, truth, strict=True) if differs}):
            kept = np.array([v == value for v in values]) | ~truth
            found.append(
                self._measured(
                    f"AUC {value}", (predicted[kept], y[kept]), area_under_curve, signature
                )
            )
        yes = np.ones(len(y))
        said = (predicted > threshold).astype(np.float64)
        found.append(self._measured("F1 divergent", (said, y), _f1, signature))
        found.append(self._measured("F1 divergent by saying yes", (yes, y), _f1, signature))
        return found

    def _of_words(
        self,
        known: Sequence[JudgedPair],
        sides: Sequence[tuple[Item, Item]],
        vectors: Sequence[Sequence[FloatArray]],
        fold_of: npt.NDArray[np.int64],
        signature: Mapping[str, Any],
    ) -> list[Measurement]:
        found: list[Measurement] = []
        scores: dict[str, list[list[Floats]]] = {"": [[], []], " by spelling": [[], []]}
        gold: list[list[Floats]] = [[], []]
        folds: list[int] = []
        for number, pair in enumerate(known):
            if not all(name in pair.judgements for name in self.rationales):
                continue
            counts = [self._counts(pair, k, sides[number][k]) for k in (0, 1)]
            cosine = best_cosines(vectors[0][number], vectors[1][number])
            spelling = spelling_differences(*(item_tokens(item) for item in sides[number]))
            folds.append(int(fold_of[number]))
            for k in (0, 1):
                gold[k].append(counts[k])
                scores[""][k].append(1.0 - cosine[k])
                scores[" by spelling"][k].append(spelling[k])
        if not folds:
            return found
        for k, variety in enumerate(signature["varieties"]):
            own = {**signature, "words_of": variety}
            for way, both in scores.items():
                found.append(
                    self._rank_of_words(f"Spearman words {variety}{way}", both[k], gold[k], own)
                )
                said = _above_other_folds(both[k], gold[k], np.array(folds), self.marked)
                right = [(c >= self.marked).astype(np.float64) for c in gold[k]]
                found.append(self._f1_of_words(f"F1 words {variety}{way}", said, right, own))
            yes = [np.ones(len(c)) for c in gold[k]]
            name = f"F1 words {variety} by saying yes"
            found.append(self._f1_of_words(name, yes, right, own))
        return found

    def _counts(self, pair: JudgedPair, side: int, item: Item) -> Floats:
        text = pair.judgements[self.rationales[side]]
        words = item_tokens(item)
        try:
            counts = np.array([float(word) for word in text.split()])
        except ValueError as error:
            raise ValueError(f"pair '{pair.key}': a rationale is no number: {text!r}") from error
        if len(counts) != len(words):
            raise ValueError(
                f"pair '{pair.key}': {len(counts)} rationales for {len(words)} words of "
                f"'{item.id}'; read the corpus with words=true, so that words are as annotated"
            )
        return counts

    def _rank_of_words(
        self,
        name: str,
        scores: Sequence[Floats],
        gold: Sequence[Floats],
        signature: Mapping[str, Any],
    ) -> Measurement:
        """Spearman's correlation over all words, 0 where it is undefined; pairs are resampled."""
        x, y = np.concatenate(scores), np.concatenate(gold)
        pair_of = np.repeat(np.arange(len(gold)), [len(own) for own in gold])
        drawn = [
            weighted_spearman(x, y, weights)
            for weights in resample_counts(
                len(gold), resamples=self.bootstrap, seed=self.seed, of_item=[pair_of]
            )
        ]
        return self._bounded(name, spearman(x, y) or 0.0, drawn, len(gold), signature)

    def _f1_of_words(
        self,
        name: str,
        said: Sequence[Floats],
        truth: Sequence[Floats],
        signature: Mapping[str, Any],
    ) -> Measurement:
        """F1 over all words; its interval resamples pairs. `per_item` is (N, 2): tops, bottoms."""
        tops = np.array([2 * (a * b).sum() for a, b in zip(said, truth, strict=True)])
        bottoms = np.array([(a + b).sum() for a, b in zip(said, truth, strict=True)])
        drawn = [
            _rates(weights @ tops, weights @ bottoms)
            for weights in resample_counts(len(tops), resamples=self.bootstrap, seed=self.seed)
        ]
        value = float(_rates(tops.sum(keepdims=True), bottoms.sum(keepdims=True))[0])
        table = np.stack([tops, bottoms], axis=1).astype(np.float32)
        return replace(self._bounded(name, value, drawn, len(tops), signature), per_item=table)

    def _bounded(
        self,
        name: str,
        value: float,
        drawn: Sequence[Floats],
        count: int,
        signature: Mapping[str, Any],
    ) -> Measurement:
        bounds = percentile_interval(np.concatenate(drawn), self.level) if drawn else None
        low, high = (min(bounds[0], value), max(bounds[1], value)) if bounds else (None, None)
        return Measurement(name, value, low, high, count, signature=signature)

    def _measured(
        self,
        name: str,
        columns: tuple[Floats, ...],
        statistic: Callable[..., float],
        signature: Mapping[str, Any],
    ) -> Measurement:
        def over(rows: npt.NDArray[np.int64]) -> float:
            return statistic(*(column[rows] for column in columns))

        count = len(columns[0])
        value = over(np.arange(count))
        low, high = self._interval(over, count, value)
        table = np.stack(columns, axis=1).astype(np.float32)
        return Measurement(name, value, low, high, count, signature=signature, per_item=table)

    def _interval(
        self, over: Callable[[npt.NDArray[np.int64]], float], count: int, value: float
    ) -> tuple[float | None, float | None]:
        if not self.bootstrap or count < 2:
            return None, None
        rng = np.random.default_rng(self.seed)
        drawn = [over(rng.integers(0, count, size=count)) for _ in range(self.bootstrap)]
        tail = (1 - self.level) / 2
        low, high = np.quantile(drawn, [tail, 1 - tail])
        return min(float(low), value), max(float(high), value)


def _above_other_folds(
    scores: Sequence[Floats], gold: Sequence[Floats], folds: npt.NDArray[np.int64], marked: int
) -> list[Floats]:
    """1 for words above the threshold that is best on pairs of other folds."""
    said: list[Floats] = [np.zeros(0)] * len(scores)
    for fold in sorted(set(folds.tolist())):
        others = np.flatnonzero(folds != fold)
        if not len(others):
            others = np.arange(len(folds))
        limit = best_threshold(
            np.concatenate([scores[n] for n in others.tolist()]),
            np.concatenate([(gold[n] >= marked).astype(np.float64) for n in others.tolist()]),
        )
        for n in np.flatnonzero(folds == fold).tolist():
            said[n] = (scores[n] > limit).astype(np.float64)
    return said


def _f1(said: Floats, truth: Floats) -> float:
    total = float((said > 0).sum() + (truth > 0).sum())
    return 2 * float(((said > 0) & (truth > 0)).sum()) / total if total else 0.0


def _rates(tops: Floats, bottoms: Floats) -> Floats:
    """Tops / bottoms, 0 where there is nothing."""
    return np.divide(tops, bottoms, out=np.zeros(len(tops)), where=bottoms > 0)


def _mean(values: Floats) -> float:
    return float(values.mean())
