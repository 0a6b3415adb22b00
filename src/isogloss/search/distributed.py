"""Building, mining and batch search in pieces that any worker may do, here or by Ray.

    steps -> shards by content -> sample of each -> units -> rows of each -> one index
    queries -> blocks by content -> hits of each -> one Ranking
    sides -> blocks (`search/mine_blocks.py`) -> pairs

A piece is cut and named by what it holds, its file is whole or absent, and nothing but its content
changes its result. So a job that is killed goes on where it stopped, a worker that is lost costs
its piece alone, and who did what changes no byte of the outcome: an index built by any number of
workers has the arrays of one built by `SequenceIndex.build`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import zipfile
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss._files import atomic_writer
from isogloss.corpora.progress import with_progress
from isogloss.encoders.ray_workers import work_with_ray
from isogloss.encoders.shards import read_folder
from isogloss.errors import IsoglossError
from isogloss.search.encoding import check_sequences, encode_segment
from isogloss.search.index_settings import IndexSettings
from isogloss.search.ranking import Ranking
from isogloss.search.sequence_index import SequenceIndex
from isogloss.search.step_sample import StepSample, sample_steps
from isogloss.search.units import Units, train_units
from isogloss.types import Hits, Sequences

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from isogloss.search.mine_blocks import Block
    from isogloss.search.mine_sides import Side
    from isogloss.search.store import Filter
    from isogloss.types import Item

__all__ = ["Shard", "build_distributed", "mining_work", "search_distributed", "shards_of"]


@dataclass(frozen=True, slots=True)
class Shard:
    """Items `start` to `stop` of a corpus; `name` is the sha256 of what they are."""

    name: str
    start: int
    stop: int


def shards_of(items: Sequence[Item], shard_items: int = 4096) -> list[Shard]:
    """`items` in order, in shards of about `shard_items`, cut where the content says so.

    A shard ends behind an item whose hash (of id, recording, cut and text) is divisible by
    `shard_items`, and after four times as many items at the latest. So an item that is added or
    taken out changes its own shard, and the work on all others stays valid.

    Raises:
        ValueError: `shard_items` is below 1.
    """
    if shard_items < 1:
        raise ValueError(f"shard_items must be at least 1, got {shard_items}")
    shards: list[Shard] = []
    start, whole = 0, hashlib.sha256()
    for number, item in enumerate(items, start=1):
        heard = [item.id, item.audio, item.start_seconds, item.end_seconds, item.text]
        digest = hashlib.sha256(json.dumps(heard).encode()).digest()
        whole.update(digest)
        ends = int.from_bytes(digest[:8], "big") % shard_items == 0
        if ends or number - start >= 4 * shard_items or number == len(items):
            shards.append(Shard(whole.hexdigest(), start, number))
            start, whole = number, hashlib.sha256()
    return shards


def build_distributed(
    folder: Path,
    steps_folder: Path,
    items: Sequence[Item],
    *,
    work_folder: Path,
    settings: IndexSettings | None = None,
    ray_workers: int = 0,
    ray_address: str | None = None,
    shard_items: int = 4096,
) -> SequenceIndex:
    """A new index of encoded steps, its shards done by this process or by Ray workers.

    The arrays of the index and its answers are those of `SequenceIndex.build`, byte for byte,
    whoever does the work. This process holds the sample that units are trained on, and one shard.

    Args:
        folder: of the index; absent or empty.
        steps_folder: what `encode_to_folder` wrote; with workers on several machines, on storage
            that all of them see, like the other folders.
        items: of the sequences there, in their order.
        work_folder: for parts that are done; the same call goes on with them. Removed in the end.
        settings: default `IndexSettings()`.
        ray_workers: 0 works here; more start that many Ray workers.
        ray_address: of a running cluster, such as 'auto'; None starts Ray on this machine.
        shard_items: items in a shard, about.

    Raises:
        ValueError: items and sequences differ, or as `SequenceIndex.build`.
        IsoglossError: the steps are not there or not finished.
        FileExistsError: the folder holds an index or other files.
        MissingExtra: numba is absent, or Ray where workers are asked for.
    """
    settings = settings or IndexSettings()
    sequences = read_folder(steps_folder)
    _refuse_others(sequences, items)
    shards = shards_of(items, shard_items)
    run = functools.partial(_run, workers=ray_workers, address=ray_address)
    # Parts of other settings or another encoder lie in another folder.
    described = json.dumps([asdict(settings), sequences.made_by], sort_keys=True)
    parts = work_folder.resolve() / hashlib.sha256(described.encode()).hexdigest()[:16]
    job = _BuildJob(steps_folder.resolve(), parts, settings)
    run("sampling shards", job, [(shard, "sample") for shard in shards], parts)
    sample = StepSample.merge((_read_sample(parts, shard) for shard in shards), settings)
    units = train_units(sample, settings)
    # Rows rest on the units, and so on all shards.
    of_units = parts / hashlib.sha256(units.prototypes.tobytes()).hexdigest()[:16]
    _write(
        of_units / "units.npz",
        {
            "mean": units.mean,
            "centroids": units.centroids,
            "prototypes": units.prototypes,
            "error": np.array(units.error),
        },
    )
    run(
        "indexing shards",
        _BuildJob(job.steps, of_units, settings),
        [(s, "rows") for s in shards],
        of_units,
    )
    index = SequenceIndex.create(
        folder,
        units,
        settings,
        made_by=sequences.made_by,
        step_seconds=sequences.step_seconds,
    )
    joined = with_progress(shards, "joining shards", total=len(shards))
    index.append_parts(
        (list(items[shard.start : shard.stop]), _read(of_units / _file(shard, "rows")))
        for shard in joined
    )
    shutil.rmtree(work_folder)
    return index


def mining_work(
    sides: Callable[[], tuple[Side, Side]],
    neighbours: int,
    *,
    ray_workers: int,
    ray_address: str | None = None,
) -> Callable[[Side, Side, list[Block], Path], Iterable[Block]]:
    """What `mine(..., work=...)` takes so that Ray workers do its blocks.

    Args:
        sides: gives both sides again, in a worker; it must pickle, so it names files and does not
            hold them. A worker whose sides differ from those being mined stops the job.
        neighbours: of the settings of mining.
        ray_workers: at least 1.
        ray_address: as in `build_distributed`.
    """

    def work(a: Side, b: Side, blocks: list[Block], folder: Path) -> Iterator[Block]:
        job = _MineJob(sides, neighbours, folder.resolve(), (a.described, b.described))
        done = work_with_ray(job, blocks, workers=ray_workers, address=ray_address)
        for number in done:
            yield blocks[number]

    return work


def search_distributed(
    index_folder: Path,
    queries: Sequences,
    k: int = 10,
    *,
    work_folder: Path,
    filter: Filter | None = None,
    candidates: int | None = None,
    exact: bool = False,
    ray_workers: int = 0,
    ray_address: str | None = None,
    block_queries: int = 64,
) -> Ranking:
    """`SequenceIndex.search_ranked` of many queries, in blocks; the same Ranking, to the bit.

    Args:
        index_folder: of the index; every worker maps it.
        queries: all of them; a worker gets its block only.
        k: at least 1.
        work_folder: for blocks that are done; the same call goes on with them. Removed in the end.
        filter: which items may answer.
        candidates: as in `search_ranked`.
        exact: as in `search_ranked`.
        ray_workers: 0 works here; more start that many Ray workers.
        ray_address: as in `build_distributed`.
        block_queries: queries in a block.

    Raises:
        ValueError: as `search_ranked`.
        IsoglossError: somebody wrote to the index in the meantime.
    """
    if block_queries < 1:
        raise ValueError(f"block_queries must be at least 1, got {block_queries}")
    index = SequenceIndex.open(index_folder)
    # Refused here and not by a worker, with a message that Ray would wrap.
    check_sequences(queries, index.dimensions)
    index.search(queries.select([]), k, filter=filter, candidates=candidates)
    options = {"k": k, "filter": filter, "candidates": candidates, "exact": exact}
    job = _SearchJob(
        index_folder.resolve(), work_folder.resolve(), options, index.store.commit.sha256
    )
    blocks = [
        _Queries.of(queries.select(range(start, min(start + block_queries, len(queries)))), job)
        for start in range(0, len(queries), block_queries)
    ]
    _run("searching", job, blocks, job.parts, workers=ray_workers, address=ray_address)
    found = [json.loads(str(_read(job.parts / block.file_name)["found"])) for block in blocks]
    ranking = Ranking(
        Hits(
            queries.ids,
            tuple(tuple(ids) for part in found for ids in part["ids"]),
            tuple(tuple(scores) for part in found for scores in part["scores"]),
        ),
        tuple(tuple(tied) for part in found for tied in part["tied"]),
        all(part["exact"] for part in found),
        tuple(scored for part in found for scored in part["scored"]),
    )
    if work_folder.exists():
        shutil.rmtree(work_folder)
    return ranking


@dataclass(frozen=True, slots=True)
class _BuildJob:
    """One shard's sample of steps, or its arrays; both read the steps from a mapped file."""

    steps: Path
    parts: Path
    settings: IndexSettings

    def __call__(self) -> Callable[[tuple[Shard, str]], None]:
        sequences = read_folder(self.steps)
        units: Units | None = None
        if (self.parts / "units.npz").is_file():
            stored = _read(self.parts / "units.npz")
            units = Units(
                stored["mean"], stored["centroids"], stored["prototypes"], float(stored["error"])
            )

        def do(task: tuple[Shard, str]) -> None:
            shard, what = task
            block = _cut(sequences, shard)
            if what == "sample" or units is None:
                sample = sample_steps(block, self.settings)
                arrays: dict[str, Any] = {
                    "keys": sample.keys,
                    "steps": sample.steps,
                    "seen": np.array(sample.seen),
                }
            else:
                # One thread a worker: its cores are shared with other workers.
                arrays = encode_segment(block, units, self.settings, threads=1)
            _write(self.parts / _file(shard, what), arrays)

        return do


