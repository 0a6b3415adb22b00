"""Controlled retrieval: how much of a score is meaning, and how much is only sound?

Called by suites as 'controlled'. Varieties of one family are full of cognates, so a plain recall
can ride on sound. Three answers for every ordered pair of sets: retrieval among the wrong answers
that sound nearest, retrieval where query and answer sound unlike, and the correlation of the score
with sound freed from meaning and with meaning freed from sound, over all cells of its table.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path  # noqa: TC003  (recipes are read by the fields' types)
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from isogloss.measures import (
    partial_from_matrix,
    percentile_interval,
    resample_counts,
    resampled_table_correlations,
    table_correlations,
)
from isogloss.tasks.comparison import Comparison
from isogloss.tasks.semantic import (
    Meaning,
    character_ngrams,
    cosine_table,
    file_vectors,
    meaning_vectors,
    standard_texts,
    standard_words,
)
from isogloss.tasks.speech_retrieval import SpeechRetrieval
from isogloss.types import Measurement

if TYPE_CHECKING:
    from collections.abc import Mapping

    from isogloss.measures.correlation import Doubles, Kind
    from isogloss.tasks.retrieval_result import PairResult, RetrievalResult
    from isogloss.types import Corpus, Encoder, FloatArray

__all__ = ["ControlledRetrieval"]

_KINDS: tuple[tuple[str, Kind], ...] = (("Spearman", "spearman"), ("Pearson", "pearson"))
# Order of variables in a correlation matrix.
_SCORE, _SOUND, _MEANING = 0, 1, 2
# Above this many pairs only means over all pairs are given: thousands of sites' pairs are no table.
_MOST_PAIRS_LISTED = 60
_CONTENT = 0.5


@dataclass(frozen=True)
class ControlledRetrieval(Comparison):
    """Retrieval with sound held apart from meaning, for every ordered pair of sets.

    Attributes, besides those of `Comparison`:
        hard: how many wrong targets, those that sound nearest to the query, stand against the
            right one; chance is 1 / (hard + 1), more in smaller pools.
        meaning: what tells how alike two sentences are in meaning: 'characters', TF-IDF of the
            characters and pairs of characters of the standard wording; 'words', TF-IDF of its
            content words (those in at most half of the sentences), which needs `words` on items of
            the standard variety; 'vectors', those of `meaning_vectors`.
        meaning_vectors: an `.npz` file with 'meanings' (N,) and 'vectors' (N, D), for 'vectors'.
        standard: variety whose transcripts are standard wording where translations are missing.
        unmatched_only: leave the right answers out of the correlations, so that they tell how the
            encoder grades wrong answers.
    """

    hard: int = 5
    meaning: Meaning = "characters"
    meaning_vectors: Path | None = None
    standard: str = "cmn"
    unmatched_only: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.meaning not in get_args(Meaning):
            raise ValueError(
                f"meaning must be one of {', '.join(get_args(Meaning))}, got {self.meaning!r}"
            )
        if (self.meaning == "vectors") != (self.meaning_vectors is not None):
            raise ValueError("meaning='vectors' and meaning_vectors=FILE go together")
        if self.hard < 1:
            raise ValueError(f"hard must be at least 1, got {self.hard}")

    def run(self, corpus: Corpus, encoder: Encoder) -> list[Measurement]:
        """Means over all ordered pairs, then each pair with its name, such as 'cmn>yue', behind.

        'R@1' and 'hard R@1'; 'R@1 distance low', 'middle', 'high'; and over all cells of the score
        tables 'partial Spearman sound' (score with phonetic similarity, meaning held fixed),
        'partial Spearman meaning' (the converse), 'Spearman sound', 'Spearman meaning' (nothing
        held fixed), 'Spearman sound-meaning' (how far the two controls agree, whatever the
        encoder), and the same with Pearson. Where a correlation is undefined (a table that does
        not vary) its measurement is missing. Above 60 pairs only the means are given.

        Intervals resample meanings, as queries and as targets at once, and sites or speakers where
        they are the sets.

        Raises:
            ValueError: as `SpeechRetrieval.retrieve`; no pair has phones or transcripts on all
                items; a meaning has no standard wording, no words, or no vector.
        """
        retrieval = SpeechRetrieval(**self.shared(), hard=self.hard, ks=(1,))
        result = retrieval.retrieve(corpus, encoder)
        pairs = [pair for pair in result.pairs if pair.sound is not None]
        if not pairs:
            raise ValueError(
                f"corpus '{corpus.name}': no two sets have phones, or transcripts, on all items, "
                "so how alike they sound is unknown"
            )
        vectors, source = self._meaning_vectors(corpus)
        signature = {
            **result.signature,
            "task": "controlled_retrieval",
            "meaning": source,
            "phonetic_basis": " and ".join(sorted({str(pair.phonetic_basis) for pair in pairs})),
        }
        listed = pairs if len(pairs) <= _MOST_PAIRS_LISTED else []
        found = _retrieved(result, pairs, "")
        for pair in listed:
            found += _retrieved(result, [pair], f"{pair.query}>{pair.target}")
        found = [_resigned(measurement, signature) for measurement in found]
        return found + self._correlated(result, pairs, bool(listed), vectors, signature)

    def _meaning_vectors(self, corpus: Corpus) -> tuple[Mapping[str, FloatArray], str]:
        """A vector of each meaning, and what they are, for the signature."""
        if self.meaning_vectors is not None:
            vectors, sha = file_vectors(self.meaning_vectors)
            return vectors, f"cosine of given vectors, sha256 {sha[:16]}"
        if self.meaning == "words":
            words = standard_words(corpus.items, standard=self.standard)
            if not words:
                raise ValueError(
                    f"no item of '{self.standard}' has words; choose meaning='characters'"
                )
            return (
                meaning_vectors(words, most_common=_CONTENT),
                f"cosine of TF-IDF of the words of {self.standard} in at most half of the "
                "sentences",
            )
        texts = standard_texts(corpus.items, standard=self.standard)
        if not texts:
            raise ValueError(
                f"no item of '{corpus.name}' has a translation and none of '{self.standard}' a "
                "transcript, so how alike sentences are in meaning is unknown; name the variety "
                "that is written in standard wording (standard), or give vectors "
                "(meaning='vectors')"
            )
        units = {m: character_ngrams(text, script=self.script) for m, text in texts.items()}
        return (
            meaning_vectors(units),
            "cosine of TF-IDF of 1 and 2 characters of the translation, else of the transcript "
            f"of {self.standard}",
        )

    def _correlated(
        self,
        result: RetrievalResult,
        pairs: list[PairResult],
        listed: bool,
        vectors: Mapping[str, FloatArray],
        signature: dict[str, Any],
    ) -> list[Measurement]:
        mean: list[Measurement] = []
        single: list[Measurement] = []
        draws = _Draws(result, pairs)
        unique = _one_way(pairs)
        for label, kind in _KINDS:
            totals = _Totals()
            for pair in unique:
                tables = (pair.scores, pair.sound, cosine_table(vectors, pair.meanings))
                diagonal = not self.unmatched_only
                values = _named(
                    table_correlations(tables, kind=kind, diagonal=diagonal)[np.newaxis]  # type: ignore[arg-type]
                )
                drawn = _named(
                    resampled_table_correlations(
                        tables,  # type: ignore[arg-type]
                        draws.of_meanings(pair),
                        kind=kind,
                        diagonal=diagonal,
                    )
                )
                totals.add(values, drawn, draws.of_pair(pair))
                if listed:
                    # A table and its transpose have the same correlations.
                    for way in (f"{pair.query}>{pair.target}", f"{pair.target}>{pair.query}"):
                        single += self._measured(
                            label,
                            way,
                            {name: float(value[0]) for name, value in values.items()},
                            drawn,
                            {**signature, "pairs": 1},
                            len(pair),
                        )
            mean += self._measured(
                label,
                "",
                totals.means(),
                totals.resampled(),
                {**signature, "pairs": 2 * len(unique)},
                draws.meanings,
            )
        return mean + single

    def _measured(
        self,
        label: str,
        way: str,
        values: Mapping[str, float],
        drawn: Mapping[str, Doubles],
        signature: Mapping[str, Any],
        n: int,
    ) -> list[Measurement]:
        found = []
        for name, value in values.items():
            if np.isnan(value):
                continue
            bounds = percentile_interval(drawn[name], self.level) if self.bootstrap else None
            if bounds is not None:
                # On few meanings the resamples may all fall to one side of the value.
                bounds = (min(bounds[0], value), max(bounds[1], value))
            found.append(
                Measurement(
                    f"{name.format(label)} {way}".rstrip(),
                    value,
                    low=bounds[0] if bounds else None,
                    high=bounds[1] if bounds else None,
                    n=n,
                    higher_is_better="meaning" in name,
                    signature={
                        **signature,
                        "cells": "wrong answers" if self.unmatched_only else "all",
                        "interval": f"bootstrap over meanings, as queries and targets at once"
                        f"{', and ' + self.by + 's' if self.by in ('site', 'speaker') else ''}, "
                        f"{self.bootstrap} resamples, level {self.level}, seed {self.seed}"
                        if bounds
                        else None,
                    },
                )
            )
        return found


class _Draws:
    """The same resampled meanings, and sites where they are the sets, for every pair."""

    def __init__(self, result: RetrievalResult, pairs: list[PairResult]) -> None:
        names = sorted({meaning for pair in pairs for meaning in pair.meanings})
        self._column = {meaning: i for i, meaning in enumerate(names)}
        self._counts = _stacked(len(names), result.resamples, result.seed)
        self._of_set: dict[str, Doubles] = {}
        strata: dict[str, list[str]] = {}
        for name in sorted({name for pair in pairs for name in (pair.query, pair.target)}):
            strata.setdefault(result.strata[name], []).append(name)
        for number, members in enumerate(strata.values()):
            # Another seed for each stratum, or sites of two groups would be drawn alike.
            drawn = _stacked(len(members), result.resamples, result.seed + 1 + number)
            self._of_set |= {name: drawn[:, i] for i, name in enumerate(members)}
        self.meanings = len(names)

    def of_meanings(self, pair: PairResult) -> Doubles:
        """How often each of the pair's meanings was drawn, (B, N)."""
        found: Doubles = self._counts[:, [self._column[meaning] for meaning in pair.meanings]]
        return found

    def of_pair(self, pair: PairResult) -> Doubles:
        """How often the pair was drawn, (B,)."""
        found: Doubles = self._of_set[pair.query] * self._of_set[pair.target]
        return found


