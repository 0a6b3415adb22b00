"""The commit: one small file that names everything an index consists of.

`commit.json` is replaced by a rename, so it is the old one or the new one. What it does not name
is not part of the index. It carries a checksum of itself.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from isogloss.search.store_files import StoredFile, sync_folder, write_last

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = [
    "ARRAY_NAME",
    "COMMIT_FILE",
    "FORMAT",
    "SEGMENT_NAME",
    "Commit",
    "SegmentRecord",
    "array_name",
    "publish",
    "read_commit",
]

FORMAT = 1
COMMIT_FILE = "commit.json"
_FORMAT_KEY = "isogloss_index"

ARRAY_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
"""Names of arrays; the store's own files have a dot before their suffix and cannot collide."""

SEGMENT_NAME = re.compile(r"\d{8,}-[0-9a-f]{8}")
_FILE_NAME = re.compile(r"[a-z][a-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class SegmentRecord:
    """One segment as a commit names it.

    Attributes:
        name: its folder below `segments`.
        count: rows, deleted ones included.
        deleted: how many of them are deleted.
        files: file name to what is known of it, deletes not included.
        deletes: name of the file with one bit a row, 1 for deleted; None when none is.
        deletes_file: what is known of that file.
    """

    name: str
    count: int
    deleted: int
    files: Mapping[str, StoredFile]
    deletes: str | None = None
    deletes_file: StoredFile | None = None

    @property
    def every_file(self) -> dict[str, StoredFile]:
        """All files, the deletes included."""
        if self.deletes is None or self.deletes_file is None:
            return dict(self.files)
        return {**self.files, self.deletes: self.deletes_file}


@dataclass(frozen=True, slots=True)
class Commit:
    """The state of an index.

    Attributes:
        kind: what the payload is; the opener compares it.
        version: 1 for a new index, one more with every commit.
        written: ISO 8601, UTC.
        settings: what the payload's owner keeps, JSON values.
        shared: arrays that belong to all segments; file `shared/NAME.npy`.
        segments: oldest first.
        sha256: of the text of all this; "" before it is written.
    """

    kind: str
    version: int
    written: str
    settings: Mapping[str, Any]
    shared: Mapping[str, StoredFile]
    segments: tuple[SegmentRecord, ...]
    sha256: str = ""


def array_name(name: str) -> str:
    """`name`, when an array may be called so.

    Raises:
        ValueError: it is not a lower-case name of letters, digits and underscores.
    """
    if not isinstance(name, str) or not ARRAY_NAME.fullmatch(name):
        raise ValueError(
            f"array name {name!r}: use a letter, then letters, digits and underscores, "
            "lower case, 64 at most"
        )
    return name


def _text(body: Mapping[str, Any]) -> str:
    return json.dumps(
        body, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
    )


def _body(commit: Commit) -> dict[str, Any]:
    return {
        "kind": commit.kind,
        "version": commit.version,
        "written": commit.written,
        "settings": dict(commit.settings),
        "shared": {name: stored.to_json() for name, stored in commit.shared.items()},
        "segments": [
            {
                "name": record.name,
                "count": record.count,
                "deleted": record.deleted,
                "files": {name: stored.to_json() for name, stored in record.files.items()},
                "deletes": record.deletes,
                "deletes_file": record.deletes_file and record.deletes_file.to_json(),
            }
            for record in commit.segments
        ],
    }


def publish(folder: Path, commit: Commit) -> None:
    """Make `commit` the state of the index in `folder`; every file that it names is on the disk.

    Raises:
        OSError: the old state is still there, unless the flush of the folder failed, after which
            the new one is.
        ValueError: `settings` hold what JSON lacks.
    """
    body = _text(_body(commit))
    sha256 = hashlib.sha256(body.encode("utf-8")).hexdigest()
    # The text of the body is what the checksum covers; the reader makes it again from the values.
    content = f'{{"{_FORMAT_KEY}":{FORMAT},"sha256":"{sha256}","commit":{body}}}\n'
    write_last(folder / COMMIT_FILE, content.encode("utf-8"))
    sync_folder(folder)


def read_commit(folder: Path) -> Commit:
    """The state of the index in `folder`.

    Raises:
        FileNotFoundError: there is no folder, or it holds no commit.
        ValueError: the file is no commit, is damaged, or is of a newer format.
    """
    path = folder / COMMIT_FILE
    try:
        raw = path.read_bytes()
    except NotADirectoryError:
        raise FileNotFoundError(f"{folder}: not a folder; give the folder of an index") from None
    except FileNotFoundError:
        problem = "no index here, it has no commit.json" if folder.is_dir() else "no such folder"
        raise FileNotFoundError(
            f"{folder}: {problem}; isogloss search build makes an index"
        ) from None
    try:
        record = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: damaged, not JSON ({error}); restore it from a copy") from error
    if not isinstance(record, dict) or not isinstance(record.get(_FORMAT_KEY), int):
        raise ValueError(f"{path}: not the commit of an isogloss index")
    if record[_FORMAT_KEY] != FORMAT:
        raise ValueError(
            f"{path}: index format {record[_FORMAT_KEY]}; this release reads {FORMAT}: "
            "use the release that wrote it, or a newer one"
        )
    body = record.get("commit")
    if not isinstance(body, dict):
        raise ValueError(f"{path}: damaged, it has no commit; restore it from a copy")
    sha256 = hashlib.sha256(_text(body).encode("utf-8", "surrogatepass")).hexdigest()
    if sha256 != record.get("sha256"):
        raise ValueError(f"{path}: damaged, its checksum differs; restore it from a copy")
    try:
        return _commit(body, sha256)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path}: not a commit that this release can read ({error!r})") from error


def _commit(body: Mapping[str, Any], sha256: str) -> Commit:
    return Commit(
        kind=str(body["kind"]),
        version=int(body["version"]),
        written=str(body["written"]),
        settings=dict(body["settings"]),
        shared={
            array_name(name): StoredFile.from_json(value) for name, value in body["shared"].items()
        },
        segments=tuple(_segment(record) for record in body["segments"]),
        sha256=sha256,
    )


def _segment(record: Mapping[str, Any]) -> SegmentRecord:
    # Names become paths: nothing in a commit may lead out of the folder.
    if not SEGMENT_NAME.fullmatch(record["name"]):
        raise ValueError(f"segment name {record['name']!r}")
    deletes = record["deletes"]
    names = [*record["files"], *([] if deletes is None else [deletes])]
    for name in names:
        if not _FILE_NAME.fullmatch(name):
            raise ValueError(f"file name {name!r}")
    return SegmentRecord(
        name=record["name"],
        count=int(record["count"]),
        deleted=int(record["deleted"]),
        files={name: StoredFile.from_json(value) for name, value in record["files"].items()},
        deletes=deletes,
        deletes_file=None if deletes is None else StoredFile.from_json(record["deletes_file"]),
    )
