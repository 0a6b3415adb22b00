"""An index of sequences in PostgreSQL with pgvector, in a folder or on servers: `EngineIndex`.

    query -> its units -> the engine: items of nearest bags of units -> interaction of units, here
          -> the engine: steps of the few that remain -> SeqSim, here

Same calls and same scores as `SequenceIndex`. What the engine adds: an index on one or more
servers (shards by a hash of the id, replicas by PostgreSQL's own replication), changed and asked
by many clients at a time. `docs/engine.md` says why this engine, and when to take it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from isogloss._config import config_from_mapping
from isogloss.corpora.progress import with_progress
from isogloss.errors import IsoglossError, UnknownName
from isogloss.search.engine_answer import EngineAnswer, exact_answers
from isogloss.search.engine_check import problems_of_rows
from isogloss.search.engine_open import (
    create_tables,
    described,
    opened,
    transactions,
    units_of,
)
from isogloss.search.engine_place import EnginePlace
from isogloss.search.engine_rows import body_to_item, is_storable, steps_from
from isogloss.search.engine_write import check_steps, insert_rows, remove_rows, shard_number
from isogloss.search.exactness import measured_exactness, sampled
from isogloss.search.index_protocol import ItemGroup
from isogloss.search.index_settings import IndexSettings
from isogloss.search.ranking import Ranking
from isogloss.search.step_sample import sample_steps
from isogloss.search.units import Units, train_units
from isogloss.types import Hits, Measurement, Sequences

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Literal

    from isogloss.search.engine_shard import EngineShard
    from isogloss.search.store_filter import Filter
    from isogloss.types import FloatArray, Item

__all__ = ["EngineIndex"]

_IDS_AT_ONCE = 1000
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
        version: transactions of all shards, as of `open`, `refresh` or the last write from here.
    """

    kind = "sequences"

    def __init__(self, place: EnginePlace, shards: Sequence[EngineShard]) -> None:
        self.place = place
        self._shards = tuple(shards)
        about = described(shards)
        self.settings = config_from_mapping(IndexSettings, about["settings"])
        self.made_by: str = about["made_by"]
        self.step_seconds: float | None = about["step_seconds"]
        self.units = units_of(shards[0])
        self.dimensions = int(self.units.prototypes.shape[1])
        self._uid: str = about["uid"]
        self._pool = ThreadPoolExecutor(len(shards), thread_name_prefix="isogloss-shard")
        self.version = 0
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
            FileExistsError: the folder holds other files.
            IsoglossError: there is such an index already, another process builds it at this
                moment, or a server refuses.
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
        where.refuse_other_files()
        shards = opened(where)
        try:
            # Before the rows: a folder with rows but no name could be neither opened nor built.
            where.mark()
            with transactions(shards):
                create_tables(shards, units, settings, first)
                waiting = itertools.chain([first], waiting)
                insert_rows(shards, units, settings, first.made_by, waiting, items, replace=False)
            for shard in shards:
                shard.settle()
            index = cls(where, shards)
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
        return sum(self._asked("count"))

    @property
    def shown(self) -> str:
        """The folder, or the URLs without passwords and the name."""
        return str(self.place)

    @property
    def stamp(self) -> str:
        """The identity of the index and its version."""
        return f"{self._uid}:{self.version}"

    def mark(self) -> object:
        """Another one when somebody wrote since an earlier call."""
        return tuple(self._asked("version"))

    def newest(self) -> Self:
        """This object, after `refresh`: items are always those of now."""
        self.refresh()
        return self

    def refresh(self) -> None:
        """Take over how rare each unit is by now; items of other writers are seen without."""
        self._asked("look_for_graph")
        version = sum(self._asked("version"))
        counts = [np.frombuffer(held, "<i8") for held in self._asked("get", "counts")]
        self._answer = EngineAnswer(self.units, self.settings, np.sum(counts, axis=0), len(self))
        self.version = version

    def make_graphs(self) -> None:
        """Build the engine's approximate graphs; searches are answered meanwhile, writers wait."""
        for shard in self._shards:
            shard.make_graphs()
        self.refresh()

    def append(
        self,
        sequences: Sequences | Iterable[Sequences],
        items: Iterable[Item],
        *,
        replace: bool = False,
    ) -> int:
        """Add items and return the version then; one transaction a shard, one after another.

        When a shard fails while it commits, those before it keep their rows: repeat the call with
        `replace`.

        Raises:
            ValueError: an id is in the index and `replace` is not set, or as `build`.
        """
        pieces = [sequences] if isinstance(sequences, Sequences) else sequences
        with transactions(self._shards):
            insert_rows(
                self._shards,
                self.units,
                self.settings,
                self.made_by,
                pieces,
                items,
                replace=replace,
            )
        self.refresh()
        return self.version

    def delete(self, ids: Iterable[str]) -> int:
        """Take `ids` out; how many were here."""
        wanted = [name for name in ids if is_storable(name)]
        with transactions(self._shards):
            gone = remove_rows(self._shards, self.units, wanted)
        self.refresh()
        return gone

    def compact(self) -> int:
        """Let the tables use the room of deleted rows again; the version, which stays.

        The engine also does so by itself.
        """
        for shard in self._shards:
            shard.settle()
        return self.version

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
        check_steps(queries, self.dimensions, self.made_by)
        self._refuse_unknown(filter)
        if exact:
            return exact_answers(queries, k, self.blocks(filter))
        count = max(k, candidates or self.settings.candidates)
        found = [
            self._answer.to(self._asked, queries[number], k, count, budget_ms, filter, by)
            for number in range(len(queries))
        ]
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
        asked = queries.select(sampled(len(queries), sample, seed))
        return measured_exactness(self, asked, k=k, seed=seed)

    def item(self, id: str) -> Item:
        """The item called `id`.

        Raises:
            ValueError: there is none.
        """
        found = self.items([id])
        if id not in found:
            raise ValueError(f"the index has no item '{id}'")
        return found[id]

    def items(self, ids: Sequence[str]) -> dict[str, Item]:
        """The items of those of `ids` that are here."""
        return {
            name: body_to_item(body)
            for some in self._asked_for("bodies_of", ids)
            for name, body in some.items()
        }

    def known(self, ids: Sequence[str]) -> set[str]:
        """Those of `ids` that are here."""
        return {name for some in self._asked_for("known", ids) for name in some}

    def ids(self, filter: Filter | None = None) -> list[str]:
        """Of all items, or of those that `filter` lets through, in order."""
        self._refuse_unknown(filter)
        return sorted(name for some in self._asked("ids", filter) for name in some)

    def steps(self, id: str) -> FloatArray:
        """Steps (T, D) float32 of `id`, to the precision of the residuals.

        Raises:
            ValueError: there is no such item.
        """
        for rows in self._asked_for("steps_of", [id]):
            if id in rows:
                kept = self.settings.residuals
                return steps_from([rows[id]], self.units.prototypes, kept, with_norms=True)[0]
        raise ValueError(f"the index has no item '{id}'")

    def step_count(self, id: str) -> int:
        """T of `id`, without its steps.

        Raises:
            ValueError: there is no such item.
        """
        found = None
        if is_storable(id):
            found = self._shards[shard_number(id, len(self._shards))].step_count(id)
        if found is None:
            raise ValueError(f"the index has no item '{id}'")
        return found

    def groups(self) -> list[ItemGroup]:
        """All items, counted by variety and site; reads every row's head."""
        joined: dict[tuple[str, str | None], ItemGroup] = {}
        for group in (group for some in self._asked("groups") for group in some):
            key = group.variety, group.site
            known = joined.get(key, group)
            count = group.items if known is group else known.items + group.items
            joined[key] = ItemGroup(*key, count, min(known.example, group.example))
        return list(joined.values())

    def figures(self) -> dict[str, int]:
        """Units, shards, and bytes of their tables and indexes."""
        units = {"units": len(self.units.centroids)}
        return {**units, "shards": len(self._shards), "bytes": sum(self._asked("size_bytes"))}

    def verify(self, *, deep: bool = False) -> list[str]:
        """Sentences on what is wrong with the rows; opening has found that the shards are whole.

        Args:
            deep: read every row. Without, nothing but the shards is checked.
        """
        return list(problems_of_rows(self._shards, self.units, self.settings)) if deep else []

    def blocks(self, filter: Filter | None = None) -> Iterator[Sequences]:
        """All chosen items, some hundred at a time, shard by shard in the order of their ids."""
        for shard in self._shards:
            for rows in shard.blocks(256, filter):
                steps, offsets = steps_from(
                    [row[1:] for row in rows], self.units.prototypes, self.settings.residuals
                )
                yield Sequences(
                    tuple(row[0] for row in rows), steps, offsets, self.step_seconds, self.made_by
                )

    def _asked(self, question: str, *values: Any) -> list[Any]:
        """The answers of all shards to one of `EngineShard`'s questions, asked at the same time."""
        return list(self._pool.map(lambda s: getattr(s, question)(*values), self._shards))

    def _asked_for(self, question: str, ids: Sequence[str]) -> Iterator[Any]:
        """Answers of the shards to which `ids` belong, some ids at a time."""
        mine: list[list[str]] = [[] for _ in self._shards]
        for name in ids:
            if is_storable(name):
                mine[shard_number(name, len(self._shards))].append(name)
        for shard, names in zip(self._shards, mine, strict=True):
            for first in range(0, len(names), _IDS_AT_ONCE):
                yield getattr(shard, question)(names[first : first + _IDS_AT_ONCE])

    def _refuse_unknown(self, wanted: Filter | None) -> None:
        if not wanted:
            return
        for column, names in zip(("variety", "site", "speaker"), wanted.names, strict=True):
            missing = set(names)
            held = sorted(filter(is_storable, missing))
            for some in self._asked("missing", column, held) if held else []:
                # Unknown is what no shard knows.
                missing &= set(some) | (set(names) - set(held))
            if missing:
                known = {value for some in self._asked("values", column) for value in some}
                raise UnknownName(column, min(missing), known)
