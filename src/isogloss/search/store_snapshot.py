"""What a reader holds: one committed state of an index, which no later write changes."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss.search.store_commit import Commit, array_name, publish, read_commit
from isogloss.search.store_files import array_of, mapped, sync_folder, write_array
from isogloss.search.store_filter import Filter, masks_of
from isogloss.search.store_lock import LOCK_FILE, exclusive
from isogloss.search.store_segment import Segment, hashes_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    from isogloss.types import Item

__all__ = ["Store", "now", "plain_json"]

_MOST_OPENINGS = 100
_MASKS_KEPT = 8


def now() -> str:
    """The time as commits write it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def plain_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` as they will be read again: tuples become lists, keys strings.

    Raises:
        ValueError: they hold what JSON lacks.
    """
    try:
        read = json.loads(json.dumps(dict(settings), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"settings cannot be written as JSON: {error}") from error
    return dict(read)


class Store:
    """One committed state of an index on disk; `Store.open` gives it, `Writer` makes the next.

    It never changes: appends, deletes and compactions after it was opened are not seen, and files
    that they remove stay readable. Threads may share it. It needs no lock and writes nothing.

    Attributes:
        folder: where it was opened, an absolute path without symbolic links.
        kind: what the payload is.
        version: the number of the commit; 1 is the empty index.
        settings: what the payload's owner keeps.
        shared: arrays that belong to all segments.
        segments: oldest first.
    """

    def __init__(self, folder: Path, commit: Commit) -> None:
        self.folder = folder
        self.kind = commit.kind
        self.version = commit.version
        self.written = commit.written
        self.settings: Mapping[str, Any] = MappingProxyType(dict(commit.settings))
        self.shared: Mapping[str, np.ndarray[Any, Any]] = MappingProxyType(
            {
                name: array_of(mapped(folder / "shared" / f"{name}.npy", stored), stored)
                for name, stored in commit.shared.items()
            }
        )
        self.segments = tuple(Segment(folder, record) for record in commit.segments)
        self.commit = commit
        self._masks: OrderedDict[Filter, tuple[npt.NDArray[np.bool_] | None, ...]] = OrderedDict()
        self._lock = threading.Lock()

    @classmethod
    def create(
        cls,
        folder: str | Path,
        *,
        kind: str,
        settings: Mapping[str, Any],
        shared: Mapping[str, np.ndarray[Any, Any]],
    ) -> Store:
        """A new, empty index: version 1.

        What a killed `create` left in the folder is written over.

        Args:
            folder: new or empty.
            kind: what the payload is; whoever opens the index compares it.
            settings: JSON values.
            shared: arrays that belong to all segments and never change.

        Raises:
            FileExistsError: the folder holds an index or other files.
            ValueError: a name or value that cannot be stored.
        """
        folder = Path(folder).resolve()
        settings = plain_json(settings)
        names = [array_name(name) for name in shared]
        _refuse_occupied(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with exclusive(folder):
            _refuse_occupied(folder)
            for place in (folder / "shared", folder / "segments"):
                place.mkdir(exist_ok=True)
            for old in (folder / "shared").glob("*.npy"):
                old.unlink()
            files = {
                name: write_array(folder / "shared" / f"{name}.npy", np.asarray(shared[name]))
                for name in names
            }
            sync_folder(folder / "shared")
            sync_folder(folder)
            publish(folder, Commit(kind, 1, now(), settings, files, ()))
            sync_folder(folder.parent)
        return cls.open(folder)

    @classmethod
    def open(cls, folder: str | Path) -> Store:
        """The last committed state of the index in `folder`.

        Takes milliseconds: files are mapped, not read. Sizes are checked, checksums are not
        (`verify` does).

        Raises:
            FileNotFoundError: no folder, or no index in it.
            ValueError: damaged, or of a newer format.
        """
        folder = Path(folder).resolve()
        for _ in range(_MOST_OPENINGS):
            commit = read_commit(folder)
            try:
                return cls(folder, commit)
            except FileNotFoundError as error:
                # A compaction between the two lines above removes what the commit named.
                if read_commit(folder).sha256 == commit.sha256:
                    raise ValueError(
                        f"{error.filename}: missing, though the commit names it; "
                        "restore it from a copy"
                    ) from error
            except (KeyError, TypeError) as error:
                raise ValueError(f"{folder}: not an index that can be read ({error!r})") from error
        raise ValueError(
            f"{folder}: replaced {_MOST_OPENINGS} times while it was opened; try again"
        )

    def __len__(self) -> int:
        return self.count

    def __repr__(self) -> str:
        return (
            f"Store({self.folder}, {self.kind}, version {self.version}, {self.count} items in "
            f"{len(self.segments)} segments)"
        )

    @property
    def count(self) -> int:
        """Items that are alive."""
        return sum(segment.count - segment.deleted for segment in self.segments)

    def find(self, item_id: str) -> tuple[int, int] | None:
        """Segment number and row of the item that is alive under `item_id`; None for no such."""
        hashes = hashes_of([item_id])
        for number in reversed(range(len(self.segments))):
            segment = self.segments[number]
            row = int(segment.rows_of([item_id], hashes)[0])
            if row >= 0 and segment.is_alive(row):
                return number, row
        return None

    def find_all(self, ids: Sequence[str]) -> list[tuple[int, int] | None]:
        """`find` for many ids at once, which is faster."""
        found: list[tuple[int, int] | None] = [None] * len(ids)
        hashes = hashes_of(ids)
        for number, segment in enumerate(self.segments):
            rows = segment.rows_of(ids, hashes)
            for place in np.flatnonzero(rows >= 0).tolist():
                row = int(rows[place])
                if segment.is_alive(row):
                    found[place] = number, row
        return found

    def item(self, segment_number: int, row: int) -> Item:
        """The item of a row.

        Raises:
            IndexError: there is no such segment or row.
        """
        return self.segments[segment_number].item(row)

    def ids(self) -> Iterator[str]:
        """Ids of the items that are alive, oldest segment first."""
        for segment in self.segments:
            for row in np.flatnonzero(segment.alive):
                yield segment.id(int(row))

    def items(self) -> Iterator[Item]:
        """Items that are alive, oldest segment first."""
        for segment in self.segments:
            yield from segment.items()

    def chosen(self, wanted: Filter | None = None) -> tuple[npt.NDArray[np.bool_] | None, ...]:
        """For each segment the rows that are alive and that the filter chooses.

        Returns:
            (count,) read-only masks; None stands for a segment of which every row is chosen.

        Raises:
            UnknownName: no item has a variety, site or speaker that the filter asks for; near
                matches are offered.
        """
        key = wanted or Filter()
        with self._lock:
            if key in self._masks:
                self._masks.move_to_end(key)
                return self._masks[key]
        masks = masks_of(self.segments, key)
        with self._lock:
            self._masks[key] = masks
            while len(self._masks) > _MASKS_KEPT:
                self._masks.popitem(last=False)
        return masks


def _refuse_occupied(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise FileExistsError(f"{folder}: a file is there; give a new folder for the index")
    names = {path.name for path in folder.iterdir()}
    if "commit.json" in names:
        raise FileExistsError(
            f"{folder}: holds an index already; append to it, or give a new folder"
        )
    others = sorted(
        name
        for name in names - {LOCK_FILE, "shared", "segments"}
        if not name.startswith(".commit.json.")
    )
    if others:
        raise FileExistsError(
            f"{folder}: not empty ({', '.join(others[:3])}); give a new folder for the index"
        )
