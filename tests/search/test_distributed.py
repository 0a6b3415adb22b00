"""Building, mining and search in pieces: the same bytes from one process, two, after a kill."""

from __future__ import annotations

import dataclasses
import functools
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("numba")

import worker_makers
from isogloss.corpora.synth.sequences import (
    StructuredSequences,
    StructuredSettings,
    structured_sequences,
)
from isogloss.encoders.ray_workers import work_with_ray
from isogloss.errors import IsoglossError, MissingExtra
from isogloss.search.distributed import (
    build_distributed,
    mining_work,
    search_distributed,
    shards_of,
)
from isogloss.search.index_settings import IndexSettings
from isogloss.search.mine import MiningSettings, mine
from isogloss.search.sequence_index import SequenceIndex
from isogloss.search.store_filter import Filter
from worker_makers import AlwaysDeadly, Deadly, Refusing, sides_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from isogloss.search.mine import Mined
    from isogloss.types import Item, Sequences

SETTINGS = IndexSettings(units=256, iterations=3, candidates=32)


@pytest.fixture(scope="module")
def data() -> StructuredSequences:
    return structured_sequences(StructuredSettings(items=120, queries=16, dimensions=48, steps=12))


@pytest.fixture(scope="module")
def steps(data: StructuredSequences, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("steps"), data.sequences)


def written(folder: Path, sequences: Sequences) -> Path:
    """What `encode_to_folder` would leave."""
    folder.mkdir(exist_ok=True)
    np.save(folder / "values.npy", sequences.values)
    np.save(folder / "offsets.npy", sequences.offsets)
    described = {
        "ids": sequences.ids,
        "step_seconds": sequences.step_seconds,
        "made_by": sequences.made_by,
    }
    (folder / "sequences.json").write_text(json.dumps(described))
    return folder


@pytest.fixture(scope="module")
def plain(data: StructuredSequences, tmp_path_factory: pytest.TempPathFactory) -> SequenceIndex:
    folder = tmp_path_factory.mktemp("plain") / "index"
    return SequenceIndex.build(folder, data.sequences, data.items, settings=SETTINGS)


def same(one: SequenceIndex, two: SequenceIndex, queries: Sequences) -> None:
    for name, array in one.store.shared.items():
        assert np.array_equal(array, two.store.shared[name]), name
    assert len(one.store.segments) == len(two.store.segments) == 1
    arrays, others = (dict(index.store.segments[0].arrays) for index in (one, two))
    assert arrays.keys() == others.keys()
    for name, array in arrays.items():
        assert array.dtype == others[name].dtype
        assert array.tobytes() == others[name].tobytes(), name
    assert [one.store.item(0, i) for i in range(len(one))] == [
        two.store.item(0, i) for i in range(len(two))
    ]
    assert one.search_ranked(queries, 5) == two.search_ranked(queries, 5)


def test_shards_follow_the_content(data: StructuredSequences) -> None:
    items = list(data.items)
    shards = shards_of(items, 16)
    assert [s.start for s in shards] == [0, *(s.stop for s in shards[:-1])]
    assert shards[-1].stop == 120
    assert all(0 < s.stop - s.start <= 64 for s in shards)
    assert 4 <= len(shards) <= 16
    # One item less: all shards but its own keep their names.
    fewer = {s.name for s in shards_of([*items[:50], *items[51:]], 16)}
    assert len({s.name for s in shards} - fewer) <= 2
    # A cut of the recording, or another text, is another content.
    other = [dataclasses.replace(items[0], start_seconds=1.0), *items[1:]]
    assert shards_of(other, 16)[0].name != shards[0].name
    assert shards_of([], 16) == []
    with pytest.raises(ValueError, match="at least 1"):
        shards_of(items, 0)


def test_one_process_builds_what_build_builds(
    data: StructuredSequences, steps: Path, plain: SequenceIndex, tmp_path: Path
) -> None:
    built = build_distributed(
        tmp_path / "index",
        steps,
        data.items,
        work_folder=tmp_path / "work",
        settings=SETTINGS,
        shard_items=20,
    )
    same(plain, built, data.queries)
    assert not (tmp_path / "work").exists()
    with pytest.raises(ValueError, match="stands beside no item"):
        build_distributed(tmp_path / "b", steps, data.items[:-1], work_folder=tmp_path / "w")
    with pytest.raises(ValueError, match="has no sequence"):
        more = [*data.items, dataclasses.replace(data.items[0], id="more")]
        build_distributed(tmp_path / "b", steps, more, work_folder=tmp_path / "w")


BUILD = """
import sys, time
from pathlib import Path
from isogloss.corpora.jsonl import item_from_dict
import isogloss.search.distributed as d
from isogloss.search.index_settings import IndexSettings
import json
write = d._write
def slow(path, arrays):
    time.sleep(0.05)
    write(path, arrays)
d._write = slow
folder = Path(sys.argv[1])
items = [item_from_dict(json.loads(line)) for line in (folder / "items.jsonl").open()]
d.build_distributed(folder / "index", Path(sys.argv[2]), items, work_folder=folder / "work",
    settings=IndexSettings(units=256, iterations=3, candidates=32), shard_items=8)
"""