@dataclass(frozen=True)
class _MineJob:
    """One block of mining."""

    sides: Callable[[], tuple[Side, Side]]
    neighbours: int
    folder: Path
    described: tuple[dict[str, Any], dict[str, Any]]

    def __call__(self) -> Callable[[Block], None]:
        from isogloss.search.mine_blocks import mine_block, write_block

        a, b = self.sides()
        if (a.described, b.described) != self.described:
            raise IsoglossError(
                "a worker sees other items than the process that started it; all must see the "
                "same files, and nobody may write to them while they are mined"
            )

        def do(block: Block) -> None:
            write_block(self.folder, block, mine_block(a, b, block, self.neighbours))

        return do


@dataclass(frozen=True, slots=True)
class _Queries:
    """A block of queries, and the file of its answers, named by all that changes them."""

    sequences: Sequences
    file_name: str

    @classmethod
    def of(cls, sequences: Sequences, job: _SearchJob) -> _Queries:
        digest = hashlib.sha256(f"{job.commit}{job.options}".encode())
        digest.update(json.dumps(sequences.ids).encode())
        digest.update(sequences.offsets.tobytes() + sequences.values.tobytes())
        return cls(sequences, f"{digest.hexdigest()}.npz")


@dataclass(frozen=True)
class _SearchJob:
    """One block of queries."""

    index: Path
    parts: Path
    options: dict[str, Any]
    commit: str

    def __call__(self) -> Callable[[_Queries], None]:
        index = SequenceIndex.open(self.index)
        if index.store.commit.sha256 != self.commit:
            raise IsoglossError(
                f"somebody wrote to {self.index} while it was searched; repeat the command"
            )

        def do(block: _Queries) -> None:
            found = index.search_ranked(block.sequences, **self.options, threads=1)
            # JSON keeps every digit of a float.
            text = json.dumps(
                {
                    "ids": found.hits.ids,
                    "scores": found.hits.scores,
                    "tied": found.tied,
                    "exact": found.exact,
                    "scored": found.scored,
                }
            )
            _write(self.parts / block.file_name, {"found": np.array(text)})

        return do


