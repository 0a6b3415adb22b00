r"""A folder of recordings with a table, or with file names that say everything.

With a table (its first line names the columns; tabs in `.tsv`, commas in `.csv`):

    root/
      metadata.tsv        audio            variety  meaning  transcript  speaker  my_column
      clips/a1.wav        clips/a1.wav     yue      s1       佢去咗      f01      ...
      clips/b1.mp3        clips/b1.mp3     cmn      s1       他走了      m02      ...

Columns named like a field of `Item` are that field; `columns` renames others; all that is left
goes to `extra`. A row without an id is called by its audio path. A variety may be a code or any
label that the varieties table knows.

Without a table, `pattern` is a regular expression that must match the whole name of a file without
its ending (its whole path below root where the expression has a slash); its named groups are fields
of `Item` or go to `extra`:

    root/recordings/7_george_3.wav      (?P<meaning>\d)_(?P<speaker>[a-z]+)_(?P<take>\d+)
"""

from __future__ import annotations

import dataclasses
import math
import re
from typing import TYPE_CHECKING

from isogloss.corpora.readers.gathering import Gathering, table_with
from isogloss.corpora.readers.result import LayoutError, OptionError, ReadResult
from isogloss.corpora.readers.rows import existing_folder, only_table, read_header, read_rows
from isogloss.errors import UnknownName
from isogloss.types import Item

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["AUDIO_SUFFIXES", "read"]

AUDIO_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".mp4", ".aac", ".webm")
FIELDS = tuple(field.name for field in dataclasses.fields(Item) if field.name != "extra")
_SECONDS = ("start_seconds", "end_seconds")
_EXPECTED = (
    "a folder with one TSV or CSV table beside the recordings (or name it with 'metadata'), "
    "or recordings whose names match 'pattern'"
)


def read(
    root: Path,
    *,
    metadata: str | None = None,
    pattern: str | None = None,
    columns: Mapping[str, str] | None = None,
    variety: str | None = None,
    varieties: Mapping[str, str] | None = None,
    splits: Mapping[str, str] | None = None,
    name: str | None = None,
    licence: str | None = None,
    source: str | None = None,
    varieties_table: Path | None = None,
) -> ReadResult:
    r"""The recordings of a folder, described by a table or by their file names.

    Args:
        root: the folder.
        metadata: the table, relative to root; needed when root holds several.
        pattern: regular expression over file names without their ending, in place of a table,
            such as '(?P<meaning>\d)_(?P<speaker>[a-z]+)_(?P<take>\d+)'.
        columns: FIELD=COLUMN for fields whose column (or group) has another name.
        variety: the variety of all recordings that do not say theirs.
        varieties: VALUE=CODE for tables that name varieties in their own way.
        splits: VALUE=SPLIT for tables that name splits in their own way.
        name: what to call the corpus; its folder's name by default.
        licence: the licence, as it shall stand in the manifest.
        source: where the corpus comes from.
        varieties_table: a TSV of varieties beside the built-in ones.

    Raises:
        LayoutError: neither a table nor a recording of such a name is there.
        OptionError, UnknownName: an option cannot be used.
    """
    folder = existing_folder(root, _EXPECTED)
    gathering = Gathering(
        folder,
        name=name or folder.name,
        licence=licence,
        source=source,
        table=table_with(varieties_table),
    )
    mapping = dict(columns or {})
    for field in mapping:
        if field not in FIELDS:
            raise UnknownName("field", field, FIELDS)
    if variety is not None and variety not in gathering.table:
        raise UnknownName("variety", variety, gathering.table.codes)
    if pattern is not None and metadata is not None:
        raise OptionError("pattern", pattern, "give a pattern or a table, not both")
    if pattern is not None:
        rows = _matched(folder, pattern, mapping, gathering)
    else:
        rows = _tabled(folder, only_table(folder, metadata, _EXPECTED), mapping, gathering)
    for where, cells in rows:
        label = cells.get("variety") or variety
        if not label:
            gathering.skip(
                where, "no variety", "fill the variety column, or name one for all with 'variety'"
            )
            continue
        code = gathering.variety(where, label, given=varieties)
        if code is None:
            continue
        cells["variety"] = code
        if "split" in cells:
            cells["split"] = (splits or {}).get(cells["split"], cells["split"])
        item = _item(where, cells, folder, gathering)
        if item is not None:
            gathering.add(item, where=where)
    return gathering.result()


