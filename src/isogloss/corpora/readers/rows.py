"""Lines of a table file as dicts; a broken line is counted as a skip and reading goes on."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import IO, TYPE_CHECKING

from isogloss.corpora.readers.result import LayoutError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from isogloss.corpora.readers.gathering import Gathering

__all__ = ["existing_folder", "keyed_lines", "only_table", "read_header", "read_rows", "text_lines"]

TABLE_SUFFIXES = (".tsv", ".csv", ".tsv.gz", ".csv.gz")


def text_lines(path: Path, gathering: Gathering) -> Iterator[tuple[int, str]]:
    """Number (from 1) and text of every line that is not blank and is UTF-8."""
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
                if line.strip():
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


def read_rows(
    path: Path, gathering: Gathering, *, columns: Sequence[str] | None = None
) -> Iterator[tuple[str, dict[str, str]]]:
    """`file:line` and the cells of every whole line, blanks around a cell removed.

    A file ending in `.csv` is separated by commas and may be quoted; any other by tabs, never
    quoted. A line is one row: a cell cannot hold a line break. `.gz` is read through gzip.

    Args:
        path: the table.
        gathering: takes the lines that are broken.
        columns: the column names of a table without a header line; None reads the header.
    """
    names = tuple(columns) if columns is not None else read_header(path)
    separator = _separator(path)
    for number, line in text_lines(path, gathering):
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
