"""Vectors of utterances on disk, their nearest neighbours by cosine out: `VectorIndex`.

For encoders with one vector an utterance. `SequenceIndex` answers the same calls for encoders with
one vector a step, and finds what pooling loses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from isogloss.errors import IsoglossError
from isogloss.search.exactness import measured_exactness, sampled
from isogloss.search.ranking import Ranking
from isogloss.search.store import Store, Writer
from isogloss.search.store_folder import new_folder
from isogloss.search.stored_index import StoredIndex
from isogloss.search.vector_nearest import centred_unit_rows, check_finite
from isogloss.search.vector_scan import SegmentRows, ranked
from isogloss.search.vector_settings import VECTOR_KIND, VectorSettings
from isogloss.types import Hits, Measurement, Vectors

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from isogloss.search.store import Filter
    from isogloss.types import FloatArray, Item

__all__ = ["VectorIndex"]

_QUERIES_AT_ONCE = 256


class VectorIndex(StoredIndex):
    """A folder of vectors that is searched by cosine; a snapshot, until this object changes it.

    Made by `build` or `open`. Rows are kept as float32 directions from the centre, with their
    distance from it; large segments carry a graph (HNSW, faiss) beside them.

    Attributes:
        settings: how it was built.
        made_by: of the encoder whose vectors are inside; queries must be of the same.
        dimensions: D.
        step_seconds: None, as vectors of whole utterances have no steps.
    """

    step_seconds = None

    def __init__(self, store: Store) -> None:
        if store.kind != VECTOR_KIND:
            raise IsoglossError(
                f"{store.folder} is an index of {store.kind}, not of {VECTOR_KIND}; "
                "isogloss.search.open.open_index opens either"
            )
        known = {field.name for field in fields(VectorSettings)}
        described = store.settings["vectors"]
        self.settings = VectorSettings(**{k: v for k, v in described.items() if k in known})
        self.made_by: str = store.settings["made_by"]
        self._take(store)

    def _take(self, store: Store) -> None:
        self.store = store
        self._centre: FloatArray = np.asarray(store.shared["centre"])
        self.dimensions = int(self._centre.shape[0])
        self._segments = tuple(SegmentRows(segment) for segment in store.segments)

    @classmethod
    def build(
        cls,
        folder: str | Path,
        vectors: Vectors | Iterable[Vectors],
        items: Iterable[Item],
        *,
        settings: VectorSettings | None = None,
        centre: FloatArray | None = None,
    ) -> Self:
        """A new index of `vectors` in `folder`.

        Memory holds one segment at a time beside what the caller holds. Nothing can be opened in
        `folder` until all is written, in one commit.

        Args:
            folder: absent or empty.
            vectors: whole, or in pieces of one D and `made_by`; at least one row. Pieces are gone
                through twice when the centre is to be found, so an iterator needs `centre`.
            items: of the rows, in their order, with the same ids.
            settings: default `VectorSettings()`.
            centre: (D,) to subtract; by default the mean of all rows, or zeros without `center`.

        Raises:
            ValueError: no row, ids of rows and items differ, NaN or infinity, or an iterator
                without `centre`.
            MissingExtra: a graph is wanted and faiss is not installed.
            OSError, IsoglossError: as `Store.create`.
        """
        settings = settings or VectorSettings()
        pieces = [vectors] if isinstance(vectors, Vectors) else vectors
        if centre is None and settings.center:
            centre, pieces = _mean_of(pieces)
        chunks = _chunks(pieces, items, settings.segment_items)
        first = next(chunks, None)
        if first is None:
            raise ValueError("there is no vector to build an index from")
        if centre is None:
            centre = np.zeros(first[0].values.shape[1], np.float32)
        if centre.shape != first[0].values.shape[1:]:
            raise ValueError(
                f"centre is {centre.shape} for vectors of {first[0].values.shape[1]} dimensions"
            )
        described = {"vectors": asdict(settings), "made_by": first[0].made_by}
        with new_folder(Path(folder)) as building:
            index = cls(
                Store.create(
                    building,
                    kind=VECTOR_KIND,
                    settings=described,
                    shared={"centre": centre.astype(np.float32)},
                )
            )
            index._write([first], chunks, replace=False)
        return cls.open(folder)

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """The index in `folder`, as it was last committed; nothing is read but the commit.

        Raises:
            FileNotFoundError: there is none.
            IsoglossError: it is of another kind, or damaged.
        """
        return cls(Store.open(folder))

    def append(
        self,
        vectors: Vectors | Iterable[Vectors],
        items: Iterable[Item],
        *,
        replace: bool = False,
    ) -> int:
        """Add rows in one commit and return its number; the centre stays as it was built.

        Args:
            vectors: as `build`; no row adds nothing.
            items: of the rows.
            replace: an id that is here already takes the new row; without it that is refused.

        Raises:
            ValueError: another D or `made_by` than the index, or as `build`.
        """
        pieces = [vectors] if isinstance(vectors, Vectors) else vectors
        return self._write([], _chunks(pieces, items, self.settings.segment_items), replace)

    def delete(self, ids: Iterable[str]) -> int:
        """Take `ids` out, in one commit; how many were here. Their rows go at `compact`."""
        with Writer(self.store.folder) as writer:
            gone = int(writer.delete(ids))
            writer.commit()
        self._take(Store.open(self.store.folder))
        return gone

    def compact(self) -> int:
        """Write deleted rows and small segments anew, graphs too; the number of the commit.

        Memory holds one segment. Segments that are full and have few deleted rows stay.
        """
        with Writer(self.store.folder) as writer:
            # What another process appended since this snapshot belongs to the work as well.
            self._take(Store.open(self.store.folder))
            for group in self._groups():
                rows = [(s, np.flatnonzero(s.segment.alive)) for s in group]
                items = [s.segment.item(int(row)) for s, alive in rows for row in alive]
                unit = np.concatenate([s.unit[alive] for s, alive in rows])
                length = np.concatenate([s.length[alive] for s, alive in rows])
                names = [s.segment.name for s in group]
                writer.replace(names, items, self._arrays(unit, length))
            version = int(writer.commit())
        self._take(Store.open(self.store.folder))
        return version

    def search(
        self,
        queries: Vectors,
        k: int = 10,
        *,
        filter: Filter | None = None,
        candidates: int | None = None,
        budget_ms: float | None = None,
    ) -> Hits:
        """The `k` nearest items of each query, best first; see `search_ranked`."""
        ranking = self.search_ranked(
            queries, k, filter=filter, candidates=candidates, budget_ms=budget_ms
        )
        return ranking.hits

    def search_ranked(
        self,
        queries: Vectors,
        k: int = 10,
        *,
        filter: Filter | None = None,
        candidates: int | None = None,
        budget_ms: float | None = None,
        exact: bool = False,
    ) -> Ranking:
        """The `k` nearest items of each query by cosine, with ties.

        Deleted and filtered items take no one's place: a query gets `k` hits whenever as many
        items are left. Among few items all are scored; among many, a graph proposes and float32
        decides, and where the graph comes back with too few, all are scored after all.

        Args:
            queries: (Q, D) vectors of the same encoder; a row equal to the centre has cosine 0
                with everything.
            k: at least 1.
            filter: which items may answer; None for all.
            candidates: nodes kept while a graph is walked, and rows scored; default
                `settings.breadth`, and at least 2k. Larger finds more and takes longer.
            budget_ms: accepted as by `SequenceIndex`, and of no effect: a search takes
                milliseconds, and one that may not finish is not started.
            exact: score every row.

        Raises:
            ValueError: D or `made_by` differ, a query is not finite, or a number is too small.
        """
        if k < 1 or (candidates is not None and candidates < 1):
            raise ValueError(f"k and candidates must be at least 1, got {k} and {candidates}")
        if budget_ms is not None and not budget_ms > 0:
            raise ValueError(f"budget_ms must be positive, got {budget_ms}")
        self._check(queries)
        check_finite(queries)
        breadth = max(candidates or self.settings.breadth, 2 * k)
        unit, _ = centred_unit_rows(queries.values, self._centre)
        chosen = self.store.chosen(filter)
        below = None if exact else self.settings.flat_below
        answers = [
            answer
            for first in range(0, len(unit), _QUERIES_AT_ONCE)
            for answer in ranked(
                self._segments, chosen, unit[first : first + _QUERIES_AT_ONCE], k, breadth, below
            )
        ]
        return Ranking(
            Hits(
                queries.ids,
                tuple(answer.ids for answer in answers),
                tuple(answer.scores for answer in answers),
            ),
            tuple(answer.tied for answer in answers),
            all(answer.exact for answer in answers),
            tuple(answer.scored for answer in answers),
        )

    def check_exactness(
        self, queries: Vectors, *, k: int = 10, sample: int = 50, seed: int = 0
    ) -> Measurement:
        """Share of the `k` exact nearest items that a search finds, mean over sampled queries.

        Ask it with queries as they will come: queries of a variety that the index holds are
        easier than those of another. Where several items tie for the last place, any will do.

        Args:
            queries: what to draw from.
            k: at least 1.
            sample: queries drawn without replacement, at most all.
            seed: of the draw.

        Returns:
            'recall@k against exact' in [0, 1], 1 in an empty index, with `per_item` (n,) and a
            bootstrap interval.

        Raises:
            ValueError: there is no query, or as `search`.
        """
        drawn = sampled(len(queries), sample, seed)
        ids = tuple(queries.ids[i] for i in drawn)
        asked = Vectors(ids, queries.values[drawn], queries.made_by)
        return measured_exactness(self, asked, k=k, seed=seed)

    def steps(self, id: str) -> FloatArray:
        """The vector of `id` as one step: (1, D) float32, as it was encoded, up to rounding."""
        segment, row = self._place(id)
        return self._raw(segment, np.array([row]))

    def step_count(self, id: str) -> int:
        """1, for an item that is here."""
        self._place(id)
        return 1

    def vectors(self, filter: Filter | None = None) -> Vectors:
        """All vectors that are here, or those that `filter` lets through, in the order of storage.

        They are the encoded ones up to float32 rounding: direction and distance are kept apart.
        """
        ids: list[str] = []
        values = [np.zeros((0, self.dimensions), np.float32)]
        for number, mask in enumerate(self.store.chosen(filter)):
            segment = self._segments[number].segment
            rows = np.flatnonzero(segment.alive if mask is None else mask)
            ids += [segment.id(int(row)) for row in rows]
            values.append(self._raw(number, rows))
        return Vectors(tuple(ids), np.concatenate(values), self.made_by)

    def _raw(self, segment: int, rows: npt.NDArray[np.int64]) -> FloatArray:
        kept = self._segments[segment]
        raw: FloatArray = kept.unit[rows] * kept.length[rows, np.newaxis] + self._centre
        return raw

    def _check(self, vectors: Vectors) -> None:
        if vectors.values.shape[1] != self.dimensions:
            raise ValueError(
                f"vectors have {vectors.values.shape[1]} dimensions, the index {self.dimensions}; "
                f"encode with {self.made_by or 'the encoder of the index'}"
            )
        if vectors.made_by != self.made_by and len(vectors):
            raise ValueError(
                f"vectors were made by '{vectors.made_by}', the index by '{self.made_by}'; "
                "cosines between two encoders mean nothing"
            )

    def _write(
        self,
        first: list[tuple[Vectors, list[Item]]],
        chunks: Iterator[tuple[Vectors, list[Item]]],
        replace: bool,
    ) -> int:
        with Writer(self.store.folder) as writer:
            for some in (first, chunks):
                for vectors, items in some:
                    self._check(vectors)
                    check_finite(vectors)
                    unit, length = centred_unit_rows(vectors.values, self._centre)
                    writer.append(items, self._arrays(unit, length), replace=replace)
            version = int(writer.commit())
        self._take(Store.open(self.store.folder))
        return version

    def _arrays(self, unit: FloatArray, length: FloatArray) -> dict[str, list[npt.NDArray[Any]]]:
        graph = np.zeros(0, np.uint8)
        if self.settings.graph == "hnsw" and len(unit) >= self.settings.flat_below:
            from isogloss.search.vector_ann import build_graph

            graph = build_graph(
                unit, links=self.settings.links, breadth=self.settings.build_breadth
            )
        return {"unit": [unit], "length": [length], "graph": [graph]}

    def _groups(self) -> Iterator[list[SegmentRows]]:
        """Neighbouring segments that fit into one, where writing them anew gains something."""
        group: list[SegmentRows] = []
        rows = 0
        for kept in (*self._segments, None):
            alive = 0 if kept is None else int(np.count_nonzero(kept.segment.alive))
            if group and (kept is None or rows + alive > self.settings.segment_items):
                if len(group) > 1 or rows < group[0].segment.count:
                    yield group
                group, rows = [], 0
            if kept is not None:
                group.append(kept)
                rows += alive


def _mean_of(pieces: Iterable[Vectors]) -> tuple[FloatArray | None, Iterable[Vectors]]:
    if isinstance(pieces, Iterator):
        raise ValueError(
            "the centre of vectors that can be read only once is unknown; pass centre=, "
            "a list, or settings with center=False"
        )
    total: npt.NDArray[np.float64] | None = None
    count = 0
    for piece in pieces:
        check_finite(piece)
        sums = piece.values.sum(axis=0, dtype=np.float64)
        total = sums if total is None else total + sums
        count += len(piece)
    return None if total is None or not count else (total / count).astype(np.float32), pieces


def _chunks(
    pieces: Iterable[Vectors], items: Iterable[Item], most: int
) -> Iterator[tuple[Vectors, list[Item]]]:
    """Rows with their items, `most` at a time."""
    described = iter(items)
    waiting: list[Vectors] = []
    rows = 0
    for piece in pieces:
        if waiting and (
            piece.values.shape[1] != waiting[0].values.shape[1]
            or piece.made_by != waiting[0].made_by
        ):
            raise ValueError(
                f"pieces differ: {waiting[0].values.shape[1]} dimensions by "
                f"'{waiting[0].made_by}', then {piece.values.shape[1]} by '{piece.made_by}'"
            )
        for first in range(0, len(piece), most):
            part = Vectors(
                piece.ids[first : first + most], piece.values[first : first + most], piece.made_by
            )
            if rows + len(part) > most:
                yield _with_items(waiting, described)
                waiting, rows = [], 0
            waiting.append(part)
            rows += len(part)
    if waiting:
        yield _with_items(waiting, described)
    surplus = next(described, None)
    if surplus is not None:
        raise ValueError(f"item '{surplus.id}' and those behind it have no vector")


def _with_items(waiting: Sequence[Vectors], items: Iterator[Item]) -> tuple[Vectors, list[Item]]:
    ids = tuple(id for part in waiting for id in part.ids)
    found = []
    for id in ids:
        item = next(items, None)
        if item is None or item.id != id:
            raise ValueError(
                f"vector '{id}' meets item '{item.id}'" if item else f"vector '{id}' has no item"
            )
        found.append(item)
    values = np.concatenate([part.values for part in waiting])
    return Vectors(ids, values, waiting[0].made_by), found
