"""What is on the disk before what: a power cut may lose anything that was not flushed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
import pytest

from isogloss.search.store import Store, Writer
from isogloss.search.store_commit import read_commit
from isogloss.search.store_files import ArrayWriter, StoredFile, array_of, mapped, write_array
from store_makers import item, payload


class Disk:
    """What a power cut would leave: files as they were when they were flushed, names likewise."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: dict[int, int] = {}
        self.names: dict[int, set[str]] = {}
        self.renames: list[Path] = []
        self._fsync, self._replace = os.fsync, Path.replace
        monkeypatch.setattr(os, "fsync", self.fsync)
        monkeypatch.setattr(Path, "replace", lambda *paths: self.replace(*paths))

    def fsync(self, handle: int) -> None:
        self._fsync(handle)
        status = os.fstat(handle)
        if stat.S_ISDIR(status.st_mode):
            self.names[status.st_ino] = set(os.listdir(handle))
        else:
            self.sizes[status.st_ino] = status.st_size

    def replace(self, path: Path, target: Path) -> Path:
        assert self.is_flushed(path), "a name must not lead to bytes that are not there"
        result = self._replace(path, target)
        self.renames.append(target)
        for lost in self.not_lasting(target.parent):
            raise AssertionError(f"{lost} would be lost by a power cut after this commit")
        return result

    def is_flushed(self, path: Path) -> bool:
        status = path.stat()
        return self.sizes.get(status.st_ino) == status.st_size

    def has_name(self, path: Path) -> bool:
        return path.name in self.names.get(path.parent.stat().st_ino, set())

    def not_lasting(self, folder: Path) -> list[Path]:
        commit = read_commit(folder)
        shared = [folder / "shared" / f"{name}.npy" for name in commit.shared]
        places = [folder / "segments" / record.name for record in commit.segments]
        files = [
            folder / "segments" / record.name / name
            for record in commit.segments
            for name in record.every_file
        ]
        lost = [path for path in (*shared, *files) if not self.is_flushed(path)]
        return lost + [path for path in (*shared, *files, *places) if not self.has_name(path)]


def test_everything_is_flushed_before_the_commit_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    folder = tmp_path / "index"
    Store.create(folder, kind="t", settings={}, shared={"eye": np.eye(3)})
    assert disk.has_name(folder)
    assert {"shared", "segments", "commit.json"} <= disk.names[folder.stat().st_ino]
    with Writer(folder) as writer:
        for number in range(4):
            items = [item(f"i{number}"), item(f"j{number}")]
            writer.append(items, payload(items))
            writer.delete([f"i{number - 1}"])
            writer.commit()
            # The rename itself lasts too when commit returns: nothing was renamed since.
            assert disk.has_name(folder / "commit.json")
        segments = writer.store.segments
        items = [one for segment in segments for one in segment.items()]
        writer.replace([segment.name for segment in segments], items, payload(items))
        writer.commit()
    assert len(disk.renames) == 6


def test_the_test_above_notices_a_missing_flush(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "index"
    Store.create(folder, kind="t", settings={}, shared={})
    disk = Disk(monkeypatch)
    with Writer(folder) as writer:
        writer.append([item("a")], payload([item("a")]))
        disk.sizes.clear()
        with pytest.raises(AssertionError, match="would be lost"):
            writer.commit()
        writer.discard()


@pytest.mark.parametrize("dtype", ["?", "i1", "<u2", ">i4", "u8", "f2", "f4", ">f8"])
@pytest.mark.parametrize("shape", [(0,), (1,), (5, 0), (3, 2, 4), (70_000,)])
def test_arrays_in_pieces_are_what_numpy_reads(
    tmp_path: Path, dtype: str, shape: tuple[int, ...]
) -> None:
    whole = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    with ArrayWriter(tmp_path / "x.npy") as writer:
        for piece in (whole[:1], whole[1:1], whole[1:]):
            writer.add(piece)
        stored = writer.finish()
    read = np.load(tmp_path / "x.npy")
    np.testing.assert_array_equal(read, whole)
    assert read.dtype == np.dtype(dtype).newbyteorder("<")
    content = mapped(tmp_path / "x.npy", stored)
    np.testing.assert_array_equal(array_of(content, stored), whole)
    assert StoredFile.from_json(stored.to_json()) == stored


def test_files_are_never_written_twice(tmp_path: Path) -> None:
    write_array(tmp_path / "x.npy", np.arange(3))
    with pytest.raises(FileExistsError):
        write_array(tmp_path / "x.npy", np.arange(4))
    assert np.load(tmp_path / "x.npy").tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "record",
    [
        {"size_bytes": 128, "sha256": "", "dtype": "<f4", "shape": [1]},
        {"size_bytes": 128, "sha256": "", "dtype": "O", "shape": [0]},
        {"size_bytes": 128, "sha256": "", "dtype": "<f4", "shape": [-1]},
    ],
)
def test_a_shape_must_fit_the_size(record: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"bytes for an array|no array of type"):
        StoredFile.from_json(record)
