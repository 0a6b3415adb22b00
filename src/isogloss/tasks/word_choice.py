"""Synonym or near-homophone? A word is set before two of another variety: which one is nearer?

Called by suites as 'word-choice'. The one means the same and sounds different, the other sounds
alike and means something else. An encoder of sound takes the second, an encoder of meaning the
first; a coin is right half of the time. After the challenge set of Shim et al. 2025, made from any
corpus by thresholds, for words and for sentences.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from isogloss.measures import two_way_interval
from isogloss.tasks.comparison import Comparison, at_layer
from isogloss.tasks.parallel import ParallelSet, parallel_sets
from isogloss.tasks.phonetic import characters_of, text_similarity
from isogloss.tasks.semantic import standard_texts
from isogloss.types import Measurement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.tasks.comparison import Compared
    from isogloss.types import Corpus, Encoder, FloatArray, Item

__all__ = ["Triple", "WordChoice"]

Sound = Literal["phones", "transcript"]
_LEAST_TRIPLES = 2


@dataclass(frozen=True, slots=True)
class Triple:
    """A query, its mate (same meaning, other sound), a distractor (like sound, other meaning).

    `mate_sound` and `distractor_sound` are the phonetic similarities of the two with the query.
    """

    query: Item
    mate: Item
    distractor: Item
    mate_sound: float
    distractor_sound: float

    @property
    def key(self) -> str:
        """The three ids."""
        return f"{self.query.id}|{self.mate.id}|{self.distractor.id}"


@dataclass(frozen=True)
class WordChoice(Comparison):
    """Does a word find its synonym rather than a near-homophone, for every ordered pair of sets?

    Each query whose mate is unlike it in sound gets the distractors that sound nearest to it. The
    defaults are for words; for sentences of cognate varieties raise `mate_at_most` and
    `shared_at_most` (see the documentation).

    Attributes, besides those of `Comparison`:
        sound: what tells how alike two words sound: 'phones', 'transcript' (characters stand for
            syllables), or None for phones where all items of a pair have them, else transcripts.
        mate_at_most: greatest phonetic similarity of query and mate, 0 to 1.
        distractor_at_least: least phonetic similarity of query and distractor.
        gap: the distractor must be nearer in sound than the mate by at least this.
        shared_at_most: greatest share of characters that query and mate have in common (of the
            shorter transcript); 0 asks for words that share none. Where transcripts are missing it
            is not asked for.
        meaning_at_most: greatest share of characters that the standard wordings of query and
            distractor may have in common (of the shorter one): where one contains the other they
            may be synonyms. None does not ask.
        per_query: distractors for each query at most.
        standard: variety whose transcripts are standard wording where translations are missing.
    """

    sound: Sound | None = None
    mate_at_most: float = 0.34
    distractor_at_least: float = 0.5
    gap: float = 0.1
    shared_at_most: float = 0.0
    meaning_at_most: float | None = 0.5
    per_query: int = 1
    standard: str = "cmn"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sound not in (None, "phones", "transcript"):
            raise ValueError(f"sound must be 'phones', 'transcript' or None, got {self.sound!r}")
        for name in ("mate_at_most", "distractor_at_least", "gap", "shared_at_most"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie between 0 and 1, got {getattr(self, name)}")
        if self.meaning_at_most is not None and not 0 <= self.meaning_at_most <= 1:
            raise ValueError(
                f"meaning_at_most must lie between 0 and 1, got {self.meaning_at_most}"
            )
        if self.per_query < 1:
            raise ValueError(f"per_query must be at least 1, got {self.per_query}")

    def run(self, corpus: Corpus, encoder: Encoder) -> list[Measurement]:
        """'word choice accuracy', the mean over ordered pairs of sets, then each pair's own.

        A triple counts 1 where the mate scores higher, 0 where the distractor does, 1/2 where
        both score the same, so that chance is 0.5; ties are counted in the signature, as are the
        triples and their phonetic similarities. `per_item` has the mean of each meaning.

        Intervals resample meanings, and sites or speakers where they are the sets.

        Raises:
            ValueError: no ordered pair has 2 triples (what stood in the way is counted); or as
                `parallel_sets`.
            IsoglossError: no recording can be read.
        """
        encoder = at_layer(encoder, self.layer)
        parallel = parallel_sets(corpus, by=self.by, split=self.split)
        compared = self.compared(corpus, encoder, parallel)
        chosen = self._chosen(corpus, compared.sets)
        judged = {
            (a.name, b.name): _Judged(triples, self._hits(compared, a, b, triples))
            for (a, b), triples in chosen
        }
        items, unreadable = len(parallel.items), len(compared.unreadable)
        signature = {
            **self.signed("word_choice", corpus, encoder, items, unreadable),
            "triples_by": self._thresholds(),
            "chance": 0.5,
            "ties": "half",
        }
        groups = {s.name: s.group for s in compared.sets}
        strata = groups if self.by in ("site", "speaker") else {name: name for name in groups}
        found = [self._measured("", judged, strata, signature)]
        for pair, one in judged.items():
            found.append(self._measured(f"{pair[0]}>{pair[1]}", {pair: one}, strata, signature))
        return found

    def triples(self, corpus: Corpus) -> dict[tuple[str, str], tuple[Triple, ...]]:
        """The triples of each ordered pair of sets, to look at before they are trusted.

        Recordings are not opened, so some may turn out unreadable when the task is run.

        Raises:
            ValueError: as `run`.
        """
        sets = parallel_sets(corpus, by=self.by, split=self.split).sets
        return {(a.name, b.name): found for (a, b), found in self._chosen(corpus, sets)}

    def _chosen(
        self, corpus: Corpus, sets: Sequence[ParallelSet]
    ) -> list[tuple[tuple[ParallelSet, ParallelSet], tuple[Triple, ...]]]:
        texts = standard_texts(corpus.items, standard=self.standard)
        refused: Counter[str] = Counter()
        found = []
        for a in sets:
            for b in sets:
                triples = () if a is b else self._of_pair(a, b, texts, refused)
                if len({triple.query.meaning for triple in triples}) >= _LEAST_TRIPLES:
                    found.append(((a, b), triples))
        if not found:
            reasons = ", ".join(f"{reason}: {n}" for reason, n in refused.most_common())
            raise ValueError(
                f"corpus '{corpus.name}': no two sets give {_LEAST_TRIPLES} triples "
                f"({self._thresholds()}); queries refused by reason: {reasons or 'none'}"
            )
        return found

    def _of_pair(
        self, a: ParallelSet, b: ParallelSet, texts: dict[str, str], refused: Counter[str]
    ) -> tuple[Triple, ...]:
        """Triples with queries from `a`, mates and distractors from `b`."""
        meanings = sorted(a.items.keys() & b.items.keys())
        others = sorted(b.items)
        if not meanings:
            return ()
        queries, answers = [a.items[m] for m in meanings], [b.items[m] for m in others]
        sound = self._sound(queries, answers)
        if sound is None:
            refused["no phones or transcripts on all items"] += len(queries)
            return ()
        column = {meaning: j for j, meaning in enumerate(others)}
        mate = np.array([column[m] for m in meanings])
        rows = np.arange(len(meanings))
        mate_sound = sound[rows, mate]
        shared = self._shared([i.transcript for i in queries], [i.transcript for i in answers])
        alike = self._shared([texts.get(m) for m in meanings], [texts.get(m) for m in others])
        near = sound >= np.maximum(self.distractor_at_least, mate_sound + self.gap)[:, np.newaxis]
        near[rows, mate] = False
        if self.meaning_at_most is not None:
            near &= ~(alike > self.meaning_at_most)
        reasons = (
            ("its mate sounds too near", mate_sound > self.mate_at_most),
            ("its mate shares characters", shared[rows, mate] > self.shared_at_most),
            ("no other word sounds near enough", ~near.any(axis=1)),
        )
        usable = np.ones(len(meanings), dtype=bool)
        for reason, hinders in reasons:
            refused[reason] += int((usable & hinders).sum())
            usable &= ~hinders
        found = []
        for i in np.flatnonzero(usable):
            order = np.argsort(np.where(near[i], -sound[i], np.inf), kind="stable")
            for j in order[: min(self.per_query, int(near[i].sum()))]:
                found.append(
                    Triple(
                        queries[i],
                        answers[mate[i]],
                        answers[j],
                        float(mate_sound[i]),
                        float(sound[i, j]),
                    )
                )
        return tuple(found)

    def _sound(self, queries: Sequence[Item], answers: Sequence[Item]) -> FloatArray | None:
        bases: tuple[Sound, ...] = ("phones", "transcript") if self.sound is None else (self.sound,)
        for basis in bases:
            table = text_similarity(queries, answers, basis, script=self.script)
            if table is not None:
                return table
        return None

    def _shared(self, a: Sequence[str | None], b: Sequence[str | None]) -> npt.NDArray[np.float64]:
        """Share of different characters of the shorter text that both have, (N, M); NaN unknown."""
        texts = [set(characters_of(text, script=self.script)) for text in (*a, *b)]
        column = {c: i for i, c in enumerate(sorted(set().union(*texts)))}
        has = np.zeros((len(texts), len(column)))
        for row, text in zip(has, texts, strict=True):
            row[[column[c] for c in text]] = 1
        sizes = has.sum(axis=1)
        shorter = np.minimum(sizes[: len(a), np.newaxis], sizes[len(a) :])
        both = has[: len(a)] @ has[len(a) :].T
        share = np.full(both.shape, np.nan)
        np.divide(both, shorter, out=share, where=shorter > 0)
        return share

    def _hits(
        self, compared: Compared, a: ParallelSet, b: ParallelSet, triples: Sequence[Triple]
    ) -> npt.NDArray[np.float64]:
        """1, 1/2 or 0 for each triple."""
        asked = sorted({str(t.query.meaning) for t in triples})
        answers = sorted({str(i.meaning) for t in triples for i in (t.mate, t.distractor)})
        if self.adjust != "none":
            # A score's neighbourhood is the whole pool, not what happens to be in a triple.
            asked, answers = sorted(a.items), sorted(b.items)
        table = self.adjusted(self.scores(compared.rows(a, asked), compared.rows(b, answers)))
        row = {meaning: i for i, meaning in enumerate(asked)}
        column = {meaning: j for j, meaning in enumerate(answers)}
        query = [row[str(t.query.meaning)] for t in triples]
        mate = table[query, [column[str(t.mate.meaning)] for t in triples]]
        distractor = table[query, [column[str(t.distractor.meaning)] for t in triples]]
        hits: npt.NDArray[np.float64] = (mate > distractor) + 0.5 * (mate == distractor)
        return hits

    def _measured(
        self,
        label: str,
        judged: dict[tuple[str, str], _Judged],
        strata: dict[str, str],
        signature: dict[str, Any],
    ) -> Measurement:
        triples = [triple for one in judged.values() for triple in one.triples]
        hits = np.concatenate([one.hits for one in judged.values()])
        meanings = sorted({str(triple.query.meaning) for triple in triples})
        table = {pair: one.by_meaning(meanings) for pair, one in judged.items()}
        stacked = np.array(list(table.values()))
        bounds = two_way_interval(
            table, strata=strata, resamples=self.bootstrap, level=self.level, seed=self.seed
        )
        keys = "\n".join(triple.key for triple in triples)
        drawn = f", and {self.by}s" if self.by in ("site", "speaker") else ""
        return Measurement(
            f"word choice accuracy {label}".rstrip(),
            float(np.nanmean(stacked, axis=1).mean()),
            low=bounds[0] if bounds else None,
            high=bounds[1] if bounds else None,
            n=len(triples),
            signature={
                **signature,
                "pairs": len(judged),
                "triples": len(triples),
                "triples_sha": hashlib.sha256(keys.encode()).hexdigest()[:16],
                "ties_found": int((hits == 0.5).sum()),
                "mean_sound_of_mates": float(np.mean([t.mate_sound for t in triples])),
                "mean_sound_of_distractors": float(np.mean([t.distractor_sound for t in triples])),
                "interval": f"bootstrap over meanings{drawn}, {self.bootstrap} resamples, level "
                f"{self.level}, seed {self.seed}"
                if bounds
                else None,
            },
            per_item=np.nanmean(stacked, axis=0).astype(np.float32),
            item_keys=tuple(meanings),
        )

    def _thresholds(self) -> str:
        asked = "" if self.meaning_at_most is None else f", wordings share {self.meaning_at_most:g}"
        return (
            f"{self.sound or 'phones or transcripts'}: mate at most {self.mate_at_most:g}, "
            f"distractor at least {self.distractor_at_least:g} and {self.gap:g} above the mate; "
            f"mate shares at most {self.shared_at_most:g} of its characters{asked}; "
            f"{self.per_query} for each query"
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Judged:
    """Triples of one ordered pair and whether each is right, (T,)."""

    triples: tuple[Triple, ...]
    hits: npt.NDArray[np.float64]

    def by_meaning(self, meanings: Sequence[str]) -> npt.NDArray[np.float64]:
        """Mean over the triples of each meaning, NaN where there is none."""
        column = {meaning: i for i, meaning in enumerate(meanings)}
        place = [column[str(triple.query.meaning)] for triple in self.triples]
        counts = np.bincount(place, minlength=len(meanings)).astype(np.float64)
        sums = np.bincount(place, weights=self.hits, minlength=len(meanings))
        means = np.full(len(counts), np.nan)
        np.divide(sums, counts, out=means, where=counts > 0)
        return means
