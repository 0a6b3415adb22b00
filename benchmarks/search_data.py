"""Collections on disk for the search benchmark: steps, items, queries and the exact answers.

Steps are one raw file of float32 that is mapped, so a collection may be larger than memory; smaller
sizes are its first items. All is kept in a cache folder and made once.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from isogloss.corpora.jsonl import read_corpus, stream_items, write_items
from isogloss.corpora.synth.sequences import (
    StructuredSettings,
    sequence_blocks,
    sequence_queries,
)
from isogloss.encoders.shards import read_folder
from isogloss.types import Item, Sequences

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Collection", "Truth", "exact_answers", "real_collection", "structured_collection"]

_TRUTH_ITEMS_AT_ONCE = 20_000
_MOST = 10


@dataclass(frozen=True, slots=True)
class Collection:
    """A folder with values.f32, offsets.npy, items.jsonl and queries of each size."""

    folder: Path

    @property
    def described(self) -> dict[str, Any]:
        """What the folder holds."""
        found: dict[str, Any] = json.loads((self.folder / "collection.json").read_text("utf-8"))
        return found

    def sequences(self, count: int) -> Sequences:
        """The first `count` items, mapped."""
        offsets = np.load(self.folder / "offsets.npy")[: count + 1]
        shape = (int(offsets[-1]), self.described["dimensions"])
        values = np.memmap(self.folder / "values.f32", np.float32, "r", shape=shape)
        ids = tuple(item.id for item in self.items(count))
        return Sequences(ids, values, offsets, 0.04, self.described["made_by"])

    def items(self, count: int) -> list[Item]:
        """The first `count` items."""
        found = []
        for item in stream_items(self.folder / "items.jsonl"):
            found.append(item)
            if len(found) == count:
                break
        return found

    def queries(self, count: int) -> Sequences:
        """The queries that go with `count` items."""
        path = self.folder / "queries.npz"
        own = self.folder / f"queries-{count}.npz"
        with np.load(own if own.is_file() else path) as file:
            ids = tuple(file["ids"].tolist())
            return Sequences(ids, file["values"], file["offsets"], 0.04, self.described["made_by"])


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """Exact answers: rows (Q, K) of the best items, how long they took, and by which method."""

    rows: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]
    seconds: float
    cpu_seconds: float
    method: str


def structured_collection(
    cache: Path, sizes: list[int], settings: StructuredSettings
) -> Collection:
    """The collection of the largest size, with queries for each; made if it is not there."""
    largest = replace(settings, items=max(sizes))
    name = f"structured-{settings.dimensions}x{settings.steps}-seed{settings.seed}-{max(sizes)}"
    collection = Collection(cache / name)
    collection.folder.mkdir(parents=True, exist_ok=True)
    if not (collection.folder / "collection.json").is_file():
        print(f"making {max(sizes)} sequences in {collection.folder}", file=sys.stderr)
        items: list[Item] = []
        lengths = [np.zeros(1, np.int64)]
        made_by = ""
        with (collection.folder / "values.f32").open("wb") as file:
            for block, own in sequence_blocks(largest):
                file.write(block.values.tobytes())
                lengths.append(block.lengths)
                items += own
                made_by = block.made_by
        _finish(collection, lengths, items, made_by, settings.dimensions)
    for size in sizes:
        path = collection.folder / f"queries-{size}.npz"
        wanted = replace(settings, items=size, queries=min(settings.queries, size))
        if not path.is_file() or len(np.load(path)["ids"]) != wanted.queries:
            _write_queries(path, sequence_queries(wanted)[0])
    return collection


def real_collection(
    cache: Path, encoded: Path, manifest: Path, held_out: str, queries: int, seed: int
) -> tuple[Collection, int]:
    """Utterances of `manifest` as they were encoded, less a variety, from which the queries come.

    Returns the collection and the number of its items. The order is drawn, so that the first items
    are a fair sample.
    """
    sequences = read_folder(encoded)
    known = {item.id: item for item in read_corpus(manifest).items}
    varieties = np.array([known[name].variety for name in sequences.ids])
    asked = np.flatnonzero(varieties == held_out)
    rest = np.flatnonzero(varieties != held_out)
    if not len(asked) or not len(rest):
        found = ", ".join(sorted(set(varieties.tolist())))
        raise SystemExit(f"--hold-out {held_out}: the varieties are {found}; name one of several")
    rng = np.random.default_rng(seed)
    rest = rng.permutation(rest)
    asked = np.sort(rng.permutation(asked)[:queries])
    collection = Collection(cache / f"real-{encoded.resolve().name}-{held_out}-{len(asked)}")
    collection.folder.mkdir(parents=True, exist_ok=True)
    if not (collection.folder / "collection.json").is_file():
        lengths = [np.zeros(1, np.int64)]
        with (collection.folder / "values.f32").open("wb") as file:
            for row in rest.tolist():
                file.write(np.asarray(sequences[row]).tobytes())
                lengths.append(sequences.lengths[row : row + 1])
        # A contestant that answers with ids says by them which row it means.
        items = [
            replace(known[sequences.ids[row]], id=f"item-{place:07d}")
            for place, row in enumerate(rest.tolist())
        ]
        _write_queries(collection.folder / "queries.npz", sequences.select(asked.tolist()))
        _finish(collection, lengths, items, sequences.made_by, sequences.values.shape[1])
    return collection, len(rest)


def _finish(
    collection: Collection,
    lengths: list[npt.NDArray[np.int64]],
    items: list[Item],
    made_by: str,
    dimensions: int,
) -> None:
    np.save(collection.folder / "offsets.npy", np.cumsum(np.concatenate(lengths)))
    write_items(items, collection.folder / "items.jsonl", name="search")
    # Written last: with it the collection is whole.
    described = {"items": len(items), "dimensions": dimensions, "made_by": made_by}
    (collection.folder / "collection.json").write_text(json.dumps(described), "utf-8")


def _write_queries(path: Path, queries: Sequences) -> None:
    np.savez(path, ids=np.array(queries.ids), values=queries.values, offsets=queries.offsets)


def exact_answers(collection: Collection, count: int, method: Literal["float32", "int8"]) -> Truth:
    """The exact best of the first `count` items, scored in pieces that fit into memory; cached."""
    from isogloss.search.exact import nearest

    queries = collection.queries(count)
    path = collection.folder / f"truth-{count}-{len(queries)}-{method}.npz"
    if path.is_file():
        with np.load(path) as file:
            return Truth(
                file["rows"],
                file["scores"],
                float(file["seconds"]),
                float(file["cpu_seconds"]),
                method,
            )
    sequences = collection.sequences(count)
    began, cpu = time.perf_counter(), _cpu_seconds()
    rows, scores = [], []
    for first in range(0, count, _TRUTH_ITEMS_AT_ONCE):
        last = min(first + _TRUTH_ITEMS_AT_ONCE, count)
        print(f"exact answers: {first} to {last} of {count}", file=sys.stderr)
        start, stop = sequences.offsets[first], sequences.offsets[last]
        piece = Sequences(
            # Numbers that sort as text do: equal scores are ordered by id.
            tuple(f"{row:09d}" for row in range(first, last)),
            np.asarray(sequences.values[start:stop]),
            sequences.offsets[first : last + 1] - start,
            sequences.step_seconds,
            sequences.made_by,
        )
        hits = nearest(queries, piece, _MOST, method=method).hits
        rows.append(np.array(hits.ids).astype(np.int64))
        scores.append(np.array(hits.scores, np.float32))
    every, values = np.concatenate(rows, axis=1), np.concatenate(scores, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")[:, :_MOST]
    truth = Truth(
        np.take_along_axis(every, order, axis=1),
        np.take_along_axis(values, order, axis=1),
        time.perf_counter() - began,
        _cpu_seconds() - cpu,
        method,
    )
    np.savez(
        path,
        rows=truth.rows,
        scores=truth.scores,
        seconds=truth.seconds,
        cpu_seconds=truth.cpu_seconds,
    )
    return truth


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system