def _run(
    said: str,
    job: Callable[[], Callable[[Any], None]],
    tasks: Sequence[Any],
    parts: Path,
    *,
    workers: int,
    address: str | None,
) -> None:
    """Do the tasks whose files are not there yet."""
    if workers < 0:
        raise ValueError(f"ray_workers must be at least 0, got {workers}")

    def is_done(task: Any) -> bool:
        name = task.file_name if isinstance(task, _Queries) else _file(*task)
        return _is_whole(parts / name)

    missing = [task for task in tasks if not is_done(task)]
    done: Iterable[int]
    if workers and missing:
        done = work_with_ray(job, missing, workers=workers, address=address)
    else:
        done = _here(job, missing)
    for _ in with_progress(done, said, total=len(missing)):
        pass


def _here(job: Callable[[], Callable[[Any], None]], tasks: Sequence[Any]) -> Iterator[int]:
    if tasks:
        do = job()
        for number, task in enumerate(tasks):
            do(task)
            yield number


def _refuse_others(sequences: Sequences, items: Sequence[Item]) -> None:
    for number, name in enumerate(sequences.ids):
        found = items[number].id if number < len(items) else None
        if found != name:
            raise ValueError(
                f"sequence '{name}' stands beside {'no item' if found is None else repr(found)}; "
                "give the items of the steps in their order"
            )
    if len(items) > len(sequences):
        raise ValueError(f"item '{items[len(sequences)].id}' has no sequence")


def _cut(sequences: Sequences, shard: Shard) -> Sequences:
    offsets = sequences.offsets[shard.start : shard.stop + 1]
    return Sequences(
        sequences.ids[shard.start : shard.stop],
        np.asarray(sequences.values[offsets[0] : offsets[-1]]),
        offsets - offsets[0],
        sequences.step_seconds,
        sequences.made_by,
    )


def _file(shard: Shard, what: str) -> str:
    return f"{what}-{shard.name}.npz"


def _read_sample(parts: Path, shard: Shard) -> StepSample:
    stored = _read(parts / _file(shard, "sample"))
    return StepSample(stored["keys"], stored["steps"], int(stored["seen"]))


def _write(path: Path, arrays: dict[str, Any]) -> None:
    with atomic_writer(path) as handle:
        np.savez(handle, **arrays)


def _is_whole(path: Path) -> bool:
    # Written under another name and renamed; what a full disk or a power failure cut has no end.
    return path.is_file() and zipfile.is_zipfile(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as handle:
            # Checksums first: numpy reads a header before its checksum, whatever it says.
            with zipfile.ZipFile(handle) as packed:
                if damaged := packed.testzip():
                    raise ValueError(f"{damaged} has another checksum")
            handle.seek(0)
            with np.load(handle, allow_pickle=False) as file:
                return dict(file)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise IsoglossError(
            f"{path} cannot be read: {error}; remove it and repeat the command"
        ) from error
