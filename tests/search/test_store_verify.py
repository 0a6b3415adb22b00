"""What verify finds: every file shortened, lengthened, changed or gone, and what does not fit."""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from isogloss.search import store_verify
from isogloss.search.store import Store, verify
from isogloss.types import Item
from store_makers import append, compact, delete, files_of, item, new_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verify") / "index"
    new_store(folder, [item(f"i{n}", speaker=f"s{n % 4}") for n in range(50)])
    append(folder, [item("b", site="x"), item("c")])
    delete(folder, ["i4", "i40"])
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "index")


def test_a_whole_index_has_no_findings(folder: Path) -> None:
    assert verify(folder) == []
    assert verify(folder, deep=True, progress=True) == []


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: content + b"\0",
        flipped,
        lambda content: bytes([content[0] ^ 1]) + content[1:],
        lambda content: content[:-1] + bytes([content[-1] ^ 128]),
        None,
    ],
    ids=["half", "empty", "longer", "middle", "first", "last", "gone"],
)
def test_every_damaged_file_is_named(folder: Path, change: Callable[[bytes], bytes] | None) -> None:
    for path in files_of(folder):
        content = path.read_bytes()
        name = path.relative_to(folder).as_posix()
        if change is None:
            path.unlink()
        else:
            path.write_bytes(change(content))
        if change is None and name == "commit.json":
            with pytest.raises(FileNotFoundError, match="no index here"):
                verify(folder)
        else:
            findings = verify(folder, deep=True)
            assert any(finding.startswith(f"{name}: ") for finding in findings), name
            # And no other file is accused.
            assert {finding.split(": ")[0] for finding in findings} == {name}
        path.write_bytes(content)
    assert verify(folder, deep=True) == []


def test_findings_of_several_files_come_together(folder: Path) -> None:
    items = sorted(folder.rglob("items.jsonl"))
    items[0].write_bytes(b"")
    items[1].unlink()
    (folder / "shared" / "eye.npy").write_bytes(b"x" * 200)
    findings = verify(folder)
    assert len(findings) == 3
    assert findings[0] == "shared/eye.npy: 200 bytes where the commit says 200" or findings[
        0
    ].startswith("shared/eye.npy: its header is not")


def rewrite(folder: Path, segment: int, name: str, change: Callable[[np.ndarray], object]) -> None:
    """Change an array and everything that would give the change away: a wrong writer."""
    commit = folder / "commit.json"
    record = json.loads(commit.read_text())
    part = record["commit"]["segments"][segment]
    name = part["deletes"] if name == "deletes" else name
    path = folder / "segments" / part["name"] / name
    array = np.load(path)
    change(array)
    path.write_bytes(path.read_bytes()[:128] + array.tobytes())
    stored = part["deletes_file"] if name == part["deletes"] else part["files"][name]
    stored["sha256"] = hashlib.sha256(array.tobytes()).hexdigest()
    body = json.dumps(
        record["commit"], ensure_ascii=False, sort_keys=True, separators=(",", ":")
    ).encode()
    commit.write_text(json.dumps(record | {"sha256": hashlib.sha256(body).hexdigest()}))


def put(index: object, value: object) -> Callable[[np.ndarray], object]:
    return lambda array: array.__setitem__(index, value)


@pytest.mark.parametrize(
    ("name", "change", "finding"),
    [
        ("items.offsets.npy", put(0, 1), "does not rise from 0"),
        ("items.offsets.npy", put(3, 10**9), "does not rise from 0"),
        ("ids.hashes.npy", lambda a: a[::-1].sort(), "does not rise"),
        ("ids.rows.npy", put(0, 10**6), "does not name every row once"),
        ("ids.rows.npy", put(slice(0, 2), 7), "does not name every row once"),
        ("items.codes.npy", put((2, 5), 4), "codes of speaker beyond its 4 values"),
        ("items.codes.npy", put((0, 5), -2), "codes of variety beyond its 2 values"),
        ("items.times.npy", put(1, np.nan), "not finite"),
        ("deletes", put(0, 255), "rows are deleted where the commit says 2"),
    ],
)
def test_what_does_not_fit_together_is_found_without_deep(
    folder: Path, name: str, change: Callable[[np.ndarray], object], finding: str
) -> None:
    rewrite(folder, 0, name, change)
    findings = verify(folder)
    assert len(findings) == 1
    assert finding in findings[0]
    assert findings[0].startswith("segments/")


@pytest.mark.parametrize(
    ("name", "change", "finding"),
    [
        ("ids.hashes.npy", put(0, 0), "the hash of id '.*' is not the one stored"),
        ("items.codes.npy", put((2, 5), 3), "row 5: speaker is not that of the tables"),
        ("items.codes.npy", put((1, 0), 0), "codes of site beyond|site is not"),
    ],
)
def test_items_are_compared_with_tables_when_deep(
    folder: Path, name: str, change: Callable[[np.ndarray], object], finding: str
) -> None:
    import re

    rewrite(folder, 0, name, change)
    findings = verify(folder, deep=True)
    assert len(findings) == 1
    assert re.search(finding, findings[0])


def test_an_id_that_is_alive_twice_is_found(folder: Path) -> None:
    append(folder, [item("b", "again")], replace=True)
    store = Store.open(folder)
    record = json.loads((folder / "commit.json").read_text())
    # Bring the old one back to life.
    old = next(part for part in record["commit"]["segments"] if part["count"] == 2)
    old |= {"deletes": None, "deletes_file": None, "deleted": 0}
    body = json.dumps(
        record["commit"], ensure_ascii=False, sort_keys=True, separators=(",", ":")
    ).encode()
    record["sha256"] = hashlib.sha256(body).hexdigest()
    (folder / "commit.json").write_text(json.dumps(record))
    findings = verify(folder)
    assert findings == [
        f"commit.json: id 'b' is alive twice, in {store.segments[1].name} and "
        f"{store.segments[2].name}"
    ]


def test_a_compaction_meanwhile_is_no_damage(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, compactions = store_verify.checksum_of, []

    def after_a_compaction(path: Path, stored: object) -> str:
        if not compactions:
            compactions.append(compact(folder))
        return real(path, stored)  # type: ignore[arg-type]

    monkeypatch.setattr(store_verify, "checksum_of", after_a_compaction)
    assert verify(folder, deep=True) == []
    assert len(compactions) == 1


def test_what_is_no_index_is_no_finding(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        verify(tmp_path)


def test_an_empty_index_and_one_of_one_item(tmp_path: Path) -> None:
    new_store(tmp_path / "empty")
    assert verify(tmp_path / "empty", deep=True) == []
    new_store(tmp_path / "one", [Item("a", "cmn")])
    assert verify(tmp_path / "one", deep=True) == []
