"""The writer: one at a time, all or nothing, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from isogloss.errors import BadRecord, UnknownName
from isogloss.search import store_writer
from isogloss.search.store import IndexLocked, Store, Writer, verify
from isogloss.types import Item
from store_makers import append, compact, contents, delete, item, new_store, payload

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store of a, b and c."""
    new_store(tmp_path / "index", [item("a"), item("b"), item("c")])
    return tmp_path / "index"


def unchanged(folder: Path) -> bool:
    """Whether the store is still that of the fixture, with nothing beside it."""
    store = Store.open(folder)
    return (
        store.version == 2
        and sorted(contents(store)) == ["a", "b", "c"]
        and len(list((folder / "segments").iterdir())) == 1
        and not list(folder.glob(".*"))
        and verify(folder, deep=True) == []
    )


def hold_lock(folder: Path, seconds: float) -> subprocess.Popen[str]:
    """Another process that holds the writer's lock."""
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from isogloss.search.store_lock import exclusive\n"
        "with exclusive(Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        f"    time.sleep({seconds})\n"
    )
    words = [sys.executable, "-c", code, str(folder)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_writer_is_told_who_the_first_is(folder: Path) -> None:
    with hold_lock(folder, 60) as process:
        with pytest.raises(IndexLocked, match=f"process {process.pid} is writing") as caught:
            with Writer(folder):
                pass
        assert caught.value.pid == process.pid
        assert Store.open(folder).count == 3  # readers do not wait
        process.send_signal(signal.SIGKILL)
    with Writer(folder) as writer:  # the lock went with the process
        assert writer.count == 3


def test_a_holder_that_said_nothing_is_another_process(folder: Path) -> None:
    import fcntl

    # Killed writers leave their number behind; `flock` of a shell writes none.
    for left_behind in ("", "999999999\n", "x"):
        (folder / "lock").write_text(left_behind)
        with (folder / "lock").open("r+") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            with pytest.raises(IndexLocked, match="another process is writing"), Writer(folder):
                pass
    with Writer(folder):
        assert (folder / "lock").read_text() == f"{os.getpid()}\n"
    assert (folder / "lock").read_text() == ""


def test_a_second_writer_may_wait(folder: Path) -> None:
    with hold_lock(folder, 0.3):
        with Writer(folder, timeout_seconds=60) as writer:
            writer.delete(["a"])
            writer.commit()
        began = time.monotonic()
    with hold_lock(folder, 60) as process:
        with pytest.raises(IndexLocked), Writer(folder, timeout_seconds=0.2):
            pass
        process.kill()
    assert time.monotonic() - began > 0.2
    with Writer(folder), pytest.raises(IndexLocked, match=str(os.getpid())), Writer(folder):
        pass


def test_several_changes_are_one_commit(folder: Path) -> None:
    with Writer(folder) as writer:
        new = [item("d"), item("e")]
        writer.append(new, payload(new))
        assert writer.delete(["a", "d", "a", "x"]) == 2
        again = [item("a", "once more"), item("e", "other")]
        writer.append(again, payload(again), replace=True)
        assert writer.count == 4
        assert Store.open(folder).count == 3
        assert writer.commit() == 3
        assert writer.commit() == 3  # nothing changed
        assert writer.delete(["b"]) == 1
        assert writer.commit() == 4
    assert contents(Store.open(folder)) == {"c": "says c", "a": "once more", "e": "other"}
    assert verify(folder, deep=True) == []


def test_uncommitted_changes_are_dropped_and_not_in_silence(folder: Path) -> None:
    with pytest.raises(ValueError, match="call commit"), Writer(folder) as writer:
        writer.append([item("d")], payload([item("d")]))
    assert unchanged(folder)
    with Writer(folder) as writer:
        writer.append([item("d")], payload([item("d")]))
        writer.delete(["a"])
        writer.discard()
        assert writer.count == 3
    assert unchanged(folder)
    with pytest.raises(RuntimeError, match="other"), Writer(folder) as writer:
        writer.delete(["a"])
        raise RuntimeError("other")
    assert unchanged(folder)


@pytest.mark.parametrize(
    ("items", "problem"),
    [
        ([item("a")], "id 'a' is in the index; delete it first, or append with replace=True"),
        ([item("d"), item("e"), item("d")], r"id 'd' is there twice \(items 1 and 3"),
        ([Item("", "cmn")], "id: missing"),
        ([item("d"), Item("e", "")], "item:2:variety: missing"),
        ([Item("d", "cmn", audio="relative.wav")], "audio must be an absolute path"),
        ([Item("d", "cmn", start_seconds=float("nan"))], "start_seconds is nan"),
        ([Item("d", "cmn", text="\ud800")], "half a surrogate"),
        ([Item("d", "cmn", split="dev2")], "unknown split"),
        ([Item("d", "cmn", extra={"recorded": "last May"})], "item 'd': extra 'recorded' 'last"),
        ([Item("d", "cmn", extra={"n": 3})], "expected a string"),  # type: ignore[dict-item]
    ],
)
def test_items_that_cannot_be_stored(folder: Path, items: list[Item], problem: str) -> None:
    with Writer(folder) as writer:
        with pytest.raises((ValueError, BadRecord), match=problem):
            writer.append(items, payload(items))
        assert writer.commit() == 2
    assert unchanged(folder)


ONE = np.ones(1, dtype=np.int64)
LETTERS = np.zeros(2, dtype=np.uint32)


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        ({"letters": LETTERS}, "array 'lengths' was not given"),
        ({"letters": LETTERS, "lengths": np.ones(2, np.int64)}, "'lengths': 2 rows for 1 items"),
        ({"letters": LETTERS, "lengths": []}, "'lengths': 0 rows for 1 items"),
        ({"letters": LETTERS, "lengths": ONE, "more": ONE}, "array 'more': the other segments"),
        ({"letters": LETTERS.astype(float), "lengths": ONE}, "a piece of float64"),
        ({"letters": LETTERS[None], "lengths": ONE}, r"rows of shape \(2,\)"),
        ({"letters": [LETTERS, np.array(3)], "lengths": ONE}, "one axis or more"),
        ({"letters": ["text"], "lengths": ONE}, "must be an array of numbers"),
        ({"letters": LETTERS, "lengths": ONE, "": ONE}, "array '': the other segments"),
    ],
)
def test_arrays_that_do_not_fit(folder: Path, arrays: dict[str, np.ndarray], problem: str) -> None:
    with Writer(folder) as writer:
        with pytest.raises(ValueError, match=problem):
            writer.append([item("d")], arrays, per_item=["lengths"])
    assert unchanged(folder)


