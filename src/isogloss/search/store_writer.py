"""The one who changes an index: appends, deletes, compacts, and commits all of it at once."""

from __future__ import annotations

import itertools
import secrets
import shutil
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from isogloss.errors import UnknownName
from isogloss.search.store_build import RowWriter
from isogloss.search.store_commit import (
    COMMIT_FILE,
    SEGMENT_NAME,
    Commit,
    SegmentRecord,
    publish,
    read_commit,
)
from isogloss.search.store_files import sync_folder, write_array
from isogloss.search.store_lock import exclusive
from isogloss.search.store_segment import hashes_of
from isogloss.search.store_snapshot import Store, now

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    import numpy.typing as npt

    from isogloss.search.store_segment import Segment
    from isogloss.types import Item

__all__ = ["Batch", "Writer"]

_ITEMS_AT_ONCE = 1024


class Writer:
    """Changes an index; one at a time, readers are not disturbed.

    Changes are seen by nobody before `commit`. A process that is killed at any moment leaves the
    last committed state; what it left half-written is removed by the next writer.

        with Writer(folder) as writer:
            writer.append(items, {"vectors": [values]}, per_item=["vectors"])
            writer.delete(["old"])
            writer.commit()

    Args:
        folder: of an index.
        timeout_seconds: how long to wait for another writer.

    Raises:
        IndexLocked: another writer is at work (at the beginning of the block).
        ValueError: at the end of a block that raised nothing, when changes were made and neither
            `commit` nor `discard` followed.
    """

    def __init__(self, folder: str | Path, *, timeout_seconds: float = 0.0) -> None:
        self.folder = Path(folder).resolve()
        self._timeout_seconds = timeout_seconds
        self._stack = ExitStack()
        self._store: Store | None = None
        self._segments: list[Segment] = []
        self._alive: dict[str, npt.NDArray[np.bool_]] = {}
        self._changed = False
        self._building = False

    def __enter__(self) -> Self:
        # Read first: a folder that is no index gets no lock file.
        read_commit(self.folder)
        self._stack.enter_context(exclusive(self.folder, timeout_seconds=self._timeout_seconds))
        try:
            self._begin_from(Store.open(self.folder))
            self._remove_garbage()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        lost = self._changed
        try:
            self.discard()
        finally:
            self._store = None
            self._stack.close()
        if lost and error is None:
            raise ValueError(
                "changes were made and not kept: call commit(), or discard() to drop them"
            )

    @property
    def store(self) -> Store:
        """The last committed state; changes since then are not in it.

        Raises:
            ValueError: outside the `with` block.
        """
        if self._store is None:
            raise ValueError("use the writer in a with block: with Writer(folder) as writer: ...")
        return self._store

    @property
    def count(self) -> int:
        """Items that will be alive after `commit`."""
        return sum(
            int(np.count_nonzero(self._alive[segment.name]))
            if segment.name in self._alive
            else segment.count - segment.deleted
            for segment in self._segments
        )

    def append(
        self,
        items: Iterable[Item],
        arrays: Mapping[str, Iterable[np.ndarray[Any, Any]] | np.ndarray[Any, Any]],
        *,
        replace: bool = False,
        per_item: Collection[str] = (),
    ) -> int:
        """How many items were appended, as one new segment.

        Args:
            items: their ids must be new, in the batch and among the items that are alive.
            arrays: name to an array, or to pieces of it along the first axis, in the order of the
                items; one piece of each is held at a time. The same names, types and row shapes as
                in the other segments; the first axis may have any length.
            replace: an item that is alive under the same id is deleted in the same commit.
            per_item: names of arrays that must have one row an item.

        Raises:
            ValueError: an id twice or in use, arrays that do not fit, an item that cannot be
                stored; nothing of the batch is kept.
            OSError: the disk is full or fails; nothing of the batch is kept.
        """
        with self.batch(replace=replace, per_item=per_item) as batch:
            _pour(batch, items, arrays)
            return batch.count

    @contextmanager
    def batch(self, *, replace: bool = False, per_item: Collection[str] = ()) -> Iterator[Batch]:
        """`append` for those who have items and arrays by turns: `add` them in the block.

        The segment is part of the writer's changes when the block ends without an error.

        Raises:
            ValueError: see `append`; also for a batch within another.
        """
        with self._new_segment(replace=replace, per_item=per_item, instead_of=()) as batch:
            yield batch

    def replace(
        self,
        segment_names: Iterable[str],
        items: Iterable[Item],
        arrays: Mapping[str, Iterable[np.ndarray[Any, Any]] | np.ndarray[Any, Any]],
        *,
        per_item: Collection[str] = (),
    ) -> int:
        """How many items one new segment holds that stands in for those named: a compaction.

        Args:
            segment_names: segments of the last commit or of this writer.
            items: exactly those that are alive in these segments, in any order; the time of
                append is taken over.
            arrays: as in `append`.
            per_item: names of arrays that must have one row an item.

        Raises:
            UnknownName: there is no such segment.
            ValueError: items are missing or others are there; see also `append`.
        """
        with self.replacing(segment_names, per_item=per_item) as batch:
            _pour(batch, items, arrays)
            return batch.count

    @contextmanager
    def replacing(
        self, segment_names: Iterable[str], *, per_item: Collection[str] = ()
    ) -> Iterator[Batch]:
        """`replace` for those who have items and arrays by turns: `add` them in the block."""
        if isinstance(segment_names, str):
            raise ValueError(f"segment_names is the string {segment_names!r}; give a list")
        names = tuple(dict.fromkeys(segment_names))
        known = [segment.name for segment in self._segments]
        for name in names:
            if name not in known:
                raise UnknownName("segment", name, known)
        with self._new_segment(replace=False, per_item=per_item, instead_of=names) as batch:
            yield batch

    @contextmanager
    def _new_segment(
        self, *, replace: bool, per_item: Collection[str], instead_of: tuple[str, ...]
    ) -> Iterator[Batch]:
        version = self.store.version + 1
        if self._building:
            raise ValueError("one batch at a time: end the first before the next")
        if isinstance(per_item, str):
            raise ValueError(f"per_item is the string {per_item!r}; give a list of names")
        rows = RowWriter(self.folder, version, self._layout(instead_of), per_item)
        self._building = True
        batch = Batch(rows, self._segments, self._alive_rows, replace, instead_of)
        try:
            yield batch
            batch.check_complete()
            segment = rows.finish() if batch.count else None
            rows.close()
        except BaseException:
            rows.abandon()
            raise
        finally:
            self._building = False
        if segment is None:
            rows.abandon()
        self._drop(batch.replaced)
        self._segments = [old for old in self._segments if old.name not in instead_of]
        if segment is not None:
            self._segments.append(segment)
        self._changed = self._changed or segment is not None or bool(instead_of)

    def _layout(
        self, instead_of: tuple[str, ...]
    ) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]] | None:
        for segment in self._segments:
            if segment.name not in instead_of:
                return {
                    name: (array.dtype, array.shape[1:]) for name, array in segment.arrays.items()
                }
        return None

    def delete(self, ids: Iterable[str]) -> int:
        """How many of `ids` were alive and are deleted now; the others change nothing.

        Raises:
            ValueError: `ids` is one string.
        """
        if isinstance(ids, str):
            raise ValueError(f"ids is the string {ids!r}; give a list: [{ids!r}]")
        if self._building:
            raise ValueError("a batch is open: end it before deleting")
        unique = list(dict.fromkeys(ids))
        hashes = hashes_of(unique)
        found = []
        for segment in self._segments:
            rows = segment.rows_of(unique, hashes)
            rows = rows[rows >= 0]
            rows = rows[self._alive_rows(segment)[rows]]
            found += [(segment.name, int(row)) for row in rows]
        self._drop(found)
        return len(found)

    def _drop(self, places: Sequence[tuple[str, int]]) -> None:
        by_name = {segment.name: segment for segment in self._segments}
        for name, row in places:
            if name not in self._alive:
                self._alive[name] = by_name[name].alive.copy()
            self._alive[name][row] = False
            self._changed = True

    def _alive_rows(self, segment: Segment) -> npt.NDArray[np.bool_]:
        return self._alive.get(segment.name, segment.alive)

    def commit(self) -> int:
        """Make all changes the state of the index; its version comes out.

        When it returns, the state is on the disk. Without changes nothing is written.

        Raises:
            OSError: the disk is full or fails. The old state is there and the changes are kept in
                the writer; commit can be tried again.
        """
        store = self.store
        if self._building:
            raise ValueError("a batch is open: end it before the commit")
        if not self._changed:
            return store.version
        version = store.version + 1
        records = [self._record(segment, version) for segment in self._segments]
        commit = Commit(
            kind=store.kind,
            version=version,
            written=now(),
            settings=store.settings,
            shared=store.commit.shared,
            # A segment of deleted rows only is of no use to anybody.
            segments=tuple(record for record in records if record.deleted < record.count),
        )
        publish(self.folder, commit)
        self._begin_from(Store.open(self.folder))
        self._remove_garbage()
        return version

    def _record(self, segment: Segment, version: int) -> SegmentRecord:
        alive = self._alive.get(segment.name)
        if alive is None:
            return segment.record
        deleted = segment.count - int(np.count_nonzero(alive))
        if deleted in (segment.deleted, segment.count):
            return replace(segment.record, deleted=deleted)
        place = self.folder / "segments" / segment.name
        # Never a name that was used: a commit that failed after its rename may be tried again.
        name = f"deletes.{version:08d}-{secrets.token_hex(4)}.npy"
        stored = write_array(place / name, np.packbits(~alive))
        sync_folder(place)
        return replace(segment.record, deleted=deleted, deletes=name, deletes_file=stored)

    def discard(self) -> None:
        """Drop all changes since the last commit."""
        self._begin_from(Store.open(self.folder))
        self._remove_garbage()

    def _begin_from(self, store: Store) -> None:
        self._store = store
        self._segments = list(store.segments)
        self._alive = {}
        self._changed = False

    def _remove_garbage(self) -> None:
        """Remove what no commit names; files with names that no writer gives are left alone."""
        # What is on the disk counts, not what this writer remembers: the rename of a commit may
        # have come through although an error followed it.
        named = {record.name: record for record in read_commit(self.folder).segments}
        for place in (self.folder / "segments").iterdir():
            if not SEGMENT_NAME.fullmatch(place.name) or place.is_symlink():
                continue
            if place.name not in named:
                shutil.rmtree(place, ignore_errors=True)
            else:
                kept = named[place.name].deletes
                for old in place.glob("deletes.*.npy"):
                    if old.name != kept:
                        _unlink(old)
        for temporary in self.folder.glob(f".{COMMIT_FILE}.*.tmp"):
            _unlink(temporary)


