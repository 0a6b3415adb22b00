"""A fastText model (.bin) in, a table from word to vector out, unknown words by their n-grams.

The layout: magic and version (2 int32); 12 int32 and one float64 of settings; the dictionary
(3 int32: entries, words, labels; 2 int64: tokens, pruned), each entry a word ended by 0, an int64
count and a byte that tells words (0) from labels (1); a byte that tells whether the input matrix
is compressed; the matrix (2 int64: rows, columns; float32). Rows 0 to words - 1 are of words, the
`bucket` rows behind them of hashed n-grams.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from isogloss.encoders.static_table import Words, mapped
from isogloss.errors import BadRecord, IsoglossError

if TYPE_CHECKING:
    import mmap
    from pathlib import Path

    import numpy.typing as npt

    from isogloss.types import FloatArray

__all__ = ["FastTextTable", "is_fasttext", "open_fasttext", "subword_hashes"]

_MAGIC = 793712314
_VERSIONS = (11, 12)
_END_OF_LINE = "</s>"
_FNV_OFFSET = 2166136261
_FNV_PRIME = 16777619


def is_fasttext(path: Path) -> bool:
    """Whether the file begins as a fastText model does."""
    with path.open("rb") as handle:
        return handle.read(4) == struct.pack("<i", _MAGIC)


@dataclass(frozen=True, slots=True, eq=False)
class FastTextTable:
    """Vectors of a fastText model: the mean of a word's own row and those of its n-grams.

    A word that is not in the dictionary has the mean of its n-grams alone; without n-grams in the
    model it has none.

    Source: Bojanowski et al. 2017, sec. 3.2, and the reading order of fastText's own files.
    """

    words: Words
    matrix: npt.NDArray[np.float32]
    least: int
    most: int
    buckets: int
    known_rows: int

    @property
    def dimension(self) -> int:
        """D of every vector."""
        return int(self.matrix.shape[1])

    def __len__(self) -> int:
        return len(self.words.rows)

    def __contains__(self, word: object) -> bool:
        return word in self.words.rows

    def vector(self, word: str) -> FloatArray | None:
        """The vector of `word`, (D,) float32; None when nothing of it is known.

        Raises:
            BadRecord: a row holds NaN or infinity.
        """
        row = self.words.rows.get(word)
        rows = [] if row is None else [row]
        if self.buckets and self.most and word != _END_OF_LINE:
            hashes = subword_hashes(word, self.least, self.most)
            rows += [self.known_rows + value % self.buckets for value in hashes]
        if not rows:
            return None
        mean = self.matrix[rows].mean(axis=0, dtype=np.float64)
        values: FloatArray = mean.astype(np.float32)
        if not np.isfinite(values).all():
            raise BadRecord(self.words.path, rows[0] + 1, "vector", f"'{word}' has NaN or infinity")
        return values


def open_fasttext(
    path: Path, *, encoding: str = "utf-8", limit: int | None = None
) -> FastTextTable:
    """The table of a fastText model; its matrix stays on disk.

    Args:
        path: a file ending .bin, as fastText's `skipgram`, `cbow` and `supervised` write it.
        encoding: of the words.
        limit: words to take from the front of the dictionary; the others count as unknown.

    Raises:
        IsoglossError: it is no fastText model, compressed (.ftz), or cut short.
    """
    content = mapped(path)
    read = _Reader(content, path)
    magic, version = read.numbers("<ii")
    if magic != _MAGIC or version not in _VERSIONS:
        raise IsoglossError(
            f"{path}: no fastText model of version 11 or 12: it begins with {magic}, {version}"
        )
    dimension, *settings = read.numbers("<12id")[:12]
    model, buckets, least, most = settings[6], settings[7], settings[8], settings[9]
    if version == 11 and model == 3:  # supervised models had no n-grams then
        most = 0
    entries, known, labels = read.numbers("<iii")
    _, pruned = read.numbers("<qq")
    if known < 0 or entries != known + labels:
        raise IsoglossError(f"{path}: {entries} entries are not {known} words and {labels} labels")
    words = Words(path, encoding)
    for row in range(entries):
        raw = read.word()
        kind = read.numbers("<qb")[1]
        if kind == 0 and (limit is None or row < limit):
            words.take(raw, row, f"entry {row + 1}")
    if pruned > 0 or read.numbers("<?")[0]:
        raise IsoglossError(f"{path}: a compressed fastText model; use the .bin it was made from")
    rows, columns = read.numbers("<qq")
    if columns != dimension or rows != known + buckets:
        raise IsoglossError(
            f"{path}: its matrix is {rows} x {columns}, its settings say {known} words + {buckets} "
            f"n-grams x {dimension}"
        )
    if read.place + 4 * rows * columns > len(content):
        raise IsoglossError(f"{path}: the file ends within its matrix; it is cut short")
    matrix = np.memmap(path, dtype="<f4", mode="r", offset=read.place, shape=(rows, columns))
    return FastTextTable(words.checked(), matrix, least, most, buckets, known)


def subword_hashes(word: str, least: int, most: int) -> list[int]:
    """FNV-1a hashes, 32 bits, of the n-grams of '<word>' with `least` to `most` characters.

    A single '<' or '>' is none. Bytes enter the hash as signed, which is what fastText's own
    models were made with.
    """
    characters = [character.encode("utf-8", "surrogatepass") for character in f"<{word}>"]
    hashes = []
    for first in range(len(characters)):
        value = _FNV_OFFSET
        for last in range(first, min(first + most, len(characters))):
            for byte in characters[last]:
                signed = byte | 0xFFFFFF00 if byte > 127 else byte
                value = ((value ^ signed) * _FNV_PRIME) & 0xFFFFFFFF
            size = last - first + 1
            if size >= least and not (size == 1 and first in (0, len(characters) - 1)):
                hashes.append(value)
    return hashes


class _Reader:
    """Numbers and words of a mapped file, one behind the other."""

    def __init__(self, content: mmap.mmap, path: Path) -> None:
        self._content = content
        self._path = path
        self.place = 0

    def numbers(self, form: str) -> tuple[int, ...]:
        size = struct.calcsize(form)
        if self.place + size > len(self._content):
            raise self._cut()
        values = struct.unpack_from(form, self._content, self.place)
        self.place += size
        return values

    def word(self) -> bytes:
        end = self._content.find(b"\0", self.place)
        if end < 0:
            raise self._cut()
        raw = self._content[self.place : end]
        self.place = end + 1
        return raw

    def _cut(self) -> IsoglossError:
        return IsoglossError(
            f"{self._path}: the file ends at byte {len(self._content)}, before "
            "its matrix; it is cut short"
        )
