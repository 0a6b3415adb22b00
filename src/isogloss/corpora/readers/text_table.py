"""A table of parallel text, with a column for each variety or a row for each text.

    root/                        wide:  text_column  ind=indonesian ace=acehnese ...
      mt_train.csv.gz            ,indonesian,acehnese,...
                                 long:  variety_column=lang text_column=text meaning_columns=story
      pages.tsv.gz               lang  story  page  text

NusaX, parallel dictionaries and survey sheets are wide; story and verse collections are long.
"""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  (readers are read by their types)
from typing import TYPE_CHECKING

from isogloss.corpora.readers.gathering import Gathering, table_with
from isogloss.corpora.readers.result import OptionError, ReadResult
from isogloss.corpora.readers.rows import existing_folder, needs_columns, only_table, read_rows
from isogloss.types import Item

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["read"]

_EXPECTED = "a folder with a TSV or CSV table (or name it with 'metadata')"


def read(
    root: Path,
    *,
    text_column: Mapping[str, str],
    variety_column: str | None = None,
    meaning_columns: tuple[str, ...] = (),
    metadata: str | None = None,
    split: str | None = None,
    split_column: str | None = None,
    labels: Mapping[str, str] | None = None,
    name: str | None = None,
    licence: str | None = None,
    source: str | None = None,
    varieties_table: Path | None = None,
) -> ReadResult:
    """The texts of every row; those of one meaning share it. Other columns go to `extra`.

    Args:
        root: the folder.
        text_column: VARIETY=COLUMN for each variety of a wide table; text=COLUMN for a long one.
        variety_column: the column that says the variety of each row; makes the table a long one.
        meaning_columns: columns that together name the meaning; the row's number by default,
            needed for a long table.
        metadata: the table, relative to root; needed when root holds several.
        split: the split of all items: train, dev or test.
        split_column: the column with train, dev or test.
        labels: LABEL=CODE for labels of `variety_column` that the table of varieties does not know.
        name: what to call the corpus; its folder's name by default.
        licence: the licence, as it shall stand in the manifest.
        source: where the corpus comes from.
        varieties_table: a TSV of varieties beside the built-in ones.

    Raises:
        LayoutError: there is no such table, or it lacks a column.
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
    table = only_table(folder, metadata, _EXPECTED)
    columns = _columns(text_column, variety_column, meaning_columns, gathering)
    needed = [*columns.values(), *meaning_columns, variety_column, split_column]
    needs_columns(table, needed)
    used = {column for column in needed if column}
    long = variety_column is not None
    for number, (where, cells) in enumerate(read_rows(table, gathering), start=1):
        parts = [cells[column] for column in meaning_columns]
        if not all(parts):
            empty = meaning_columns[parts.index("")]
            gathering.skip(where, f"column '{empty}' is empty", "say what the row means")
            continue
        meaning = ":".join(parts) if parts else str(number)
        for label, column in columns.items():
            code: str | None = label
            if long:
                code = gathering.variety(where, cells[variety_column or ""], given=labels)
            if code is None:
                continue
            if not cells[column]:
                gathering.skip(f"{where} {code}", "no text", f"fill column '{column}'")
                continue
            gathering.add(
                Item(
                    id=f"{meaning}-{code}",
                    variety=code,
                    meaning=meaning,
                    text=" ".join(cells[column].split()),
                    split=(cells[split_column] if split_column else split) or None,
                    extra={k: v for k, v in cells.items() if k and k not in used and v},
                ),
                where=f"{where} {code}",
            )
    return gathering.result()


def _columns(
    text_column: Mapping[str, str],
    variety_column: str | None,
    meaning_columns: tuple[str, ...],
    gathering: Gathering,
) -> dict[str, str]:
    """Variety to its column; of a long table, 'text' to the only one."""
    if not text_column:
        raise OptionError("text_column", dict(text_column), "name at least one, as yue=cantonese")
    if variety_column is None:
        return {gathering.table.resolve(label).code: col for label, col in text_column.items()}
    if set(text_column) != {"text"}:
        raise OptionError("text_column", dict(text_column), "a long table takes text=COLUMN")
    if not meaning_columns:
        raise OptionError("meaning_columns", (), "a long table needs them to know translations")
    return {"text": text_column["text"]}
