"""One pool of all varieties: are right answers found in every one of them, or in one's own alone?

LAReQA's protocol. A query has several right answers, one or more for each variety, in a pool that
mixes them all. An encoder that puts varieties apart finds wrong sentences of the query's own
variety before right ones of others, though it would find each of them among sentences of one
variety.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003  (suites are read by the fields' types)
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss import __version__
from isogloss.corpora.progress import with_progress
from isogloss.encoders.item_text import text_of
from isogloss.measures.average_precision import average_precision
from isogloss.scores import cosine
from isogloss.tasks.parallel import splits_there
from isogloss.tasks.sentences import (
    as_read,
    centred,
    drawn,
    rate_over_meanings,
    reader_of,
    usable,
    vectors_of,
)
from isogloss.tasks.text_floors import NgramFloor, check_floors, edit_floor, floors_signed, plain
from isogloss.types import Vectors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from isogloss.tasks.text_floors import Floor
    from isogloss.types import Corpus, Encoder, FloatArray, Item, Measurement

__all__ = ["MixedPool"]

_BLOCK = 512
Rows = dict[str, list[float]]


@dataclass(frozen=True)
class MixedPool:
    """Retrieval of all right answers from one pool of all varieties, and its language bias.

    'mAP' over the mixed pool (strong alignment) beside 'mAP one variety at a time', the mean over
    the other varieties of retrieval among that one's answers alone (weak alignment): what lies
    between them is lost to mixing. 'R@1' is how often the best answer is right. 'same-variety
    share' is the share of the query's own variety among the `top` best answers; its chance is what
    a ranking that is blind to varieties would have. Each stands beside its floors ('mAP by
    tfidf'), and mAP for each variety that asks ('mAP of yue').

    In a parallel corpus every sentence asks for its translations, itself excepted. With `role`,
    questions ask for answers: items whose `extra[role]` is 'question' and 'answer'; an answer is
    right for questions that share its meaning or that its `extra['answers']` names, meanings
    separated by blanks.

    Attributes:
        split: only items of this split; None for all. Where no item has one, all are taken.
        role: key of `Item.extra` that tells questions from answers; None for translations.
        layer: of the encoder, where it can change it.
        pool: how steps become the vector of a sentence, see `encoders.pool`.
        center: subtract the mean vector of each variety, questions and answers apart; it is that
            of the judged items, and no pairing is used.
        top: how many best answers the share of varieties is taken over.
        most_meanings: more are drawn down to so many by `seed`.
        floors: which of 'tfidf' and 'edit' stand beside the encoder.
        edit_queries: for edit distance; more are drawn down to so many by `seed`.
        hear: items with a recording are heard, not read.
        speech_encoder: name of what hears them; by default the encoder itself.
        bootstrap: resamples of every interval; 0 for none.
        level: of every interval.
        seed: of every draw.
        cache_dir: where encoded items are kept; does not change a number.
        progress: bars on stderr; does not change a number.

    Source: Roy et al. 2020 (LAReQA): strong and weak alignment, mAP over one pool of all
    languages.
    """

    split: str | None = "test"
    role: str | None = None
    layer: int | None = None
    pool: str = "mean"
    center: bool = False
    top: int = 10
    most_meanings: int = 500
    floors: tuple[Floor, ...] = ("tfidf", "edit")
    edit_queries: int = 100
    hear: bool = False
    speech_encoder: str | None = None
    bootstrap: int = 1000
    level: float = 0.95
    seed: int = 0
    cache_dir: Path | None = None
    progress: bool = False

    def __post_init__(self) -> None:
        check_floors(self.floors)
        if min(self.top, self.most_meanings, self.edit_queries) < 1 or self.bootstrap < 0:
            raise ValueError(
                "top, most_meanings and edit_queries must be at least 1 and bootstrap not "
                f"negative, got {self.top}, {self.most_meanings}, {self.edit_queries}, "
                f"{self.bootstrap}"
            )
        if self.speech_encoder is not None and not self.hear:
            raise ValueError("speech_encoder has no effect without hear=True")

    def run(self, corpus: Corpus, encoder: Encoder) -> list[Measurement]:
        """All measurements of `encoder` on `corpus`.

        Items without a text (or recording) or a meaning, and queries without a right answer in
        the pool, are left out and counted in the signature.

        Raises:
            ValueError: no query has a right answer, a vector holds NaN or infinity (its id is
                named), or the encoder reads no text.
            IsoglossError: no recording can be read.
        """
        reader = reader_of(
            encoder, layer=self.layer, hear=self.hear, speech_encoder=self.speech_encoder
        )
        left_out: Counter[str] = Counter()
        queries, answers = self._sides(corpus, left_out)
        asked = {item.id for item in queries}
        every = {item.id: item for item in (*queries, *answers)}
        if not every:
            raise ValueError(
                f"corpus '{corpus.name}' has no item that can ask"
                + "".join(f"; {count} with {reason}" for reason, count in left_out.items())
                + splits_there(corpus.items, self.split)
            )
        skipped: list[tuple[str, str]] = []
        vectors = vectors_of(
            [as_read(item, hear=self.hear) for item in every.values()],
            reader,
            pool=self.pool,
            cache_dir=self.cache_dir,
            progress=self.progress,
            skipped=skipped,
        )
        left_out["unreadable"] += len(skipped)
        kept = set(vectors.ids)
        queries = [item for item in queries if item.id in kept]
        answers = [item for item in answers if item.id in kept]
        if self.center:
            sets = [f"{every[i].variety} {self.role and i in asked}" for i in vectors.ids]
            vectors = centred(vectors, sets)
        found = _Ranking(queries, answers, self.top, self.hear, left_out)
        row = {id_: i for i, id_ in enumerate(vectors.ids)}
        of_answers = _rows(vectors, [row[item.id] for item in found.answers])
        signature = self._signature(corpus, reader, found, left_out)

        def by_encoder(block: Sequence[Item]) -> FloatArray:
            return cosine(_rows(vectors, [row[item.id] for item in block]), of_answers)

        measured = self._measured(found, by_encoder, "", signature)
        for name in self.floors:
            measured += self._floor(name, found, signature)
        return measured

    def _sides(self, corpus: Corpus, left_out: Counter[str]) -> tuple[list[Item], list[Item]]:
        """Items that ask and items that may answer."""
        with_splits = any(item.split is not None for item in corpus.items)
        usable_items: list[Item] = []
        for item in sorted(corpus.items, key=lambda item: item.id):
            if self.split is not None and with_splits and item.split != self.split:
                continue
            lacking = usable(item, hear=self.hear)
            if lacking is not None or item.meaning is None:
                left_out[lacking or "no meaning"] += 1
            elif self.role is not None and item.extra.get(self.role) not in ("question", "answer"):
                left_out[f"extra['{self.role}'] is neither question nor answer"] += 1
            else:
                usable_items.append(item)
        if self.role is None:
            chosen = self._of_drawn(usable_items)
            return chosen, chosen
        questions = [i for i in usable_items if i.extra[self.role] == "question"]
        answers = [i for i in usable_items if i.extra[self.role] == "answer"]
        if not questions or not answers:
            raise ValueError(
                f"corpus '{corpus.name}' has {len(questions)} questions and {len(answers)} answers "
                f"by extra['{self.role}']" + splits_there(corpus.items, self.split)
            )
        return self._of_drawn(questions), answers

    def _of_drawn(self, items: list[Item]) -> list[Item]:
        meanings = list(dict.fromkeys(str(item.meaning) for item in items))
        kept = set(drawn(meanings, self.most_meanings, self.seed))
        return [item for item in items if item.meaning in kept]

    def _measured(
        self,
        found: _Ranking,
        scores_of: Callable[[Sequence[Item]], FloatArray],
        by: str,
        signature: Mapping[str, Any],
        queries: Sequence[Item] | None = None,
    ) -> list[Measurement]:
        """All numbers of one ranking: the encoder's, or with `by` a floor's."""
        asked = found.queries if queries is None else queries
        rows = found.rows(asked, scores_of, progress=self.progress and not by)
        meanings = [str(item.meaning) for item in asked]

        def mean(name: str, column: str, places: Sequence[int], **more: Any) -> Measurement:
            values = np.array([rows[column][i] for i in places])
            return rate_over_meanings(
                name + by,
                values,
                [meanings[i] for i in places],
                resamples=self.bootstrap,
                level=self.level,
                seed=self.seed,
                signature={**signature, **more},
            )

        every = range(len(asked))
        measured = [mean("mAP", "AP", every)]
        weak = [i for i in every if not np.isnan(rows["weak"][i])]
        if weak:
            measured.append(mean("mAP one variety at a time", "weak", weak))
        chance = {"chance": float(np.mean(rows["right share"]))}
        measured.append(mean("R@1", "R@1", every, **chance))
        if len(found.varieties) > 1:
            bias: dict[str, Any] = {"chance": float(np.mean(rows["expected"])), "top": self.top}
            if not by:
                bias["heat"] = found.heat(asked, rows)
            measured.append(mean("same-variety share", "same", every, **bias))
        if not by:
            for variety in found.varieties:
                places = [i for i in every if asked[i].variety == variety]
                if places:
                    measured.append(mean(f"mAP of {variety}", "AP", places))
        return measured

    def _floor(
        self, name: Floor, found: _Ranking, signature: Mapping[str, Any]
    ) -> list[Measurement]:
        every = {item.id: item for item in (*found.queries, *found.answers)}
        # What is heard without a transcript has no spelling.
        if any(usable(item) is not None for item in every.values()):
            return []
        texts = {id_: plain(text_of(item)) for id_, item in every.items()}
        targets = [item.id for item in found.answers]
        queries: Sequence[Item] = found.queries
        if name == "tfidf":
            ngrams = NgramFloor(texts, fit_on=targets)

            def scores_of(block: Sequence[Item]) -> FloatArray:
                return ngrams.similarity([item.id for item in block], targets)
        else:
            chosen = set(drawn([i.id for i in queries], self.edit_queries, self.seed))
            queries = [item for item in queries if item.id in chosen]

            def scores_of(block: Sequence[Item]) -> FloatArray:
                return edit_floor([texts[i.id] for i in block], [texts[t] for t in targets])

        return self._measured(found, scores_of, f" by {name}", signature, queries)

    def _signature(
        self, corpus: Corpus, reader: Encoder, found: _Ranking, left_out: Mapping[str, int]
    ) -> dict[str, Any]:
        return {
            "task": "mixed_pool",
            "encoder": reader.made_by,
            "corpus": corpus.name,
            "corpus_sha": corpus.sha,
            "split": self.split,
            "role": self.role or "every sentence asks for its translations",
            "pool": self.pool,
            "center": "mean vector of each variety, of the judged items" if self.center else "none",
            "varieties": list(found.varieties),
            "queries": len(found.queries),
            "answers": len(found.answers),
            "most_meanings": self.most_meanings,
            "ties": "against",
            "floors": floors_signed(self.floors, self.edit_queries, None),
            "left_out": dict(left_out),
            "seed": self.seed,
            "isogloss": __version__,
        }


class _Ranking:
    """Queries and the pool, and which answers are right for whom."""

    def __init__(
        self,
        queries: list[Item],
        answers: list[Item],
        top: int,
        hear: bool,
        left_out: Counter[str],
    ) -> None:
        self.answers, self._place = _merged(answers, hear)
        left_out["another answer of its variety has the same text"] += len(answers) - len(
            self.answers
        )
        number: dict[str, set[int]] = {}
        for item in answers:
            for meaning in {str(item.meaning), *item.extra.get("answers", "").split()}:
                number.setdefault(meaning, set()).add(self._place[item.id])
        self._of_meaning = {m: np.array(sorted(places)) for m, places in number.items()}
        self.queries = [item for item in queries if len(self._right(item))]
        left_out["no right answer in the pool"] += len(queries) - len(self.queries)
        if not self.queries:
            raise ValueError(
                f"none of {len(queries)} queries has a right answer among {len(self.answers)}; "
                + ", ".join(f"{n} x {why}" for why, n in left_out.items() if n)
            )
        self.varieties = tuple(sorted({item.variety for item in (*self.queries, *self.answers)}))
        column = {variety: i for i, variety in enumerate(self.varieties)}
        self._variety = np.array([column[item.variety] for item in self.answers])
        self._column = column
        self.top = top

    def _right(self, item: Item) -> npt.NDArray[np.int64]:
        places = self._of_meaning.get(str(item.meaning), np.zeros(0, np.int64))
        others: npt.NDArray[np.int64] = places[places != self._place.get(item.id, -1)]
        return others

    def rows(
        self,
        queries: Sequence[Item],
        scores_of: Callable[[Sequence[Item]], FloatArray],
        *,
        progress: bool,
    ) -> Rows:
        """Lists of one number a query; 'weak' is NaN where no other variety has an answer."""
        found: Rows = {
            name: [] for name in ("AP", "weak", "R@1", "right share", "same", "expected")
        }
        found |= {f"top {variety}": [] for variety in self.varieties}
        starts = range(0, len(queries), _BLOCK)
        for first in with_progress(starts, "ranking", total=len(starts)) if progress else starts:
            block = queries[first : first + _BLOCK]
            for name, values in self._block(block, scores_of(block)):
                found[name] += values.tolist()
        return found

    def _block(
        self, block: Sequence[Item], scores: FloatArray
    ) -> Iterator[tuple[str, npt.NDArray[np.float64]]]:
        scores = np.array(scores, dtype=np.float32)
        right = np.zeros(scores.shape, np.bool_)
        pool = np.full(len(block), len(self.answers))
        for i, item in enumerate(block):
            right[i, self._right(item)] = True
            if item.id in self._place:
                # A sentence is no answer to itself.
                scores[i, self._place[item.id]] = -np.inf
                pool[i] -= 1
        own = np.array([self._column[item.variety] for item in block])
        yield "AP", average_precision(scores, right)
        yield "weak", self._weak(scores, right, own)
        best = np.where(right, scores, -np.inf).max(axis=1)
        rivals = np.where(right, -np.inf, scores).max(axis=1)
        yield "R@1", (best > rivals).astype(np.float64)
        yield "right share", right.sum(axis=1) / pool
        top = np.argsort(-scores, axis=1, kind="stable")[:, : self.top]
        for i in range(len(block)):
            # Where the pool is smaller than `top`, the query itself would be the last of it.
            top[i, pool[i] :] = -1
        of_top = np.where(top >= 0, self._variety[top], -1)
        counted = np.maximum((top >= 0).sum(axis=1), 1)
        for number, variety in enumerate(self.varieties):
            yield f"top {variety}", (of_top == number).sum(axis=1) / counted
        yield "same", (of_top == own[:, np.newaxis]).sum(axis=1) / counted
        same = (self._variety == own[:, np.newaxis]).sum(axis=1) - (pool < len(self.answers))
        yield "expected", same / np.maximum(pool, 1)

    def _weak(
        self,
        scores: FloatArray,
        right: npt.NDArray[np.bool_],
        own: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.float64]:
        """Mean over other varieties of the average precision among their answers alone."""
        sums, counts = np.zeros(len(scores)), np.zeros(len(scores))
        for number in range(len(self.varieties)):
            columns = np.flatnonzero(self._variety == number)
            having = np.flatnonzero(right[:, columns].any(axis=1) & (own != number))
            if len(having):
                of_variety = np.ix_(having, columns)
                sums[having] += average_precision(scores[of_variety], right[of_variety])
                counts[having] += 1
        weak: npt.NDArray[np.float64] = np.full(len(scores), np.nan)
        np.divide(sums, counts, out=weak, where=counts > 0)
        return weak

    def heat(self, queries: Sequence[Item], rows: Rows) -> dict[str, Any]:
        """Share of each variety among the best answers of queries of each: rows ask."""
        pool = np.bincount(self._variety, minlength=len(self.varieties)) / len(self.answers)
        shares = []
        for variety in self.varieties:
            places = [i for i, item in enumerate(queries) if item.variety == variety]
            shares.append(
                [
                    float(np.mean([rows[f"top {other}"][i] for i in places])) if places else None
                    for other in self.varieties
                ]
            )
        return {
            "varieties": list(self.varieties),
            "shares": shares,
            "share of the pool": [float(share) for share in pool],
        }


def _merged(answers: list[Item], hear: bool) -> tuple[list[Item], dict[str, int]]:
    """Answers with different texts in each variety, and for every id the place of its text.

    Sentences of one text cannot be told apart, so they are one answer, right for whatever any of
    them is right for.
    """
    place_of: dict[tuple[str, str], int] = {}
    merged: list[Item] = []
    places = {}
    for item in answers:
        heard = hear and item.audio is not None
        key = (item.variety, f"\0{item.id}" if heard else " ".join(text_of(item).split()))
        if key not in place_of:
            place_of[key] = len(merged)
            merged.append(item)
        places[item.id] = place_of[key]
    return merged, places


def _rows(vectors: Vectors, places: Sequence[int]) -> Vectors:
    ids = tuple(vectors.ids[i] for i in places)
    return Vectors(ids, vectors.values[np.array(places, np.int64)], vectors.made_by)
