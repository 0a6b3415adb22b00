"""Is the label of the nearest examples right? Classification by retrieval, without any training.

MINERS' protocol: in one variety, from one variety into others, and on code-switched input; with
one encoder or the weighted distances of several.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from isogloss import __version__
from isogloss.corpora.progress import with_progress
from isogloss.encoders.item_text import text_of
from isogloss.errors import UnknownName
from isogloss.measures.bootstrap import percentile_interval, resample_counts
from isogloss.scores import cosine
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
from isogloss.types import Measurement, Vectors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from isogloss.tasks.text_floors import Floor
    from isogloss.types import Corpus, Encoder, Item

__all__ = ["NearestExamples", "majority"]

Distances = npt.NDArray[np.floating[Any]]
Numbers = npt.NDArray[np.int64]
# Who is asked, by the examples of which variety: examples, queries.
_Cell = tuple[list["Item"], list["Item"]]


@dataclass(frozen=True)
class NearestExamples:
    """Accuracy and macro-F1 of the label that the k nearest examples have.

    'accuracy mono k=1' and 'macro-F1 mono k=1' with examples of the query's own variety; 'cross'
    with those of each of `sources`, asked by every other variety; 'switched' for code-switched
    queries. Each over all queries, and 'yue>yue accuracy mono k=1' for each pair of varieties,
    examples first; the floors as 'accuracy mono k=1 by tfidf'. 'chance' in a signature is the
    share of the most frequent label.

    Of the k nearest each has one vote. Of several labels with most votes the one whose examples
    are nearest in sum wins, and of these the first in the alphabet. Of equally near examples those
    with the smaller id come first. Examples that share the query's meaning are not asked: they
    would be its translations. Where there are fewer than k examples all of them vote.

    Attributes:
        label: key of `Item.extra` that names the class; 'category', 'intent' or any other.
        train_split: of the examples; the same as `test_split` leaves each query out.
        test_split: of the queries.
        sources: varieties whose examples are asked by others; none, no 'cross'.
        views: a manifest of code-switched queries, such as `isogloss text vary` writes: items of
            `test_split` that are asked among the examples of `sources` (without sources, of the
            variety that `extra['varied_from']` leads to).
        ks: how many examples vote.
        layer: of the encoder, where it can change it.
        pool: how steps become the vector of a sentence, see `encoders.pool`.
        distance: 'cosine' (1 - cosine) or 'euclidean'.
        center: subtract the mean vector of each variety, over examples and queries.
        fuse: names of further encoders, whose distances are added.
        weights: of the encoder and of those in `fuse`, in this order; all alike by default.
        floors: which of 'tfidf' (fitted on the examples) and 'edit' stand beside the encoder.
        edit_queries: of each pair of varieties, for edit distance; more are drawn down by `seed`.
        bootstrap: resamples of every interval, which draw meanings; 0 for none.
        level: of every interval.
        seed: of every draw.
        cache_dir: where encoded items are kept; does not change a number.
        progress: bars on stderr; does not change a number.
    """

    label: str = "category"
    train_split: str | None = "train"
    test_split: str | None = "test"
    sources: tuple[str, ...] = ()
    views: str | None = None
    ks: tuple[int, ...] = (1, 5, 10)
    layer: int | None = None
    pool: str = "mean"
    distance: Literal["cosine", "euclidean"] = "cosine"
    center: bool = False
    fuse: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    floors: tuple[Floor, ...] = ("tfidf", "edit")
    edit_queries: int = 100
    bootstrap: int = 1000
    level: float = 0.95
    seed: int = 0
    cache_dir: Path | None = None
    progress: bool = False

    def __post_init__(self) -> None:
        check_floors(self.floors)
        if self.distance not in ("cosine", "euclidean"):
            raise UnknownName("distance", self.distance, ("cosine", "euclidean"))
        if not self.ks or min(self.ks) < 1 or len(set(self.ks)) < len(self.ks):
            raise ValueError(f"ks must be different numbers from 1, got {self.ks}")
        if self.edit_queries < 1 or self.bootstrap < 0:
            raise ValueError(
                "edit_queries must be at least 1 and bootstrap not negative, "
                f"got {self.edit_queries}, {self.bootstrap}"
            )
        if self.weights and not self.fuse:
            raise ValueError("weights have no effect without fuse")
        if self.weights and len(self.weights) != len(self.fuse) + 1:
            raise ValueError(
                f"weights are for the encoder and {len(self.fuse)} more, got {len(self.weights)}"
            )
        if self.weights and (min(self.weights) < 0 or not sum(self.weights)):
            raise ValueError(f"weights must not be negative, nor all 0, got {self.weights}")

    def run(self, corpus: Corpus, encoder: Encoder) -> list[Measurement]:
        """All measurements of `encoder` on `corpus`.

        Raises:
            ValueError: there are no two labels among the examples or no query, no query of a view
                or source can be asked, a vector holds NaN or infinity (its id is named), or an
                encoder reads no text.
            UnknownName: a source is no variety of the examples.
            BadRecord, OSError: the manifest of `views` cannot be read.
        """
        left_out: Counter[str] = Counter()
        train = self._items(corpus.items, self.train_split, left_out)
        test = self._items(corpus.items, self.test_split, left_out)
        switched, views_sha = self._views(left_out)
        known = {item.id for item in (*train, *test)}
        if repeated := [item.id for item in switched if item.id in known]:
            raise ValueError(
                f"{len(repeated)} ids of {self.views} are in the corpus too, such as "
                f"'{repeated[0]}'; give the views ids of their own"
            )
        self._check(corpus, train, test)
        cells = self._cells(train, test, switched)
        readers = [reader_of(encoder, layer=self.layer), *map(reader_of, self._fused())]
        every = {item.id: item for item in (*train, *test, *switched)}
        spaces = [self._vectors(list(every.values()), reader) for reader in readers]
        signature = {
            "task": "knn",
            "encoder": " + ".join(reader.made_by for reader in readers),
            "weights": list(self.weights or [1.0] * len(readers)),
            "corpus": corpus.name,
            "corpus_sha": corpus.sha,
            "views_sha": views_sha,
            "label": self.label,
            "splits": [self.train_split, self.test_split],
            "pool": self.pool,
            "distance": self.distance,
            "center": "mean vector of each variety" if self.center else "none",
            "vote": "majority; of equal votes the nearer in sum, then the alphabet",
            "floors": floors_signed(self.floors, self.edit_queries, None),
            "left_out": dict(left_out),
            "seed": self.seed,
            "isogloss": __version__,
        }
        weights = np.array(self.weights or [1.0] * len(readers)) / sum(
            self.weights or [len(readers)]
        )
        row = {id_: i for i, id_ in enumerate(every)}

        def by_encoder(queries: Sequence[Item], examples: Sequence[Item]) -> Distances:
            total = np.zeros((len(queries), len(examples)))
            for weight, space in zip(weights, spaces, strict=True):
                total += weight * self._distances(space, row, queries, examples)
            return total

        ways: dict[str, Callable[[Sequence[Item], Sequence[Item]], Distances]] = {"": by_encoder}
        texts = {id_: plain(text_of(item)) for id_, item in every.items()}
        if "tfidf" in self.floors:
            ngrams = NgramFloor(texts, fit_on=[item.id for item in train])
            ways[" by tfidf"] = lambda queries, examples: (
                1.0 - ngrams.similarity([i.id for i in queries], [i.id for i in examples])
            )
        if "edit" in self.floors:
            ways[" by edit"] = lambda queries, examples: (
                1.0 - edit_floor([texts[i.id] for i in queries], [texts[i.id] for i in examples])
            )
        return [m for by, ask in ways.items() for m in self._judged(cells, ask, by, signature)]

    def _items(
        self, items: Sequence[Item], split: str | None, left_out: Counter[str]
    ) -> list[Item]:
        found = []
        for item in sorted(items, key=lambda item: item.id):
            if split is not None and item.split != split:
                continue
            lacking = usable(item)
            if lacking is None and not item.extra.get(self.label):
                lacking = f"no {self.label}"
            if lacking is not None:
                left_out[lacking] += 1
            else:
                found.append(item)
        return found

    def _views(self, left_out: Counter[str]) -> tuple[list[Item], str | None]:
        if self.views is None:
            return [], None
        from isogloss.corpora import read_corpus
        from isogloss.corpora.readers.gathering import table_with

        path = Path(self.views)
        # `isogloss text vary` writes the varieties that it makes beside their manifest.
        made = path.with_name(f"{path.name}.varieties.tsv")
        corpus = read_corpus(path, table=table_with(made) if made.is_file() else None)
        varied = [item for item in corpus.items if "varied_from" in item.extra] or corpus.items
        found = self._items(varied, self.test_split, left_out)
        if not found:
            raise ValueError(
                f"{self.views} has no item in split '{self.test_split}' with a text and "
                f"extra['{self.label}']"
            )
        return found, corpus.sha

    def _check(self, corpus: Corpus, train: list[Item], test: list[Item]) -> None:
        classes = {item.extra[self.label] for item in train}
        if len(classes) < 2 or not test:
            splits = sorted({item.split or "none" for item in corpus.items})
            keys = sorted({key for item in corpus.items for key in item.extra})
            raise ValueError(
                f"corpus '{corpus.name}' has {len(classes)} labels extra['{self.label}'] among "
                f"{len(train)} examples in split '{self.train_split}', and {len(test)} queries in "
                f"split '{self.test_split}'; at least 2 labels and 1 query are needed (splits: "
                f"{', '.join(splits)}; extra has {', '.join(keys) or 'nothing'})"
            )
        known = sorted({item.variety for item in train})
        for source in self.sources:
            if source not in known:
                raise UnknownName("source", source, known)

    def _cells(
        self, train: list[Item], test: list[Item], switched: list[Item]
    ) -> dict[tuple[str, str, str], _Cell]:
        """By mode, variety of the examples and of the queries: both."""
        of_train = _by_variety(train)
        origin = {item.id: item.variety for item in (*test, *train)}
        cells: dict[tuple[str, str, str], _Cell] = {}
        for variety, queries in _by_variety(test).items():
            if variety in of_train:
                cells["mono", variety, variety] = (of_train[variety], queries)
            for source in self.sources:
                if source != variety:
                    cells["cross", source, variety] = (of_train[source], queries)
        for variety, queries in _by_variety(switched).items():
            sources = self.sources or tuple(
                sorted({origin.get(i.extra.get("varied_from", ""), "") for i in queries} - {""})
            )
            for source in sources:
                if source in of_train:
                    cells["switched", source, variety] = (of_train[source], queries)
        if not cells or (switched and not any(mode == "switched" for mode, _, _ in cells)):
            what = "code-switched query" if cells else "query"
            raise ValueError(
                f"no {what} has examples to ask: examples are of {', '.join(of_train)}; name "
                "sources"
            )
        return cells

    def _fused(self) -> list[Encoder]:
        from isogloss.encoders import load_encoder

        return [load_encoder(name) for name in self.fuse]

    def _vectors(self, items: list[Item], reader: Encoder) -> Vectors:
        found = vectors_of(
            [as_read(item) for item in items],
            reader,
            pool=self.pool,
            cache_dir=self.cache_dir,
            progress=self.progress,
        )
        return centred(found, [item.variety for item in items]) if self.center else found

    def _distances(
        self,
        space: Vectors,
        row: Mapping[str, int],
        queries: Sequence[Item],
        examples: Sequence[Item],
    ) -> Distances:
        a, b = (_chosen(space, [row[item.id] for item in side]) for side in (queries, examples))
        if self.distance == "cosine":
            return 1.0 - cosine(a, b).astype(np.float64)
        wide_a, wide_b = a.values.astype(np.float64), b.values.astype(np.float64)
        squares = (wide_a**2).sum(axis=1)[:, np.newaxis] + (wide_b**2).sum(axis=1)
        distances: Distances = np.sqrt(np.maximum(squares - 2 * wide_a @ wide_b.T, 0))
        return distances

    def _judged(
        self,
        cells: Mapping[tuple[str, str, str], _Cell],
        ask: Callable[[Sequence[Item], Sequence[Item]], Distances],
        by: str,
        signature: Mapping[str, Any],
    ) -> list[Measurement]:
        guesses: dict[tuple[str, str, str], tuple[list[Item], dict[int, list[str]]]] = {}
        listed = with_progress(cells.items(), f"neighbours{by}", total=len(cells))
        for key, (examples, every) in listed if self.progress else cells.items():
            queries = every
            if by == " by edit":
                kept = set(drawn([i.id for i in every], self.edit_queries, self.seed))
                queries = [item for item in every if item.id in kept]
            distances = ask(queries, examples)
            distances[_same_meaning(queries, examples)] = np.inf
            labels = [item.extra[self.label] for item in examples]
            guesses[key] = queries, {k: majority(distances, labels, k) for k in self.ks}
        measured = []
        for k in self.ks:
            for mode in dict.fromkeys(mode for mode, _, _ in guesses):
                of_mode = {key: found for key, found in guesses.items() if key[0] == mode}
                items = [item for queries, _ in of_mode.values() for item in queries]
                said = [label for _, found in of_mode.values() for label in found[k]]
                measured += self._rates(f"{{}} {mode} k={k}{by}", items, said, signature)
                for (_, source, variety), (queries, found) in of_mode.items():
                    name = f"{source}>{variety} {{}} {mode} k={k}{by}"
                    measured += self._rates(name, queries, found[k], signature)
        return measured

    def _rates(
        self, name: str, items: list[Item], said: list[str], signature: Mapping[str, Any]
    ) -> list[Measurement]:
        """Accuracy and macro-F1 over `items`, whose meanings are resampled."""
        truth = [item.extra[self.label] for item in items]
        counts = Counter(truth)
        meanings = [item.meaning or item.id for item in items]
        described = {**signature, "chance": max(counts.values()) / len(items)}
        right = np.array([a == b for a, b in zip(truth, said, strict=True)], dtype=np.float64)
        accuracy = rate_over_meanings(
            name.format("accuracy"),
            right,
            meanings,
            resamples=self.bootstrap,
            level=self.level,
            seed=self.seed,
            signature=described,
        )
        return [accuracy, self._macro_f1(name.format("macro-F1"), truth, said, meanings, described)]

    def _macro_f1(
        self,
        name: str,
        truth: list[str],
        said: list[str],
        meanings: list[str],
        signature: Mapping[str, Any],
    ) -> Measurement:
        """The mean F1 of the labels that are some query's; a label never guessed has 0."""
        classes = sorted(set(truth))
        is_true = np.array([[label == one for one in classes] for label in truth], np.float64)
        is_said = np.array([[label == one for one in classes] for label in said], np.float64)
        unit: Numbers = np.unique(
            np.array(meanings, dtype=object).astype(str), return_inverse=True
        )[1]
        blocks = [
            _mean_f1(weights[:, unit], is_true, is_said)
            for weights in resample_counts(
                int(unit.max()) + 1, resamples=self.bootstrap, seed=self.seed
            )
        ]
        value = float(_mean_f1(np.ones((1, len(truth))), is_true, is_said)[0])
        bounds = percentile_interval(np.concatenate(blocks), self.level) if blocks else None
        return Measurement(
            name,
            value,
            low=min(bounds[0], value) if bounds else None,
            high=max(bounds[1], value) if bounds else None,
            n=len(truth),
            signature={
                **signature,
                "interval": f"bootstrap over meanings, {self.bootstrap} resamples, level "
                f"{self.level}, seed {self.seed}"
                if bounds
                else None,
            },
        )


