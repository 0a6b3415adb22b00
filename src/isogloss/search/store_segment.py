"""A segment: rows that were written together and never change, mapped from its folder."""

from __future__ import annotations

import hashlib
import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss.corpora.jsonl import item_from_dict
from isogloss.search.store_files import array_of, mapped

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from isogloss.search.store_commit import SegmentRecord
    from isogloss.types import Item

__all__ = [
    "CODES_FILE",
    "FIELDS",
    "HASHES_FILE",
    "ITEMS_FILE",
    "OFFSETS_FILE",
    "ROWS_FILE",
    "TABLES_FILE",
    "TIMES_FILE",
    "Segment",
    "hash_of",
    "hashes_of",
]

FIELDS = ("variety", "site", "speaker")
"""Fields of an item that a filter knows, in the order of the rows of the codes."""

ITEMS_FILE = "items.jsonl"
OFFSETS_FILE = "items.offsets.npy"
CODES_FILE = "items.codes.npy"
TIMES_FILE = "items.times.npy"
TABLES_FILE = "items.tables.json"
HASHES_FILE = "ids.hashes.npy"
ROWS_FILE = "ids.rows.npy"

_ID_AT = len('{"id": ')
_DECODER = json.JSONDecoder()


def hash_of(item_id: str) -> int:
    """64 bits of an id, the same on every machine; ids that share them are told apart by reading.

    Source: BLAKE2b with a digest of 8 bytes, little-endian.
    """
    digest = hashlib.blake2b(item_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def hashes_of(ids: Sequence[str]) -> npt.NDArray[np.uint64]:
    """`hash_of` every id: (N,)."""
    return np.fromiter((hash_of(item_id) for item_id in ids), np.uint64, len(ids))


class Segment:
    """Rows 0 to `count` - 1 of one segment, as they were at one commit.

    Nothing is read before it is asked for; the arrays are read-only and stay valid when the files
    are removed by a later compaction.

    Attributes:
        name: its folder below `segments`; never used twice.
        count: rows, deleted ones included.
        deleted: how many of them are deleted.
        arrays: the payload, name to read-only array.
        offsets: (count + 1,) int64, where the lines of the items begin, in bytes.
        id_hashes: (count,) uint64, ascending.
        id_rows: (count,) int32, the row that each hash belongs to.
        times: (count,) float64, seconds since 1970 UTC: when the item was recorded, where it says
            so, else when it was appended.
        codes: field ("variety", "site", "speaker") to (count,) int32: the place of its value in
            the table of that field, -1 for none.
    """

    def __init__(self, folder: Path, record: SegmentRecord) -> None:
        self.record = record
        self.name = record.name
        self.count = record.count
        self.deleted = record.deleted
        place = folder / "segments" / record.name
        files = {name: mapped(place / name, stored) for name, stored in record.files.items()}

        def array(name: str) -> np.ndarray[Any, Any]:
            return array_of(files[name], record.files[name])

        self.arrays: Mapping[str, np.ndarray[Any, Any]] = MappingProxyType(
            {
                name.removesuffix(".npy"): array(name)
                for name in record.files
                if name.endswith(".npy") and name.count(".") == 1
            }
        )
        self._lines = files[ITEMS_FILE]
        self._tables_text = files[TABLES_FILE]
        self._tables: Mapping[str, tuple[str, ...]] | None = None
        self._places: dict[str, dict[str, int]] = {}
        self.offsets: npt.NDArray[np.int64] = array(OFFSETS_FILE)
        self.id_hashes: npt.NDArray[np.uint64] = array(HASHES_FILE)
        self.id_rows: npt.NDArray[np.int32] = array(ROWS_FILE)
        self.times: npt.NDArray[np.float64] = array(TIMES_FILE)
        codes = array(CODES_FILE)
        self.codes: Mapping[str, npt.NDArray[np.int32]] = MappingProxyType(
            dict(zip(FIELDS, codes, strict=True))
        )
        self._dead: np.ndarray[Any, Any] | None = None
        if record.deletes is not None and record.deletes_file is not None:
            content = mapped(place / record.deletes, record.deletes_file)
            self._dead = array_of(content, record.deletes_file)
        self._alive: npt.NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return self.count

    def __repr__(self) -> str:
        return f"Segment({self.name}, {self.count} rows, {self.deleted} deleted)"

    @property
    def alive(self) -> npt.NDArray[np.bool_]:
        """(count,), False for deleted rows; read-only."""
        if self._alive is None:
            if self._dead is None:
                alive = np.ones(self.count, dtype=np.bool_)
            else:
                alive = np.unpackbits(self._dead, count=self.count) == 0
            alive.setflags(write=False)
            self._alive = alive
        return self._alive

    def is_alive(self, row: int) -> bool:
        """Whether `row` is not deleted; reads one byte."""
        return self._dead is None or not (int(self._dead[row >> 3]) >> (7 - (row & 7))) & 1

    @property
    def tables(self) -> Mapping[str, tuple[str, ...]]:
        """Field to its values, in the order of their codes."""
        if self._tables is None:
            read = json.loads(bytes(self._tables_text))
            self._tables = MappingProxyType({field: tuple(read[field]) for field in FIELDS})
        return self._tables

    def places(self, field: str) -> Mapping[str, int]:
        """Value of a field to its code."""
        if field not in self._places:
            self._places[field] = {value: at for at, value in enumerate(self.tables[field])}
        return self._places[field]

    def line(self, row: int) -> str:
        """The JSON object of the item of `row`, as stored.

        Raises:
            IndexError: there is no such row.
        """
        if not 0 <= row < self.count:
            raise IndexError(f"row {row} of {self.count} in segment {self.name}")
        return self._lines[int(self.offsets[row]) : int(self.offsets[row + 1])].decode("utf-8")

    def id(self, row: int) -> str:
        """The id of the item of `row`, also when it is deleted.

        Raises:
            IndexError: there is no such row.
        """
        # The writer puts the id first, so the rest of the line need not be parsed.
        value, _ = _DECODER.raw_decode(self.line(row), _ID_AT)
        return str(value)

    def item(self, row: int) -> Item:
        """The item of `row`, also when it is deleted.

        Raises:
            IndexError: there is no such row.
            BadRecord: the file was changed behind the store's back.
        """
        return item_from_dict(
            json.loads(self.line(row)), path=f"segments/{self.name}/{ITEMS_FILE}", line=row + 1
        )

    def items(self) -> Iterator[Item]:
        """The items of the rows that are alive, in their order."""
        for row in np.flatnonzero(self.alive):
            yield self.item(int(row))

    def rows_of(
        self, ids: Sequence[str], hashes: npt.NDArray[np.uint64] | None = None
    ) -> npt.NDArray[np.int64]:
        """The rows of `ids`, deleted or not: (N,), -1 where this segment has no such id.

        Args:
            ids: N ids.
            hashes: (N,), `hashes_of` them, where they are at hand.
        """
        hashes = hashes_of(ids) if hashes is None else hashes
        found = np.full(len(ids), -1, dtype=np.int64)
        if not self.count:
            return found
        at = np.searchsorted(self.id_hashes, hashes)
        near = self.id_hashes[np.minimum(at, self.count - 1)] == hashes
        for number in np.flatnonzero(near).tolist():
            position = int(at[number])
            while position < self.count and self.id_hashes[position] == hashes[number]:
                row = int(self.id_rows[position])
                if self.id(row) == ids[number]:
                    found[number] = row
                    break
                position += 1
        return found
