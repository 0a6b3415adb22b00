"""Step sequences of utterances on disk, their nearest by SeqSim out: `SequenceIndex`."""

from __future__ import annotations

import itertools
import logging
import math
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from isogloss._config import config_from_mapping
from isogloss.corpora.progress import with_progress
from isogloss.errors import IsoglossError
from isogloss.scores.seqsim_blocks import thread_count
from isogloss.search.encoding import check_sequences, rebuilt_steps
from isogloss.search.exactness import measured_exactness, sampled
from isogloss.search.index_settings import IndexSettings
from isogloss.search.sequence_answers import ranking_of
from isogloss.search.sequence_build import encoded_parts
from isogloss.search.sequence_exact import exhaustive
from isogloss.search.sequence_search import Answer, Effort, SequenceSearch
from isogloss.search.sequence_segments import PER_ITEM, parts_of_segments, write_parts
from isogloss.search.step_sample import sample_steps
from isogloss.search.store import Store, Writer
from isogloss.search.store_folder import new_folder
from isogloss.search.stored_index import StoredIndex
from isogloss.search.units import Units, train_units
from isogloss.types import Sequences

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy.typing as npt

    from isogloss.search.ranking import Ranking
    from isogloss.search.store import Filter
    from isogloss.types import FloatArray, Hits, Item, Measurement

__all__ = ["SEQUENCE_KIND", "SequenceIndex"]

SEQUENCE_KIND = "sequences"
"""What the store of such an index calls its payload."""

_LOG = logging.getLogger(__name__)
# Share of what units explain of their training steps below which they no longer fit. Of structured
# sequences they explain 0.93 of it in unseen items, 0.74 in a variety the index does not hold, and
# nothing in another language (docs/search-index.md, "Growing").
_ADVISE_BELOW = 0.5


