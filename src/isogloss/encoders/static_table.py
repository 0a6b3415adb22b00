"""A file of word vectors in, a table from word to vector out, of which only used rows are read.

Formats: word2vec text (fastText's .vec, GloVe without the header) and word2vec binary here,
fastText binary in `static_fasttext`. The file stays mapped; what is kept of it in memory is the
words and where their rows are.
"""

from __future__ import annotations

import mmap
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from isogloss.corpora.progress import with_progress
from isogloss.errors import BadRecord, IsoglossError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt

    from isogloss.types import FloatArray

__all__ = ["RowTable", "WordTable", "Words", "mapped", "open_rows"]

_LONGEST_LINE = 1 << 24


class WordTable(Protocol):
    """Words and their vectors."""

    @property
    def dimension(self) -> int:
        """D of every vector."""
        ...

    def __len__(self) -> int: ...

    def __contains__(self, word: object) -> bool: ...

    def vector(self, word: str) -> FloatArray | None:
        """The vector of `word`, (D,) float32; None when the table has none for it."""
        ...


@dataclass
class Words:
    """Words of a file in its order, with what had to be left out.

    `rows` is the number of each word's row in the file; a word that comes again keeps the first.
    """

    path: Path
    encoding: str = "utf-8"
    rows: dict[str, int] = field(default_factory=dict)
    repeated: int = 0
    undecodable: int = 0
    empty: int = 0
    _first_bad: str = ""

    def take(self, raw: bytes, row: int, where: str) -> None:
        """Note that row number `row` is of the word `raw`; `where` is for the warning."""
        try:
            word = raw.decode(self.encoding)
        except UnicodeDecodeError:
            self.undecodable += 1
            self._first_bad = self._first_bad or where
            return
        if not word:
            self.empty += 1
        elif word in self.rows:
            self.repeated += 1
        else:
            self.rows[word] = row

    def checked(self) -> Words:
        """Self, after a warning that counts what was left out.

        Raises:
            IsoglossError: most words are not in the encoding, or there is no word.
        """
        seen = len(self.rows) + self.repeated + self.undecodable + self.empty
        if 2 * self.undecodable > seen:
            raise IsoglossError(
                f"{self.path}: {self.undecodable} of {seen} words are not {self.encoding}; name "
                "the encoding, for example ?encoding=latin-1"
            )
        if not self.rows:
            raise IsoglossError(f"{self.path}: there is no word vector in it")
        left_out = []
        if self.repeated:
            left_out.append(f"{self.repeated} words come again (the first vector is kept)")
        if self.undecodable:
            left_out.append(
                f"{self.undecodable} words are not {self.encoding} and left out "
                f"(first at {self._first_bad})"
            )
        if self.empty:
            left_out.append(f"{self.empty} rows have no word and are left out")
        if left_out:
            warnings.warn(f"{self.path}: {'; '.join(left_out)}", stacklevel=2)
        return self


class RowTable:
    """Vectors of a word2vec file, text or binary; each is parsed when it is asked for."""

    def __init__(
        self,
        content: mmap.mmap,
        words: Words,
        starts: npt.NDArray[np.int64],
        dimension: int,
        *,
        binary: bool,
        first_line: int,
    ) -> None:
        self._content = content
        self._words = words
        self._starts = starts
        self._dimension = dimension
        self._binary = binary
        self._first_line = first_line

    @property
    def dimension(self) -> int:
        """D of every vector."""
        return self._dimension

    def __len__(self) -> int:
        return len(self._words.rows)

    def __contains__(self, word: object) -> bool:
        return word in self._words.rows

    def vector(self, word: str) -> FloatArray | None:
        """The vector of `word`, (D,) float32; None when it is not in the file.

        Raises:
            BadRecord: the row has something that is no number, NaN or infinity.
        """
        row = self._words.rows.get(word)
        if row is None:
            return None
        start = int(self._starts[row])
        if self._binary:
            size = 4 * self._dimension
            values = np.frombuffer(self._content[start : start + size], dtype="<f4")
        else:
            end = self._content.find(b"\n", start)
            line = self._content[start : end if end >= 0 else len(self._content)]
            try:
                with np.errstate(over="ignore"):
                    # What is too large for float32 is infinite, and refused below.
                    found = np.array(line.split()[-self._dimension :], dtype="S")
                    values = found.astype(np.float32)
            except ValueError as error:
                raise self._bad(row, word, f"is no vector: {error}") from error
        if not np.isfinite(values).all():
            raise self._bad(row, word, "has NaN or infinity; remove the line")
        return values.astype(np.float32, copy=False)

    def _bad(self, row: int, word: str, problem: str) -> BadRecord:
        return BadRecord(self._words.path, row + self._first_line, "vector", f"'{word}' {problem}")