def test_an_array_without_pieces_has_no_type(tmp_path: Path) -> None:
    new_store(tmp_path / "index")
    with Writer(tmp_path / "index") as writer:
        with pytest.raises(ValueError, match="array 'x': no piece came"):
            writer.append([item("a")], {"x": []})
        with pytest.raises(ValueError, match="too many axes"):
            writer.append([item("a")], {"x": np.zeros((1,) * 40)})
        with pytest.raises(ValueError, match="array name 'X/y'"):
            writer.append([item("a")], {"X/y": ONE})
        with pytest.raises(ValueError, match="arrays with rows, and no items"):
            writer.append([], {"x": ONE})
        assert writer.append([], {}) == 0
        assert writer.append([], {"x": ONE[:0]}) == 0
        assert writer.commit() == 1


def test_strings_where_lists_belong(folder: Path) -> None:
    with Writer(folder) as writer:
        with pytest.raises(ValueError, match="ids is the string 'abc'"):
            writer.delete("abc")
        with pytest.raises(ValueError, match="segment_names is the string"):
            writer.replace("abc", [], {})
        with pytest.raises(ValueError, match="per_item is the string"):
            writer.append([item("d")], payload([item("d")]), per_item="lengths")


def test_a_writer_is_used_in_a_with_block(folder: Path) -> None:
    writer = Writer(folder)
    with pytest.raises(ValueError, match="in a with block"):
        writer.commit()
    with writer:
        writer.delete(["a"])
        writer.commit()
    with pytest.raises(ValueError, match="in a with block"):
        writer.append([item("d")], payload([item("d")]))
    with writer:  # and may be used again
        assert writer.count == 2


