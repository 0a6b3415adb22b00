"""Items as CSV or TSV, for spreadsheets: one column for each field that any item uses.

A cell cannot tell an empty string from nothing, so an empty cell is None; `words` and `extra` are
JSON inside their cells. For a lossless file use the JSONL manifest.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss._files import write_text
from isogloss.corpora.jsonl import item_from_dict, item_to_dict
from isogloss.errors import BadRecord

if TYPE_CHECKING:
    from collections.abc import Iterable

    from isogloss.types import Item

__all__ = ["read_table", "write_table"]

_JSON_FIELDS = ("words", "extra")
_SECONDS = ("start_seconds", "end_seconds")


def _delimiter(path: Path) -> str:
    return "\t" if path.suffix == ".tsv" else ","


def write_table(items: Iterable[Item], path: str | Path) -> int:
    """Write items as CSV, or TSV when the name ends in `.tsv`; how many comes out.

    Audio below the file's folder is stored relative to it.

    Raises:
        ValueError: an item cannot be stored (see `item_to_dict`).
    """
    path = Path(path)
    root = path.resolve().parent
    rows = [item_to_dict(item, root) for item in items]
    columns = list(dict.fromkeys(["id", "variety", *(key for row in rows for key in row)]))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, delimiter=_delimiter(path), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        for name in _JSON_FIELDS:
            if name in row:
                row[name] = json.dumps(row[name], ensure_ascii=False)
        writer.writerow(row)
    write_text(path, text.getvalue())
    return len(rows)


def read_table(path: str | Path) -> list[Item]:
    """The items of a CSV or TSV file with a header line of field names.

    Raises:
        BadRecord: a column that is no field (near matches are offered), a row of another length,
            a missing id or variety, or a value of the wrong type.
    """
    path = Path(path)
    root = path.resolve().parent
    items = []
    with path.open(encoding="utf-8-sig", newline="") as handle:
        reader = csv.DictReader(handle, delimiter=_delimiter(path), strict=True)
        try:
            for row in reader:
                line = reader.line_num
                if None in row or None in row.values():
                    raise BadRecord(path, line, "row", "has another number of cells than line 1")
                record = {k: _cell(path, line, k, v) for k, v in row.items() if v != ""}
                items.append(item_from_dict(record, root=root, path=path, line=line))
        except (csv.Error, UnicodeDecodeError) as error:
            raise BadRecord(path, reader.line_num, "row", f"cannot be read: {error}") from error
    return items


def _cell(path: Path, line: int, name: str, value: str) -> Any:
    if name in _SECONDS:
        try:
            return float(value)
        except ValueError as error:
            raise BadRecord(path, line, name, f"expected seconds, got {value!r}") from error
    if name in _JSON_FIELDS:
        try:
            return json.loads(value)
        except json.JSONDecodeError as error:
            raise BadRecord(path, line, name, f"expected JSON, got {value[:40]!r}") from error
    return value
