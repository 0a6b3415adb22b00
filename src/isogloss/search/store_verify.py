"""What is wrong with an index on disk, file by file."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss.corpora.progress import progress_bar
from isogloss.errors import BadRecord
from isogloss.search.store_commit import COMMIT_FILE, Commit, read_commit
from isogloss.search.store_files import HEADER_BYTES, StoredFile, checksum_of, header_of
from isogloss.search.store_segment import (
    CODES_FILE,
    FIELDS,
    HASHES_FILE,
    ITEMS_FILE,
    OFFSETS_FILE,
    ROWS_FILE,
    TABLES_FILE,
    TIMES_FILE,
    Segment,
    hash_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from isogloss.search.store_commit import SegmentRecord

__all__ = ["verify"]

_MOST_RESTARTS = 100
_MOST_PROBLEMS_OF_ONE_FILE = 5


class _Gone(Exception):
    """A file that the commit names is not there: damage, or a compaction since."""


def verify(folder: str | Path, *, deep: bool = False, progress: bool = False) -> list[str]:
    """What is wrong with an index, one sentence a finding, each beginning with the file's name.

    Without `deep`: the commit and its checksum, presence, size and header of every file, and that
    offsets, codes, times, hashes and deletes fit each other. It reads about 50 bytes an item.
    With `deep`: the checksum of every byte too, and that every item can be read and is the one
    that the tables say. Writers may be at work: the state that is checked is the last one.

    Args:
        folder: of an index.
        deep: read everything.
        progress: show a bar on stderr when it takes long.

    Returns:
        Findings; none when all is well. Files that no commit names are no findings.

    Raises:
        FileNotFoundError: no folder, or no index in it.
        OSError: a file cannot be read.
    """
    folder = Path(folder).resolve()
    for _ in range(_MOST_RESTARTS):
        try:
            commit = read_commit(folder)
        except ValueError as error:
            return [str(error).removeprefix(f"{folder}/")]
        files = dict(_files_of(commit))
        total = sum(stored.size_bytes for stored in files.values()) if deep else len(files)
        bar = progress_bar("verify", total) if progress else nullcontext(lambda _: None)
        with bar as advance:
            try:
                return _findings(folder, commit, files, deep, advance)
            except _Gone:
                if read_commit(folder).sha256 == commit.sha256:
                    raise ValueError(
                        f"{folder}: a file that the commit names was removed while it was read"
                    ) from None
    raise ValueError(f"{folder}: replaced {_MOST_RESTARTS} times while it was read; try again")


def _files_of(commit: Commit) -> Iterator[tuple[str, StoredFile]]:
    for name, stored in commit.shared.items():
        yield f"shared/{name}.npy", stored
    for record in commit.segments:
        for name, stored in record.every_file.items():
            yield f"segments/{record.name}/{name}", stored


def _findings(
    folder: Path,
    commit: Commit,
    files: dict[str, StoredFile],
    deep: bool,
    advance: Callable[[float], None],
) -> list[str]:
    found = []
    broken = set()
    for name, stored in files.items():
        try:
            problem = _problem_of_file(folder / name, stored, deep)
        except FileNotFoundError:
            if read_commit(folder).sha256 != commit.sha256:
                raise _Gone from None
            problem = "missing"
        advance(stored.size_bytes if deep else 1)
        if problem:
            found.append(f"{name}: {problem}")
            broken.add(name.rpartition("/")[0])
    sound = []
    for record in commit.segments:
        place = f"segments/{record.name}"
        # What hangs together in files that are damaged says nothing more.
        if place in broken:
            continue
        missing = {ITEMS_FILE, TABLES_FILE, *_shapes(record)} - set(record.files)
        if missing:
            found += [f"{place}/{name}: the commit does not name it" for name in sorted(missing)]
            continue
        problems = [f"{place}/{problem}" for problem in _shape_problems(record)]
        if not problems:
            try:
                segment = Segment(folder, record)
            except FileNotFoundError:
                raise _Gone from None
            problems = [f"{place}/{problem}" for problem in _problems_of(segment, deep)]
            if not problems:
                sound.append(segment)
        found += problems
    found += [f"{COMMIT_FILE}: {problem}" for problem in _ids_alive_twice(sound)]
    return found


def _problem_of_file(path: Path, stored: StoredFile, deep: bool) -> str | None:
    size = path.stat().st_size
    if size != stored.size_bytes:
        return f"{size} bytes where the commit says {stored.size_bytes}"
    if stored.dtype is not None and stored.shape is not None:
        with path.open("rb") as handle:
            if handle.read(HEADER_BYTES) != header_of(np.dtype(stored.dtype), stored.shape):
                return f"its header is not that of {stored.shape} {stored.dtype}"
    if deep and checksum_of(path, stored) != stored.sha256:
        return "its checksum differs from the commit's: the content was changed"
    return None


def _shapes(record: SegmentRecord) -> dict[str, tuple[tuple[int, ...], str]]:
    count = record.count
    return {
        OFFSETS_FILE: ((count + 1,), "<i8"),
        CODES_FILE: ((len(FIELDS), count), "<i4"),
        TIMES_FILE: ((count,), "<f8"),
        HASHES_FILE: ((count,), "<u8"),
        ROWS_FILE: ((count,), "<i4"),
    }


def _shape_problems(record: SegmentRecord) -> list[str]:
    expected = _shapes(record)
    if record.deletes is not None:
        expected[record.deletes] = (((record.count + 7) // 8,), "|u1")
    return [
        f"{name}: {stored.shape} {stored.dtype} where {record.count} rows need {shape} {dtype}"
        for name, (shape, dtype) in expected.items()
        if (stored := record.every_file[name]) and (stored.shape, stored.dtype) != (shape, dtype)
    ]


def _problems_of(segment: Segment, deep: bool) -> list[str]:
    """Whether the files of one segment fit each other; each has the right size and shape."""
    found = []
    offsets, size = segment.offsets, segment.record.files[ITEMS_FILE].size_bytes
    if offsets[0] != 0 or offsets[-1] != size or np.any(np.diff(offsets) <= 0):
        found.append(f"{OFFSETS_FILE}: does not rise from 0 to the {size} bytes of the items")
    if np.any(segment.id_hashes[1:] < segment.id_hashes[:-1]):
        found.append(f"{HASHES_FILE}: does not rise")
    rows = np.sort(segment.id_rows)
    if not np.array_equal(rows, np.arange(segment.count, dtype=rows.dtype)):
        found.append(f"{ROWS_FILE}: does not name every row once")
    if not np.all(np.isfinite(segment.times)):
        found.append(f"{TIMES_FILE}: holds times that are not finite")
    dead = int(np.count_nonzero(~segment.alive))
    if dead != segment.deleted:
        found.append(
            f"{segment.record.deletes or 'deletes'}: {dead} rows are deleted where the commit says "
            f"{segment.deleted}"
        )
    try:
        tables = segment.tables
    except (ValueError, KeyError, TypeError) as error:
        return [*found, f"{TABLES_FILE}: cannot be read ({error!r})"]
    for field in FIELDS:
        codes = segment.codes[field]
        if segment.count and (codes.min() < -1 or codes.max() >= len(tables[field])):
            found.append(f"{CODES_FILE}: codes of {field} beyond its {len(tables[field])} values")
    if deep and not found:
        found += _problems_of_items(segment)
    return found


def _problems_of_items(segment: Segment) -> list[str]:
    found = []
    hashes = np.zeros(segment.count, dtype=np.uint64)
    hashes[segment.id_rows] = segment.id_hashes
    for row in range(segment.count):
        problem = _problem_of_item(segment, row, int(hashes[row]))
        if problem:
            found.append(f"{ITEMS_FILE}: row {row}: {problem}")
            if len(found) == _MOST_PROBLEMS_OF_ONE_FILE:
                return [*found, f"{ITEMS_FILE}: no further rows were read"]
    return found


def _problem_of_item(segment: Segment, row: int, expected: int) -> str | None:
    try:
        item = segment.item(row)
        first = segment.id(row)
    except (BadRecord, json.JSONDecodeError, UnicodeDecodeError) as error:
        return f"cannot be read ({error})"
    if item.id != first or hash_of(item.id) != expected:
        return f"the hash of id '{item.id}' is not the one stored"
    for field in FIELDS:
        code = int(segment.codes[field][row])
        if getattr(item, field) != (None if code < 0 else segment.tables[field][code]):
            return f"{field} is not that of the tables"
    return None


def _ids_alive_twice(segments: list[Segment]) -> list[str]:
    if not segments:
        return []
    parts: list[np.ndarray[Any, Any]] = []
    places: list[np.ndarray[Any, Any]] = []
    for number, segment in enumerate(segments):
        kept = segment.alive[segment.id_rows]
        rows = segment.id_rows[kept].astype(np.int64)
        parts.append(segment.id_hashes[kept])
        places.append(np.column_stack([np.full(len(rows), number), rows]))
    hashes, where = np.concatenate(parts), np.concatenate(places)
    order = np.argsort(hashes, kind="stable")
    hashes, where = hashes[order], where[order]
    seen: dict[str, str] = {}
    found = []
    same = np.flatnonzero(hashes[1:] == hashes[:-1])
    for position in np.unique(np.concatenate([same, same + 1])):
        number, row = (int(value) for value in where[position])
        item_id, name = segments[number].id(row), segments[number].name
        if item_id in seen:
            found.append(f"id '{item_id}' is alive twice, in {seen[item_id]} and {name}")
        seen[item_id] = name
    return found