def _unlink(path: Path) -> None:
    # Garbage that cannot be removed is no reason to fail: the next writer tries again.
    with suppress(OSError):
        path.unlink()


class Batch:
    """Items and arrays of one segment in the making, from `Writer.batch` or `Writer.replacing`."""

    def __init__(
        self,
        rows: RowWriter,
        segments: Sequence[Segment],
        alive_rows: Callable[[Segment], npt.NDArray[np.bool_]],
        replace: bool,
        instead_of: tuple[str, ...],
    ) -> None:
        self._rows = rows
        self._segments = segments
        self._alive_rows = alive_rows
        self._replace = replace
        self._instead_of = instead_of
        self._time = time.time()
        self.replaced: list[tuple[str, int]] = []

    @property
    def count(self) -> int:
        """Items so far."""
        return self._rows.count

    @property
    def name(self) -> str:
        """Name of the segment."""
        return self._rows.name

    def add(
        self, items: Sequence[Item], arrays: Mapping[str, np.ndarray[Any, Any]] | None = None
    ) -> None:
        """Append items, and a piece to each of some arrays; either may be empty.

        Raises:
            ValueError: an id that is alive, an item or a piece that does not fit.
        """
        if items:
            ids = [item.id for item in items]
            hashes = hashes_of(ids)
            self._rows.add_items(items, self._times_of(ids, hashes), hashes)
        for name, piece in (arrays or {}).items():
            self._rows.add_rows(name, piece)

    def expect(self, name: str) -> None:
        """Say that the array `name` is given, though perhaps without rows.

        Raises:
            ValueError: no such array in the other segments, or a name that no array may have.
        """
        self._rows.expect(name)

    def _times_of(self, ids: Sequence[str], hashes: npt.NDArray[np.uint64]) -> list[float]:
        times = [self._time] * len(ids)
        stands_in = [False] * len(ids)
        for segment in self._segments:
            rows = segment.rows_of(ids, hashes)
            alive = self._alive_rows(segment)
            for place in np.flatnonzero(rows >= 0).tolist():
                row = int(rows[place])
                if not alive[row]:
                    continue
                if segment.name in self._instead_of:
                    times[place] = float(segment.times[row])
                    stands_in[place] = True
                elif self._replace:
                    self.replaced.append((segment.name, row))
                else:
                    raise ValueError(
                        f"id '{ids[place]}' is in the index; delete it first, or append with "
                        "replace=True"
                    )
        if self._instead_of and not all(stands_in):
            raise ValueError(
                f"id '{ids[stands_in.index(False)]}' is not alive in the segments that are "
                "replaced; append new items instead"
            )
        return times

    def check_complete(self) -> None:
        """Arrays belong to items, and every item of the segments that are replaced is there.

        Raises:
            ValueError: there are no items, or some are missing.
        """
        if not self.count and self._rows.has_rows:
            raise ValueError("arrays with rows, and no items that they could belong to")
        if not self._instead_of:
            return
        old = [segment for segment in self._segments if segment.name in self._instead_of]
        alive = sum(int(np.count_nonzero(self._alive_rows(segment))) for segment in old)
        if alive != self.count:
            raise ValueError(
                f"{self.count} items given for segments with {alive} that are alive; delete those "
                "that shall go before replacing"
            )


def _pour(
    batch: Batch,
    items: Iterable[Item],
    arrays: Mapping[str, Iterable[np.ndarray[Any, Any]] | np.ndarray[Any, Any]],
) -> None:
    """Take a piece of everything by turns, so that all may come from one stream."""
    pieces = {
        name: iter([given] if isinstance(given, np.ndarray) else given)
        for name, given in arrays.items()
    }
    for name in arrays:
        batch.expect(name)
    waiting = iter(items)
    chunk = list(itertools.islice(waiting, _ITEMS_AT_ONCE))
    while chunk or pieces:
        batch.add(chunk)
        for name in list(pieces):
            piece = next(pieces[name], None)
            if piece is None:
                del pieces[name]
            else:
                batch.add([], {name: piece})
        chunk = list(itertools.islice(waiting, _ITEMS_AT_ONCE))
