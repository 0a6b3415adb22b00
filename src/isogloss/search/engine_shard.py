"""One database of an engine index: its tables, and the few questions that are asked of them.

    about    key -> value: what the index is, its units, how many items have each unit, writes
    item     one row an item: id, filters, bag of units, pooled vector, units, steps, description

Steps stand in the row they belong to, out of line: a search for candidates does not read them, and
one transaction, one backup and one replica hold all there is of an item.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss.errors import IsoglossError
from isogloss.search.engine_place import psycopg_module
from isogloss.search.index_protocol import IndexUnavailable, ItemGroup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy.typing as npt

    from isogloss.search.store_filter import Filter

__all__ = ["Bag", "EngineRow", "EngineShard"]

# pgvector's graph takes at most this many entries that are not zero.
_MOST_ENTRIES = 1000
_MOST_LOOKED_AT = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Bag:
    """Units and their weights, ascending units, no weight zero."""

    units: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]

    def written(self, count: int) -> str:
        """Pgvector's text of a sparse vector with `count` places, the heaviest 1,000 entries."""
        units, weights = self.units, self.weights
        if len(units) > _MOST_ENTRIES:
            heavy = np.sort(np.argsort(-weights, kind="stable")[:_MOST_ENTRIES])
            units, weights = units[heavy], weights[heavy]
        pairs = zip((units + 1).tolist(), weights.tolist(), strict=True)
        return "{" + ",".join(f"{unit}:{weight:.6g}" for unit, weight in pairs) + f"}}/{count}"


@dataclass(frozen=True, slots=True, eq=False)
class EngineRow:
    """What is stored of one item: `units` (T,) '<u2', `steps` as bytes, `body` its description."""

    id: str
    variety: str
    site: str | None
    speaker: str | None
    seconds: float
    bag: Bag
    pooled: npt.NDArray[np.float32]
    units: bytes
    steps: bytes
    body: str