def _tabled(
    folder: Path, table: Path, mapping: Mapping[str, str], gathering: Gathering
) -> Iterator[tuple[str, dict[str, str]]]:
    names = read_header(table)
    for field, column in mapping.items():
        if column not in names:
            raise UnknownName(f"column of {table.name} for '{field}'", column, names)
    if mapping.get("audio", "audio") not in names and mapping.get("text", "text") not in names:
        raise LayoutError(
            table,
            f"no column 'audio' or 'text' among {', '.join(names)}",
            "one of them, or columns such as audio=COLUMN",
        )
    for where, cells in read_rows(table, gathering):
        yield where, _renamed(cells, mapping)


def _matched(
    folder: Path, pattern: str, mapping: Mapping[str, str], gathering: Gathering
) -> Iterator[tuple[str, dict[str, str]]]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise OptionError("pattern", pattern, f"not a regular expression ({error})") from error
    groups = tuple(expression.groupindex)
    for field, group in mapping.items():
        if group not in groups:
            raise UnknownName(f"group of the pattern for '{field}'", group, groups)
    recordings = sorted(path for path in folder.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
    if not recordings:
        raise LayoutError(folder, "no recordings", _EXPECTED)
    matched = 0
    for path in recordings:
        relative = path.relative_to(folder)
        match = expression.fullmatch(_named(relative, pattern))
        if match is None:
            gathering.skip(
                relative.as_posix(), "name does not match the pattern", "rename it, or widen it"
            )
            continue
        matched += 1
        cells = {group: text.strip() for group, text in match.groupdict("").items()}
        yield relative.as_posix(), {**_renamed(cells, mapping), "audio": relative.as_posix()}
    if not matched:
        example = _named(recordings[0].relative_to(folder), pattern)
        raise OptionError(
            "pattern", pattern, f"it matches none of {len(recordings)} names, such as '{example}'"
        )


def _named(relative: Path, pattern: str) -> str:
    return relative.with_suffix("").as_posix() if "/" in pattern else relative.stem


def _renamed(cells: Mapping[str, str], mapping: Mapping[str, str]) -> dict[str, str]:
    """Cells by field name; a column keeps its own name where no field claims it."""
    claimed = set(mapping.values())
    # A column that is called like a field which was mapped elsewhere is only something extra.
    own = {
        (f"{name}_column" if name in mapping else name): text
        for name, text in cells.items()
        if name not in claimed
    }
    return {**own, **{field: cells[column] for field, column in mapping.items()}}


def _item(where: str, cells: dict[str, str], folder: Path, gathering: Gathering) -> Item | None:
    audio = None
    if cells.get("audio"):
        audio = gathering.audio(where, folder / cells["audio"])
        if audio is None:
            return None
    elif not cells.get("text"):
        gathering.skip(where, "neither audio nor text", "fill one of the two columns")
        return None
    seconds = _seconds(where, cells, gathering)
    if seconds is None:
        return None
    given = {field: cells.get(field) or None for field in FIELDS}
    identifier = given["id"] or (_id_of_path(cells["audio"]) if audio else where)
    if given["id"] is None and audio and seconds[0] is not None:
        # Pieces of one recording differ in where they start.
        identifier += f"-{seconds[0]:g}"
    return Item(
        id=identifier,
        variety=cells["variety"],
        meaning=given["meaning"],
        text=given["text"],
        audio=audio,
        start_seconds=seconds[0],
        end_seconds=seconds[1],
        transcript=given["transcript"],
        translation=given["translation"],
        phones=given["phones"],
        speaker=given["speaker"],
        site=given["site"],
        split=given["split"],
        words=tuple((given["words"] or "").split()),
        extra={key: text for key, text in cells.items() if key not in FIELDS and text},
    )


def _id_of_path(path: str) -> str:
    stem, _, _ = path.rpartition(".")
    return (stem or path).replace("\\", "/").strip("./").replace("/", "-")


def _seconds(
    where: str, cells: Mapping[str, str], gathering: Gathering
) -> tuple[float | None, float | None] | None:
    values: list[float | None] = []
    for field in _SECONDS:
        text = cells.get(field)
        try:
            value = float(text) if text else None
        except ValueError:
            value = math.nan
        if value is not None and not (math.isfinite(value) and value >= 0):
            gathering.skip(where, f"{field} is '{text}'", "give finite seconds from 0 on")
            return None
        values.append(value)
    start, end = values
    if end is not None and end <= (start or 0.0):
        gathering.skip(where, f"end {end} s is not after start {start or 0.0} s", "correct one")
        return None
    return start, end
