"""An index of sequences in PostgreSQL with pgvector, in a folder or on servers: `EngineIndex`.

    query -> its units -> the engine: items of nearest bags of units -> interaction of units, here
          -> the engine: steps of the few that remain -> SeqSim, here

Same calls and same scores as `SequenceIndex`. What the engine adds: an index on one or more
servers (shards by a hash of the id, replicas by PostgreSQL's own replication), changed and asked
by many clients at a time. `docs/engine.md` says why this engine, and when to take it.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from isogloss._config import config_from_mapping
from isogloss.corpora.progress import with_progress
from isogloss.errors import IsoglossError, UnknownName
from isogloss.search.encoding import check_sequences
from isogloss.search.engine_answer import EngineAnswer, exact_answers
from isogloss.search.engine_open import (
    create_tables,
    described,
    opened,
    transactions,
    units_of,
)
from isogloss.search.engine_place import EnginePlace
from isogloss.search.engine_rows import body_to_item, rows_of, steps_from, unit_counts
from isogloss.search.engine_shard import EngineShard
from isogloss.search.index_settings import IndexSettings
from isogloss.search.ranking import Ranking
from isogloss.search.step_sample import blocks_of, sample_steps
from isogloss.search.units import Units, train_units
from isogloss.types import Hits, Measurement, Sequences

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Literal

    from isogloss.search.engine_shard import EngineRow
    from isogloss.search.store_filter import Filter
    from isogloss.types import FloatArray, Item

__all__ = ["EngineIndex"]

_BLOCK_STEPS = 1 << 16
_GRAPHS_FROM = 50_000


class EngineIndex:
    """Sequences in PostgreSQL, found by SeqSim; what others write is seen at once.

    Made by `build` or `open`; `close` it, or use it in a `with` block, when it is embedded and
    the database should stop. Several threads may search at a time.

    Attributes:
        settings: how it was built.
        units: the k-means units.
        made_by: of the encoder whose steps are inside.
        step_seconds: time between two steps, or None.
    """

    def __init__(self, place: EnginePlace, shards: Sequence[EngineShard]) -> None:
        self.place = place
        self._shards = tuple(shards)
        about = described(shards)
        self.settings = config_from_mapping(IndexSettings, about["settings"])
        self.made_by: str = about["made_by"]
        self.step_seconds: float | None = about["step_seconds"]
        self.units = units_of(shards[0])
        self.dimensions = int(self.units.prototypes.shape[1])
        self._pool = ThreadPoolExecutor(len(shards), thread_name_prefix="isogloss-shard")
        self.refresh()

    @classmethod
    def build(
        cls,
        place: str | Path,
        sequences: Sequences | Iterable[Sequences],
        items: Iterable[Item],
        *,
        settings: IndexSettings | None = None,
        units: Units | None = None,
        graphs: bool | None = None,
    ) -> Self:
        """A new index of `sequences`, written in one transaction a shard.

        Args:
            place: a folder that is absent or empty, or a URL (see `engine_place`).
            sequences: whole, or in pieces; pieces are gone through twice unless `units` is given.
            items: of the sequences, in their order, with the same ids.
            settings: default `IndexSettings()`; `first` is cut to 1,000, more than which the
                engine's graph cannot give.
            units: ready ones, such as those of a `SequenceIndex`; None trains them.
            graphs: whether to build the approximate graphs over bags and pooled vectors; None does
                so from 50,000 items on. Without, every bag is compared.

        Raises:
            ValueError: nothing to build from, ids of sequences and items differ, an item without
                steps, or a step that is not finite.
            IsoglossError: there is such an index already, or a server refuses.
            MissingExtra: psycopg, the embedded server or numba is not installed.
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
        where = EnginePlace.of(place)
        shards = opened(where)
        try:
            with transactions(shards):
                create_tables(shards, where, units, settings, first)
                index = cls(where, shards)
                index._insert(itertools.chain([first], waiting), items, replace=False)
            index.compact()
            where.mark()
            index.refresh()
            if graphs or (graphs is None and len(index) >= _GRAPHS_FROM):
                index.make_graphs()
        except BaseException:
            for shard in shards:
                shard.close()
            raise
        return index

    @classmethod
    def open(cls, place: str | Path) -> Self:
        """The index at `place`, a folder or URL.

        Raises:
            IsoglossError: there is none, it is of another format, or a server cannot be reached.
            MissingExtra: psycopg or the embedded server is not installed.
        """
        where = EnginePlace.of(place)
        if where.folder is not None and not (where.folder / "engine.json").is_file():
            raise IsoglossError(f"{where.folder} holds no engine index")
        shards = opened(where)
        try:
            for shard in shards:
                if not shard.exists():
                    raise IsoglossError(
                        f"{shard.shown} holds no index '{where.name}'; build one, or name another "
                        "(URL#name)"
                    )
            return cls(where, shards)
        except BaseException:
            for shard in shards:
                shard.close()
            raise

    def close(self) -> None:
        """Give all connections back."""
        self._pool.shutdown()
        for shard in self._shards:
            shard.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return sum(self._pool.map(EngineShard.count, self._shards))

    def refresh(self) -> None:
        """Take over how rare each unit is by now; items of other writers are seen without."""
        counts = [np.frombuffer(shard.get("counts"), "<i8") for shard in self._shards]
        self._answer = EngineAnswer(self.units, self.settings, np.sum(counts, axis=0), len(self))

    def make_graphs(self) -> None:
        """Build the engine's approximate graphs; searches are answered meanwhile, writers wait."""
        for shard in self._shards:
            shard.make_graphs()

    def append(
        self,
        sequences: Sequences | Iterable[Sequences],
        items: Iterable[Item],
        *,
        replace: bool = False,
    ) -> int:
        """Add items and return how many; in one transaction a shard, committed one after another.

        When a shard fails while it commits, those before it keep their rows: repeat the call with
        `replace`.

        Raises:
            ValueError: an id is in the index and `replace` is not set, or as `build`.
        """
        pieces = [sequences] if isinstance(sequences, Sequences) else sequences
        with transactions(self._shards):
            added = self._insert(pieces, items, replace)
        self.refresh()
        return added

    def delete(self, ids: Iterable[str]) -> int:
        """Take `ids` out; how many were here."""
        wanted = list(ids)
        with transactions(self._shards):
            gone = sum(
                self._change(shard, [name for name in wanted if self._shard_of(name) == number])
                for number, shard in enumerate(self._shards)
            )
        self.refresh()
        return gone

    def compact(self) -> int:
        """Give the room of deleted rows back to the tables; 0, for there are no versions here.

        The engine also does so by itself.
        """
        for shard in self._shards:
            shard.settle()
        return 0

    @property
    def store(self) -> Any:
        """Nothing: it tells who asks for the files of a folder index that there are none.

        Raises:
            IsoglossError: always.
        """
        raise IsoglossError(
            f"{self.place.shown(0)} is an index in PostgreSQL; this works on an index in a folder "
            "only (search query, delete and compact work on both)"
        )

    def search(
        self,
        queries: Sequences,
        k: int = 10,
        *,
        filter: Filter | None = None,
        candidates: int | None = None,
        budget_ms: float | None = None,
    ) -> Hits:
        """The `k` nearest items of each query by SeqSim, best first; see `search_ranked`."""
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
        budget_ms: float | None = None,
        exact: bool = False,
        by: Literal["units", "pooled"] = "units",
    ) -> Ranking:
        """The `k` nearest items of each query by SeqSim, with ties.

        Args:
            queries: (sum T, D) steps of the same encoder.
            k: at least 1; fewer hits come back where fewer items are chosen.
            filter: which items may answer; None for all.
            candidates: items scored exactly, at least `k`; default `settings.candidates`.
            budget_ms: for one query; scoring stops when it is over, the likeliest items come
                first. The first 16 are always scored.
            exact: read and score every item; slow, for checks.
            by: what the engine compares: bags of units, or pooled vectors (which lose much, see
                docs/engine.md).

        Raises:
            ValueError: D or `made_by` differ, a query has no steps or is not finite, or a number
                is too small.
            UnknownName: no item has a variety, site or speaker that the filter names.
            IsoglossError: a shard does not answer; an answer from some shards is never given.
        """
        if k < 1 or (candidates is not None and candidates < 1):
            raise ValueError(f"k and candidates must be at least 1, got {k} and {candidates}")
        if budget_ms is not None and not budget_ms > 0:
            raise ValueError(f"budget_ms must be positive, got {budget_ms}")
        if by not in ("units", "pooled"):
            raise ValueError(f"by must be 'units' or 'pooled', got {by!r}")
        self._check(queries)
        if exact:
            return exact_answers(queries, k, self.blocks(filter))
        count = max(k, candidates or self.settings.candidates)
        found = [
            self._answer.to(self._asked, queries[number], k, count, budget_ms, filter, by)
            for number in range(len(queries))
        ]
        if filter and any(not answer.ids for answer in found):
            self._refuse_unknown(filter)
        return Ranking(
            Hits(
                queries.ids,
                tuple(answer.ids for answer in found),
                tuple(answer.scores for answer in found),
            ),
            tuple(answer.tied for answer in found),
            False,
            tuple(answer.scored for answer in found),
        )

    def check_exactness(
        self, queries: Sequences, *, k: int = 10, sample: int = 50, seed: int = 0
    ) -> Measurement:
        """Share of the `k` exact nearest items that a search finds, mean over sampled queries.

        Reads every item once. Where several items tie for the last place, any will do.

        Raises:
            ValueError: there is no query, or as `search_ranked`.
        """
        from isogloss.measures.bootstrap import bootstrap_interval

        if not len(queries) or sample < 1:
            raise ValueError("there is no query to check with")
        drawn = np.sort(np.random.default_rng(seed).permutation(len(queries))[:sample])
        asked = queries.select(drawn.tolist())
        right = self.search_ranked(asked, k, exact=True).hits
        found = self.search_ranked(asked, k).hits
        shares = [
            sum(score >= best[-1] for score in scores) / len(best) if best else 1.0
            for best, scores in zip(right.scores, found.scores, strict=True)
        ]
        per_item = np.array(shares, np.float32)
        low, high = bootstrap_interval(per_item, seed=seed) or (None, None)
        signature = {"k": k, "sample": len(asked), "seed": seed, "items": len(self)}
        return Measurement(
            f"recall@{k} against exact",
            float(per_item.mean()),
            low,
            high,
            len(asked),
            signature={**signature, "made_by": self.made_by, "settings": asdict(self.settings)},
            per_item=per_item,
            item_keys=asked.ids,
        )

    def item(self, id: str) -> Item:
        """The item called `id`.

        Raises:
            ValueError: there is none.
        """
        body = self._shards[self._shard_of(id)].body_of(id)
        if body is None:
            raise ValueError(f"the index has no item '{id}'")
        return body_to_item(body)

    def steps(self, id: str) -> FloatArray:
        """Steps (T, D) float32 of `id`, to the precision of the residuals.

        Raises:
            ValueError: there is no such item.
        """
        rows = self._shards[self._shard_of(id)].steps_of([id])
        if id not in rows:
            raise ValueError(f"the index has no item '{id}'")
        return steps_from([rows[id]], self.units.prototypes, with_norms=True)[0]

    def blocks(self, filter: Filter | None = None) -> Iterator[Sequences]:
        """All chosen items, some hundred at a time, shard by shard in the order of their ids."""
        for shard in self._shards:
            for rows in shard.blocks(256, filter):
                steps, offsets = steps_from([row[1:] for row in rows], self.units.prototypes)
                yield Sequences(
                    tuple(row[0] for row in rows), steps, offsets, self.step_seconds, self.made_by
                )

    def _asked(self, question: str, *values: Any) -> list[Any]:
        """The answers of all shards to one of `EngineShard`'s questions, asked at the same time."""
        return list(self._pool.map(lambda s: getattr(s, question)(*values), self._shards))

    def _shard_of(self, name: str) -> int:
        digest = hashlib.sha256(name.encode()).digest()
        return int.from_bytes(digest[:8], "big") % len(self._shards)

    def _check(self, sequences: Sequences) -> None:
        check_sequences(sequences, self.dimensions)
        if sequences.made_by != self.made_by and len(sequences):
            raise ValueError(
                f"steps were made by '{sequences.made_by}', the index by '{self.made_by}'; "
                "cosines between two encoders mean nothing"
            )

    def _insert(self, pieces: Iterable[Sequences], items: Iterable[Item], replace: bool) -> int:
        """Write rows in the caller's transactions; counts of units are locked until their end."""
        counts = [np.frombuffer(s.get("counts", lock=True), "<i8").copy() for s in self._shards]
        described = iter(items)
        blocks = (block for piece in pieces for block in blocks_of(piece, _BLOCK_STEPS))
        added = 0
        for block in with_progress(blocks, "storing"):
            self._check(block)
            mine: list[list[EngineRow]] = [[] for _ in self._shards]
            for row in rows_of(block, described, self.units, self.settings):
                mine[self._shard_of(row.id)].append(row)
            for number, (shard, rows) in enumerate(zip(self._shards, mine, strict=True)):
                if replace:
                    gone = shard.remove([row.id for row in rows])
                    counts[number] -= unit_counts(gone, self.units.count)
                shard.insert(rows, self.units.count)
                counts[number] += unit_counts((row.units for row in rows), self.units.count)
                added += len(rows)
        surplus = next(described, None)
        if surplus is not None:
            raise ValueError(f"item '{surplus.id}' and those behind it have no sequence")
        for shard, held in zip(self._shards, counts, strict=True):
            shard.put("counts", held.astype("<i8").tobytes())
        return added

    def _change(self, shard: EngineShard, ids: list[str]) -> int:
        if not ids:
            return 0
        counts = np.frombuffer(shard.get("counts", lock=True), "<i8").copy()
        gone = shard.remove(ids)
        counts -= unit_counts(gone, self.units.count)
        shard.put("counts", counts.astype("<i8").tobytes())
        return len(gone)

    def _refuse_unknown(self, wanted: Filter) -> None:
        for column, names in zip(("variety", "site", "speaker"), wanted.names, strict=True):
            if names:
                known = {value for some in self._asked("known", column) for value in some}
                for name in names:
                    if name not in known:
                        raise UnknownName(column, name, known)
