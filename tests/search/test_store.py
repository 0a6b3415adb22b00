"""An index on disk: what is stored comes back, and a snapshot stays what it was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from isogloss.search import store_snapshot
from isogloss.search.store import Store, Writer, verify
from isogloss.types import Item
from store_makers import append, compact, contents, delete, files_of, item, new_store, payload

if TYPE_CHECKING:
    from pathlib import Path


def test_a_new_store_is_empty_and_keeps_settings_and_shared_arrays(tmp_path: Path) -> None:
    centres = np.arange(12, dtype=np.float32).reshape(4, 3)
    Store.create(
        tmp_path / "new" / "index",
        kind="sequences",
        settings={"k": 4, "names": ("甲", "乙"), "deep": {"x": 0.1}},
        shared={"centres": centres, "empty": np.zeros((0, 5), dtype=np.int8)},
    )
    store = Store.open(tmp_path / "new" / "index")
    assert (store.kind, store.version, store.count, store.segments) == ("sequences", 1, 0, ())
    assert dict(store.settings) == {"k": 4, "names": ["甲", "乙"], "deep": {"x": 0.1}}
    np.testing.assert_array_equal(store.shared["centres"], centres)
    assert store.shared["centres"].dtype == np.float32
    assert store.shared["empty"].shape == (0, 5)
    assert store.find("x") is None
    assert verify(store.folder, deep=True) == []


def test_items_come_back_as_they_were(tmp_path: Path) -> None:
    whole = Item(
        "一/二\n三",
        "yue",
        meaning="m1",
        text="t",
        audio="/nowhere/a b.wav",
        start_seconds=0.25,
        end_seconds=1.5,
        transcript="佢去咗",
        translation="他去了",
        phones="k oey",
        speaker="講者",
        site="廣州",
        split="test",
        words=("佢", "去咗"),
        extra={"recorded": "2024-05-01T10:00:00+08:00", "x": "\u2028\0"},
    )
    bare = Item("b", "cmn")
    store = new_store(tmp_path / "index", [whole, bare])
    assert [store.item(0, 0), store.item(0, 1)] == [whole, bare]
    assert list(store.items()) == [whole, bare]
    assert list(store.ids()) == ["一/二\n三", "b"]
    assert store.find("一/二\n三") == (0, 0)
    segment = store.segments[0]
    assert [segment.id(0), segment.id(1)] == ["一/二\n三", "b"]
    assert segment.codes["speaker"].tolist() == [0, -1]
    assert segment.tables["speaker"] == ("講者",)
    assert segment.tables["variety"] == ("yue", "cmn")
    assert segment.times[0] == 1714528800.0  # 2024-05-01 02:00 UTC


@pytest.mark.parametrize("name", ["x" * 100_000, "🀄", '{"id": "a"}', "\\", " ", "../../etc", "\0"])
def test_any_text_is_an_id(tmp_path: Path, name: str) -> None:
    store = new_store(tmp_path / "index", [Item("a", "cmn"), Item(name, "cmn", text="found")])
    assert store.find(name) == (0, 1)
    assert store.segments[0].id(1) == name
    assert verify(tmp_path / "index", deep=True) == []


def test_rows_that_do_not_exist(tmp_path: Path) -> None:
    store = new_store(tmp_path / "index", [item("a")])
    for row in (1, -1):
        with pytest.raises(IndexError, match=f"row {row} of 1"):
            store.item(0, row)
    with pytest.raises(IndexError):
        store.item(1, 0)


def test_arrays_are_mapped_read_only_with_type_and_shape(tmp_path: Path) -> None:
    Store.create(tmp_path / "index", kind="t", settings={}, shared={})
    draw = np.random.default_rng(0)
    big = draw.standard_normal((700, 30, 4)).astype(np.float16)
    arrays = {
        "big": [big[:1], big[1:600], big[600:600], big[600:]],
        "ints": (np.full(n, n, dtype=">u2") for n in range(5)),
        "flags": np.array([True, False]),
        "turned": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    }
    with Writer(tmp_path / "index") as writer:
        assert writer.append([item("a"), item("b")], arrays, per_item=["flags", "turned"]) == 2
        assert writer.commit() == 2
    stored = Store.open(tmp_path / "index").segments[0].arrays
    assert sorted(stored) == ["big", "flags", "ints", "turned"]
    np.testing.assert_array_equal(stored["big"], big)
    np.testing.assert_array_equal(stored["ints"], [1, 2, 2, 3, 3, 3, 4, 4, 4, 4])
    assert stored["ints"].dtype == np.dtype("<u2")
    assert stored["big"].dtype == np.float16
    np.testing.assert_array_equal(stored["turned"], [[0, 1, 2], [3, 4, 5]])
    with pytest.raises(ValueError, match="read-only"):
        stored["big"][0] = 0
    # Any program that reads .npy files can read these.
    path = next((tmp_path / "index").rglob("big.npy"))
    np.testing.assert_array_equal(np.load(path), big)


def test_delete_and_replace(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    new_store(folder, [item("a"), item("b"), item("c")])
    store = delete(folder, ["b", "nobody"])
    assert (store.count, len(store)) == (2, 2)
    assert store.find("b") is None
    assert store.segments[0].alive.tolist() == [True, False, True]
    assert [store.segments[0].is_alive(row) for row in range(3)] == [True, False, True]
    store = append(folder, [item("b", "again"), item("a", "new")], replace=True)
    assert contents(store) == {"c": "says c", "b": "again", "a": "new"}
    assert store.find("a") == (1, 1)
    assert store.find_all(["a", "x", "c"]) == [(1, 1), None, (0, 2)]
    assert store.version == 4


def test_a_segment_whose_items_are_all_deleted_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    new_store(folder, [item("a"), item("b")])
    store = delete(folder, ["a", "b"])
    assert (store.count, store.segments) == (0, ())
    assert list((folder / "segments").iterdir()) == []
    assert contents(append(folder, [item("a", "back")])) == {"a": "back"}


def test_compaction_joins_segments_and_keeps_times(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    new_store(folder, [item("a"), item("b")])
    append(folder, [item("c"), item("d", extra={"recorded": "2020-01-01"})])
    before = delete(folder, ["b"])
    after = compact(folder)
    assert len(after.segments) == 1
    assert after.segments[0].deleted == 0
    assert contents(after) == contents(before)
    for name in "acd":
        number, row = before.find(name) or (-1, -1)
        _, new_row = after.find(name) or (-1, -1)
        assert after.segments[0].times[new_row] == before.segments[number].times[row]
    assert verify(folder, deep=True) == []


def test_a_snapshot_stays_what_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    # Large enough that some files are mapped and some are read.
    many = [item(f"i{n}", "x" * 40) for n in range(2000)]
    old = new_store(folder, many)
    kept = contents(new_store(tmp_path / "other", many))
    append(folder, [item("new")])
    delete(folder, [f"i{n}" for n in range(0, 2000, 2)])
    compact(folder)
    assert not (folder / "segments" / old.segments[0].name).exists()
    assert contents(old) == kept
    assert old.find("i0") == (0, 0)
    assert old.item(0, 1999) == many[1999]
    assert old.find("new") is None
    assert old.count == 2000
    assert Store.open(folder).count == 1001


def test_opening_again_when_a_compaction_removes_what_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "index"
    new_store(folder, [item("a")])
    append(folder, [item("b")])
    real, calls = store_snapshot.read_commit, []

    def and_then_compacted(place: Path) -> object:
        commit = real(place)
        calls.append(commit.version)
        if len(calls) == 1:
            monkeypatch.setattr(store_snapshot, "read_commit", real)
            compact(folder)
            monkeypatch.setattr(store_snapshot, "read_commit", and_then_compacted)
        return commit

    monkeypatch.setattr(store_snapshot, "read_commit", and_then_compacted)
    store = Store.open(folder)
    assert store.version == 4
    assert sorted(contents(store)) == ["a", "b"]


def test_what_is_no_index(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder"):
        Store.open(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match=r"no commit\.json"):
        Store.open(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileNotFoundError, match="not a folder"):
        Store.open(tmp_path / "file")
    (tmp_path / "commit.json").write_text('{"layers": 3}')
    with pytest.raises(ValueError, match="not the commit of an isogloss index"):
        Store.open(tmp_path)
    with pytest.raises(FileNotFoundError), Writer(tmp_path / "absent"):
        pass
    assert not (tmp_path / "absent").exists()


def test_a_newer_format_says_so(tmp_path: Path) -> None:
    new_store(tmp_path / "index")
    path = tmp_path / "index" / "commit.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"isogloss_index": 2}))
    with pytest.raises(ValueError, match="index format 2; this release reads 1"):
        Store.open(tmp_path / "index")


def test_a_commit_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    from isogloss.search.store_commit import read_commit

    new_store(tmp_path / "index", [item("a")])
    path = tmp_path / "index" / "commit.json"
    record = json.loads(path.read_text())
    record["commit"]["segments"][0]["name"] = "../../x"
    body = json.dumps(
        record["commit"], ensure_ascii=False, sort_keys=True, separators=(",", ":")
    ).encode()
    import hashlib

    path.write_text(json.dumps(record | {"sha256": hashlib.sha256(body).hexdigest()}))
    with pytest.raises(ValueError, match="segment name"):
        read_commit(tmp_path / "index")


def test_every_truncated_or_missing_file_is_noticed_at_open(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    new_store(folder, [item(f"i{n}") for n in range(20)])
    delete(folder, ["i3"])
    for path in files_of(folder):
        content = path.read_bytes()
        path.write_bytes(content[:-2])
        with pytest.raises(ValueError, match=path.name):
            Store.open(folder)
        if path.name != "commit.json":
            path.unlink()
            with pytest.raises(ValueError, match=rf"{path.name}.*missing"):
                Store.open(folder)
        path.write_bytes(content)
    assert Store.open(folder).count == 19


def test_create_refuses_what_is_there(tmp_path: Path) -> None:
    new_store(tmp_path / "index")
    with pytest.raises(FileExistsError, match="holds an index already"):
        new_store(tmp_path / "index")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(FileExistsError, match=r"not empty \(thesis\.tex\)"):
        new_store(tmp_path / "mine")
    with pytest.raises(FileExistsError, match="a file is there"):
        new_store(tmp_path / "mine" / "thesis.tex")
    assert os.listdir(tmp_path / "mine") == ["thesis.tex"]  # noqa: PTH208


def test_create_goes_on_where_a_killed_one_stopped(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    new_store(folder)
    (folder / "commit.json").unlink()
    (folder / ".commit.json.1.tmp").write_text("{")
    assert new_store(folder).shared["eye"].shape == (3, 3)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"settings": {"x": float("nan")}}, "settings cannot be written as JSON"),
        ({"settings": {"x": {1, 2}}}, "settings cannot be written as JSON"),
        ({"shared": {"../x": np.zeros(1)}}, "array name '../x'"),
        ({"shared": {"X": np.zeros(1)}}, "array name 'X'"),
        ({"shared": {"x": np.array(["a"])}}, "must be an array of numbers"),
        ({"shared": {"x": np.array(1.0)}}, "with one axis or more"),
    ],
)
def test_create_refuses_what_cannot_be_stored(
    tmp_path: Path, fields: dict[str, object], problem: str
) -> None:
    arguments = {"kind": "t", "settings": {}, "shared": {}, **fields}
    with pytest.raises(ValueError, match=problem):
        Store.create(tmp_path / "index", **arguments)
    assert not (tmp_path / "index" / "commit.json").exists()


def test_many_segments_do_not_use_up_the_file_descriptors(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    new_store(folder)
    with Writer(folder) as writer:
        for number in range(40):
            one = [item(f"i{number}")]
            writer.append(one, payload(one))
        writer.commit()
    code = (
        "import resource, sys\n"
        "from isogloss.search.store import Store\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))\n"
        "sys.exit(Store.open(sys.argv[1]).count)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(folder)]).returncode == 40


def test_a_folder_behind_a_link_and_one_that_was_moved(tmp_path: Path) -> None:
    new_store(tmp_path / "index", [item("a")])
    (tmp_path / "link").symlink_to("index")
    assert contents(append(tmp_path / "link", [item("b")])) == {"a": "says a", "b": "says b"}
    (tmp_path / "index").rename(tmp_path / "moved")
    assert Store.open(tmp_path / "moved").count == 2
    assert verify(tmp_path / "moved", deep=True) == []


def test_threads_may_share_a_store(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from isogloss.search.store import Filter

    store = new_store(tmp_path / "index", [item(f"i{n}" + "x" * (n % 3)) for n in range(300)])
    filters = [Filter(after=float(n)) for n in range(30)]

    def chosen(one: Filter) -> int:
        return sum(mask.sum() if mask is not None else 300 for mask in store.chosen(one))

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(chosen, filters * 10)) == {300}
