"""Which sentences of two monolingual sides are translations? Bitext mining, judged as in BUCC.

Both sides are mined as `search.mine` does, by margins over k neighbours. Some sentences have a
partner and others have none, so a threshold is needed; it is chosen on one part of the sentences
and judged on another. What the best threshold on the judged part itself would have given is shown
beside it, marked as an oracle's.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003  (suites are read by the fields' types)
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from isogloss import __version__
from isogloss.corpora.progress import with_progress
from isogloss.encoders.item_text import text_of
from isogloss.errors import UnknownName
from isogloss.measures.bootstrap import percentile_interval, resample_counts
from isogloss.scores import cosine
from isogloss.search.mine_pairs import Neighbours, Retrieval, pairs_of
from isogloss.tasks.mining_truth import Judged, best_threshold, curve_of, judge, keys_of
from isogloss.tasks.sentences import (
    as_read,
    centred,
    drawn,
    place_of,
    reader_of,
    usable,
    vectors_of,
)
from isogloss.tasks.text_floors import NgramFloor, check_floors, edit_floor, floors_signed, plain
from isogloss.types import Measurement, Vectors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from isogloss.scores.margin import MarginKind
    from isogloss.tasks.text_floors import Floor
    from isogloss.types import Corpus, Encoder, FloatArray, Item

__all__ = ["TextMining", "nearest_of"]

_MARGINS = ("ratio", "distance", "absolute")
_PARTS = ("dev", "test")
Scorer = "Callable[[Sequence[Item], Sequence[Item]], FloatArray]"
# Two sides of one part of one pair of varieties.
Sides = tuple[list["Item"], list["Item"]]


@dataclass(frozen=True)
class TextMining:
    """F1 of mining between pairs of varieties, by margin and by way of retrieval.

    'F1 ratio intersection' for each margin and retrieval asked for: the mean over pairs of
    varieties, with the threshold chosen on the dev part; 'precision ...' and 'recall ...' at the
    same threshold; 'F1 oracle ...' with the best threshold of the test part itself, which nobody
    has; 'F1 ... by tfidf' for the floors; and 'yue>cmn F1 ...' for each pair. The signature of an
    F1 holds its threshold and its precision-recall curve.

    In a parallel corpus every sentence would have a partner. So of the shared meanings only a
    share `paired` keeps both sides; the others lose one side or the other by turns, and sentences
    without a counterpart in the corpus stay in as they are. A pair is right when both mean the
    same, or say what a sentence of that meaning says word for word; each sentence of the first
    side is found once.

    Attributes:
        pairs: 'yue>cmn' and so on; all pairs of varieties that share a meaning by default.
        pivots: only pairs with one of these varieties.
        split: of the judged sentences; None for all. Where no item has one, all are taken.
        dev_split: of those that the threshold is chosen on; None divides `split` by meaning.
        dev_share: how much of `split` is then dev.
        paired: share of the shared meanings that keep both sides; 1 keeps every pair.
        margins: which of 'ratio', 'distance' and 'absolute'.
        retrievals: which of 'intersection' (each is the other's best), 'forward', 'backward' and
            'max' (best first, each sentence once).
        neighbours: k of the margin; 4 as in LASER.
        undefined: where the mean of a neighbourhood is not positive a ratio would turn the order
            around: 'distance' takes the distance margin for that pair of varieties (the signature
            says for how many), 'refuse' ends with an error.
        layer: of the encoder, where it can change it.
        pool: how steps become the vector of a sentence, see `encoders.pool`.
        center: subtract the mean vector of each variety, over both parts.
        most_sentences: of a side, in each part; more are drawn down to so many by `seed`.
        floors: which of 'tfidf' and 'edit' stand beside the encoder. Edit distance compares every
            sentence of one side with every one of the other, so it is not among them by default.
        bootstrap: resamples of every interval, which draw meanings; 0 for none.
        level: of every interval.
        seed: of every draw.
        cache_dir: where encoded items are kept; does not change a number.
        progress: bars on stderr; does not change a number.

    Source: Zweigenbaum et al. 2017 for the task; Artetxe and Schwenk 2019, sec. 3, for margins and
    retrievals.
    """

    pairs: tuple[str, ...] = ()
    pivots: tuple[str, ...] = ()
    split: str | None = "test"
    dev_split: str | None = None
    dev_share: float = 0.5
    paired: float = 0.5
    margins: tuple[MarginKind, ...] = ("ratio",)
    retrievals: tuple[Retrieval, ...] = ("intersection",)
    neighbours: int = 4
    undefined: Literal["distance", "refuse"] = "distance"
    layer: int | None = None
    pool: str = "mean"
    center: bool = False
    most_sentences: int = 2000
    floors: tuple[Floor, ...] = ("tfidf",)
    bootstrap: int = 1000
    level: float = 0.95
    seed: int = 0
    cache_dir: Path | None = None
    progress: bool = False

    def __post_init__(self) -> None:
        check_floors(self.floors)
        for name, values, known in (
            ("margin", self.margins, _MARGINS),
            ("retrieval", self.retrievals, get_args(Retrieval)),
            ("undefined", (self.undefined,), ("distance", "refuse")),
        ):
            if not values:
                raise ValueError(f"name at least one {name}")
            for value in values:
                if value not in known:
                    raise UnknownName(name, value, known)
        if self.pairs and self.pivots:
            raise ValueError("pairs are named already; pivots have no effect with them")
        if not 0 < self.dev_share < 1 or not 0 < self.paired <= 1:
            raise ValueError(
                f"dev_share must lie between 0 and 1, and paired above 0 up to 1, got "
                f"{self.dev_share} and {self.paired}"
            )
        if self.dev_split is not None and self.dev_split == self.split:
            raise ValueError(
                f"dev_split '{self.dev_split}' is the split that is judged; leave it out to divide "
                "that by meaning"
            )
        if self.neighbours < 1 or self.most_sentences < 1 or self.bootstrap < 0:
            raise ValueError(
                "neighbours and most_sentences must be at least 1 and bootstrap not negative, got "
                f"{self.neighbours}, {self.most_sentences}, {self.bootstrap}"
            )

    def run(self, corpus: Corpus, encoder: Encoder) -> list[Measurement]:
        """All measurements of `encoder` on `corpus`.

        Items without a text are left out and counted, and so are pairs of varieties without a
        right pair to find in either part.

        Raises:
            ValueError: no pair of varieties has right pairs in both parts, a vector holds NaN or
                infinity (its id is named), the encoder reads no text, or, with
                undefined='refuse', a ratio margin is undefined.
            UnknownName: a variety of `pairs` or `pivots` is not in the corpus.
        """
        reader = reader_of(encoder, layer=self.layer)
        left_out: Counter[str] = Counter()
        sides = self._all_sides(corpus, left_out)
        every = {
            item.id: item
            for parts in sides.values()
            for part in parts
            for side in part
            for item in side
        }
        vectors = vectors_of(
            [as_read(item) for item in every.values()],
            reader,
            pool=self.pool,
            cache_dir=self.cache_dir,
            progress=self.progress,
        )
        if self.center:
            vectors = centred(vectors, [item.variety for item in every.values()])
        row = {id_: i for i, id_ in enumerate(vectors.ids)}
        ways: dict[str, Callable[[Sequence[Item], Sequence[Item]], FloatArray]] = {
            "": lambda a, b: cosine(_rows(vectors, row, a), _rows(vectors, row, b))
        }
        texts = {id_: plain(text_of(item)) for id_, item in every.items()}
        if "tfidf" in self.floors:
            ngrams = NgramFloor(texts)
            ways[" by tfidf"] = lambda a, b: ngrams.similarity([i.id for i in a], [i.id for i in b])
        if "edit" in self.floors:
            ways[" by edit"] = lambda a, b: edit_floor(
                [texts[i.id] for i in a], [texts[i.id] for i in b]
            )
        signature = self._signature(corpus, reader, sides, left_out)
        measured: list[Measurement] = []
        for by, scores_of in ways.items():
            judged, fallen = self._mined(sides, scores_of, by)
            for (kind, retrieval), parts in judged.items():
                more = {
                    **signature,
                    "margin": kind,
                    "retrieval": retrieval,
                    "distance margin instead of ratio": f"in {fallen} pairs",
                }
                measured += self._measured(f"{kind} {retrieval}{by}", parts, more, floor=bool(by))
        return measured

    def _all_sides(
        self, corpus: Corpus, left_out: Counter[str]
    ) -> dict[tuple[str, str], tuple[Sides, Sides]]:
        """By pair of varieties: the two sides of dev and of test."""
        with_splits = any(item.split is not None for item in corpus.items)
        wanted = {self.split, self.dev_split} if self.dev_split else {self.split}
        of_variety: dict[str, tuple[list[Item], list[Item]]] = {}
        for item in sorted(corpus.items, key=lambda item: item.id):
            if self.split is not None and with_splits and item.split not in wanted:
                continue
            lacking = usable(item)
            if lacking is not None:
                left_out[lacking] += 1
                continue
            in_test = item.split != self.dev_split if self.dev_split else not self._is_dev(item)
            of_variety.setdefault(item.variety, ([], []))[in_test].append(item)
        found = {}
        for a, b in self._named(of_variety):
            parts = tuple(
                self._part(of_variety[a][which], of_variety[b][which]) for which in (0, 1)
            )
            if all(_shared(*part) for part in parts):
                found[a, b] = (parts[0], parts[1])
            elif self.pairs:
                left_out[f"{a}>{b}: no right pair in both parts"] += 1
        if not found:
            raise ValueError(
                f"corpus '{corpus.name}' has no two varieties with right pairs in a dev and a test "
                f"part; varieties: "
                + (
                    ", ".join(f"{v} ({len(d) + len(t)})" for v, (d, t) in of_variety.items())
                    or "none"
                )
                + "".join(f"; {n} x {reason}" for reason, n in left_out.items())
            )
        return found

    def _named(self, of_variety: Mapping[str, Any]) -> list[tuple[str, str]]:
        varieties = sorted(of_variety)
        named = [tuple(pair.split(">")) for pair in self.pairs]
        for pair in named:
            if len(pair) != 2 or pair[0] == pair[1]:
                raise ValueError(f"a pair is two varieties such as 'yue>cmn', got {'>'.join(pair)}")
        for name in (*(name for pair in named for name in pair), *self.pivots):
            if name not in of_variety:
                raise UnknownName("variety with sentences", name, varieties)
        if named:
            return [(pair[0], pair[1]) for pair in named]
        return [
            (a, b)
            for i, a in enumerate(varieties)
            for b in varieties[i + 1 :]
            if not self.pivots or a in self.pivots or b in self.pivots
        ]

    def _part(self, a: list[Item], b: list[Item]) -> Sides:
        """Both sides after some meanings have lost one of theirs."""
        shared = {i.meaning for i in a} & {i.meaning for i in b} - {None}
        lonely = {m: place_of(m, "pair", self.seed) >= self.paired for m in shared if m is not None}
        keeps_a = {m: place_of(m, "side", self.seed) < 0.5 for m in shared if m is not None}
        left = [i for i in a if not lonely.get(i.meaning or "") or keeps_a[str(i.meaning)]]
        right = [i for i in b if not lonely.get(i.meaning or "") or not keeps_a[str(i.meaning)]]
        return self._cut(left), self._cut(right)

    def _cut(self, items: list[Item]) -> list[Item]:
        """By meaning, so that partners stay together."""
        keys = list(dict.fromkeys(i.meaning or f"\0{i.id}" for i in items))
        kept = set(drawn(keys, self.most_sentences, self.seed))
        return [i for i in items if (i.meaning or f"\0{i.id}") in kept]

    def _is_dev(self, item: Item) -> bool:
        return place_of(item.meaning or f"\0{item.id}", "part", self.seed) < self.dev_share

    def _mined(
        self,
        sides: Mapping[tuple[str, str], tuple[Sides, Sides]],
        scores_of: Callable[[Sequence[Item], Sequence[Item]], FloatArray],
        by: str,
    ) -> tuple[dict[tuple[str, str], dict[tuple[str, str], tuple[Judged, Judged]]], int]:
        """By margin and retrieval, by pair of varieties: dev and test; pairs without a ratio."""
        judged: dict[tuple[str, str], dict[tuple[str, str], list[Judged]]] = {}
        fallen: set[tuple[str, str]] = set()
        listed = with_progress(sides.items(), f"mining{by}", total=len(sides))
        for pair, parts in listed if self.progress else sides.items():
            for a, b in parts:
                scores = scores_of(a, b)
                lists = (
                    nearest_of(scores, self.neighbours),
                    nearest_of(scores.T, self.neighbours),
                )
                keys = keys_of(a, b)
                for kind in self.margins:
                    for retrieval in self.retrievals:
                        try:
                            found = self._pairs(lists, kind, retrieval)
                        except ValueError as error:
                            if self.undefined == "refuse":
                                raise ValueError(f"{'>'.join(pair)}{by}: {error}") from error
                            fallen.add(pair)
                            found = self._pairs(lists, "distance", retrieval)
                        judged.setdefault((kind, retrieval), {}).setdefault(pair, []).append(
                            judge(found, *keys)
                        )
        return {
            way: {pair: (found[0], found[1]) for pair, found in of_way.items()}
            for way, of_way in judged.items()
        }, len(fallen)

    def _pairs(
        self, lists: tuple[Neighbours, Neighbours], kind: MarginKind, retrieval: Retrieval
    ) -> Any:
        return pairs_of(*lists, neighbours=self.neighbours, kind=kind, retrieval=retrieval)

    def _measured(
        self,
        name: str,
        parts: Mapping[tuple[str, str], tuple[Judged, Judged]],
        signature: Mapping[str, Any],
        *,
        floor: bool,
    ) -> list[Measurement]:
        thresholds = {pair: best_threshold(dev) for pair, (dev, _) in parts.items()}
        oracle = {pair: best_threshold(test) for pair, (_, test) in parts.items()}
        tests = {pair: test for pair, (_, test) in parts.items()}
        described = {
            **signature,
            "thresholds": {">".join(pair): value for pair, value in thresholds.items()},
        }
        found = [
            self._mean(
                f"F1 {name}", tests, thresholds, "f1", {**described, "curve": curve_of(tests)}
            )
        ]
        if floor:
            return found
        for measure in ("precision", "recall"):
            found.append(self._mean(f"{measure} {name}", tests, thresholds, measure, described))
        found.append(
            self._mean(
                f"F1 oracle {name}",
                tests,
                oracle,
                "f1",
                {**signature, "threshold": "the best of the judged part itself: an upper bound"},
            )
        )
        for pair, test in tests.items():
            one = {
                **signature,
                "threshold": thresholds[pair],
                "right pairs": int(test.gold.sum()),
            }
            label = f"{'>'.join(pair)} F1 {name}"
            found.append(self._mean(label, {pair: test}, thresholds, "f1", one))
        return found

    def _mean(
        self,
        name: str,
        tests: Mapping[tuple[str, str], Judged],
        thresholds: Mapping[tuple[str, str], float | None],
        measure: str,
        signature: Mapping[str, Any],
    ) -> Measurement:
        """The mean over pairs of varieties of a rate; the interval draws meanings."""
        units = sorted({key for test in tests.values() for key in test.units})
        column = {key: i for i, key in enumerate(units)}
        tops = np.zeros((len(tests), len(units)))
        bottoms = np.zeros((len(tests), len(units)))
        for i, (pair, test) in enumerate(tests.items()):
            above, below = test.rate(thresholds[pair], measure)
            places = [column[key] for key in test.units]
            np.add.at(tops[i], places, above)
            np.add.at(bottoms[i], places, below)
        blocks = [
            _mean_rate(weights @ tops.T, weights @ bottoms.T)
            for weights in resample_counts(len(units), resamples=self.bootstrap, seed=self.seed)
        ]
        value = float(_mean_rate(tops.sum(axis=1)[np.newaxis], bottoms.sum(axis=1)[np.newaxis])[0])
        bounds = percentile_interval(np.concatenate(blocks), self.level) if blocks else None
        both = np.stack([tops.sum(axis=0), bottoms.sum(axis=0)], axis=1).astype(np.float32)
        return Measurement(
            name,
            value,
            low=min(bounds[0], value) if bounds else None,
            high=max(bounds[1], value) if bounds else None,
            n=sum(int(test.gold.sum()) for test in tests.values()),
            signature={
                **signature,
                "pairs": len(tests),
                "interval": f"bootstrap over meanings, {self.bootstrap} resamples, level "
                f"{self.level}, seed {self.seed}"
                if bounds
                else None,
            },
            per_item=both,
            item_keys=tuple(units),
        )

    def _signature(
        self,
        corpus: Corpus,
        reader: Encoder,
        sides: Mapping[tuple[str, str], tuple[Sides, Sides]],
        left_out: Mapping[str, int],
    ) -> dict[str, Any]:
        return {
            "task": "mining",
            "encoder": reader.made_by,
            "corpus": corpus.name,
            "corpus_sha": corpus.sha,
            "split": self.split,
            "dev": f"split '{self.dev_split}'"
            if self.dev_split
            else f"{self.dev_share:g} of the meanings",
            "paired": f"{self.paired:g} of the shared meanings keep both sides",
            "neighbours": self.neighbours,
            "pool": self.pool,
            "center": "mean vector of each variety" if self.center else "none",
            "sentences": {
                ">".join(pair): [len(side) for part in parts for side in part]
                for pair, parts in sides.items()
            },
            "floors": floors_signed(self.floors, self.most_sentences, None),
            "left_out": dict(left_out),
            "seed": self.seed,
            "isogloss": __version__,
        }


def nearest_of(scores: FloatArray, k: int) -> Neighbours:
    """The `k` largest of each row of a table (N, M): equal ones in the order of columns.

    Where there are fewer than `k` columns the rest of a row is -1 with score 0.
    """
    width = min(k, scores.shape[1])
    best = np.argsort(-scores, axis=1, kind="stable")[:, :width].astype(np.int64)
    found = np.take_along_axis(scores, best, axis=1).astype(np.float32)
    missing = ((0, 0), (0, k - width))
    return Neighbours(np.pad(best, missing, constant_values=-1), np.pad(found, missing))


def _mean_rate(tops: Any, bottoms: Any) -> Any:
    """(B,) mean over pairs of tops / bottoms, both (B, P); 0 where nothing was counted."""
    return np.divide(tops, bottoms, out=np.zeros_like(tops), where=bottoms > 0).mean(axis=1)


def _shared(a: list[Item], b: list[Item]) -> bool:
    return bool({i.meaning for i in a} & {i.meaning for i in b} - {None})


def _rows(vectors: Vectors, row: Mapping[str, int], items: Sequence[Item]) -> Vectors:
    places = [row[item.id] for item in items]
    ids = tuple(vectors.ids[i] for i in places)
    return Vectors(ids, vectors.values[np.array(places, np.int64)], vectors.made_by)
