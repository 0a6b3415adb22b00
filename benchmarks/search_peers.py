"""Contestants of the search benchmark: each is built in a folder, opened, and asked.

Every step is a process of its own (`python search_peers.py STEP JSON`), so that memory is the
contestant's alone, and prints one line of JSON. LanceDB runs in an environment of its own, where
numpy is there and isogloss is found by PYTHONPATH.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["CONTESTANTS", "DESCRIPTIONS", "LANCEDB", "REASONS"]

LANCEDB = (
    "lancedb==0.40.0",
    "lance-namespace==0.13.0",
    "lance-namespace-urllib3-client==0.13.0",
    "annotated-types==0.8.0",
    "deprecation==2.1.0",
    "overrides==7.7.0",
    "packaging==26.3",
    "pyarrow==26.0.1",
    "pydantic==2.14.3",
    "pydantic_core==2.50.4",
    "python-dateutil==4.0.0",
    "tqdm==4.70.1",
    "typing-inspection==0.4.5",
    "typing_extensions==4.16.0",
    "urllib3==2.8.0",
)
"""LanceDB and all that it imports beside numpy."""

REASONS = {
    "lancedb": (10_000, "scans every step for every query: about 4 s a query at 10,000"),
    "muvera-20480": (10_000, "20,480 float32 an item: 8 GB at 100,000"),
}
"""Contestant to the most items it is asked to hold, and why."""

DESCRIPTIONS = {
    "ours": "units, both directions, exact score of 512 candidates on int8 residuals",
    "ours-units": "the same without residuals",
    "pooled-hnsw": "mean of the steps, centred, faiss HNSW M32 efSearch 256",
    "muvera-2560": "MUVERA, 8 cells x 16 dims x 20, centred, every item scored",
    "muvera-20480": "MUVERA both ways, 32 cells x 16 dims x 20, centred, every item scored",
    "lancedb": "LanceDB multivector, MaxSim in one direction, flat, float32",
}

Ask = Callable[[list[npt.NDArray[Any]]], list[list[int]]]
"""(T, D) steps of some queries in, rows of the best items of each out."""

_WANTED = 100
_PIECE = 4096


def ours(residuals: str) -> tuple[Callable[..., None], Callable[..., Ask]]:
    """`SequenceIndex` with given residuals."""

    def build(collection: Any, count: int, folder: Path) -> None:
        from isogloss.search.index_settings import IndexSettings
        from isogloss.search.sequence_index import SequenceIndex

        settings = IndexSettings(residuals=residuals)  # type: ignore[arg-type]
        SequenceIndex.build(
            folder / "index",
            collection.sequences(count),
            collection.items(count),
            settings=settings,
        )

    def opened(folder: Path) -> Ask:
        from isogloss.search.sequence_index import SequenceIndex
        from isogloss.types import Sequences

        index = SequenceIndex.open(folder / "index")

        def row_of(name: str) -> int:
            # Items are called by their numbers, as structured sequences are, or were renamed so.
            return int(name.rpartition("-")[2])

        def ask(steps: list[npt.NDArray[Any]]) -> list[list[int]]:
            names = [str(number) for number in range(len(steps))]
            queries = Sequences.from_list(names, steps, made_by=index.made_by)
            return [[row_of(name) for name in ids] for ids in index.search(queries, 10).ids]

        return ask

    return build, opened


def pooled() -> tuple[Callable[..., None], Callable[..., Ask]]:
    """Means of steps in a graph."""

    def build(collection: Any, count: int, folder: Path) -> None:
        import faiss

        means = _means(collection.sequences(count))
        centre = means.mean(axis=0)
        graph = faiss.IndexHNSWFlat(means.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
        graph.hnsw.efConstruction = 200
        graph.add(_unit(means - centre))
        faiss.write_index(graph, str(folder / "graph.faiss"))
        np.save(folder / "centre.npy", centre)

    def opened(folder: Path) -> Ask:
        import faiss

        graph: Any = faiss.read_index(str(folder / "graph.faiss"))
        graph.hnsw.efSearch = 256
        centre = np.load(folder / "centre.npy")

        def ask(steps: list[npt.NDArray[Any]]) -> list[list[int]]:
            means = np.stack([own.mean(axis=0) for own in steps])
            found = graph.search(_unit(means - centre).astype(np.float32), _WANTED)[1]
            return [[row for row in rows if row >= 0] for rows in found.tolist()]

        return ask

    return build, opened


def muvera(bits: int, both_ways: bool) -> tuple[Callable[..., None], Callable[..., Ask]]:
    """MUVERA encodings, all of them scored."""

    def build(collection: Any, count: int, folder: Path) -> None:
        from muvera import Muvera

        sequences = collection.sequences(count)
        mean = _mean_step(sequences)
        encoder = Muvera(bits=bits, both_ways=both_ways)
        shape = (count, encoder.dimensions)
        made = np.lib.format.open_memmap(folder / "items.npy", "w+", np.float32, shape)
        for first, piece in _pieces(sequences):
            made[first : first + len(piece)] = encoder.encode(piece, "item", mean)
        made.flush()
        np.save(folder / "mean.npy", mean)

    def opened(folder: Path) -> Ask:
        from isogloss.types import Sequences
        from muvera import Muvera

        made = np.load(folder / "items.npy", mmap_mode="r")
        mean = np.load(folder / "mean.npy")
        encoder = Muvera(bits=bits, both_ways=both_ways)

        def ask(steps: list[npt.NDArray[Any]]) -> list[list[int]]:
            names = [str(number) for number in range(len(steps))]
            queries = encoder.encode(Sequences.from_list(names, steps), "query", mean)
            scores = queries @ made.T
            few = min(_WANTED, scores.shape[1] - 1)
            best = np.argpartition(-scores, few, axis=1)[:, :_WANTED]
            order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1)
            rows: list[list[int]] = np.take_along_axis(best, order, axis=1).tolist()
            return rows

        return ask

    return build, opened


def lancedb() -> tuple[Callable[..., None], Callable[..., Ask]]:
    """LanceDB's multivector column without an index."""

    def build(collection: Any, count: int, folder: Path) -> None:
        import lancedb
        import pyarrow as pa

        sequences = collection.sequences(count)
        width = sequences.values.shape[1]
        schema = pa.schema(
            [("row", pa.int64()), ("vector", pa.list_(pa.list_(pa.float32(), width)))]
        )

        def batches() -> Any:
            for first, piece in _pieces(sequences, 500):
                steps = pa.FixedSizeListArray.from_arrays(
                    pa.array(np.asarray(piece.values).reshape(-1)), width
                )
                vectors = pa.ListArray.from_arrays(pa.array(piece.offsets, pa.int32()), steps)
                rows = pa.array(np.arange(first, first + len(piece)))
                yield pa.RecordBatch.from_arrays([rows, vectors], schema=schema)

        database = lancedb.connect(str(folder / "lance"))
        database.create_table("items", batches(), schema=schema)

    def opened(folder: Path) -> Ask:
        import lancedb

        table = lancedb.connect(str(folder / "lance")).open_table("items")

        def one(steps: npt.NDArray[Any]) -> list[int]:
            asked = table.search(list(steps)).distance_type("cosine").select(["row"])
            return [int(row) for row in asked.limit(_WANTED).to_arrow()["row"].to_pylist()]

        def ask(steps: list[npt.NDArray[Any]]) -> list[list[int]]:
            return [one(own) for own in steps]

        return ask

    return build, opened