def test_compaction_must_keep_everything(folder: Path) -> None:
    append(folder, [item("d")])
    store = delete(folder, ["a"])
    first, second = (segment.name for segment in store.segments)
    with Writer(folder) as writer:
        kept = [item("b"), item("c")]
        with pytest.raises(ValueError, match="1 items given for segments with 2 that are alive"):
            writer.replace([first], kept[:1], payload(kept[:1]))
        with pytest.raises(ValueError, match="id 'a' is not alive in the segments"):
            writer.replace([first], [*kept, item("a")], payload([*kept, item("a")]))
        with pytest.raises(ValueError, match="id 'd' is in the index"):
            writer.replace([first], [item("d")], payload([item("d")]))
        with pytest.raises(UnknownName, match="unknown segment 'x'"):
            writer.replace(["x"], kept, payload(kept))
        writer.replace([first, first], kept, payload(kept))
        assert writer.commit() == 5
    after = Store.open(folder)
    assert [segment.name == second for segment in after.segments] == [True, False]
    assert contents(after) == contents(store)


def test_compaction_counts_uncommitted_deletes(folder: Path) -> None:
    append(folder, [item("d")])
    with Writer(folder) as writer:
        names = [segment.name for segment in writer.store.segments]
        writer.delete(["a", "d"])
        kept = [item("b"), item("c")]
        writer.replace(names, kept, payload(kept))
        writer.commit()
    assert sorted(contents(Store.open(folder))) == ["b", "c"]
    assert verify(folder, deep=True) == []


def test_a_batch_takes_items_and_arrays_by_turns(folder: Path) -> None:
    with Writer(folder) as writer:
        with writer.batch(per_item=["lengths"]) as batch:
            for name in "defg":
                batch.add([item(name)], payload([item(name)]))
                with pytest.raises(ValueError, match="one batch at a time"):
                    writer.append([item("x")], payload([item("x")]))
                with pytest.raises(ValueError, match="a batch is open"):
                    writer.commit()
            assert batch.count == 4
        with pytest.raises(RuntimeError), writer.batch() as batch:
            batch.add([item("z")], payload([item("z")]))
            raise RuntimeError
        writer.commit()
    assert "".join(contents(Store.open(folder))) == "abcdefg"


def test_append_holds_one_piece_at_a_time(tmp_path: Path) -> None:
    new_store(tmp_path / "index")
    made, taken = [], []

    def pieces() -> object:
        for number in range(5):
            made.append(number)
            yield np.full((2, 3), number, dtype=np.int8)

    def items() -> object:
        for number in range(2000):
            taken.append(len(made))
            yield item(f"i{number}")

    with Writer(tmp_path / "index") as writer:
        writer.append(items(), {"x": pieces()})
        writer.commit()
    # The items of the second thousand are asked for when one piece has been taken.
    assert set(taken) == {0, 1}


@pytest.mark.parametrize("after_bytes", [100, 3000, 40_000, 70_000])
def test_a_full_disk_leaves_the_committed_state(folder: Path, after_bytes: int) -> None:
    code = (
        "import resource, sys\n"
        f"sys.path.insert(0, {str(folder.parents[0])!r})\n"
        "from isogloss.search.store import Writer\n"
        "from isogloss.types import Item\n"
        "import numpy as np\n"
        "items = [Item(f'i{n}', 'cmn', text='x' * 50) for n in range(500)]\n"
        "arrays = {'letters': np.zeros(20000, np.uint32), 'lengths': np.ones(500, np.int64)}\n"
        "with Writer(sys.argv[1]) as writer:\n"
        f"    resource.setrlimit(resource.RLIMIT_FSIZE, ({after_bytes}, {after_bytes}))\n"
        "    writer.append(items, arrays)\n"
        "    writer.commit()\n"
    )
    words = [sys.executable, "-c", code, str(folder)]
    result = subprocess.run(words, capture_output=True, text=True)
    assert "OSError: [Errno 27] File too large" in result.stderr
    assert result.returncode == 1
    assert unchanged(folder)


