"""Lines of a table file as dicts; a broken line is counted as a skip and reading goes on."""

from __future__ import annotations

import csv
import gzip
from collections import deque
from pathlib import Path
from typing import IO, TYPE_CHECKING

from isogloss.corpora.readers.result import LayoutError
from isogloss.errors import UnknownName

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from isogloss.corpora.readers.gathering import Gathering

__all__ = [
    "existing_folder",
    "keyed_lines",
    "needs_columns",
    "only_table",
    "read_header",
    "read_rows",
    "text_lines",
]

_MOST_LINES_OF_A_ROW = 50
TABLE_SUFFIXES = (".tsv", ".csv", ".tsv.gz", ".csv.gz")


def text_lines(
    path: Path, gathering: Gathering, *, blank: bool = False
) -> Iterator[tuple[int, str]]:
    """Number (from 1) and text of every line that is UTF-8; blank ones only if asked for."""
    try:
        with _opened(path) as handle:
            for number, raw in enumerate(handle, start=1):
                try:
                    line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                except UnicodeDecodeError:
                    gathering.skip(
                        f"{path.name}:{number}", "line is not UTF-8", "save the file as UTF-8"
                    )
                    continue
                if blank or line.strip():
                    yield number, line
    except (EOFError, gzip.BadGzipFile) as error:
        gathering.skip(path.name, f"file breaks off: {error}", f"copy {path} again")


def _opened(path: Path) -> IO[bytes]:
    # The streams differ in type only; both give lines of bytes.
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _separator(path: Path) -> str:
    return "," if path.name.removesuffix(".gz").endswith(".csv") else "\t"


def _fields(line: str, separator: str) -> list[str]:
    if separator == "\t":
        # Corpora write tabs without quoting, and a lone quotation mark in a sentence is common.
        return line.split("\t")
    return next(csv.reader([line], delimiter=separator, strict=True))


def read_header(path: Path) -> tuple[str, ...]:
    """The column names in the first line of a table.

    Raises:
        LayoutError: the file is empty, not UTF-8, or names a column twice.
    """
    expected = "a UTF-8 table whose first line names the columns"
    try:
        with _opened(path) as handle:
            line = handle.readline().decode("utf-8-sig").rstrip("\r\n")
        names = tuple(name.strip() for name in _fields(line, _separator(path))) if line else ()
    except (UnicodeDecodeError, csv.Error, EOFError, gzip.BadGzipFile) as error:
        raise LayoutError(path, f"its first line cannot be read ({error})", expected) from error
    if not any(names):
        raise LayoutError(path, "its first line is empty", expected)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise LayoutError(path, f"column '{twice[0]}' is there twice", expected)
    return names


def needs_columns(path: Path, columns: Iterable[str | None]) -> None:
    """Refuse a table without one of `columns`; None is passed over.

    Raises:
        LayoutError: the header lacks a column; near matches are offered.
    """
    names = read_header(path)
    for column in columns:
        if column is not None and column not in names:
            problem = str(UnknownName("column", column, names))
            raise LayoutError(path, problem, f"one of {', '.join(filter(None, names))}")


def read_rows(
    path: Path, gathering: Gathering, *, columns: Sequence[str] | None = None
) -> Iterator[tuple[str, dict[str, str]]]:
    """`file:line` and the cells of every whole line, blanks around a cell removed.

    A file ending in `.csv` is separated by commas and may be quoted, and a quoted cell may hold
    line breaks (of up to 50 lines, so that one lost quotation mark does not swallow the file); any
    other is separated by tabs, never quoted, a line a row. `.gz` is read through gzip.

    Args:
        path: the table.
        gathering: takes the lines that are broken.
        columns: the column names of a table without a header line; None reads the header.
    """
    names = tuple(columns) if columns is not None else read_header(path)
    separator = _separator(path)
    lines = text_lines(path, gathering)
    if separator == ",":
        lines = _with_line_breaks(lines, len(names))
    for number, line in lines:
        if columns is None and number == 1:
            continue
        where = f"{path.name}:{number}"
        try:
            cells = _fields(line, separator)
        except csv.Error as error:
            gathering.skip(where, f"line cannot be split: {error}", "close the quotation mark")
            continue
        if len(cells) != len(names):
            gathering.skip(
                where,
                f"{len(cells)} columns instead of {len(names)}",
                "complete the line, or remove line breaks and separators inside its cells",
            )
            continue
        yield where, {name: cell.strip() for name, cell in zip(names, cells, strict=True)}


def _with_line_breaks(lines: Iterator[tuple[int, str]], width: int) -> Iterator[tuple[int, str]]:
    """Lines of a CSV, those that a quoted cell runs through joined; what cannot be joined stays."""
    ahead: deque[tuple[int, str]] = deque()
    while (first := ahead.popleft() if ahead else next(lines, None)) is not None:
        number, line = first
        end = None if line.count('"') % 2 == 0 else _end_of_row(ahead, lines)
        if end is not None:
            joined = "\n".join([line, *(ahead[place][1] for place in range(end + 1))])
            try:
                whole = len(_fields(joined, ",")) == width
            except csv.Error:
                whole = False
            if whole:
                for _ in range(end + 1):
                    ahead.popleft()
                line = joined
        yield number, line


def _end_of_row(ahead: deque[tuple[int, str]], lines: Iterator[tuple[int, str]]) -> int | None:
    """Place in `ahead` of the next line with an odd number of quotation marks, if it is near."""
    for place in range(_MOST_LINES_OF_A_ROW):
        if place == len(ahead):
            following = next(lines, None)
            if following is None:
                return None
            ahead.append(following)
        if ahead[place][1].count('"') % 2:
            return place
    return None


def keyed_lines(path: Path, gathering: Gathering) -> dict[str, str]:
    """A Kaldi table, `key value with spaces` a line; the first of equal keys wins."""
    values: dict[str, str] = {}
    for number, line in text_lines(path, gathering):
        key, *rest = line.split(maxsplit=1)
        if not rest:
            gathering.skip(
                f"{path.name}:{number}", "key without a value", f"complete '{key}', or drop it"
            )
        elif key in values:
            gathering.skip(f"{path.name}:{number}", "key is there twice", f"drop one '{key}'")
        else:
            values[key] = rest[0].strip()
    return values


def only_table(root: Path, name: str | None, expected: str) -> Path:
    """The table `name` below `root`, or the only TSV or CSV directly in `root`.

    Raises:
        LayoutError: it does not exist, or there are none or several to choose from.
    """
    if name is not None:
        path = root / name
        if not path.is_file():
            raise LayoutError(root, f"no file '{name}'", expected)
        return path
    found = sorted(
        path for path in root.iterdir() if path.is_file() and path.name.endswith(TABLE_SUFFIXES)
    )
    if len(found) == 1:
        return found[0]
    listed = ", ".join(path.name for path in found[:5])
    problem = f"several tables ({listed}), choose one" if found else "no TSV or CSV file"
    raise LayoutError(root, problem, expected)


def existing_folder(root: str | Path, expected: str) -> Path:
    """`root` absolute; a missing or unreadable folder is a `LayoutError`."""
    path = Path(root).expanduser().resolve()
    if not path.is_dir():
        problem = "is a file, not a folder" if path.exists() else "does not exist"
        raise LayoutError(path, problem, expected)
    return path