CONTESTANTS: dict[str, Callable[[], tuple[Callable[..., None], Callable[..., Ask]]]] = {
    "ours": lambda: ours("int8"),
    "ours-units": lambda: ours("none"),
    "pooled-hnsw": pooled,
    "muvera-2560": lambda: muvera(3, both_ways=False),
    "muvera-20480": lambda: muvera(5, both_ways=True),
    "lancedb": lancedb,
}


def _pieces(sequences: Any, size: int = _PIECE) -> Any:
    """(first row, Sequences in memory) of some thousand items at a time."""
    from isogloss.types import Sequences

    for first in range(0, len(sequences), size):
        last = min(first + size, len(sequences))
        start, stop = sequences.offsets[first], sequences.offsets[last]
        values = np.asarray(sequences.values[start:stop])
        yield (
            first,
            Sequences(
                sequences.ids[first:last], values, sequences.offsets[first : last + 1] - start
            ),
        )


def _means(sequences: Any) -> npt.NDArray[np.float32]:
    parts = [
        np.add.reduceat(piece.values, piece.offsets[:-1], axis=0) / piece.lengths[:, None]
        for _, piece in _pieces(sequences)
    ]
    return np.concatenate(parts).astype(np.float32)


def _mean_step(sequences: Any) -> npt.NDArray[np.float32]:
    total = sum(piece.values.sum(axis=0, dtype=np.float64) for _, piece in _pieces(sequences))
    return np.asarray(total / len(sequences.values), np.float32)