class _Totals:
    """Sums over pairs, so that no pair's resamples need be kept."""

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {}
        self._sums: dict[str, Doubles] = {}
        self._weights: dict[str, Doubles] = {}

    def add(
        self, values: Mapping[str, Doubles], drawn: Mapping[str, Doubles], weights: Doubles
    ) -> None:
        for name, value in values.items():
            if np.isnan(value[0]):
                continue
            known = ~np.isnan(drawn[name])
            weight = weights * known
            self._values.setdefault(name, []).append(float(value[0]))
            self._sums[name] = self._sums.get(name, 0) + weight * np.where(known, drawn[name], 0)
            self._weights[name] = self._weights.get(name, 0) + weight

    def means(self) -> dict[str, float]:
        return {name: float(np.mean(values)) for name, values in self._values.items()}

    def resampled(self) -> dict[str, Doubles]:
        return {
            name: np.divide(
                sums,
                self._weights[name],
                out=np.full(len(sums), np.nan),
                where=self._weights[name] > 0,
            )
            for name, sums in self._sums.items()
        }


def _stacked(n: int, resamples: int, seed: int) -> Doubles:
    """Draws of n units, (B, n); ones where there is nothing to draw."""
    blocks = list(resample_counts(n, resamples=resamples, seed=seed))
    return np.concatenate(blocks) if blocks else np.ones((resamples, n))


