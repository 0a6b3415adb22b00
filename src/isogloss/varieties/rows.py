"""A varieties TSV read line by line into checked rows; called by the table."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isogloss.errors import BadRecord, UnknownName
from isogloss.types import Variety
from isogloss.varieties.scripts import SCRIPTS

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["COLUMNS", "VarietyRow", "read_rows", "read_tsv"]

COLUMNS = (
    "code",
    "name",
    "native_name",
    "parent",
    "group",
    "script",
    "latitude",
    "longitude",
    "iso639_3",
    "bcp47",
    "glottolog",
    "aliases",
)
"""Columns of a varieties table; `code` and `name` are required, `aliases` are parted by '|'."""

_PATTERNS = {
    "code": (re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*"), "small letters, digits and hyphens"),
    "iso639_3": (re.compile(r"[a-z]{3}"), "three small letters"),
    "bcp47": (re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*"), "a tag such as zh-Hant-TW"),
    "glottolog": (re.compile(r"[a-z0-9]{4}[0-9]{4}"), "a code such as mand1415"),
}


@dataclass(frozen=True, slots=True)
class VarietyRow:
    """One variety, the labels other people give it, and where it was written down."""

    variety: Variety
    aliases: tuple[str, ...] = ()
    path: str = "<memory>"
    line: int = 0


def read_tsv(
    path: Path, *, columns: tuple[str, ...], required: tuple[str, ...]
) -> list[tuple[int, dict[str, str]]]:
    """Line number and cells of every row of a TSV; cells are stripped, absent ones are ''.

    The first line names the columns, in any order. Empty lines and lines that start with '#' are
    passed over; there is no quoting, so a cell holds neither tab nor line break.

    Raises:
        BadRecord: not UTF-8, no header, a column that is unknown, twice or missing, a row with
            more cells than columns, or a required cell that is empty.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRecord(path, 1, "encoding", f"not UTF-8: {error}; save the file so") from error
    lines = [
        (number, line)
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip() and not line.startswith("#")
    ]
    if not lines:
        raise BadRecord(path, 1, "header", f"the file is empty; name columns {', '.join(columns)}")
    header_line, header = lines[0][0], [cell.strip() for cell in lines[0][1].split("\t")]
    _check_header(path, header_line, header, columns, required)
    rows = []
    for number, line in lines[1:]:
        cells = [cell.strip() for cell in line.rstrip("\r").split("\t")]
        if len(cells) > len(header):
            problem = f"{len(cells)} cells under {len(header)} columns; part cells by one tab"
            raise BadRecord(path, number, header[-1], problem)
        row = dict.fromkeys(columns, "") | dict(zip(header, cells, strict=False))
        for column in required:
            if not row[column]:
                raise BadRecord(path, number, column, "is empty; a value is required")
        rows.append((number, row))
    return rows


def read_rows(path: Path) -> list[VarietyRow]:
    """The rows of a varieties table, each field checked on its own.

    Raises:
        BadRecord: file, line and field of the first value that cannot be right.
    """
    return [
        _row(path, number, cells)
        for number, cells in read_tsv(path, columns=COLUMNS, required=("code", "name"))
    ]


def _check_header(
    path: Path,
    line: int,
    header: list[str],
    columns: tuple[str, ...],
    required: tuple[str, ...],
) -> None:
    for name in header:
        if name not in columns:
            raise BadRecord(path, line, "header", str(UnknownName("column", name, columns)))
        if header.count(name) > 1:
            raise BadRecord(path, line, "header", f"column '{name}' is there twice; drop one")
    for name in required:
        if name not in header:
            raise BadRecord(path, line, "header", f"no column '{name}', which is required")


def _row(path: Path, line: int, cells: dict[str, str]) -> VarietyRow:
    for column, (pattern, allowed) in _PATTERNS.items():
        if cells[column] and not pattern.fullmatch(cells[column]):
            problem = f"'{cells[column]}' is not {allowed}"
            raise BadRecord(path, line, column, problem)
    script = cells["script"]
    if script and script not in SCRIPTS:
        problem = str(UnknownName("script code of ISO 15924", script, SCRIPTS))
        raise BadRecord(path, line, "script", problem)
    latitude = _degrees(path, line, "latitude", cells["latitude"], 90.0)
    longitude = _degrees(path, line, "longitude", cells["longitude"], 180.0)
    if (latitude is None) != (longitude is None):
        absent = "latitude" if latitude is None else "longitude"
        raise BadRecord(path, line, absent, "is empty while its partner is given; give both")
    variety = Variety(
        code=cells["code"],
        name=cells["name"],
        native_name=cells["native_name"] or None,
        parent=cells["parent"] or None,
        group=cells["group"] or None,
        script=script or None,
        latitude=latitude,
        longitude=longitude,
        iso639_3=cells["iso639_3"] or None,
        bcp47=cells["bcp47"] or None,
        glottolog=cells["glottolog"] or None,
    )
    aliases = tuple(alias.strip() for alias in cells["aliases"].split("|") if alias.strip())
    return VarietyRow(variety, aliases, str(path), line)


def _degrees(path: Path, line: int, column: str, cell: str, limit: float) -> float | None:
    if not cell:
        return None
    try:
        value = float(cell)
    except ValueError:
        raise BadRecord(path, line, column, f"'{cell}' is no number of degrees") from None
    if not math.isfinite(value) or abs(value) > limit:
        problem = f"{cell} is outside -{limit:g} to {limit:g} degrees"
        raise BadRecord(path, line, column, problem)
    return value
