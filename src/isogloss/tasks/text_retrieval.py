"""Does a sentence of one variety find its translation among another's? Tatoeba, for every pair.

A corpus with meanings and an encoder of text in; R@k both ways, MRR and xSIM with intervals out,
beside what spelling alone would find, by the same code path. Where the encoder hears too, or a
second one shares its space, either side may be speech.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from isogloss.corpora.progress import with_progress
from isogloss.encoders.item_text import has_text, text_of
from isogloss.errors import UnknownName
from isogloss.measures import GoldRanks, gold_ranks
from isogloss.scores import csls_scores, margin
from isogloss.tasks.comparison import Compared, Comparison
from isogloss.tasks.parallel import Parallel, ParallelSet, parallel_sets
from isogloss.tasks.retrieval_result import PairResult, RetrievalResult
from isogloss.tasks.sentences import as_read, drawn, pooled, reader_of, usable
from isogloss.tasks.text_floors import (
    NgramFloor,
    check_floors,
    edit_floor,
    floors_signed,
    plain,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import numpy.typing as npt

    from isogloss.tasks.retrieval_result import Rows, Statistic
    from isogloss.tasks.text_floors import Floor
    from isogloss.types import Corpus, Encoder, FloatArray, Item, Measurement, Sequences, Vectors

__all__ = ["TextRetrieval", "TextRetrievalResult", "ranks_among_equals"]

# A pool of one target is always answered rightly.
_LEAST_SENTENCES = 2
_MARGINS = ("ratio", "distance", "absolute")


class TextRetrievalResult(RetrievalResult):
    """What one run of `TextRetrieval` found.

    Besides R@k, MRR and xSIM it has the floors ('R@1 by tfidf', 'R@1 by edit'), and the mean
    scores that recall must be read beside: 'matched score' of sentences with their translations,
    'random score' with all others. High recall with both alike is a ranking by a hair's breadth.
    """

    def _statistics(self) -> dict[str, Statistic]:
        found = super()._statistics()
        kept = {name: found[name] for name in (*(f"R@{k}" for k in self.ks), "MRR", "xSIM")}
        floors = dict.fromkeys(name for pair in self.pairs for name in pair.baselines)
        kept |= {f"R@1 by {name}": _by_floor(name) for name in floors}
        return {**kept, "matched score": _matched, "random score": _random}


@dataclass(frozen=True)
class TextRetrieval(Comparison):
    """Sentence retrieval between all varieties of a corpus that share meanings (Tatoeba protocol).

    Measures as `TextRetrievalResult` has them: means over all ordered pairs of sets, and R@1 of
    each. Attributes, besides those of `Comparison`:

    Attributes:
        score: 'cosine' of pooled vectors; 'seqsim' lets every step find its own (late
            interaction).
        pool: how steps become the vector of a sentence, see `encoders.pool`.
        margin: of xSIM and of adjust='margin': 'ratio' as in LASER, 'distance' or 'absolute'.
        undefined: what to do in a pair of sets where a neighbourhood's mean is not positive, so
            that a ratio would turn the order around: 'distance' takes the distance margin there
            (the signature says in how many pairs), 'refuse' ends with an error.
        duplicates: 'right' counts a target with the very text of the right answer as right (the
            text-based xSIM of LASER), 'wrong' only the target in the same line.
        pivots: only pairs with one of these sets; all pairs by default.
        ks: cut-offs of R@k.
        most_sentences: of each pair of sets; more are drawn down to so many by `seed`.
        floors: which of 'tfidf' and 'edit' stand beside the encoder; `script` puts their texts
            into one script first.
        edit_queries: of each ordered pair, for edit distance; more are drawn down to so many by
            `seed`, against all targets.
        hear: items with a recording are heard, not read, and form sets of their own
            ('yue/speech').
        speech_encoder: name of what hears them, in the space of the encoder of text; by default
            the encoder itself.
    """

    _pools_first: ClassVar[bool] = True

    score: Literal["seqsim", "cosine"] = "cosine"
    pool: str = "mean"
    margin: Literal["ratio", "distance", "absolute"] = "ratio"
    undefined: Literal["distance", "refuse"] = "distance"
    duplicates: Literal["right", "wrong"] = "right"
    pivots: tuple[str, ...] = ()
    ks: tuple[int, ...] = (1, 5, 10)
    most_sentences: int = 2000
    floors: tuple[Floor, ...] = ("tfidf", "edit")
    edit_queries: int = 100
    hear: bool = False
    speech_encoder: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.margin not in _MARGINS:
            raise UnknownName("margin", self.margin, _MARGINS)
        if self.undefined not in ("distance", "refuse"):
            raise UnknownName("undefined", self.undefined, ("distance", "refuse"))
        if self.duplicates not in ("right", "wrong"):
            raise UnknownName("duplicates", self.duplicates, ("right", "wrong"))
        check_floors(self.floors)
        if 1 not in self.ks or min(self.ks) < 1:
            raise ValueError(f"ks must be at least 1 and hold 1, got {self.ks}")
        if self.most_sentences < _LEAST_SENTENCES or self.edit_queries < 1:
            raise ValueError(
                f"most_sentences must be at least {_LEAST_SENTENCES} and edit_queries at least 1, "
                f"got {self.most_sentences} and {self.edit_queries}"
            )
        if self.speech_encoder is not None and not self.hear:
            raise ValueError("speech_encoder has no effect without hear=True")

    def run(self, corpus: Corpus, encoder: Encoder) -> list[Measurement]:
        """All measurements of `encoder` on `corpus`; see `retrieve` and `TextRetrievalResult`."""
        return self.retrieve(corpus, encoder).measurements()

    def retrieve(self, corpus: Corpus, encoder: Encoder) -> TextRetrievalResult:
        """Ranks, hits and floors of every ordered pair of sets.

        Items without a text (or, with `hear`, a recording) or a meaning are left out and counted,
        and so are sets that share fewer than 2 sentences with any other.

        Raises:
            ValueError: no two sets share 2 sentences, a vector holds NaN or infinity (its id is
                named), the encoder reads no text or has no such layer, or, with
                undefined='refuse', a ratio margin is undefined.
            UnknownName: a pivot is no set of the corpus.
            IsoglossError: no recording can be read.
            MissingExtra: a floor needs scikit-learn.
        """
        reader = reader_of(
            encoder, layer=self.layer, hear=self.hear, speech_encoder=self.speech_encoder
        )
        found = parallel_sets(
            corpus, by=self.by, split=self.split, medium="either" if self.hear else "text"
        )
        left_out = dict(found.left_out)
        sets = self._with_partners(found.sets, left_out)
        original = {item.id: item for s in sets for item in s.items.values()}
        as_encoded = tuple(replace(s, items=self._as_read(s.items)) for s in sets)
        compared = self.compared(corpus, reader, Parallel(as_encoded, left_out))
        texts = {
            id_: plain(text_of(item), self.script)
            for id_, item in original.items()
            if has_text(item)
        }
        # Fitted once on all sentences of the task, as the floor of the whole pool.
        ngrams = NgramFloor(texts) if "tfidf" in self.floors and texts else None
        pairs: list[PairResult] = []
        undefined = 0
        for a, b in self._with_bar(self._pairs(compared.sets)):
            both = _Both(self, a, b, compared, original, texts, ngrams)
            pairs += both.ways()
            undefined += both.undefined
        if not pairs:
            raise ValueError(
                f"corpus '{corpus.name}': no two sets share {_LEAST_SENTENCES} sentences; "
                f"{len(compared.unreadable)} recordings could not be read"
            )
        order = {s.name: i for i, s in enumerate(compared.sets)}
        pairs.sort(key=lambda pair: (order[pair.query], order[pair.target]))
        names = {name for pair in pairs for name in (pair.query, pair.target)}
        groups = {s.name: s.group for s in compared.sets if s.name in names}
        drawn_sets = self.by in ("site", "speaker")
        return TextRetrievalResult(
            sets=tuple(groups),
            set_groups=groups,
            # Varieties are named, not drawn from a population; sites and speakers are resampled.
            strata=groups if drawn_sets else {name: name for name in groups},
            pairs=tuple(pairs),
            ks=self.ks,
            resamples=self.bootstrap,
            level=self.level,
            seed=self.seed,
            signature=self._signature(
                corpus, reader, len(original), len(compared.unreadable), undefined
            ),
            left_out=left_out,
            unreadable=compared.unreadable,
        )

    def _signature(
        self, corpus: Corpus, reader: Encoder, items: int, unreadable: int, undefined: int
    ) -> dict[str, Any]:
        signed = self.signed("text_retrieval", corpus, reader, items, unreadable)
        center = "none"
        if self.center:
            center = f"mean vector of each set, from {self.center_split or 'the retrieved items'}"
            if self.score == "seqsim":
                center = center.replace("vector", "step")
        kind = f"{self.margin} margin, {self.neighbours} neighbours"
        if undefined:
            kind += f"; distance margin in {undefined} pairs, where the ratio is undefined"
        return {
            **signed,
            "pool": self.pool if self.score == "cosine" else "none, every step by itself",
            "center": center,
            "adjust": "none" if self.adjust == "none" else f"{self.adjust}, {kind}",
            "xsim": kind,
            "duplicates": f"targets with the text of the right answer are {self.duplicates}",
            "sentences": f"at most {self.most_sentences} of a pair of sets",
            "floors": floors_signed(self.floors, self.edit_queries, self.script),
            "heard": "recordings" if self.hear else "nothing",
        }

    def _with_partners(
        self, sets: tuple[ParallelSet, ...], left_out: dict[str, int]
    ) -> tuple[ParallelSet, ...]:
        """Sets that a pair will be made of; what the others hold is counted."""
        for name in self.pivots:
            if name not in [s.name for s in sets]:
                raise UnknownName("pivot", name, [s.name for s in sets])
        paired = {s.name for pair in self._pairs(sets) for s in pair}
        for s in sets:
            if s.name not in paired:
                reason = f"fewer than {_LEAST_SENTENCES} sentences in common with another set"
                left_out[reason] = left_out.get(reason, 0) + len(s.items)
        return tuple(s for s in sets if s.name in paired)

    def _pairs(self, sets: tuple[ParallelSet, ...]) -> list[tuple[ParallelSet, ParallelSet]]:
        return [
            (a, b)
            for i, a in enumerate(sets)
            for b in sets[i + 1 :]
            if (not self.pivots or a.name in self.pivots or b.name in self.pivots)
            and len(a.items.keys() & b.items.keys()) >= _LEAST_SENTENCES
        ]

    def _as_read(self, items: Mapping[str, Item]) -> dict[str, Item]:
        return {meaning: as_read(item, hear=self.hear) for meaning, item in items.items()}

    def _takes(self, item: Item) -> bool:
        return usable(item, hear=self.hear) is None

    def _items_of_split(
        self, of: ParallelSet, split: str, purpose: str, corpus: Corpus
    ) -> list[Item]:
        others = super()._items_of_split(of, split, purpose, corpus)
        heard = of.name.endswith("/speech")
        return [
            as_read(i, hear=self.hear)
            for i in others
            if (self.hear and i.audio is not None) is heard
        ]

    def _pooled(self, steps: Sequences) -> Sequences | Vectors:
        return steps if self.score == "seqsim" else pooled(steps, self.pool)

    def margins(self, scores: FloatArray, where: str) -> tuple[FloatArray, bool]:
        """Margins of a table (N, M), and whether the ratio was undefined and distance taken.

        Raises:
            ValueError: the ratio is undefined and `undefined` is 'refuse', or scores are not
                finite.
        """
        try:
            return margin(scores, neighbours=self.neighbours, kind=self.margin), False
        except ValueError as error:
            if self.margin != "ratio" or not np.isfinite(scores).all():
                raise
            if self.undefined == "refuse":
                raise ValueError(f"{where}: {error}") from error
            return margin(scores, neighbours=self.neighbours, kind="distance"), True

    def _with_bar(
        self, pairs: list[tuple[ParallelSet, ParallelSet]]
    ) -> Iterable[tuple[ParallelSet, ParallelSet]]:
        return with_progress(pairs, "scoring", total=len(pairs)) if self.progress else pairs


class _Both:
    """Two sets, compared once and read in both directions."""

    def __init__(
        self,
        task: TextRetrieval,
        a: ParallelSet,
        b: ParallelSet,
        compared: Compared,
        original: Mapping[str, Item],
        texts: Mapping[str, str],
        ngrams: NgramFloor | None,
    ) -> None:
        shared = sorted(a.items.keys() & b.items.keys())
        self.meanings = tuple(drawn(shared, task.most_sentences, task.seed))
        self.task, self.a, self.b = task, a, b
        self.items = tuple([original[s.items[m].id] for m in self.meanings] for s in (a, b))
        self.scores = task.scores(compared.rows(a, self.meanings), compared.rows(b, self.meanings))
        self.by_margin, self.undefined = task.margins(self.scores, f"{a.name} and {b.name}")
        self.texts, self.ngrams = texts, ngrams

    def ways(self) -> Iterator[PairResult]:
        """The two ordered pairs."""
        adjusted = self.scores
        if self.task.adjust == "csls":
            adjusted = csls_scores(self.scores, neighbours=self.task.neighbours)
        elif self.task.adjust == "margin":
            adjusted = self.by_margin
        floors = self._floors()
        wrong = ~np.eye(len(self.meanings), dtype=bool)
        unmatched = float(self.scores[wrong].mean(dtype=np.float64))
        matched = np.diagonal(self.scores).copy()
        for flipped in (False, True):
            query, target = (self.b, self.a) if flipped else (self.a, self.b)
            queries, targets = (self.items[flipped], self.items[not flipped])
            equal = self._equal(targets)
            table = np.ascontiguousarray(adjusted.T if flipped else adjusted)
            margins = self.by_margin.T if flipped else self.by_margin
            yield PairResult(
                query=query.name,
                target=target.name,
                groups=(query.group, target.group),
                meanings=self.meanings,
                query_ids=tuple(item.id for item in queries),
                target_ids=tuple(item.id for item in targets),
                scores=table,
                gold=ranks_among_equals(table, equal),
                wrong_by_margin=ranks_among_equals(margins, equal).ranks > 1,
                matched=matched,
                unmatched=unmatched,
                baselines=self._ranks(floors, flipped, equal),
            )

    def _equal(self, targets: list[Item]) -> npt.NDArray[np.int64]:
        """The number of each target's text: equal texts have equal numbers."""
        number: dict[str, int] = {}
        of_target = []
        for item in targets:
            known = self.task.duplicates == "right" and has_text(item)
            key = " ".join(text_of(item).split()) if known else f"\0{item.id}"
            of_target.append(number.setdefault(key, len(number)))
        return np.array(of_target, np.int64)

    def _floors(self) -> dict[str, FloatArray]:
        """Tables (N, M) over all sentences; of edit distance rows or columns may be missing."""
        ids = tuple([item.id for item in side] for side in self.items)
        if not all(id_ in self.texts for side in ids for id_ in side):
            return {}
        found: dict[str, FloatArray] = {}
        for name in self.task.floors:
            if name == "tfidf" and self.ngrams is not None:
                found[name] = self.ngrams.similarity(ids[0], ids[1])
            elif name == "edit":
                a, b = ([self.texts[id_] for id_ in side] for side in ids)
                asked = self._asked()
                table = np.full((len(a), len(b)), np.nan, np.float32)
                table[asked] = edit_floor([a[i] for i in asked], b)
                if len(asked) < len(b):
                    table[:, asked] = edit_floor(a, [b[i] for i in asked])
                found[name] = table
        return found

    def _asked(self) -> list[int]:
        chosen = set(drawn(self.meanings, self.task.edit_queries, self.task.seed))
        return [i for i, meaning in enumerate(self.meanings) if meaning in chosen]

    def _ranks(
        self, floors: Mapping[str, FloatArray], flipped: bool, equal: npt.NDArray[np.int64]
    ) -> dict[str, GoldRanks]:
        found = {}
        for name, table in floors.items():
            rows = table.T if flipped else table
            asked = np.flatnonzero(~np.isnan(rows).any(axis=1))
            some = ranks_among_equals(rows[asked], equal, asked)
            ranks, ties = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
            ranks[asked], ties[asked] = some.ranks, some.ties
            found[name] = GoldRanks(ranks, ties)
        return found