def _one_way(pairs: list[PairResult]) -> list[PairResult]:
    """One of the two orders of each pair."""
    kept: dict[frozenset[str], PairResult] = {}
    for pair in pairs:
        kept.setdefault(frozenset((pair.query, pair.target)), pair)
    return list(kept.values())


def _named(correlations: Doubles) -> dict[str, Doubles]:
    """Each correlation (B,) under its name, with a place for 'Spearman' or 'Pearson'."""
    by_meaning = correlations[:, [_SCORE, _MEANING, _SOUND]][:, :, [_SCORE, _MEANING, _SOUND]]
    return {
        "partial {} sound": partial_from_matrix(correlations),
        "partial {} meaning": partial_from_matrix(by_meaning),
        "{} sound": correlations[:, _SCORE, _SOUND],
        "{} meaning": correlations[:, _SCORE, _MEANING],
        "{} sound-meaning": correlations[:, _SOUND, _MEANING],
    }


def _retrieved(result: RetrievalResult, pairs: list[PairResult], label: str) -> list[Measurement]:
    means = [result.mean(name, pairs, label=label) for name in ("R@1", "hard R@1")]
    return [m for m in means if m is not None] + result.buckets("distance", pairs, label=label)


def _resigned(measurement: Measurement, signature: Mapping[str, Any]) -> Measurement:
    """`measurement` with what this task adds to its signature."""
    return replace(measurement, signature={**measurement.signature, **signature})
