"""The central experiment: does an utterance of one variety find its meaning among another's?

A corpus with meanings and an encoder in; R@k, MRR, xSIM with intervals out, for every ordered pair
of varieties, sites or groups, beside what sound and spelling alone would find.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from isogloss import __version__
from isogloss.encoders import encode_cached, mean_pool
from isogloss.measures import gold_ranks
from isogloss.scores import cosine, csls_scores, margin, seqsim
from isogloss.tasks.parallel import By, Parallel, ParallelSet, parallel_sets
from isogloss.tasks.phonetic import BASES, cognate_shares, hard_negatives, text_similarity
from isogloss.tasks.retrieval_result import PairResult, RetrievalResult

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from isogloss.measures import GoldRanks
    from isogloss.types import Corpus, Encoder, FloatArray, Item, Measurement, Sequences

__all__ = ["SpeechRetrieval"]

# A pool of one target is always answered rightly.
_LEAST_MEANINGS = 2


@dataclass(frozen=True)
class SpeechRetrieval:
    """Speech-to-speech retrieval between all sets of a corpus that share meanings.

    Attributes:
        by: what makes a set: 'variety', 'site' or 'group' (see `parallel_sets`).
        split: only items of this split; None for all.
        layer: layer of the encoder, where the encoder can change it; None keeps the encoder's own.
        score: 'seqsim' (Ma et al. 2025) or 'cosine' of mean-pooled steps.
        adjust: 'none', 'csls' (Conneau et al. 2018) or 'margin' (ratio, Artetxe and Schwenk 2019),
            which set a score against its neighbourhood in the same pool.
        neighbours: of csls and margin, and of xSIM; 4 as in LASER, pools are often of 50.
        xsim_margin: margin of xSIM, 'ratio' as in LASER.
        center: subtract each set's mean step first. A mean shared by all steps squeezes SeqSim
            together (random steps score 0.1 before and 0.9 after adding one).
        center_split: split whose items, of the same set, give that mean; None takes the very items
            that are retrieved, which uses no pairing but sees the test items.
        hard: how many wrong targets, those that sound nearest to the query, 'hard R@1' sets
            against the right one; its chance is 1 / (hard + 1).
        ks: cut-offs of R@k.
        bootstrap: resamples of every interval; 0 for none.
        level: of every interval.
        seed: of every interval; nothing else is random.
        cache_dir: where encoded items are kept; does not change a number.
        progress: bars on stderr; does not change a number.
    """

    by: By = "variety"
    split: str | None = "test"
    layer: int | None = None
    score: Literal["seqsim", "cosine"] = "seqsim"
    adjust: Literal["none", "csls", "margin"] = "none"
    neighbours: int = 4
    xsim_margin: Literal["ratio", "distance", "absolute"] = "ratio"
    center: bool = False
    center_split: str | None = None
    hard: int = 5
    ks: tuple[int, ...] = (1, 5, 10)
    bootstrap: int = 1000
    level: float = 0.95
    seed: int = 0
    cache_dir: Path | None = None
    progress: bool = False

    def __post_init__(self) -> None:
        allowed: dict[str, tuple[str, ...]] = {
            "by": ("variety", "site", "group"),
            "score": ("seqsim", "cosine"),
            "adjust": ("none", "csls", "margin"),
            "xsim_margin": ("ratio", "distance", "absolute"),
        }
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise ValueError(
                    f"{name} must be one of {', '.join(values)}, got {getattr(self, name)!r}"
                )
        if 1 not in self.ks or min(self.ks) < 1:
            raise ValueError(f"ks must be at least 1 and hold 1, got {self.ks}")
        if self.neighbours < 1 or self.hard < 1 or self.bootstrap < 0:
            raise ValueError(
                "neighbours and hard must be at least 1 and bootstrap not negative, "
                f"got {self.neighbours}, {self.hard}, {self.bootstrap}"
            )
        if self.center_split is not None and not self.center:
            raise ValueError("center_split has no effect without center=True")
        if self.center_split is not None and self.center_split == self.split:
            raise ValueError(
                f"center_split '{self.center_split}' is the split that is judged; leave it out to "
                "centre on the retrieved items themselves"
            )

    def run(self, corpus: Corpus, encoder: Encoder) -> list[Measurement]:
        """All measurements of `encoder` on `corpus`; see `retrieve` and `RetrievalResult`."""
        return self.retrieve(corpus, encoder).measurements()

    def retrieve(self, corpus: Corpus, encoder: Encoder) -> RetrievalResult:
        """Ranks, hits and baselines of every ordered pair of sets.

        Recordings that cannot be read are left out and listed in the result; pairs of sets with
        fewer than 2 meanings in common are left out.

        Raises:
            ValueError: no two sets share a meaning (or two meanings), the encoder cannot change
                its layer, or its steps cannot be compared (not finite, none).
            IsoglossError: no recording can be read.
        """
        encoder = self._at_layer(encoder)
        parallel = parallel_sets(corpus, by=self.by, split=self.split)
        unreadable: list[tuple[str, str]] = []
        sequences = encode_cached(
            encoder, parallel.items, self.cache_dir, progress=self.progress, skipped=unreadable
        )
        row = {id_: i for i, id_ in enumerate(sequences.ids)}
        sets = [_readable(s, row) for s in parallel.sets]
        steps = {
            s.name: self._centered(
                s, sequences.select([row[i.id] for i in s.items.values()]), corpus, encoder
            )
            for s in sets
            if s.items
        }
        pairs = [
            result
            for a, b in self._with_bar(_unordered(sets))
            for result in self._both_ways(a, b, steps[a.name], steps[b.name])
        ]
        if not pairs:
            raise ValueError(
                f"corpus '{corpus.name}': no two sets share {_LEAST_MEANINGS} readable meanings; "
                f"{len(unreadable)} recordings could not be read"
            )
        order = {s.name: i for i, s in enumerate(sets)}
        pairs.sort(key=lambda pair: (order[pair.query], order[pair.target]))
        return self._result(corpus, encoder, parallel, pairs, unreadable)

    def _result(
        self,
        corpus: Corpus,
        encoder: Encoder,
        parallel: Parallel,
        pairs: list[PairResult],
        unreadable: list[tuple[str, str]],
    ) -> RetrievalResult:
        names = {name for pair in pairs for name in (pair.query, pair.target)}
        groups = {s.name: s.group for s in parallel.sets if s.name in names}
        return RetrievalResult(
            sets=tuple(groups),
            set_groups=groups,
            # Varieties are named, not drawn from a population; only sites are resampled.
            strata=groups if self.by == "site" else {name: name for name in groups},
            pairs=tuple(pairs),
            ks=self.ks,
            resamples=self.bootstrap,
            level=self.level,
            seed=self.seed,
            signature=self._signature(corpus, encoder, parallel, len(unreadable)),
            left_out=parallel.left_out,
            unreadable=tuple(unreadable),
        )

    def _signature(
        self, corpus: Corpus, encoder: Encoder, parallel: Parallel, unreadable: int
    ) -> dict[str, Any]:
        center = "none"
        if self.center:
            center = f"mean step of each set, from {self.center_split or 'the retrieved items'}"
        adjusted = self.adjust != "none"
        return {
            "task": "speech_retrieval",
            "encoder": encoder.made_by,
            "corpus": corpus.name,
            "corpus_sha": corpus.sha,
            "split": self.split,
            "by": self.by,
            "score": self.score,
            "adjust": f"{self.adjust}, {self.neighbours} neighbours" if adjusted else "none",
            "xsim": f"{self.xsim_margin} margin, {self.neighbours} neighbours",
            "center": center,
            "hard": f"{self.hard} nearest in sound, chance {1 / (self.hard + 1):.3f}",
            "recordings": "first of each meaning by id",
            "items": len(parallel.items),
            "unreadable": unreadable,
            "seed": self.seed,
            "isogloss": __version__,
        }

    def _at_layer(self, encoder: Encoder) -> Encoder:
        if self.layer is None:
            return encoder
        with_layer = getattr(encoder, "with_layer", None)
        if with_layer is None:
            raise ValueError(
                f"{encoder.made_by} cannot change its layer; load it with layer={self.layer}"
            )
        changed: Encoder = with_layer(self.layer)
        return changed

    def _centered(
        self, of: ParallelSet, sequences: Sequences, corpus: Corpus, encoder: Encoder
    ) -> Sequences:
        if not self.center:
            return sequences
        fitted = sequences
        if self.center_split is not None:
            others = self._center_items(of, corpus)
            fitted = encode_cached(
                encoder, others, self.cache_dir, progress=self.progress, skipped=[]
            )
        mean = fitted.values.mean(axis=0, dtype=np.float64).astype(np.float32)
        return replace(
            sequences, values=sequences.values - mean, made_by=f"{sequences.made_by};centered"
        )

    def _center_items(self, of: ParallelSet, corpus: Corpus) -> list[Item]:
        """Items of `center_split` that belong to the same variety, site, or varieties."""
        judged = {item.id for item in of.items.values()}
        if self.by == "site":
            members = {item.site for item in of.items.values()}
            found = [i for i in corpus.items if i.site in members]
        else:
            members = {item.variety for item in of.items.values()}
            found = [i for i in corpus.items if i.variety in members]
        found = [
            i for i in found if i.split == self.center_split and i.audio and i.id not in judged
        ]
        if not found:
            raise ValueError(
                f"set '{of.name}' has no recordings in split '{self.center_split}' to centre on"
            )
        return found

    def _both_ways(
        self, a: ParallelSet, b: ParallelSet, steps_a: Sequences, steps_b: Sequences
    ) -> Iterator[PairResult]:
        """The two ordered pairs of `a` and `b`; nothing when they share too little."""
        meanings = tuple(sorted(a.items.keys() & b.items.keys()))
        if len(meanings) < _LEAST_MEANINGS:
            return
        scores = self._scores(_selected(a, steps_a, meanings), _selected(b, steps_b, meanings))
        adjusted = self._adjusted(scores)
        margins = margin(scores, neighbours=self.neighbours, kind=self.xsim_margin)
        items_a = [a.items[m] for m in meanings]
        items_b = [b.items[m] for m in meanings]
        similar = {basis: text_similarity(items_a, items_b, basis) for basis in BASES}
        texts = {basis: table for basis, table in similar.items() if table is not None}
        cognates = cognate_shares(items_a, items_b)
        gold = np.arange(len(meanings))
        wrong = ~np.eye(len(meanings), dtype=bool)
        phonetic = next((basis for basis in ("phones", "transcript") if basis in texts), None)
        ways = ((a, b, items_a, items_b, False), (b, a, items_b, items_a, True))
        for query, target, queries, targets, flipped in ways:
            table, by_margin = (adjusted.T, margins.T) if flipped else (adjusted, margins)
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
                wrong_by_margin=gold_ranks(by_margin, gold).ranks > 1,
                matched=np.diagonal(scores).copy(),
                unmatched=float(scores[wrong].mean(dtype=np.float64)),
                baselines=ranks,
                phonetic_basis=phonetic,
                distance=None if phonetic is None else 1 - np.diagonal(sounds[phonetic]),
                beats_neighbours=None
                if phonetic is None
                else _beats(table, hard_negatives(sounds[phonetic], self.hard)),
                cognates=None if np.isnan(cognates).all() else cognates,
            )

    def _scores(self, a: Sequences, b: Sequences) -> FloatArray:
        if self.score == "seqsim":
            return seqsim(a, b)
        return cosine(mean_pool(a), mean_pool(b))

    def _adjusted(self, scores: FloatArray) -> FloatArray:
        if self.adjust == "csls":
            return csls_scores(scores, neighbours=self.neighbours)
        if self.adjust == "margin":
            return margin(scores, neighbours=self.neighbours)
        return scores

    def _with_bar(
        self, pairs: list[tuple[ParallelSet, ParallelSet]]
    ) -> Iterator[tuple[ParallelSet, ParallelSet]]:
        from rich.console import Console
        from rich.progress import track

        console = Console(stderr=True)
        yield from track(
            pairs,
            "scoring",
            console=console,
            transient=True,
            # A bar for a handful of pairs would only flicker.
            disable=not (self.progress and console.is_terminal) or len(pairs) < 20,
        )


def _readable(s: ParallelSet, row: dict[str, int]) -> ParallelSet:
    return replace(s, items={m: item for m, item in s.items.items() if item.id in row})


def _unordered(sets: list[ParallelSet]) -> list[tuple[ParallelSet, ParallelSet]]:
    return [
        (a, b)
        for i, a in enumerate(sets)
        for b in sets[i + 1 :]
        if len(a.items.keys() & b.items.keys()) >= _LEAST_MEANINGS
    ]


def _selected(s: ParallelSet, steps: Sequences, meanings: tuple[str, ...]) -> Sequences:
    place = {meaning: i for i, meaning in enumerate(s.items)}
    return steps.select([place[meaning] for meaning in meanings])


def _beats(scores: FloatArray, rivals: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Any:
    """Whether the right answer outscores all of its rivals, (N,) bool; a tie is a defeat."""
    right = np.diagonal(scores)[:, np.newaxis]
    return (right > np.take_along_axis(scores, rivals, axis=1)).all(axis=1)
