"""Rows of YuBao's metadata from parquet, JSON or JSONL; called by its reader."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from isogloss.corpora.readers.result import LayoutError
from isogloss.corpora.readers.rows import text_lines
from isogloss.errors import MissingExtra, UnknownName

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from isogloss.corpora.readers.gathering import Gathering

__all__ = ["COLUMNS", "EXPECTED", "metadata_file", "metadata_rows"]

COLUMNS = (
    "transcript",
    "translation",
    "ipa",
    "english",
    "utterance_id",
    "site",
    "subgrouping",
)
EXPECTED = (
    "the metadata as one .parquet, .json or .jsonl with the columns "
    f"{', '.join(COLUMNS)}, and recordings such as SITE/UTTERANCE.wav"
)
_NEEDED = ("utterance_id", "site")
_SUFFIXES = (".parquet", ".jsonl", ".json")
_FOLDERS = ("", "metadata", "data")


def metadata_file(root: Path, name: str | None) -> Path:
    """The file `name` below `root`, or the only metadata file in root, metadata/ or data/.

    Raises:
        LayoutError: there is none, or several to choose from.
    """
    if name is not None:
        path = root / name
        if not path.is_file():
            raise LayoutError(root, f"no file '{name}'", EXPECTED)
        return path
    found = [
        path
        for folder in _FOLDERS
        for path in sorted((root / folder).glob("*"))
        if path.suffix in _SUFFIXES and path.is_file()
    ]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(path.name for path in found[:5])
    problem = f"several metadata files ({listed}), name one" if found else "no metadata file"
    raise LayoutError(root, problem, EXPECTED)


def metadata_rows(path: Path, gathering: Gathering) -> Iterator[tuple[str, dict[str, str]]]:
    """`file:row` and the seven cells of every row, blanks around a cell removed, absent ones ''.

    JSON may be a list of objects, or an object of columns (lists, or objects from row to cell as
    pandas writes them).

    Raises:
        LayoutError: the file is broken as a whole, or lacks utterance_id or site.
        MissingExtra: it is parquet and pyarrow is not installed.
    """
    if path.suffix == ".parquet":
        records: Iterator[tuple[int, Any]] = _parquet(path)
    elif path.suffix == ".jsonl":
        records = _jsonl(path, gathering)
    else:
        records = _json(path)
    checked = False
    for number, record in records:
        where = f"{path.name}:{number}"
        if not isinstance(record, dict):
            gathering.skip(where, "row is no object", "write {column: value, ...}")
            continue
        if not checked:
            _check_columns(path, [str(key) for key in record])
            checked = True
        cells = {name: record.get(name) for name in COLUMNS}
        yield where, {k: "" if v is None else str(v).strip() for k, v in cells.items()}


def _check_columns(path: Path, names: list[str]) -> None:
    for needed in _NEEDED:
        if needed not in names:
            raise LayoutError(path, str(UnknownName("column", needed, names)), EXPECTED)


def _parquet(path: Path) -> Iterator[tuple[int, Any]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtra("speech", "pyarrow") from error
    try:
        with parquet.ParquetFile(path) as table:
            names = table.schema_arrow.names
            _check_columns(path, names)
            number = 0
            wanted = [name for name in COLUMNS if name in names]
            for batch in table.iter_batches(columns=wanted):
                for record in batch.to_pylist():
                    number += 1
                    yield number, record
    except (pyarrow.ArrowException, OSError) as error:
        raise LayoutError(path, f"cannot be read ({error})", EXPECTED) from error


def _jsonl(path: Path, gathering: Gathering) -> Iterator[tuple[int, Any]]:
    for number, line in text_lines(path, gathering):
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError) as error:
            gathering.skip(f"{path.name}:{number}", f"line is not JSON: {error}", "correct it")


def _json(path: Path) -> Iterator[tuple[int, Any]]:
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise LayoutError(path, f"is not JSON ({error})", EXPECTED) from error
    if isinstance(value, list):
        yield from enumerate(value, start=1)
        return
    if not isinstance(value, dict) or not all(isinstance(c, (list, dict)) for c in value.values()):
        raise LayoutError(path, "is neither a list of rows nor an object of columns", EXPECTED)
    columns = {
        name: list(cells.values()) if isinstance(cells, dict) else cells
        for name, cells in value.items()
    }
    _check_columns(path, list(columns))
    lengths = {len(cells) for cells in columns.values()}
    if len(lengths) != 1:
        raise LayoutError(path, f"has columns of different lengths {sorted(lengths)}", EXPECTED)
    for number in range(lengths.pop()):
        yield number + 1, {name: cells[number] for name, cells in columns.items()}
