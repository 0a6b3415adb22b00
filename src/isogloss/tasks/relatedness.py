"""Do similarities of vectors order sentence pairs as people do? Spearman, in three tracks.

A corpus of judged pairs (see the reader `sentence_pairs`) and an encoder of text in; Spearman's
correlation out, for every pair of varieties, with and without translation, beside spelling floors.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path  # noqa: TC003  (recipes are read by the fields' types)
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from isogloss import __version__
from isogloss.measures.bootstrap import percentile_interval, resample_counts
from isogloss.measures.correlation import average_ranks, spearman
from isogloss.measures.weighted_ranks import weighted_spearman
from isogloss.tasks.comparison import at_layer
from isogloss.tasks.sentence_pairs import (
    character_dice,
    cosines,
    edit_similarities,
    judged_pairs,
    length_ratios,
    texts_of,
    word_dice,
)
from isogloss.tasks.sentences import as_read, place_of, reader_of, vectors_of
from isogloss.types import Measurement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from isogloss.tasks.sentence_pairs import JudgedPair
    from isogloss.types import Corpus, Encoder, FloatArray

__all__ = ["TRACKS", "Relatedness"]

TRACKS = ("unsupervised", "supervised", "crosslingual")
"""Of SemEval 2024 task 1: no judgements; judgements of the same varieties; those of others."""

Floats = npt.NDArray[np.float64]
_LEAST_PAIRS = 10


@dataclass(frozen=True)
class Relatedness:
    """Spearman's correlation of predicted with judged relatedness.

    For every pair of varieties (x, y) that the sides of pairs come in:

    - unsupervised: the cosine of both sentences' vectors;
    - supervised: ridge regression on cosine and spelling features, learnt from other pairs of the
      same varieties: pairs are dealt into folds by their name, and each is judged by what was
      learnt from the others;
    - crosslingual: the same, learnt from pairs in `source`, never from the judged pair in another
      variety.

    With `pivot`, 'by translation' replaces both sentences by their translations in that variety,
    where the corpus has them, as systems that translate first do.

    Attributes:
        label: name of the judgement in `extra`; a variety's own is found under LABEL_VARIETY, and
            pairs of two varieties take the mean of both.
        tracks: some of `TRACKS`.
        source: variety of both sides that crosslingual regression learns from.
        pivot: variety of the translations; None measures without.
        split: only items of this split; None for all.
        layer: layer of the encoder, where the encoder can change it; None keeps the encoder's own.
        pool: how steps become the vector of a sentence.
        folds: of the supervised track.
        penalty: of the squared weights of standardised features.
        floors: whether 'by dice' (character trigrams) and 'by edit' stand beside the encoder.
        bootstrap: resamples of pairs for every interval; 0 for none.
        level: of every interval.
        seed: of folds and intervals.
        cache_dir: where encoded items are kept; does not change a number.
        progress: bars on stderr; does not change a number.

    Source: SemEval 2024 task 1 (Ousidhoum et al. 2024): Spearman for each language by itself. No
    mean over varieties is given, since a mean hides those where the sign is turned.
    """

    label: str = "relatedness"
    tracks: tuple[str, ...] = TRACKS
    source: str = "eng"
    pivot: str | None = "eng"
    split: str | None = "test"
    layer: int | None = None
    pool: str = "mean"
    folds: int = 5
    penalty: float = 1.0
    floors: bool = True
    bootstrap: int = 1000
    level: float = 0.95
    seed: int = 0
    cache_dir: Path | None = None
    progress: bool = False

    def __post_init__(self) -> None:
        unknown = [track for track in self.tracks if track not in TRACKS]
        if unknown or not self.tracks:
            raise ValueError(f"tracks are some of {', '.join(TRACKS)}, got {self.tracks}")
        if self.folds < 2 or self.penalty <= 0 or self.bootstrap < 0:
            raise ValueError(
                "folds must be at least 2, penalty above 0 and bootstrap not negative, got "
                f"{self.folds}, {self.penalty}, {self.bootstrap}"
            )

    def run(self, corpus: Corpus, encoder: Encoder) -> list[Measurement]:
        """'Spearman X-Y' for every pair of varieties, with the track and what it is by behind it.

        Pairs without a judgement and items without text are left out and counted in the
        signature. An encoder that finds every pair equally near orders nothing: its correlation is
        undefined, and given as 0 with a word in the signature.

        Raises:
            ValueError: there are fewer than 10 judged pairs in every pair of varieties, a judgement
                is no number, or a vector holds NaN or infinity.
        """
        reader = reader_of(at_layer(encoder, self.layer))
        pairs, left_out = judged_pairs(corpus, self.split)
        items = [
            item for pair in pairs for side in (pair.first, pair.second) for item in side.values()
        ]
        vectors = vectors_of(
            [as_read(item) for item in items],
            reader,
            pool=self.pool,
            cache_dir=self.cache_dir,
            progress=self.progress,
        )
        rows = dict(zip(vectors.ids, vectors.values, strict=True))
        signature = {
            "task": "relatedness",
            "encoder": reader.made_by,
            "corpus": corpus.name,
            "corpus_sha": corpus.sha,
            "split": self.split,
            "label": self.label,
            "pool": self.pool,
            "left_out": left_out,
            "seed": self.seed,
            "isogloss": __version__,
        }
        combinations = sorted({(x, y) for pair in pairs for x in pair.first for y in pair.second})
        judged = {xy: _Judged.of(pairs, *xy, self.label, rows) for xy in combinations}
        judged = {xy: found for xy, found in judged.items() if len(found.keys) >= _LEAST_PAIRS}
        if not judged:
            raise ValueError(
                f"no pair of varieties has {_LEAST_PAIRS} pairs with '{self.label}' in extra; "
                f"pairs: {len(pairs)}"
            )
        measured: list[Measurement] = []
        for (x, y), found in judged.items():
            for name, predicted, kept in self._predictions(x, y, judged):
                one = self._measured(
                    f"Spearman {x}-{y} {name}", predicted, found.chosen(kept), signature
                )
                if one is not None:
                    measured.append(one)
        if not measured:
            raise ValueError(f"nothing to correlate: all values of '{self.label}' are equal")
        return measured

    def _predictions(
        self, x: str, y: str, judged: Mapping[tuple[str, str], _Judged]
    ) -> list[tuple[str, Floats, npt.NDArray[np.int64]]]:
        """Name, prediction, and the rows of the pairs that it is of."""
        own = judged[x, y]
        every = np.arange(len(own.keys))
        found: list[tuple[str, Floats, npt.NDArray[np.int64]]] = []
        if "unsupervised" in self.tracks:
            found.append(("unsupervised", own.features[:, 0], every))
            translated = judged.get((self.pivot, self.pivot)) if self.pivot else None
            if translated is not None and (x, y) != (self.pivot, self.pivot):
                place = {key: row for row, key in enumerate(translated.keys)}
                kept = np.array([n for n, key in enumerate(own.keys) if key in place], np.int64)
                rows = [place[own.keys[n]] for n in kept]
                name = f"unsupervised by translation into {self.pivot}"
                if len(kept) >= _LEAST_PAIRS:
                    found.append((name, translated.features[rows, 0], kept))
        if "supervised" in self.tracks:
            found.append(("supervised", self._regressed(own, own), every))
        source = judged.get((self.source, self.source))
        if "crosslingual" in self.tracks and source is not None and source is not own:
            name = f"crosslingual from {self.source}"
            found.append((name, self._regressed(own, source), every))
        if self.floors:
            found += [
                ("by dice", own.features[:, 1], every),
                ("by edit", own.features[:, 2], every),
            ]
        return found

    def _regressed(self, judged: _Judged, learnt: _Judged) -> Floats:
        """Of each pair, by what was learnt from pairs of other folds.

        Told as the difference from the typical pair: a fold whose judgements are high leaves low
        ones to learn from, so with their means kept, folds would be ordered upside down.
        """
        typical = judged.features.mean(axis=0, keepdims=True)
        fold_of = [np.array([self._fold(key) for key in side.keys]) for side in (judged, learnt)]
        predicted = np.zeros(len(judged.keys))
        for fold in range(self.folds):
            inside = fold_of[1] != fold
            asked = fold_of[0] == fold
            if not asked.any():
                continue
            *of_fold, of_typical = _ridge(
                learnt.features[inside],
                learnt.gold[inside],
                np.concatenate([judged.features[asked], typical]),
                self.penalty,
            )
            predicted[asked] = np.array(of_fold) - of_typical
        return predicted

    def _fold(self, key: str) -> int:
        return int(place_of(key, "fold", self.seed) * self.folds)

    def _measured(
        self, name: str, predicted: Floats, gold: Floats, signature: Mapping[str, Any]
    ) -> Measurement | None:
        value = spearman(predicted, gold)
        if value is None:
            if np.ptp(gold) == 0:
                return None
            told = {**signature, "undefined": "every pair is predicted alike; given as 0"}
            return Measurement(name, 0.0, n=len(gold), signature=told)
        drawn = [
            weighted_spearman(predicted, gold, weights)
            for weights in resample_counts(len(gold), resamples=self.bootstrap, seed=self.seed)
        ]
        bounds = percentile_interval(np.concatenate(drawn), self.level) if drawn else None
        low, high = (min(bounds[0], value), max(bounds[1], value)) if bounds else (None, None)
        table = np.stack([average_ranks(predicted), average_ranks(gold)], axis=1)
        return Measurement(
            name,
            value,
            low,
            high,
            len(gold),
            signature=signature,
            per_item=table.astype(np.float32),
        )


@dataclass(frozen=True, slots=True)
class _Judged:
    """Judged pairs of two varieties: names, judgements (N,), features (N, 5), cosine the first."""

    keys: tuple[str, ...]
    gold: Floats
    features: Floats

    @classmethod
    def of(
        cls,
        pairs: Sequence[JudgedPair],
        x: str,
        y: str,
        label: str,
        rows: Mapping[str, FloatArray],
    ) -> _Judged:
        kept = [
            (pair, gold)
            for pair in pairs
            if x in pair.first and y in pair.second
            if (gold := _gold(pair, x, y, label)) is not None
        ]
        if not kept:
            return cls((), np.zeros(0), np.zeros((0, 5)))
        first = [pair.first[x] for pair, _ in kept]
        second = [pair.second[y] for pair, _ in kept]
        texts = texts_of(first), texts_of(second)
        features = [
            cosines(*(np.stack([rows[item.id] for item in side]) for side in (first, second))),
            character_dice(*texts),
            edit_similarities(*texts),
            word_dice(*texts),
            length_ratios(*texts),
        ]
        keys = tuple(pair.key for pair, _ in kept)
        return cls(keys, np.array([gold for _, gold in kept]), np.stack(features, axis=1))

    def chosen(self, rows: npt.NDArray[np.int64]) -> Floats:
        """The judgements of some pairs."""
        return self.gold[rows]


def _gold(pair: JudgedPair, x: str, y: str, label: str) -> float | None:
    """The judgement of a pair in two varieties; None where there is none."""
    said = pair.judgements
    own = [said[f"{label}_{code}"] for code in (x, y) if f"{label}_{code}" in said]
    values = own or ([said[label]] if label in said else [])
    if not values:
        return None
    try:
        numbers = [float(value) for value in values]
    except ValueError as error:
        raise ValueError(f"pair '{pair.key}': '{label}' is no number: {values}") from error
    mean = sum(numbers) / len(numbers)
    if not np.isfinite(mean):
        raise ValueError(f"pair '{pair.key}': '{label}' is not finite: {values}")
    return mean


def _ridge(features: Floats, gold: Floats, asked: Floats, penalty: float) -> Floats:
    """Ridge regression with an intercept, on features of mean 0 and deviation 1."""
    mean, spread = features.mean(axis=0), features.std(axis=0)
    spread[spread < 1e-12] = 1.0
    x = (features - mean) / spread
    weights = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ (gold - gold.mean()))
    return np.asarray(gold.mean() + ((asked - mean) / spread) @ weights)
