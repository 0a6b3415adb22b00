"""Pairs of sentences with a judgement: relatedness, entailment, divergence, token rationales.

    root/
      dev.tsv.gz     pair_ID  sentence_A_En  sentence_B_En  relatedness_score_En  sentence_A_Ja ...

`text_column` says where the sentences are, `A/eng=sentence_A_En B/eng=sentence_B_En A/jpn=...`:
the side, and the variety. A row gives an item for each; those of one side are translations of each
other and share the meaning ROW:SIDE. `extra` has `pair`, `side` and every other column of the row,
under the names that `judgements` gives them. Where one cell holds both sentences with a line break
between them, as in SemRel, write `A+B/eng=Text`.
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
    judgements: Mapping[str, str] | None = None,
    id_column: str | None = None,
    metadata: str | None = None,
    split: str = "test",
    words: bool = False,
    name: str | None = None,
    licence: str | None = None,
    source: str | None = None,
    varieties_table: Path | None = None,
) -> ReadResult:
    """The sentences of every row; its judgements are in `extra`.

    Args:
        root: the folder.
        text_column: SIDE/VARIETY=COLUMN for every column of sentences; A+B/VARIETY=COLUMN where a
            cell holds both, in two lines.
        judgements: NAME=COLUMN for the columns that are kept under another name.
        id_column: the column that names the row; its number by default.
        metadata: the table, relative to root; needed when root holds several.
        split: of all items: train, dev or test.
        words: whether the texts are words separated by blanks, which judgements may count.
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
    sides: list[tuple[str, str, str]] = []
    for label, column in text_column.items():
        side, separator, variety = label.partition("/")
        if not separator or not side:
            raise OptionError("text_column", label, "write SIDE/VARIETY=COLUMN, as A/eng=english")
        code = gathering.table.resolve(variety).code
        sides += [(one, code, column) for one in side.split("+")]
    if len({side for side, _, _ in sides}) != 2:
        raise OptionError("text_column", dict(text_column), "name columns of two sides")
    renamed = {column: label for label, column in (judgements or {}).items()}
    needs_columns(table, [*(c for _, _, c in sides), *renamed, id_column])
    used = {column for _, _, column in sides} | {id_column}
    for number, (where, cells) in enumerate(read_rows(table, gathering), start=1):
        key = cells[id_column] if id_column else str(number)
        empty = [column for _, _, column in sides if not cells[column]]
        if empty or not key:
            gathering.skip(where, f"column '{[*empty, id_column][0]}' is empty", "complete the row")
            continue
        texts = {(s, v): _part(cells[c], s, c, text_column) for s, v, c in sides}
        if not all(texts.values()):
            gathering.skip(where, "a cell does not hold two lines", "put one sentence on each line")
            continue
        kept = {renamed.get(c, c): value for c, value in cells.items() if c not in used and value}
        for side, variety, _ in sides:
            text = " ".join(texts[side, variety].split())
            gathering.add(
                Item(
                    id=f"{key}-{side}-{variety}",
                    variety=variety,
                    meaning=f"{key}:{side}",
                    text=text,
                    split=split,
                    words=tuple(text.split()) if words else (),
                    extra={**kept, "pair": key, "side": side},
                ),
                where=f"{where} {side}/{variety}",
            )
    return gathering.result()


def _part(cell: str, side: str, column: str, text_column: Mapping[str, str]) -> str:
    """The sentence of a side in a cell; '' where two are asked for and there are not two lines."""
    label = next(name for name, own in text_column.items() if own == column)
    places = label.partition("/")[0].split("+")
    if len(places) == 1:
        return cell
    lines = [line for line in cell.splitlines() if line.strip()]
    return lines[places.index(side)] if len(lines) == len(places) else ""