class SequenceIndex(StoredIndex):
    """A folder of step sequences, searched by SeqSim; a snapshot until this object changes it.

    Made by `build` or `open`. Threads may search it at once.

    Attributes:
        settings: how it was built.
        units: the k-means units.
        made_by: of the encoder whose steps are inside; queries must be of the same.
        dimensions: D.
        step_seconds: time between two steps, None where unknown.
    """

    def __init__(self, store: Store) -> None:
        if store.kind != SEQUENCE_KIND:
            raise IsoglossError(
                f"{store.folder} is an index of {store.kind}, not of {SEQUENCE_KIND}; "
                "isogloss.search.open.open_index opens either"
            )
        described = store.settings
        self.settings = config_from_mapping(IndexSettings, described["index"])
        self.made_by: str = described["made_by"]
        self.step_seconds: float | None = described["step_seconds"]
        self.units = Units(
            np.asarray(store.shared["mean"]),
            np.asarray(store.shared["centroids"]),
            np.asarray(store.shared["prototypes"]),
            float(described["training_error"]),
        )
        self.dimensions = int(self.units.prototypes.shape[1])
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._pool_of = (0, 0)
        self._take(store)

    def _take(self, store: Store) -> None:
        with self._lock:
            self.store = store
            self._engine: SequenceSearch | None = None

    @classmethod
    def build(
        cls,
        folder: str | Path,
        sequences: Sequences | Iterable[Sequences],
        items: Iterable[Item],
        *,
        settings: IndexSettings | None = None,
        units: Units | None = None,
    ) -> Self:
        """A new index of `sequences` in `folder`, which holds all of it or nothing.

        Sequences are gone through twice, for the sample and for encoding, so they may be larger
        than memory: a Sequences over a mapped file, or an object that gives pieces each time it is
        iterated. An iterator, which gives them once, needs `units`.

        Args:
            folder: absent or empty. The index is built beside it, as `.NAME.building`; what a
                killed build left there is removed by the next.
            sequences: whole, or in pieces of one D, `made_by` and `step_seconds`.
            items: of the sequences, in their order, with the same ids.
            settings: default `IndexSettings()`.
            units: from `train_units`; trained on a sample of `sequences` by default.

        Raises:
            ValueError: no Sequences at all, ids of sequences and items differ or repeat, a
                sequence without steps or with NaN or infinity, an iterator without `units`.
            FileExistsError: the folder holds an index or other files.
            MissingExtra: numba is absent.
        """
        settings = settings or IndexSettings()
        pieces: Iterable[Sequences] = [sequences] if isinstance(sequences, Sequences) else sequences
        if units is None:
            if isinstance(pieces, Iterator):
                raise ValueError(
                    "sequences that can be read only once leave none to train units on; pass "
                    "units=train_units(...), a list, or an object that can be iterated twice"
                )
            units = train_units(sample_steps(with_progress(pieces, "sampling"), settings), settings)
        waiting = iter(pieces)
        first = next(waiting, None)
        if first is None:
            raise ValueError("there are no sequences; one without items is enough to say D")
        with new_folder(Path(folder)) as building:
            index = cls.create(
                building, units, settings, made_by=first.made_by, step_seconds=first.step_seconds
            )
            index.append(itertools.chain([first], waiting), items)
        return cls.open(folder)

    @classmethod
    def create(
        cls,
        folder: str | Path,
        units: Units,
        settings: IndexSettings,
        *,
        made_by: str,
        step_seconds: float | None = None,
    ) -> Self:
        """A new index without items in `folder`, with given units; `append_parts` fills it."""
        described = {
            "index": asdict(settings),
            "made_by": made_by,
            "step_seconds": step_seconds,
            "training_error": units.error,
        }
        shared: dict[str, np.ndarray[Any, Any]] = {
            "mean": units.mean,
            "centroids": units.centroids,
            "prototypes": units.prototypes,
        }
        return cls(Store.create(folder, kind=SEQUENCE_KIND, settings=described, shared=shared))

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """The index in `folder`, as it was last committed; nothing is read but the commit.

        Raises:
            FileNotFoundError: there is none.
            IsoglossError: it is of another kind.
            ValueError: it is damaged.
        """
        return cls(Store.open(folder))

    def append(
        self,
        sequences: Sequences | Iterable[Sequences],
        items: Iterable[Item],
        *,
        replace: bool = False,
    ) -> int:
        """Add sequences in one commit and return its number; the units stay as they were built.

        Args:
            sequences: as `build`; none adds nothing.
            items: of the sequences.
            replace: an id that is here already takes the new sequence; else that is refused.

        Raises:
            ValueError: another D, `made_by` or `step_seconds` than the index, or as `build`.
            MissingExtra: numba is absent.
        """
        pieces = [sequences] if isinstance(sequences, Sequences) else sequences
        parts = encoded_parts(
            (self._fitting(piece) for piece in pieces), items, self.units, self.settings
        )
        return self.append_parts(parts, replace=replace)

    def append_parts(
        self,
        parts: Iterable[tuple[list[Item], Mapping[str, np.ndarray[Any, Any]]]],
        *,
        replace: bool = False,
    ) -> int:
        """Add items with arrays of `encode_segment`, made anywhere with the units of this index.

        All parts become one segment, in one commit, the same whatever the parts were.
        """
        before = len(self)
        with Writer(self.store.folder) as writer:
            with writer.batch(replace=replace, per_item=PER_ITEM) as batch:
                write_parts(batch, parts, self.units.count)
                name = batch.name
            version = int(writer.commit())
        self._take(Store.open(self.store.folder))
        if before:
            self._advise(name)
        return version

    def delete(self, ids: Iterable[str]) -> int:
        """Take `ids` out, in one commit; how many were here. Their arrays go at `compact`."""
        with Writer(self.store.folder) as writer:
            gone = int(writer.delete(ids))
            writer.commit()
        self._take(Store.open(self.store.folder))
        return gone

    def compact(self) -> int:
        """Write all segments as one, without what was deleted; the number of the commit.

        Streams: memory holds some thousand items, and the unit sequences for the postings.
        """
        with Writer(self.store.folder) as writer:
            segments = writer.store.segments
            if len(segments) > 1 or any(segment.deleted for segment in segments):
                names = [segment.name for segment in segments]
                with writer.replacing(names, per_item=PER_ITEM) as batch:
                    parts = with_progress(parts_of_segments(segments), "compacting")
                    write_parts(batch, parts, self.units.count)
            version = int(writer.commit())
        self._take(Store.open(self.store.folder))
        return version

    def search(
        self,
        queries: Sequences,
        k: int = 10,
        *,
        filter: Filter | None = None,
        candidates: int | None = None,
        budget_ms: float | None = None,
    ) -> Hits:
        """The `k` best items of each query by SeqSim, best first; see `search_ranked`."""
        return self.search_ranked(
            queries, k, filter=filter, candidates=candidates, budget_ms=budget_ms
        ).hits

    def search_ranked(
        self,
        queries: Sequences,
        k: int = 10,
        *,
        filter: Filter | None = None,
        candidates: int | None = None,
        first: int | None = None,
        budget_ms: float | None = None,
        exact: bool = False,
        threads: int | None = None,
    ) -> Ranking:
        """The `k` best items of each query by SeqSim, with ties and how many were scored.

        Deleted and filtered items take no one's place: a query gets `k` hits whenever as many
        items are left.

        Args:
            queries: steps of the same encoder as the index; each with at least one step.
            k: at least 1.
            filter: which items may answer; None for all.
            candidates: items that are scored by SeqSim; default `settings.candidates`, at least
                `k`. Larger finds more and takes longer, about 10 us each.
            first: items whose units are compared before; default `settings.first`.
            budget_ms: for each query. When it is used up no more candidates are scored, beyond the
                `k` that always are; `Ranking.scored` then says less than `candidates`.
            exact: score every item.
            threads: default all cores; queries are shared among them.

        Raises:
            ValueError: D or `made_by` differ, a query has no steps or is not finite, or a number
                is too small.
            UnknownName: the filter asks for what no item has.
            MissingExtra: numba is absent.
        """
        engine = self._search()
        allowed = engine.allowed(filter)
        answers = self._answers(
            engine, queries, k, allowed, (candidates, first, budget_ms), exact, threads
        )
        # Scores of units are no SeqSim, however many of them.
        kept = self.settings.residuals != "none"
        everything = int(np.count_nonzero(allowed)) if kept else None
        return ranking_of(engine.store, queries, k, answers, everything)

    def answers(
        self,
        queries: Sequences,
        k: int,
        *,
        filter: Filter | None = None,
        candidates: int | None = None,
        first: int | None = None,
        budget_ms: float | None = None,
        exact: bool = False,
        threads: int | None = None,
    ) -> list[Answer]:
        """What `search_ranked` found, with the time and the size of every stage."""
        engine = self._search()
        effort = (candidates, first, budget_ms)
        return self._answers(engine, queries, k, engine.allowed(filter), effort, exact, threads)

    def _answers(
        self,
        engine: SequenceSearch,
        queries: Sequences,
        k: int,
        allowed: npt.NDArray[np.bool_],
        effort: tuple[int | None, int | None, float | None],
        exact: bool,
        threads: int | None,
    ) -> list[Answer]:
        """`effort` is candidates, first and budget_ms, each None for the default."""
        candidates, first, budget_ms = effort
        for name, value in (("k", k), ("candidates", candidates), ("first", first)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if budget_ms is not None and not budget_ms > 0:
            raise ValueError(f"budget_ms must be positive, got {budget_ms}")
        self._checked(queries)
        check_sequences(queries, self.dimensions)
        workers = thread_count(threads)
        pool = self._threads(workers) if workers > 1 else None
        if exact:
            everything = int(np.count_nonzero(allowed))
            found = exhaustive(engine, queries, k, allowed, pool)
            return [Answer(rows, scores, scored=everything) for rows, scores in found]
        sizes = (first or self.settings.first, candidates or self.settings.candidates)

        def one(number: int, own: ThreadPoolExecutor | None) -> Answer:
            deadline = None if budget_ms is None else time.perf_counter() + budget_ms / 1e3
            how = Effort(self.settings.soft, *sizes, deadline)
            return engine.answer(queries[number], k, allowed, how, own, workers)

        if pool is None or len(queries) < workers:
            return [one(number, pool) for number in range(len(queries))]
        # A query to each thread: nobody waits for the other half of a stage.
        return list(pool.map(lambda number: one(number, None), range(len(queries))))

    def check_exactness(
        self, queries: Sequences, *, k: int = 10, sample: int = 50, seed: int = 0
    ) -> Measurement:
        """Share of the `k` exact best items that a search finds, mean over sampled queries.

        Exact is SeqSim of the query with every item, over the steps that the index keeps; without
        residuals these are units, and the result says nothing of the original steps. Ask it
        with queries as they will come: those of a variety that the index holds are easier than
        others. Where several items tie for the last place, any will do.

        Returns:
            'recall@k against exact' in [0, 1], 1 in an empty index, with `per_item` (n,) and a
            bootstrap interval.

        Raises:
            ValueError: there is no query, or as `search`.
        """
        asked = queries.select(sampled(len(queries), sample, seed))
        return measured_exactness(self, asked, k=k, seed=seed)

    def figures(self) -> dict[str, int]:
        """Segments, units, and bytes of all files, with and without the residuals of steps."""
        figures = super().figures()
        arrays = (pair for segment in self.store.segments for pair in segment.arrays.items())
        kept = sum(array.nbytes for name, array in arrays if name.startswith("residual_"))
        units = {"units": len(self.units.centroids)}
        return {**units, **figures, "bytes_without_residuals": figures["bytes"] - kept}

    def steps(self, id: str) -> FloatArray:
        """The steps of `id`: (T, D) float32, as they were encoded, up to rounding of residuals."""
        segment, row = self._place(id)
        arrays = self.store.segments[segment].arrays
        return rebuilt_steps(arrays, np.array([row]), self.units.prototypes, with_norms=True)[0]

    def step_count(self, id: str) -> int:
        """T of `id`, without rebuilding its steps."""
        segment, row = self._place(id)
        first, last = self.store.segments[segment].arrays["step_offsets"][row : row + 2].tolist()
        return int(last - first)

    def sequences(self, filter: Filter | None = None) -> Sequences:
        """All sequences that are here, or those that `filter` lets through, in order of storage."""
        ids: list[str] = []
        values = [np.zeros((0, self.dimensions), np.float32)]
        lengths = [np.zeros(1, np.int64)]
        for number, mask in enumerate(self.store.chosen(filter)):
            segment = self.store.segments[number]
            rows = np.flatnonzero(segment.alive if mask is None else mask)
            ids += [segment.id(int(row)) for row in rows]
            steps, offsets = rebuilt_steps(
                segment.arrays, rows, self.units.prototypes, with_norms=True
            )
            values.append(steps)
            lengths.append(np.diff(offsets))
        offsets = np.cumsum(np.concatenate(lengths))
        return Sequences(
            tuple(ids), np.concatenate(values), offsets, self.step_seconds, self.made_by
        )

    def bytes_per_item(self) -> float:
        """Bytes on disk an item, without residuals; files of the whole index are shared out."""
        total = sum(
            path.stat().st_size
            for path in self.store.folder.rglob("*")
            if path.is_file() and not path.name.startswith("residual_")
        )
        return total / max(1, len(self))

    def drift(self) -> tuple[float, float]:
        """How well units fit: mean error over the training steps, and over the items here now.

        The error is the squared distance between a step at length 1 and the prototype of its unit.
        `append` logs a warning where the second is so much larger that building anew would pay.
        """
        errors = [segment.arrays["errors"][segment.alive] for segment in self.store.segments]
        joined = np.concatenate([np.zeros(0, np.float32), *errors])
        return self.units.error, float(joined.mean()) if len(joined) else self.units.error

    def _advise(self, name: str) -> None:
        """Log when the units fit the items of one segment badly."""
        for segment in self.store.segments:
            if segment.name != name:
                continue
            error = float(segment.arrays["errors"].mean())
            # Training steps that were all alike left units nothing to explain.
            room = max(self.units.spread - self.units.error, 1e-6)
            explained = (self.units.spread - error) / room
            if explained < _ADVISE_BELOW and error > self.units.error + 1e-6:
                _LOG.warning(
                    "the units explain %.0f %% of what they explain of the steps they were trained "
                    "on; build the index anew to find the %d new items as well as the others",
                    100 * max(explained, 0.0),
                    segment.count,
                )

    def _search(self) -> SequenceSearch:
        with self._lock:
            if self._engine is None:
                self._engine = SequenceSearch(self.store, self.units)
            return self._engine

    def _threads(self, count: int) -> ThreadPoolExecutor:
        with self._lock:
            # A forked child inherits the pool without its threads and would wait for ever.
            if self._pool is None or self._pool_of != (count, os.getpid()):
                self._pool = ThreadPoolExecutor(count, thread_name_prefix="search")
                self._pool_of = (count, os.getpid())
            return self._pool

    def _checked(self, sequences: Sequences) -> Sequences:
        if sequences.made_by != self.made_by and len(sequences):
            raise ValueError(
                f"sequences were made by '{sequences.made_by}', the index by '{self.made_by}'; "
                "cosines between two encoders mean nothing"
            )
        return sequences

    def _fitting(self, sequences: Sequences) -> Sequences:
        own, other = self.step_seconds, sequences.step_seconds
        known = own is not None and other is not None and len(sequences) > 0
        if known and not math.isclose(own or 0, other or 0, rel_tol=1e-3):
            raise ValueError(
                f"a step of '{sequences.ids[0]}' is {other} seconds, one of the index {own}; "
                "encode with the same encoder and layer"
            )
        return self._checked(sequences)