def majority(distances: Distances, labels: Sequence[str], k: int) -> list[str]:
    """The label that most of the `k` nearest examples of each query have.

    Of equal votes the label whose voters are nearer in sum wins, then the first in the alphabet.
    Of equally near examples the earlier comes first.

    Args:
        distances: (N, M) smaller is nearer; infinite for examples that are not to be asked.
        labels: (M,) of the examples.
        k: how many vote; all, where fewer may.

    Raises:
        ValueError: a query has no example, a distance is NaN, or `k` is below 1.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if distances.shape[1:] != (len(labels),) or np.isnan(distances).any():
        raise ValueError(f"distances must be (N, {len(labels)}) without NaN, got {distances.shape}")
    alone = np.flatnonzero(~np.isfinite(distances).any(axis=1))
    if len(alone):
        raise ValueError(f"query {alone[0]} has no example ({len(alone)} such queries)")
    classes, number = np.unique(np.array(labels, dtype=object).astype(str), return_inverse=True)
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :k]
    found = np.take_along_axis(distances, nearest, axis=1)
    asked = np.isfinite(found)
    votes = np.zeros((len(distances), len(classes)))
    sums = np.zeros((len(distances), len(classes)))
    rows = np.broadcast_to(np.arange(len(distances))[:, np.newaxis], nearest.shape)
    np.add.at(votes, (rows[asked], number[nearest[asked]]), 1.0)
    np.add.at(sums, (rows[asked], number[nearest[asked]]), found[asked])
    among = np.where(votes == votes.max(axis=1, keepdims=True), sums, np.inf)
    return [str(label) for label in classes[np.argmin(among, axis=1)]]


def _mean_f1(weights: Distances, is_true: Distances, is_said: Distances) -> Distances:
    """(B,) mean over the labels that are there in a resample of 2 hits / (true + guessed)."""
    hits = weights @ (is_true * is_said)
    true, guessed = weights @ is_true, weights @ is_said
    f1 = np.divide(2 * hits, true + guessed, out=np.zeros_like(hits), where=true > 0)
    mean: Distances = f1.sum(axis=1) / np.maximum((true > 0).sum(axis=1), 1)
    return mean


def _by_variety(items: Sequence[Item]) -> dict[str, list[Item]]:
    found: dict[str, list[Item]] = {}
    for item in items:
        found.setdefault(item.variety, []).append(item)
    return {variety: found[variety] for variety in sorted(found)}


def _same_meaning(queries: Sequence[Item], examples: Sequence[Item]) -> npt.NDArray[np.bool_]:
    """(N, M) whether an example is the query itself or shares its meaning."""
    number: dict[str, int] = {}

    def of(items: Sequence[Item]) -> Numbers:
        keys = [f"id {i.id}" if i.meaning is None else f"meaning {i.meaning}" for i in items]
        return np.array([number.setdefault(key, len(number)) for key in keys])

    same: npt.NDArray[np.bool_] = of(queries)[:, np.newaxis] == of(examples)
    return same


def _chosen(vectors: Vectors, places: list[int]) -> Vectors:
    return Vectors(
        tuple(vectors.ids[i] for i in places), vectors.values[np.array(places)], vectors.made_by
    )
