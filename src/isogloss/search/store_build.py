"""A segment while it is written: rows come in pieces, and memory holds 40 bytes a row of them."""

from __future__ import annotations

import json
import secrets
import shutil
from array import array
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss.corpora.jsonl import item_from_dict, item_to_dict
from isogloss.search.store_commit import SegmentRecord, array_name
from isogloss.search.store_files import (
    ArrayWriter,
    FileWriter,
    StoredFile,
    sync_folder,
    write_array,
)
from isogloss.search.store_filter import seconds_of
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
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from isogloss.types import Item

__all__ = ["RowWriter", "recorded_time"]

_MOST_ROWS = 2**31 - 1


def recorded_time(item: Item) -> float | None:
    """Seconds since 1970 UTC at which `item` says that it was recorded, if it does.

    Raises:
        ValueError: `extra["recorded"]` is not ISO 8601.
    """
    text = item.extra.get("recorded")
    return None if text is None else seconds_of(text, f"item '{item.id}': extra 'recorded'")


class RowWriter:
    """Rows of one new segment, written to its folder as they come.

    Args:
        folder: of the index.
        version: of the commit that the segment will be part of; goes into its name.
        layout: array name to type and row shape, as other segments have them; None when this is
            the first.
        per_item: names of arrays that have one row an item.
    """

    def __init__(
        self,
        folder: Path,
        version: int,
        layout: Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]] | None,
        per_item: Collection[str] = (),
    ) -> None:
        self._folder = folder
        self.name = f"{version:08d}-{secrets.token_hex(4)}"
        self._place = folder / "segments" / self.name
        self._layout = layout
        self._per_item = tuple(per_item)
        self._arrays: dict[str, ArrayWriter] = {}
        self._given: set[str] = set()
        self._hashes = array("Q")
        self._ends = array("q", [0])
        self._times = array("d")
        self._codes = [array("i") for _ in FIELDS]
        self._tables: list[dict[str, int]] = [{} for _ in FIELDS]
        self._stack = ExitStack()
        self._place.mkdir()
        try:
            self._lines = self._stack.enter_context(FileWriter(self._place / ITEMS_FILE))
            for name, (dtype, row) in (layout or {}).items():
                self._open_array(name, dtype, row)
        except BaseException:
            self.abandon()
            raise

    @property
    def count(self) -> int:
        """Items so far."""
        return len(self._hashes)

    @property
    def has_rows(self) -> bool:
        """Whether any array has rows."""
        return any(array.rows for array in self._arrays.values())

    def _open_array(
        self, name: str, dtype: np.dtype[Any] | None = None, row: tuple[int, ...] | None = None
    ) -> None:
        path = self._place / f"{array_name(name)}.npy"
        self._arrays[name] = self._stack.enter_context(ArrayWriter(path, dtype, row))

    def add_items(
        self, items: Sequence[Item], times: Sequence[float], hashes: npt.NDArray[np.uint64]
    ) -> None:
        """Append items; `times` are used for those that do not say when they were recorded.

        `hashes` are those of their ids.

        Raises:
            BadRecord: an item that could not be read again; `line` is its number in the batch.
            ValueError: an audio path that is not absolute, or a time that is none.
        """
        for item, given, hashed in zip(items, times, hashes.tolist(), strict=True):
            if self.count >= _MOST_ROWS:
                raise ValueError(f"more than {_MOST_ROWS} items in one append; give them in parts")
            record = item_to_dict(item)
            item_from_dict(record, path="item", line=self.count + 1)
            recorded = recorded_time(item)
            line = json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
            data = line.encode("utf-8")
            self._lines.write(data)
            self._hashes.append(hashed)
            self._ends.append(self._ends[-1] + len(data))
            self._times.append(given if recorded is None else recorded)
            for field, codes, table in zip(FIELDS, self._codes, self._tables, strict=True):
                value = getattr(item, field)
                codes.append(-1 if value is None else table.setdefault(value, len(table)))

    def expect(self, name: str) -> None:
        """Say that the array `name` is given, though perhaps without rows.

        Raises:
            ValueError: no such array in the other segments, or a name that no array may have.
        """
        self._given.add(name)
        if name not in self._arrays:
            if self._layout is not None:
                raise ValueError(
                    f"array '{name}': the other segments have {_listed(self._layout)}; "
                    "all segments hold the same arrays"
                )
            self._open_array(name)

    def add_rows(self, name: str, piece: np.ndarray[Any, Any]) -> None:
        """Append a piece to the array `name`.

        Raises:
            ValueError: no such array in the other segments, or another type or row shape.
        """
        self.expect(name)
        self._arrays[name].add(np.asarray(piece))

    def finish(self) -> Segment:
        """Everything flushed to the disk, and mapped; no commit names it yet.

        Raises:
            ValueError: arrays of other lengths, an array not given, or an id twice.
        """
        missing = sorted(set(self._arrays) - self._given)
        if missing:
            raise ValueError(
                f"array '{missing[0]}' was not given; all segments hold the same arrays"
            )
        for name in self._per_item:
            rows = self._arrays[name].rows if name in self._arrays else 0
            if rows != self.count:
                raise ValueError(f"array '{name}': {rows} rows for {self.count} items")
        files = {f"{name}.npy": array.finish() for name, array in self._arrays.items()}
        files[ITEMS_FILE] = self._lines.finish()
        files |= self._own_files()
        sync_folder(self._place)
        sync_folder(self._place.parent)
        segment = Segment(self._folder, SegmentRecord(self.name, self.count, 0, files))
        _refuse_repeats(segment)
        return segment

    def _own_files(self) -> dict[str, StoredFile]:
        hashes = np.array(self._hashes, dtype=np.uint64)
        order = np.argsort(hashes, kind="stable")
        tables = {field: list(table) for field, table in zip(FIELDS, self._tables, strict=True)}
        with FileWriter(self._place / TABLES_FILE) as writer:
            writer.write(json.dumps(tables, ensure_ascii=False).encode("utf-8"))
            tables_file = writer.finish()
        arrays: dict[str, np.ndarray[Any, Any]] = {
            OFFSETS_FILE: np.array(self._ends, dtype=np.int64),
            CODES_FILE: np.array(self._codes, dtype=np.int32).reshape(len(FIELDS), self.count),
            TIMES_FILE: np.array(self._times, dtype=np.float64),
            HASHES_FILE: hashes[order],
            ROWS_FILE: order.astype(np.int32),
        }
        written = {name: write_array(self._place / name, value) for name, value in arrays.items()}
        return {TABLES_FILE: tables_file, **written}

    def abandon(self) -> None:
        """Remove what was written."""
        try:
            self._stack.close()
        finally:
            shutil.rmtree(self._place, ignore_errors=True)

    def close(self) -> None:
        """Close the files that `finish` has flushed."""
        self._stack.close()


def _listed(layout: Mapping[str, object]) -> str:
    return ", ".join(sorted(layout)) or "no arrays"


def _refuse_repeats(segment: Segment) -> None:
    """An id twice in one batch; equal hashes stand beside each other."""
    hashes = segment.id_hashes
    for first in np.flatnonzero(hashes[1:] == hashes[:-1]):
        seen: dict[str, int] = {}
        position = int(first)
        while position < segment.count and hashes[position] == hashes[first]:
            row = int(segment.id_rows[position])
            name = segment.id(row)
            if name in seen:
                rows = sorted((seen[name] + 1, row + 1))
                raise ValueError(
                    f"id '{name}' is there twice (items {rows[0]} and {rows[1]} of the batch); "
                    "ids are unique in an index"
                )
            seen[name] = row
            position += 1