def test_a_commit_that_fails_can_be_tried_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = store_writer.publish

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    def renamed_but_not_flushed(*arguments: object) -> None:
        real(*arguments)  # type: ignore[arg-type]
        raise OSError(5, "Input/output error")

    with Writer(folder) as writer:
        writer.delete(["a"])
        for failing in (full, renamed_but_not_flushed):
            monkeypatch.setattr(store_writer, "publish", failing)
            with pytest.raises(OSError, match=r"No space|Input/output"):
                writer.commit()
            assert verify(folder, deep=True) == []
        monkeypatch.setattr(store_writer, "publish", real)
        writer.commit()
    assert sorted(contents(Store.open(folder))) == ["b", "c"]
    assert verify(folder, deep=True) == []


def test_a_commit_that_failed_late_is_not_undone_by_the_end_of_the_block(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = store_writer.publish

    def renamed_but_not_flushed(*arguments: object) -> None:
        real(*arguments)  # type: ignore[arg-type]
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(store_writer, "publish", renamed_but_not_flushed)
    with pytest.raises(OSError, match="Input/output"), Writer(folder) as writer:
        writer.append([item("d")], payload([item("d")]))
        writer.commit()
    assert sorted(contents(Store.open(folder))) == ["a", "b", "c", "d"]
    assert verify(folder, deep=True) == []


def test_the_next_writer_removes_garbage_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    delete(folder, ["a"])
    segments = folder / "segments"
    name = Store.open(folder).segments[0].name
    (segments / "00000009-0123abcd").mkdir()
    (segments / "00000009-0123abcd" / "x.npy").write_text("half")
    (segments / name / "deletes.00000009-0123abcd.npy").write_text("half")
    (folder / ".commit.json.123.tmp").write_text("half")
    mine = [folder / "README", segments / "notes.txt", segments / name / "mine.txt"]
    (segments / "my folder").mkdir()
    mine.append(segments / "my folder" / "x")
    for path in mine:
        path.write_text("mine")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "kept").write_text("kept")
    (segments / "00000008-0123abcd").symlink_to(tmp_path / "elsewhere")
    with Writer(folder):
        pass
    assert not (segments / "00000009-0123abcd").exists()
    assert not (folder / ".commit.json.123.tmp").exists()
    assert len(list((segments / name).glob("deletes.*"))) == 1
    assert all(path.read_text() == "mine" for path in mine)
    assert (tmp_path / "elsewhere" / "kept").read_text() == "kept"
    assert verify(folder, deep=True) == []


def test_a_read_only_folder_can_be_read(folder: Path) -> None:
    places = [folder, folder / "segments"]
    for place in places:
        place.chmod(0o555)
    (folder / "lock").chmod(0o444)
    try:
        assert Store.open(folder).count == 3
        assert verify(folder, deep=True) == []
        if os.geteuid() != 0:  # root may write everywhere
            with pytest.raises(PermissionError), Writer(folder):
                pass
    finally:
        for place in places:
            place.chmod(0o755)


def test_ids_with_equal_hashes_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from isogloss.search import store_segment

    monkeypatch.setattr(store_segment, "hash_of", lambda item_id: len(item_id))
    folder = tmp_path / "index"
    new_store(folder, [item(name) for name in ("aa", "b", "cc", "d", "ee")])
    store = Store.open(folder)
    assert [store.find(name) for name in ("aa", "cc", "ee", "ff", "b", "ddd")] == [
        (0, 0),
        (0, 2),
        (0, 4),
        None,
        (0, 1),
        None,
    ]
    store = delete(folder, ["cc", "zz"])
    assert "".join(contents(store)) == "aabdee"
    with Writer(folder) as writer:
        twice = [item("xx"), item("yy"), item("xx")]
        with pytest.raises(ValueError, match=r"id 'xx' is there twice \(items 1 and 3"):
            writer.append(twice, payload(twice))
    assert contents(compact(folder)) == contents(store)