def ranks_among_equals(
    scores: FloatArray,
    equal: npt.NDArray[np.int64],
    gold: npt.NDArray[np.int64] | None = None,
) -> GoldRanks:
    """Rank of the best right answer of each query, where several targets may be the same.

    Ties with wrong targets count against the query, as in `gold_ranks`; equal right ones do not.

    Args:
        scores: (N, M) larger is nearer.
        equal: (M,) a number for each target; those with the number of the right answer are right.
        gold: (N,) column of each query's right answer; its own number by default.

    Raises:
        ValueError: as `gold_ranks`.
    """
    chosen = np.arange(len(scores)) if gold is None else gold
    if len(np.unique(equal)) == len(equal):
        return gold_ranks(scores, chosen)
    right = equal[chosen][:, np.newaxis] == equal
    best = np.where(right, scores, -np.inf).max(axis=1)
    told = np.where(right, -np.inf, scores)
    told[np.arange(len(scores)), chosen] = best
    # Scores of -inf would tie with the columns that were taken out.
    return gold_ranks(told.astype(np.float32), chosen)


def _by_floor(name: str) -> Statistic:
    def statistic(pair: PairResult) -> Rows | None:
        ranks = pair.baselines.get(name)
        if ranks is None:
            return None
        return np.where(ranks.ranks == 0, np.nan, (ranks.ranks == 1).astype(np.float64))

    return statistic


def _matched(pair: PairResult) -> Rows:
    return pair.matched.astype(np.float64)


def _random(pair: PairResult) -> Rows:
    return np.full(len(pair), pair.unmatched)
