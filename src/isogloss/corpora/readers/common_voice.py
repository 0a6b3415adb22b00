"""Common Voice (Ardila et al. 2020), CC0: read sentences, one folder for each locale.

    root/                          such as cv-corpus-21.0-2025-03-14
      yue/{train,dev,test,validated}.tsv
      yue/clips/common_voice_yue_1234.mp3
      zh-HK/...

The tables are separated by tabs, never quoted, and name their columns: client_id, path, sentence,
gender, accents, variant and more. `root` may also be the folder of one locale.

Splits: train, dev and test share no speaker. `validated` contains all three, and training on it
leaks the test set (the usual mistake with zh-HK), so it is not read by default; when asked for, a
clip that only `validated` lists becomes `train`, unless its speaker or its sentence occurs in dev
or test.

Which variety a locale means is what the varieties table says: zh-HK and yue are both Cantonese
(the first of Hong Kong), zh-TW is Mandarin of Taiwan, nan-tw Hokkien.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from isogloss.corpora.readers.gathering import Gathering, chosen, table_with
from isogloss.corpora.readers.result import LayoutError, ReadResult
from isogloss.corpora.readers.rows import existing_folder, read_header, read_rows
from isogloss.errors import UnknownName
from isogloss.types import Item

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["read"]

SPLITS = ("train", "dev", "test", "validated")
_EXPECTED = "LOCALE/{train,dev,test}.tsv beside LOCALE/clips/, such as yue/test.tsv"
_NEEDED = ("client_id", "path", "sentence")
_EXTRA = ("age", "gender", "accents", "variant", "sentence_id", "sentence_domain", "segment")


def read(
    root: Path,
    *,
    locales: tuple[str, ...] | None = None,
    splits: tuple[str, ...] = ("train", "dev", "test"),
    varieties: Mapping[str, str] | None = None,
    varieties_table: Path | None = None,
) -> ReadResult:
    """The clips of every locale found; sentences that are the same share a meaning.

    Args:
        root: the release's folder, or that of one locale.
        locales: codes such as zh-HK; all that are there by default.
        splits: some of train, dev, test, validated; the last adds training clips that leak nothing.
        varieties: LOCALE=CODE where the varieties table's choice is not wanted.
        varieties_table: a TSV of varieties beside the built-in ones.

    Raises:
        LayoutError: no table is there, or one lacks a column.
        UnknownName: a locale or split asked for does not exist.
    """
    folder = existing_folder(root, _EXPECTED)
    found = _locales(folder)
    if not found:
        raise LayoutError(folder, "no table of any locale", _EXPECTED)
    wanted = chosen("locales", locales, sorted(found)) if locales is not None else sorted(found)
    parts = chosen("splits", splits, SPLITS)
    gathering = Gathering(
        folder,
        name="common_voice",
        licence="CC0-1.0",
        source="https://commonvoice.mozilla.org",
        table=table_with(varieties_table),
    )
    for locale in wanted:
        variety = gathering.variety(
            locale, locale, given=varieties, corpus="common_voice", also=locale.partition("-")[0]
        )
        if variety is None:
            continue
        _read_locale(gathering, found[locale], locale, variety, parts)
    return gathering.result()


def _locales(folder: Path) -> dict[str, Path]:
    if _has_table(folder):
        return {folder.name: folder}
    return {
        path.name: path for path in sorted(folder.iterdir()) if path.is_dir() and _has_table(path)
    }


def _has_table(folder: Path) -> bool:
    return any((folder / f"{part}.tsv").is_file() for part in SPLITS)


def _read_locale(
    gathering: Gathering, folder: Path, locale: str, variety: str, parts: tuple[str, ...]
) -> None:
    rows = {part: _rows(gathering, folder, locale, part, part in parts) for part in SPLITS}
    for part in ("train", "dev", "test"):
        if part in parts:
            for where, cells in rows[part]:
                _add(gathering, folder, locale, variety, part, where, cells)
    if "validated" not in parts:
        return
    unknown = [part for part in ("dev", "test") if not (folder / f"{part}.tsv").is_file()]
    if unknown:
        gathering.skip(
            f"{locale}/validated",
            f"without {' and '.join(unknown)} nobody knows what it would leak",
            f"extract {locale}/{unknown[0]}.tsv",
        )
        return
    held_out = [cells for part in ("dev", "test") for _, cells in rows[part]]
    speakers = {cells["client_id"] for cells in held_out}
    sentences = {cells["sentence"] for cells in held_out}
    listed = {cells["path"] for part in ("train", "dev", "test") for _, cells in rows[part]}
    for where, cells in rows["validated"]:
        if cells["path"] in listed:
            continue
        if cells["client_id"] in speakers or cells["sentence"] in sentences:
            gathering.skip(
                where,
                "its speaker or sentence is in dev or test",
                "nothing to do: training on it would leak the test",
            )
            continue
        _add(gathering, folder, locale, variety, "train", where, cells)


def _rows(
    gathering: Gathering, folder: Path, locale: str, part: str, asked: bool
) -> list[tuple[str, dict[str, str]]]:
    """Rows of one table. Tables not asked for are read quietly, to know what must not leak."""
    table = folder / f"{part}.tsv"
    if not table.is_file():
        if asked:
            gathering.skip(f"{locale}/{part}", "table is missing", f"extract {locale}/{part}.tsv")
        return []
    names = read_header(table)
    for needed in _NEEDED:
        if needed not in names:
            raise LayoutError(
                table, str(UnknownName("column", needed, names)), f"columns {', '.join(_NEEDED)}"
            )
    noted = gathering if asked else Gathering(folder, name=locale, table=gathering.table)
    return [(f"{locale}/{line}", cells) for line, cells in read_rows(table, noted)]


def _add(
    gathering: Gathering,
    folder: Path,
    locale: str,
    variety: str,
    split: str,
    where: str,
    cells: Mapping[str, str],
) -> None:
    if not cells["path"] or not cells["sentence"]:
        gathering.skip(where, "no path or no sentence", "drop the line")
        return
    name = cells["path"] if "." in cells["path"] else f"{cells['path']}.mp3"
    audio = gathering.audio(where, folder / "clips" / name)
    if audio is None:
        return
    sentence = _unquoted(cells["sentence"])
    gathering.add(
        Item(
            id=name.rpartition(".")[0],
            variety=variety,
            meaning=sentence,
            audio=audio,
            transcript=sentence,
            speaker=cells["client_id"] or None,
            split=split,
            extra={"locale": locale} | {key: cells[key] for key in _EXTRA if cells.get(key)},
        ),
        where=where,
    )


def _unquoted(sentence: str) -> str:
    """A cell that some release quoted as a whole, its quotation marks doubled, as it was meant."""
    inner = sentence[1:-1].replace('""', "")
    if len(sentence) > 1 and sentence[0] == sentence[-1] == '"' and '"' not in inner:
        return sentence[1:-1].replace('""', '"').strip()
    return sentence