def open_rows(
    path: Path,
    *,
    form: Literal["auto", "text", "binary"] = "auto",
    encoding: str = "utf-8",
    limit: int | None = None,
) -> RowTable:
    """The table of a word2vec file, text or binary; both have a line 'WORDS DIMENSION' first.

    In a text that line may be absent (GloVe). Words of a text may hold spaces: the last D fields
    are the vector. Nothing of the vectors is read yet; a NaN is found when its word is used.

    Args:
        path: the file.
        form: 'auto' tells text from binary by what follows the first line.
        encoding: of the words.
        limit: rows to take from the front of the file, where files have their most frequent
            words; None for all. What stands behind is not looked at.

    Raises:
        IsoglossError: the file is empty, has more or fewer rows than it says, or most words are
            not in the encoding.
        BadRecord: a row of a text is too short.
    """
    content = mapped(path)
    end = content.find(b"\n", 0, _LONGEST_LINE)
    first = content[: end if end >= 0 else min(len(content), _LONGEST_LINE)]
    header = first.split()
    has_header = len(header) == 2 and all(part.isdigit() for part in header)
    if has_header and form == "auto":
        form = "text" if _looks_like_text(content, end + 1, int(header[1])) else "binary"
    words = Words(path, encoding)
    if form == "binary":
        if not has_header:
            raise IsoglossError(
                f"{path}: a binary file of word vectors begins with 'WORDS DIMENSION', this with "
                f"{first[:40]!r}"
            )
        return _binary_rows(content, words, int(header[0]), int(header[1]), end + 1, limit)
    declared = int(header[0]) if has_header else None
    dimension = int(header[1]) if has_header else len(header) - 1
    if dimension < 1:
        raise IsoglossError(
            f"{path}: no file of word vectors: its first line, {first[:40]!r}, is neither "
            "'WORDS DIMENSION' nor a word and numbers"
        )
    begin = end + 1 if has_header else 0
    starts: list[int] = []
    for row, (start, line) in enumerate(with_progress(_lines(content, begin), f"{path.name}")):
        if row == limit:
            break
        if declared is not None and row >= declared:
            raise IsoglossError(
                f"{path}: the first line says {declared} words, but line {row + 2} is one more; "
                "correct the number, or take fewer with ?limit="
            )
        number = row + 1 + has_header
        words.take(_word(line, dimension, path, number), row, f"line {number}")
        starts.append(start)
    if declared is not None and len(starts) < min(declared, limit or declared):
        raise IsoglossError(
            f"{path}: the first line says {declared} words, the file ends after {len(starts)}; "
            "it is cut short"
        )
    return RowTable(
        content,
        words.checked(),
        np.array(starts, dtype=np.int64),
        dimension,
        binary=False,
        first_line=1 + has_header,
    )


def mapped(path: Path) -> mmap.mmap:
    """The bytes of a file, read when they are used.

    Raises:
        IsoglossError: there is no such file, or it is empty.
    """
    if not path.is_file():
        raise IsoglossError(f"{path}: no such file of word vectors")
    if not path.stat().st_size:
        raise IsoglossError(f"{path}: the file is empty")
    with path.open("rb") as handle:
        return mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)


def _looks_like_text(content: mmap.mmap, start: int, dimension: int) -> bool:
    end = content.find(b"\n", start, start + _LONGEST_LINE)
    fields = content[start : end if end >= 0 else min(len(content), start + _LONGEST_LINE)].split()
    # A row that is too short is still text when all behind its word are numbers.
    numbers = fields[1:][-dimension:] if dimension else []
    if not numbers:
        return True
    try:
        [float(number) for number in numbers]
    except ValueError:
        return False
    return True


def _lines(content: mmap.mmap, start: int) -> Iterator[tuple[int, bytes]]:
    """Place and bytes of every line; blank lines at the end are none."""
    end = len(content)
    while end > start and content[end - 1 : end] in (b"\n", b"\r", b" "):
        end -= 1
    while start < end:
        stop = content.find(b"\n", start, end)
        stop = end if stop < 0 else stop
        yield start, content[start:stop]
        start = stop + 1


def _word(line: bytes, dimension: int, path: Path, number: int) -> bytes:
    """The word of a line of text."""
    # Without spaces in the word, which is nearly always, the fields need not be split.
    line = line.rstrip()
    if line.count(b" ") == dimension and not line.startswith(b" ") and b"\t" not in line:
        return line[: line.index(b" ")]
    fields = line.rsplit(None, dimension)
    if len(fields) == dimension and line[:1].isspace():
        return b""
    if len(fields) != dimension + 1:
        raise BadRecord(
            path,
            number,
            "vector",
            f"expected a word and {dimension} numbers, found {len(line.split())} fields; the line "
            "is cut short or the first line of the file is wrong",
        )
    return fields[0].strip()


def _binary_rows(
    content: mmap.mmap,
    words: Words,
    declared: int,
    dimension: int,
    start: int,
    limit: int | None,
) -> RowTable:
    size = 4 * dimension
    count = declared if limit is None else min(declared, limit)
    if not size or not count:
        raise IsoglossError(f"{words.path}: it says {declared} words of {dimension} dimensions")
    starts = np.zeros(count, dtype=np.int64)
    for row in with_progress(range(count), words.path.name, total=count):
        space = content.find(b" ", start, start + _LONGEST_LINE)
        if space < 0 or space + 1 + size > len(content):
            raise IsoglossError(
                f"{words.path}: the first line says {declared} words, the file ends in word "
                f"{row + 1}; it is cut short, or of another format"
            )
        # Some programs end each row with a line feed, some do not.
        words.take(content[start:space].lstrip(b"\n"), row, f"word {row + 1}")
        starts[row] = space + 1
        start = space + 1 + size
    if count == declared and content[start:].strip():
        raise IsoglossError(
            f"{words.path}: {len(content) - start} bytes follow the {declared} words that the "
            "first line says; correct the number, or take fewer with ?limit="
        )
    return RowTable(content, words.checked(), starts, dimension, binary=True, first_line=1)