def test_a_killed_build_goes_on(
    data: StructuredSequences,
    steps: Path,
    plain: SequenceIndex,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from isogloss.corpora.jsonl import item_to_dict

    lines = [json.dumps(item_to_dict(item)) + "\n" for item in data.items]
    (tmp_path / "items.jsonl").write_text("".join(lines))
    command = [sys.executable, "-c", BUILD, str(tmp_path), str(steps)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    work = tmp_path / "work"
    while len(list(work.rglob("rows-*.npz"))) < 3 and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.wait()
    before = {path.name for path in work.rglob("*.npz")}
    assert len(before) >= 5
    done: list[str] = []
    from isogloss.search import distributed

    write = distributed._write
    monkeypatch.setattr(
        distributed, "_write", lambda path, arrays: (done.append(path.name), write(path, arrays))
    )
    built = build_distributed(
        tmp_path / "index",
        steps,
        data.items,
        work_folder=work,
        settings=SETTINGS,
        shard_items=8,
    )
    same(plain, built, data.queries)
    assert not before & (set(done) - {"units.npz"})


def test_search_in_blocks_is_search(
    data: StructuredSequences, plain: SequenceIndex, tmp_path: Path
) -> None:
    wanted = Filter(varieties=("yue", "hak"))
    right = plain.search_ranked(data.queries, 7, filter=wanted)
    found = search_distributed(
        plain.store.folder,
        data.queries,
        7,
        filter=wanted,
        work_folder=tmp_path / "work",
        block_queries=9,
    )
    assert found == right
    none = data.queries.select([])
    assert search_distributed(plain.store.folder, none, work_folder=tmp_path / "w").scored == ()
    with pytest.raises(ValueError, match="block_queries"):
        search_distributed(plain.store.folder, none, work_folder=tmp_path / "w", block_queries=0)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """One start of Ray for all its jobs, as on a cluster."""
    ray = pytest.importorskip("ray")
    # Workers cannot import what lies beside the tests, so it travels.
    ray.cloudpickle.register_pickle_by_value(worker_makers)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


class Kills:
    """Has one of two workers killed in each job that is given to Ray."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.jobs = 0

    def __call__(self, job: Any, tasks: Any, **options: Any) -> Iterator[int]:
        self.jobs += 1
        died = self._folder / f"died-{self.jobs}"
        yield from work_with_ray(Deadly(job, died), tasks, **options)
        assert died.exists()


@pytest.fixture
def kills(cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kills:
    made = Kills(tmp_path)
    monkeypatch.setattr("isogloss.search.distributed.work_with_ray", made)
    # The folders of these tests are named from here: workers start in a folder of their own.
    monkeypatch.chdir(tmp_path)
    return made


def test_a_build_by_two_workers_one_of_them_killed(
    kills: Kills, data: StructuredSequences, steps: Path, plain: SequenceIndex, tmp_path: Path
) -> None:
    built = build_distributed(
        Path("index"),
        steps,
        data.items,
        work_folder=Path("work"),
        settings=SETTINGS,
        ray_workers=2,
        shard_items=16,
    )
    assert kills.jobs == 2
    same(plain, built, data.queries)


def test_a_search_by_two_workers_one_of_them_killed(
    kills: Kills, data: StructuredSequences, plain: SequenceIndex
) -> None:
    found = search_distributed(
        plain.store.folder,
        data.queries,
        5,
        work_folder=Path("answers"),
        ray_workers=2,
        block_queries=3,
    )
    assert kills.jobs == 1
    assert found == plain.search_ranked(data.queries, 5)


def test_mining_by_two_workers_one_of_them_killed(
    kills: Kills, data: StructuredSequences, steps: Path, tmp_path: Path
) -> None:
    written(tmp_path / "asked", data.queries)
    sides = functools.partial(sides_of, Path("asked"), steps)
    settings = MiningSettings(block_items=8)
    work = mining_work(sides, settings.neighbours, ray_workers=2)
    mined = mine(*sides(), Path("mined"), settings=settings, work=work)
    assert kills.jobs == 1
    same_pairs(mine(*sides(), tmp_path / "here", settings=settings), mined)


def test_errors_of_workers_are_those_of_the_job(cluster: None) -> None:
    with pytest.raises(ValueError, match="nothing to begin with"):
        list(work_with_ray(Refusing(), [0, 1], workers=1, address=None))


def test_a_task_that_ends_every_worker_ends_the_job(
    cluster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isogloss.encoders.ray_workers._MOST_LOST", 0)
    with pytest.raises(IsoglossError, match=r"task 2 of 3 has ended 1 Ray workers"):
        list(work_with_ray(AlwaysDeadly(), [0, 1, 2], workers=1, address=None))


def same_pairs(one: Mined, two: Mined) -> None:
    assert one.signature == two.signature
    assert one.threshold == two.threshold
    assert len(one.pairs) > 0
    for field in dataclasses.fields(one.pairs):
        assert np.array_equal(getattr(one.pairs, field.name), getattr(two.pairs, field.name))


def test_without_ray(
    data: StructuredSequences, steps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"isogloss\[ray\]"):
        build_distributed(
            tmp_path / "index", steps, data.items, work_folder=tmp_path / "work", ray_workers=2
        )


def test_a_damaged_part_is_named(
    data: StructuredSequences, steps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("isogloss.search.distributed.train_units", fail)
    items: list[Item] = list(data.items)
    with pytest.raises(KeyboardInterrupt):
        build_distributed(
            tmp_path / "i", steps, items, work_folder=tmp_path / "work", shard_items=50
        )
    part = next((tmp_path / "work").rglob("sample-*.npz"))
    content = part.read_bytes()
    part.write_bytes(content[:100] + b"\0" * 50 + content[150:])
    with pytest.raises(IsoglossError, match=r"sample-.*cannot be read.*remove it"):
        build_distributed(
            tmp_path / "i", steps, items, work_folder=tmp_path / "work", shard_items=50
        )