def _unit(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    unit: npt.NDArray[Any] = np.divide(values, norms, out=np.zeros_like(values), where=norms > 0)
    return unit


def build_step(name: str, data: Path, count: int, folder: Path) -> dict[str, Any]:
    """Build, and what it took."""
    from search_data import Collection

    build, _ = CONTESTANTS[name]()
    folder.mkdir(parents=True)
    began, cpu = time.perf_counter(), time.process_time()
    build(Collection(data), count, folder)
    made: dict[str, Any] = {
        "build_seconds": time.perf_counter() - began,
        "build_cpu_seconds": time.process_time() - cpu,
        "build_peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    residuals = sum(path.stat().st_size for path in folder.rglob("residual_*") if path.is_file())
    made["bytes_an_item"] = (size - residuals) / count
    made["bytes_an_item_with_residuals"] = size / count
    return made


def ask_step(
    name: str, data: Path, count: int, folder: Path, most_seconds: float
) -> dict[str, Any]:
    """Open and ask, one query after another and then all together, and what that took."""
    from search_data import Collection

    queries = Collection(data).queries(count)
    _, opened = CONTESTANTS[name]()
    _warm_imports(name)
    before = _resident_mb()
    began = time.perf_counter()
    ask = opened(folder)
    open_ms = 1e3 * (time.perf_counter() - began)
    steps = [np.asarray(queries[number]) for number in range(len(queries))]
    began = time.perf_counter()
    ask(steps[:1])
    first_ms = 1e3 * (time.perf_counter() - began)
    rows, times = [], []
    cpu = time.process_time()
    for own in steps:
        began = time.perf_counter()
        rows += ask([own])
        times.append(1e3 * (time.perf_counter() - began))
        if sum(times) > 1e3 * most_seconds:
            break
    cpu = time.process_time() - cpu
    resident = _resident_mb()
    began = time.perf_counter()
    ask(steps[: len(times)])
    together = time.perf_counter() - began
    return {
        "open_ms": open_ms,
        "first_query_ms": first_ms,
        "queries": len(times),
        "ms_a_query": float(np.mean(times)),
        "ms_a_query_p95": float(np.percentile(times, 95)),
        "cpu_ms_a_query": 1e3 * cpu / len(times),
        "queries_a_second": len(times) / together,
        "resident_mb": resident,
        "resident_before_mb": before,
        "rows": rows,
    }


def _warm_imports(name: str) -> None:
    """Load libraries, whose time and memory are not the index's."""
    if name.startswith("ours"):
        import isogloss.scores.seqsim_kernels
        import isogloss.search.index_kernels
        import isogloss.search.sequence_index  # noqa: F401
    elif name == "lancedb":
        import lancedb  # noqa: F401
    elif name == "pooled-hnsw":
        import faiss  # noqa: F401
    else:
        import muvera  # noqa: F401


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    step, described = sys.argv[1], json.loads(sys.argv[2])
    place = {"data": Path(described.pop("data")), "folder": Path(described.pop("folder"))}
    run: Callable[..., dict[str, Any]] = build_step if step == "build" else ask_step
    print(json.dumps(run(**described, **place)))
