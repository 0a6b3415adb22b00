"""SIB-200 (Adelani et al. 2024): sentences of FLORES-200 with their topic, in many languages.

    root/
      eng_Latn/train.tsv[.gz]      index_id  category            text
      eng_Latn/dev.tsv[.gz]        1523      science/technology  Mutation adds new genetic ...
      yue_Hant/test.tsv[.gz]

Rows with the same index_id are translations of each other. The topic is in `extra`, under
`category`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from isogloss.corpora.readers.gathering import Gathering, chosen
from isogloss.corpora.readers.result import LayoutError, ReadResult
from isogloss.corpora.readers.rows import existing_folder, read_header, read_rows
from isogloss.types import Item

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read"]

_SPLITS = ("train", "dev", "test")
_COLUMNS = ("index_id", "category", "text")
_EXPECTED = "folders such as eng_Latn with train.tsv, dev.tsv and test.tsv"


def read(
    root: Path, *, splits: tuple[str, ...] = _SPLITS, languages: tuple[str, ...] = ()
) -> ReadResult:
    """The sentences of the languages and splits asked for; the index_id is the meaning.

    Args:
        root: folder with one folder for each language.
        splits: train, dev and test.
        languages: folder names such as yue_Hant; all when empty.

    Raises:
        LayoutError: there is no table, or one lacks a column.
        UnknownName: a language or split is asked for that is not there.
    """
    folder = existing_folder(root, _EXPECTED)
    parts = chosen("splits", splits, _SPLITS)
    tables: dict[str, dict[str, Path]] = {}
    for part in _SPLITS:
        for ending in (".tsv", ".tsv.gz"):
            for path in sorted(folder.glob(f"*/{part}{ending}")):
                tables.setdefault(path.parent.name, {}).setdefault(part, path)
    if not tables:
        raise LayoutError(folder, "no table of any language", _EXPECTED)
    known = tuple(sorted(tables))
    gathering = Gathering(
        folder,
        name="sib200",
        licence="CC BY-SA 4.0",
        source="https://github.com/dadelani/sib-200",
    )
    for language in chosen("languages", languages, known) if languages else known:
        code = gathering.variety(language, language, corpus="sib200")
        if code is None:
            continue
        for part in parts:
            table = tables[language].get(part)
            if table is None:
                gathering.skip(f"{language}/{part}", "table is missing", f"get {part}.tsv")
                continue
            missing = [column for column in _COLUMNS if column not in read_header(table)]
            if missing:
                raise LayoutError(table, f"no column '{missing[0]}'", ", ".join(_COLUMNS))
            for where, cells in read_rows(table, gathering):
                if not cells["text"] or not cells["index_id"]:
                    gathering.skip(where, "no text or no index_id", "complete the row")
                    continue
                gathering.add(
                    Item(
                        id=f"{cells['index_id']}-{code}",
                        variety=code,
                        meaning=cells["index_id"],
                        text=cells["text"],
                        split=part,
                        extra={"category": cells["category"]} if cells["category"] else {},
                    ),
                    where=f"{language}/{where}",
                )
    return gathering.result()