class EngineShard:
    """The rows of one shard: a connection that any thread may ask by, and one more while it writes.

    So nobody reads what another thread has not committed, and a search that fails ends no write.

    Args:
        connect: gives a new connection.
        name: of the index; part of statements, so it must have been checked.
        shown: what messages call this shard.

    Raises:
        IsoglossError: pgvector is not there.
    """

    def __init__(self, connect: Callable[[], Any], name: str, shown: str) -> None:
        self._connect = connect
        # Quoted, for a name may be a word of SQL.
        self._name = f'"{name}"'
        self.shown = shown
        self._psycopg = psycopg_module()
        self._mending = threading.Lock()
        self._one_writer = threading.Lock()
        self._writer: Any = None
        self._has_graph = False
        # Closed with this object, also when nobody called `close`.
        self._held = [self._ready(connect())]
        weakref.finalize(self, _close, self._held)

    def _ready(self, connection: Any) -> Any:
        try:
            try:
                connection.execute("SELECT '[1]'::vector")
            except self._psycopg.errors.UndefinedObject:
                connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
                connection.execute("SELECT '[1]'::vector")
            # Settings of pgvector's, known once it is loaded, which the statement above did.
            connection.execute(f"SET hnsw.ef_search = {_MOST_LOOKED_AT}")
            connection.execute("SET hnsw.iterative_scan = strict_order")
        except self._psycopg.OperationalError as error:
            connection.close()
            raise IndexUnavailable(f"{self.shown}: {_reason(error)}") from error
        except self._psycopg.Error as error:
            connection.close()
            raise IsoglossError(
                f"{self.shown} has no extension 'vector' of version 0.8 or later "
                f"({_reason(error)}); install pgvector on that server"
            ) from error
        return connection

    def close(self) -> None:
        """Give the connection back."""
        _close(self._held)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written inside becomes visible at its end, or nothing does."""
        with self._one_writer, self._apart() as connection, self._told():
            self._writer = connection
            try:
                with connection.transaction():
                    yield
            finally:
                self._writer = None

    @contextlib.contextmanager
    def _apart(self) -> Iterator[Any]:
        """A connection of its own, for what takes long or must not be seen before its end."""
        connection = self._ready(self._connect())
        try:
            yield connection
        finally:
            connection.close()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except self._psycopg.errors.UniqueViolation as error:
            detail = error.diag.message_detail or ""
            raise ValueError(
                f"an item is in the index already ({detail.strip('. ')}); delete it first, or "
                "append with replace=True"
            ) from error
        except self._psycopg.OperationalError as error:
            raise IndexUnavailable(f"{self.shown}: {_reason(error)}") from error
        except self._psycopg.Error as error:
            raise IsoglossError(f"{self.shown}: {_reason(error)}") from error

    def _read(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        """Rows of a question, asked again on a new connection when the old one was lost."""
        with self._told():
            connection = self._held[0]
            try:
                return list(connection.execute(statement, values).fetchall())
            except self._psycopg.OperationalError:
                if not connection.closed:
                    raise
            with self._mending:
                # Another thread may have been here first.
                if self._held[0] is connection:
                    self._held[0] = self._ready(self._connect())
            return list(self._held[0].execute(statement, values).fetchall())

    def exists(self) -> bool:
        """Whether the index is there."""
        found = self._read("SELECT to_regclass(%s) IS NOT NULL", (f"{self._name}.about",))
        return bool(found[0][0])

    def create(self, *, units: int, dimensions: int, about: dict[str, bytes]) -> None:
        """Make the tables; part of the caller's transaction.

        Raises:
            IsoglossError: there is such an index, or another process makes one at this moment.
        """
        run = self._writer.execute
        mine = run("SELECT pg_try_advisory_xact_lock(hashtext(%s))", (f"isogloss {self._name}",))
        if not mine.fetchone()[0]:
            raise IsoglossError(
                f"{self.shown}: another process builds the index {self._name} at this moment; "
                "wait for it, or choose another name (URL#name)"
            )
        found = run("SELECT to_regclass(%s) IS NOT NULL", (f"{self._name}.about",))
        if found.fetchone()[0]:
            raise IsoglossError(
                f"{self.shown} holds an index {self._name} already; append to it, or choose "
                "another name (URL#name)"
            )
        run(f"CREATE SCHEMA IF NOT EXISTS {self._name}")
        run(f"CREATE TABLE {self._name}.about (key text PRIMARY KEY, value bytea NOT NULL)")
        run(
            f'CREATE TABLE {self._name}.item (id text COLLATE "C" PRIMARY KEY, '
            "variety text NOT NULL, site text, speaker text, seconds double precision NOT NULL, "
            f"bag sparsevec({units}) NOT NULL, pooled vector({dimensions}) NOT NULL, "
            "units bytea NOT NULL, steps bytea NOT NULL, body text NOT NULL)"
        )
        # Codes of steps do not compress: to try would only cost time.
        run(f"ALTER TABLE {self._name}.item ALTER COLUMN steps SET STORAGE EXTERNAL")
        for key, value in about.items():
            self.put(key, value)

    def put(self, key: str, value: bytes) -> None:
        """Set one value of `about`; part of the caller's transaction."""
        self._writer.execute(
            f"INSERT INTO {self._name}.about VALUES (%s, %s) "
            "ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value",
            (key, value),
        )

    def get(self, key: str) -> bytes:
        """One value of `about`.

        Raises:
            IsoglossError: it is not there.
        """
        rows = self._read(f"SELECT value FROM {self._name}.about WHERE key = %s", (key,))
        return self._value(key, rows)

    def locked(self, key: str) -> bytes:
        """As `get`; no other writer changes it before the end of the caller's transaction."""
        found = self._writer.execute(
            f"SELECT value FROM {self._name}.about WHERE key = %s FOR UPDATE", (key,)
        )
        return self._value(key, found.fetchall())

    def _value(self, key: str, rows: list[Any]) -> bytes:
        if not rows:
            raise IsoglossError(f"{self.shown}: the index {self._name} has no {key}")
        return bytes(rows[0][0])

    def version(self) -> int:
        """How many transactions wrote to this shard."""
        return int(self.get("version"))

    def insert(self, rows: Iterable[EngineRow], units: int) -> None:
        """Add rows; part of the caller's transaction."""
        copy = (
            f"COPY {self._name}.item "
            "(id, variety, site, speaker, seconds, bag, pooled, units, steps, body) FROM STDIN"
        )
        with self._writer.cursor().copy(copy) as target:
            for row in rows:
                pooled = "[" + ",".join(f"{value:.7g}" for value in row.pooled.tolist()) + "]"
                target.write_row(
                    (
                        row.id,
                        row.variety,
                        row.site,
                        row.speaker,
                        row.seconds,
                        row.bag.written(units),
                        pooled,
                        row.units,
                        row.steps,
                        row.body,
                    )
                )

    def remove(self, ids: Sequence[str]) -> list[bytes]:
        """Delete items and return their units; part of the caller's transaction."""
        found = self._writer.execute(
            f"DELETE FROM {self._name}.item WHERE id = ANY(%s) RETURNING units", (list(ids),)
        )
        return [bytes(units) for (units,) in found.fetchall()]

    def make_graphs(self) -> None:
        """Build the graphs over bags and pooled vectors; minutes for many."""
        with self._apart() as connection, self._told():
            for name, kind in (
                ("bags", "bag sparsevec_ip_ops"),
                ("pools", "pooled vector_cosine_ops"),
            ):
                connection.execute(
                    f"CREATE INDEX IF NOT EXISTS {name} ON {self._name}.item USING hnsw ({kind})"
                )

    def settle(self) -> None:
        """Index what is filtered by, and let the planner count; after many rows were added."""
        with self._apart() as connection, self._told():
            for column in ("variety", "site", "speaker", "seconds"):
                connection.execute(
                    f"CREATE INDEX IF NOT EXISTS by_{column} ON {self._name}.item ({column})"
                )
            connection.execute(f"VACUUM (ANALYZE) {self._name}.item")

    def nearest(
        self, order: str, value: str, count: int, wanted: Filter | None
    ) -> list[tuple[float, str, bytes]]:
        """Distance, id and units of the `count` items nearest to `value`, nearest first.

        Args:
            order: "bag" (minus the dot product) or "pooled" (1 less the cosine).
            value: pgvector's text of a vector of that column.
            count: at most this many.
            wanted: only items that it chooses, or None.
        """
        distance = {"bag": "bag <#> %s::sparsevec", "pooled": "pooled <=> %s::vector"}[order]
        where, values = _conditions(wanted)
        asked = f"SELECT {distance} AS distance, id, units FROM {self._name}.item {where} ORDER BY"
        given = (value, *values, value, count)
        rows: list[Any] = []
        if self._has_graph:
            rows = self._read(f"{asked} {distance} LIMIT %s", given)
        if len(rows) < count:
            # A walk of the graph ends after so many rows, chosen or not: a narrow filter would
            # get few of its items. A sum is nothing that the graph is over, so this compares
            # every chosen row.
            rows = self._read(f"{asked} ({distance}) + 0, id LIMIT %s", given)
        # A vector of zeros is at no distance (NaN) from anything, so it comes last.
        return [
            (float("inf") if far != far else float(far), str(name), bytes(units))
            for far, name, units in rows
        ]

    def steps_of(self, ids: Sequence[str]) -> dict[str, tuple[bytes, bytes]]:
        """Units and steps of those of `ids` that are here."""
        rows = self._read(
            f"SELECT id, units, steps FROM {self._name}.item WHERE id = ANY(%s)", (list(ids),)
        )
        return {str(name): (bytes(units), bytes(steps)) for name, units, steps in rows}

    def bodies_of(self, ids: Sequence[str]) -> dict[str, str]:
        """Descriptions of those of `ids` that are here."""
        rows = self._read(
            f"SELECT id, body FROM {self._name}.item WHERE id = ANY(%s)", (list(ids),)
        )
        return {str(name): str(body) for name, body in rows}

    def known(self, ids: Sequence[str]) -> set[str]:
        """Those of `ids` that are here."""
        rows = self._read(f"SELECT id FROM {self._name}.item WHERE id = ANY(%s)", (list(ids),))
        return {str(name) for (name,) in rows}

    def step_count(self, name: str) -> int | None:
        """Steps of one item, or None."""
        rows = self._read(
            f"SELECT octet_length(units) / 2 FROM {self._name}.item WHERE id = %s", (name,)
        )
        return int(rows[0][0]) if rows else None

    def count(self) -> int:
        """Items in this shard."""
        return int(self._read(f"SELECT count(*) FROM {self._name}.item")[0][0])

    def size_bytes(self) -> int:
        """Of tables and their indexes."""
        rows = self._read(
            "SELECT coalesce(sum(pg_total_relation_size(oid)), 0) FROM pg_class "
            "WHERE relnamespace = to_regnamespace(%s) AND relkind = 'r'",
            (self._name,),
        )
        return int(rows[0][0])

    def groups(self) -> list[ItemGroup]:
        """Items by variety and site."""
        rows = self._read(
            f"SELECT variety, site, count(*), min(id) FROM {self._name}.item GROUP BY 1, 2"
        )
        return [ItemGroup(str(v), s, int(count), str(name)) for v, s, count, name in rows]

    def ids(self, wanted: Filter | None) -> list[str]:
        """Of all chosen items, in order."""
        where, values = _conditions(wanted)
        rows = self._read(f"SELECT id FROM {self._name}.item {where} ORDER BY id", values)
        return [str(name) for (name,) in rows]

    def blocks(self, size: int, wanted: Filter | None) -> Iterator[list[tuple[str, bytes, bytes]]]:
        """(id, units, steps) of all chosen items in the order of ids, `size` at a time."""
        where, values = _conditions(wanted)
        where = where or "WHERE TRUE"
        last: str | None = None
        while True:
            rows = self._read(
                f"SELECT id, units, steps FROM {self._name}.item {where} "
                "AND (%s::text IS NULL OR id > %s) ORDER BY id LIMIT %s",
                (*values, last, last, size),
            )
            if not rows:
                return
            last = str(rows[-1][0])
            yield [(str(name), bytes(units), bytes(steps)) for name, units, steps in rows]

    def missing(self, column: str, names: Sequence[str]) -> list[str]:
        """Those of `names` that no item here has as its variety, site or speaker."""
        rows = self._read(
            f"SELECT name FROM unnest(%s::text[]) AS name WHERE NOT EXISTS "
            f"(SELECT FROM {self._name}.item WHERE {column} = name)",
            (list(names),),
        )
        return [str(name) for (name,) in rows]

    def values(self, column: str) -> list[str]:
        """Values of `variety`, `site` or `speaker`, at most 2,000 of them."""
        rows = self._read(
            f"SELECT DISTINCT {column} FROM {self._name}.item WHERE {column} IS NOT NULL LIMIT 2000"
        )
        return [str(value) for (value,) in rows]

    def look_for_graph(self) -> None:
        """Use the graphs from now on when they are there, whoever made them."""
        found = self._read(
            "SELECT count(*) FROM pg_index WHERE indisvalid AND indexrelid IN "
            "(to_regclass(%s), to_regclass(%s))",
            (f"{self._name}.bags", f"{self._name}.pools"),
        )
        self._has_graph = int(found[0][0]) == 2


def _close(held: list[Any]) -> None:
    for connection in held:
        connection.close()


def _conditions(wanted: Filter | None) -> tuple[str, list[Any]]:
    """A WHERE clause and its values; empty where all is wanted."""
    if not wanted:
        return "", []
    parts: list[str] = []
    values: list[Any] = []
    for column, names in zip(("variety", "site", "speaker"), wanted.names, strict=True):
        if names:
            parts.append(f"{column} = ANY(%s)")
            values.append(list(names))
    for sign, bound in zip((">=", "<"), wanted.span, strict=True):
        if np.isfinite(bound):
            parts.append(f"seconds {sign} %s")
            values.append(bound)
    return "WHERE " + " AND ".join(parts), values


def _reason(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
