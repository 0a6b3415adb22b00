"""Files of a store: `.npy` arrays written in pieces and mapped again, and writes that last.

A file is written under its final name in a folder that no commit names yet, flushed to the disk,
and never changed afterwards. Its size, checksum and shape are kept in the commit that names it.
"""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from isogloss._files import sha256_of_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path
    from types import TracebackType

__all__ = [
    "ArrayWriter",
    "FileWriter",
    "StoredFile",
    "array_of",
    "checksum_of",
    "header_of",
    "mapped",
    "sync_folder",
    "write_array",
    "write_last",
]

HEADER_BYTES = 128
"""Length of every `.npy` header here: the data of each array begins at a multiple of 64."""

_MAPPED_FROM_BYTES = 1 << 16
"""Smaller files are read instead of mapped: a mapping holds a file descriptor, of which a process
has about a thousand, and the files of many small segments would use them up."""

_WRITE_BYTES = 1 << 24
_KINDS = "biuf"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """What a commit knows of one file: bytes, checksum and, for an array, its type and shape.

    `sha256` is that of the whole file, or of the data behind the header for a `.npy` file: the
    header is written last, when the length is known, and follows from `dtype` and `shape`.
    """

    size_bytes: int
    sha256: str
    dtype: str | None = None
    shape: tuple[int, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """The JSON object of a commit."""
        record: dict[str, Any] = {"size_bytes": self.size_bytes, "sha256": self.sha256}
        if self.dtype is not None and self.shape is not None:
            record |= {"dtype": self.dtype, "shape": list(self.shape)}
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> StoredFile:
        """The file that a commit's object describes.

        Raises:
            KeyError: a field is missing.
            ValueError: a type or a shape that no array of a store has, or a size that differs.
        """
        size, sha256 = int(record["size_bytes"]), str(record["sha256"])
        if "dtype" not in record:
            return cls(size, sha256)
        dtype = np.dtype(record["dtype"])
        shape = tuple(int(length) for length in record["shape"])
        if dtype.kind not in _KINDS or any(length < 0 for length in shape):
            raise ValueError(f"no array of type {record['dtype']!r} and shape {record['shape']}")
        expected = HEADER_BYTES + dtype.itemsize * _product(shape)
        if size != expected:
            raise ValueError(f"{size} bytes for an array of {expected}")
        return cls(size, sha256, dtype.str, shape)


def _product(shape: Iterable[int]) -> int:
    product = 1
    for length in shape:
        product *= length
    return product


def header_of(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """The 128 bytes before the data of an array in a `.npy` file of format 1.0.

    Raises:
        ValueError: the shape does not fit, which takes more than six axes.

    Source: NumPy's documentation of `numpy.lib.format`.
    """
    text = repr({"descr": dtype.str, "fortran_order": False, "shape": shape})
    room = HEADER_BYTES - 11
    if len(text) > room:
        raise ValueError(f"an array of shape {shape} has too many axes for a store")
    magic = b"\x93NUMPY\x01\x00" + (room + 1).to_bytes(2, "little")
    return magic + text.ljust(room).encode("ascii") + b"\n"


def sync_folder(folder: Path) -> None:
    """Flush the names in `folder` to the disk, so that files made or renamed there stay."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_last(path: Path, content: bytes) -> None:
    """Put `content` at `path` in one step: after a crash the old file is there or the new one.

    The step is the rename. An error before it leaves the old file; the names of the folder are
    flushed after it, by the caller, so that he can tell the two apart.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


class FileWriter:
    """A new file that is written from front to back; what a commit says of it comes out.

    Used in a `with` block; the file is flushed to the disk at `finish`.

    Raises:
        FileExistsError: the file is there already; files of a store are never written twice.
    """

    def __init__(self, path: Path) -> None:
        self._handle = path.open("xb")
        self._digest = hashlib.sha256()
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the file up as it is; harmless after `finish`."""
        try:
            self._handle.close()
        except OSError:
            # A full disk is reported by the write; what close still tries to flush is dropped.
            if sys.exc_info()[1] is None:
                raise

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes."""
        self._handle.write(data)
        self._digest.update(data)
        self._size += len(data)

    def finish(self) -> StoredFile:
        """Flush to the disk and close."""
        self._sync()
        return StoredFile(self._size, self._digest.hexdigest())

    def _sync(self) -> None:
        self._handle.flush()
        os.fsync(self._handle.fileno())
        self._handle.close()


class ArrayWriter(FileWriter):
    """A `.npy` file written in pieces along the first axis; its length need not be known before.

    Args:
        path: the file, new.
        dtype: type of the elements; None takes that of the first piece.
        row: shape behind the first axis; None takes that of the first piece.
    """

    def __init__(
        self, path: Path, dtype: np.dtype[Any] | None = None, row: tuple[int, ...] | None = None
    ) -> None:
        super().__init__(path)
        self._name = path.stem
        self._dtype = dtype
        self._row = row
        self._rows = 0
        self._handle.write(bytes(HEADER_BYTES))

    @property
    def rows(self) -> int:
        """Length of the first axis so far."""
        return self._rows

    def add(self, piece: np.ndarray[Any, Any]) -> None:
        """Append rows.

        Raises:
            ValueError: `piece` has no axis, or a type or row shape that differs.
        """
        if piece.ndim == 0 or piece.dtype.kind not in _KINDS:
            raise ValueError(
                f"array '{self._name}': a piece must be an array of numbers with one axis or more, "
                f"got shape {piece.shape} of {piece.dtype}"
            )
        dtype = piece.dtype.newbyteorder("<")
        self._dtype = dtype if self._dtype is None else self._dtype
        self._row = piece.shape[1:] if self._row is None else self._row
        if dtype != self._dtype or piece.shape[1:] != self._row:
            raise ValueError(
                f"array '{self._name}': a piece of {piece.dtype} with rows of shape "
                f"{piece.shape[1:]}, where {self._dtype} with rows of shape {self._row} is stored"
            )
        row_bytes = max(1, dtype.itemsize * _product(self._row))
        step = max(1, _WRITE_BYTES // row_bytes)
        for start in range(0, len(piece), step):
            part = np.ascontiguousarray(piece[start : start + step], dtype=dtype)
            if part.nbytes:
                self.write(part.reshape(-1).view(np.uint8).data)
        self._rows += len(piece)

    def finish(self) -> StoredFile:
        """Write the header, flush to the disk and close.

        Raises:
            ValueError: no piece came and the type was not given.
        """
        if self._dtype is None or self._row is None:
            raise ValueError(
                f"array '{self._name}': no piece came, so its type is not known; "
                "give one piece of no rows"
            )
        shape = (self._rows, *self._row)
        header = header_of(self._dtype, shape)
        self._handle.seek(0)
        self._handle.write(header)
        self._sync()
        return StoredFile(
            HEADER_BYTES + self._size, self._digest.hexdigest(), self._dtype.str, shape
        )


def write_array(path: Path, array: np.ndarray[Any, Any]) -> StoredFile:
    """Write one array whole, flushed to the disk."""
    with ArrayWriter(path) as writer:
        writer.add(array)
        return writer.finish()


def mapped(path: Path, stored: StoredFile) -> bytes | mmap.mmap:
    """The bytes of a file, mapped when it is large; they stay when the file is removed.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: its size is not that of the commit.
        OSError: it cannot be opened.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            raise
        raise OSError(
            error.errno,
            "too many open files: compact the index, or raise the limit (ulimit -n)",
            str(path),
        ) from error
    try:
        size = os.fstat(handle).st_size
        if size != stored.size_bytes:
            raise ValueError(
                f"{path}: {size} bytes where the commit says {stored.size_bytes}; "
                "`isogloss search verify` lists what is damaged; restore it from a copy"
            )
        if size < _MAPPED_FROM_BYTES:
            with os.fdopen(handle, "rb", closefd=False) as file:
                content = file.read(size)
            if len(content) != size:
                raise ValueError(f"{path}: ended after {len(content)} of {size} bytes")
            return content
        if sys.version_info >= (3, 13):
            return mmap.mmap(handle, size, access=mmap.ACCESS_READ, trackfd=False)
        return mmap.mmap(handle, size, access=mmap.ACCESS_READ)
    finally:
        os.close(handle)


def array_of(content: bytes | mmap.mmap, stored: StoredFile) -> np.ndarray[Any, Any]:
    """The array in the bytes of a `.npy` file, read-only; nothing is copied."""
    if stored.dtype is None or stored.shape is None:
        raise ValueError("the commit gives this file no shape: it is no array")
    return np.ndarray(stored.shape, stored.dtype, buffer=content, offset=HEADER_BYTES)


def checksum_of(path: Path, stored: StoredFile) -> str:
    """The checksum of a file as it is now, to be compared with `stored.sha256`."""
    if stored.dtype is None:
        return sha256_of_file(path)
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        handle.seek(HEADER_BYTES)
        for block in _blocks(handle):
            digest.update(block)
    return digest.hexdigest()


def _blocks(handle: Any) -> Iterator[bytes]:
    return iter(lambda: handle.read(1 << 20), b"")
