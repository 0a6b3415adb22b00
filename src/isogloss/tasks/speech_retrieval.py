"""The central experiment: does an utterance of one variety find its meaning among another's?

A corpus with meanings and an encoder in; R@k, MRR, xSIM with intervals out, for every ordered pair
of varieties, sites or groups, beside what sound and spelling alone would find.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from isogloss.corpora.progress import with_progress
from isogloss.measures import gold_ranks
from isogloss.scores import margin
from isogloss.tasks.comparison import Compared, Comparison, at_layer
from isogloss.tasks.parallel import Parallel, ParallelSet, parallel_sets
from isogloss.tasks.phonetic import BASES, cognate_shares, hard_negatives, text_similarity
from isogloss.tasks.retrieval_result import PairResult, RetrievalResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from isogloss.measures import GoldRanks
    from isogloss.types import Corpus, Encoder, FloatArray, Measurement

__all__ = ["SpeechRetrieval"]

# A pool of one target is always answered rightly.
_LEAST_MEANINGS = 2


@dataclass(frozen=True)
class SpeechRetrieval(Comparison):
    """Speech-to-speech retrieval between all sets of a corpus that share meanings.

    Attributes, besides those of `Comparison`:
        xsim_margin: margin of xSIM, 'ratio' as in LASER; pairs of sets where a neighbourhood's mean
            is not above 0, so that there is no ratio, have no xSIM.
        hard: how many wrong targets, those that sound nearest to the query, 'hard R@1' sets
            against the right one; its chance is 1 / (hard + 1), more in smaller pools.
        ks: cut-offs of R@k.
    """

    xsim_margin: Literal["ratio", "distance", "absolute"] = "ratio"
    hard: int = 5
    ks: tuple[int, ...] = (1, 5, 10)

    def __post_init__(self) -> None:
        super().__post_init__()
        margins = ("ratio", "distance", "absolute")
        if self.xsim_margin not in margins:
            raise ValueError(
                f"xsim_margin must be one of {', '.join(margins)}, got {self.xsim_margin!r}"
            )
        if 1 not in self.ks or min(self.ks) < 1:
            raise ValueError(f"ks must be at least 1 and hold 1, got {self.ks}")
        if self.hard < 1:
            raise ValueError(f"hard must be at least 1, got {self.hard}")

    def run(self, corpus: Corpus, encoder: Encoder) -> list[Measurement]:
        """All measurements of `encoder` on `corpus`; see `retrieve` and `RetrievalResult`."""
        return self.retrieve(corpus, encoder).measurements()

    def retrieve(
        self,
        corpus: Corpus,
        encoder: Encoder,
        *,
        pairs: Callable[[ParallelSet, ParallelSet], bool] | None = None,
    ) -> RetrievalResult:
        """Ranks, hits and baselines of every ordered pair of sets.

        Recordings that cannot be read are left out and listed in the result; pairs of sets with
        fewer than 2 meanings in common are left out.

        Args:
            corpus: items with audio and meanings.
            encoder: anything that gives steps.
            pairs: whether two sets are to be compared (asked once, both ways are computed); all
                by default.

        Raises:
            ValueError: no two sets share a meaning (or two meanings), the encoder cannot change
                its layer, or its steps cannot be compared (not finite, none).
            IsoglossError: no recording can be read.
        """
        encoder = at_layer(encoder, self.layer)
        parallel = parallel_sets(corpus, by=self.by, split=self.split)
        compared = self.compared(corpus, encoder, parallel)
        chosen = [(a, b) for a, b in _unordered(compared.sets) if pairs is None or pairs(a, b)]
        found = [
            result for a, b in self._with_bar(chosen) for result in self._both_ways(a, b, compared)
        ]
        if not found:
            raise ValueError(
                f"corpus '{corpus.name}': no two sets share {_LEAST_MEANINGS} readable meanings; "
                f"{len(compared.unreadable)} recordings could not be read"
            )
        order = {s.name: i for i, s in enumerate(compared.sets)}
        found.sort(key=lambda pair: (order[pair.query], order[pair.target]))
        return self._result(corpus, encoder, parallel, found, compared.unreadable)

    def _result(
        self,
        corpus: Corpus,
        encoder: Encoder,
        parallel: Parallel,
        pairs: list[PairResult],
        unreadable: tuple[tuple[str, str], ...],
    ) -> RetrievalResult:
        names = {name for pair in pairs for name in (pair.query, pair.target)}
        groups = {s.name: s.group for s in parallel.sets if s.name in names}
        drawn = self.by in ("site", "speaker")
        return RetrievalResult(
            sets=tuple(groups),
            set_groups=groups,
            # Varieties are named, not drawn from a population; sites and speakers are resampled.
            strata=groups if drawn else {name: name for name in groups},
            pairs=tuple(pairs),
            ks=self.ks,
            resamples=self.bootstrap,
            level=self.level,
            seed=self.seed,
            signature=self._signature(corpus, encoder, parallel, len(unreadable)),
            left_out=parallel.left_out,
            unreadable=unreadable,
        )

    def _signature(
        self, corpus: Corpus, encoder: Encoder, parallel: Parallel, unreadable: int
    ) -> dict[str, Any]:
        return {
            **self.signed("speech_retrieval", corpus, encoder, len(parallel.items), unreadable),
            "xsim": f"{self.xsim_margin} margin, {self.neighbours} neighbours",
            "hard": f"{self.hard} nearest in sound, chance {1 / (self.hard + 1):.3f}",
            "recordings": "first of each meaning by id"
            if self.by != "take"
            else "first two of each meaning by id, by different speakers",
        }

    def _both_ways(
        self, a: ParallelSet, b: ParallelSet, compared: Compared
    ) -> Iterator[PairResult]:
        """The two ordered pairs of `a` and `b`; nothing when they share too little."""
        meanings = tuple(sorted(a.items.keys() & b.items.keys()))
        if len(meanings) < _LEAST_MEANINGS:
            return
        scores = self.scores(compared.rows(a, meanings), compared.rows(b, meanings))
        adjusted = self.adjusted(scores)
        margins = self._margins(scores)
        items_a = [a.items[m] for m in meanings]
        items_b = [b.items[m] for m in meanings]
        similar = {
            basis: text_similarity(items_a, items_b, basis, script=self.script) for basis in BASES
        }
        texts = {basis: table for basis, table in similar.items() if table is not None}
        cognates = cognate_shares(items_a, items_b)
        gold = np.arange(len(meanings))
        wrong = ~np.eye(len(meanings), dtype=bool)
        phonetic = next((basis for basis in ("phones", "transcript") if basis in texts), None)
        ways = ((a, b, items_a, items_b, False), (b, a, items_b, items_a, True))
        for query, target, queries, targets, flipped in ways:
            table = adjusted.T if flipped else adjusted
            by_margin = margins.T if flipped and margins is not None else margins
            sounds = {basis: s.T if flipped else s for basis, s in texts.items()}
            ranks: dict[str, GoldRanks] = {
                basis: gold_ranks(s, gold) for basis, s in sounds.items()
            }
            yield PairResult(
                query=query.name,
                target=target.name,
                groups=(query.group, target.group),
                meanings=meanings,
                query_ids=tuple(item.id for item in queries),
                target_ids=tuple(item.id for item in targets),
                scores=np.ascontiguousarray(table),
                gold=gold_ranks(table, gold),
                wrong_by_margin=None
                if by_margin is None
                else gold_ranks(by_margin, gold).ranks > 1,
                matched=np.diagonal(scores).copy(),
                unmatched=float(scores[wrong].mean(dtype=np.float64)),
                baselines=ranks,
                phonetic_basis=phonetic,
                sound=None if phonetic is None else sounds[phonetic],
                distance=None if phonetic is None else 1 - np.diagonal(sounds[phonetic]),
                beats_neighbours=None
                if phonetic is None
                else _beats(table, hard_negatives(sounds[phonetic], self.hard)),
                rivals=min(self.hard, len(meanings) - 1),
                cognates=None if np.isnan(cognates).all() else cognates,
            )

    def _margins(self, scores: FloatArray) -> FloatArray | None:
        """What xSIM is made of; None where the ratio is undefined."""
        try:
            return margin(scores, neighbours=self.neighbours, kind=self.xsim_margin)
        except ValueError:
            # Centred cosines of a small pool may have a neighbourhood below 0: no ratio, no xSIM,
            # and no reason to refuse all the rest.
            if self.xsim_margin != "ratio" or not np.isfinite(scores).all():
                raise
            return None

    def _with_bar(
        self, pairs: list[tuple[ParallelSet, ParallelSet]]
    ) -> Iterable[tuple[ParallelSet, ParallelSet]]:
        return with_progress(pairs, "scoring", total=len(pairs)) if self.progress else pairs


def _unordered(sets: tuple[ParallelSet, ...]) -> list[tuple[ParallelSet, ParallelSet]]:
    return [
        (a, b)
        for i, a in enumerate(sets)
        for b in sets[i + 1 :]
        if len(a.items.keys() & b.items.keys()) >= _LEAST_MEANINGS
    ]


def _beats(scores: FloatArray, rivals: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Any:
    """Whether the right answer outscores all of its rivals, (N,) bool; a tie is a defeat."""
    right = np.diagonal(scores)[:, np.newaxis]
    return (right > np.take_along_axis(scores, rivals, axis=1)).all(axis=1)
