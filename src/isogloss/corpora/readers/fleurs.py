"""FLEURS: 2,009 sentences of FLoRes read in 102 languages (Conneau et al. 2022), CC BY 4.0.

    root/
      cmn_hans_cn/{train,dev,test}.tsv       also metadata/cmn_hans_cn/... and data/cmn_hans_cn/...
      cmn_hans_cn/test/1234.wav              also cmn_hans_cn/audio/test/..., audio/cmn_hans_cn/...
      yue_hant_hk/...                        and audio/cmn_hans_cn/test/...

The tables have no header and seven columns separated by tabs: FLoRes id, file name, transcript as
written, transcript normalised, its characters, number of samples at 16 kHz, gender. The id is the
meaning: recordings of any language with the same id are translations of each other. Which variety a
code such as yue_hant_hk means is what the varieties table says.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from isogloss.corpora.readers.gathering import Gathering, chosen, table_with
from isogloss.corpora.readers.result import LayoutError, OptionError, ReadResult
from isogloss.corpora.readers.rows import existing_folder, read_rows
from isogloss.corpora.readers.text_rules import without_han_spaces
from isogloss.types import Item

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["read"]

SPLITS = ("train", "dev", "test")
_COLUMNS = ("id", "file", "raw", "normalised", "characters", "samples", "gender")
_TABLE_FOLDERS = ("", "metadata", "data")
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:_[a-z]{4})?_[a-z0-9]{2,3}")
_EXPECTED = "LANGUAGE/{train,dev,test}.tsv (or below metadata/), such as yue_hant_hk/test.tsv"


def read(
    root: Path,
    *,
    languages: tuple[str, ...] | None = None,
    splits: tuple[str, ...] = SPLITS,
    varieties: Mapping[str, str] | None = None,
    transcript: str = "normalised",
    varieties_table: Path | None = None,
) -> ReadResult:
    """The recordings of every language found, the FLoRes id as their meaning.

    Args:
        root: the folder above the languages.
        languages: codes of FLEURS such as cmn_hans_cn; all that are there by default.
        splits: some of train, dev, test.
        varieties: LANGUAGE=CODE where the varieties table's choice is not wanted.
        transcript: normalised (lower case, no punctuation) or raw (as written).
        varieties_table: a TSV of varieties beside the built-in ones.

    Raises:
        LayoutError: no table is there, or none of a language asked for.
        OptionError, UnknownName: an option cannot be used.
    """
    if transcript not in ("normalised", "raw"):
        raise OptionError("transcript", transcript, "expected normalised or raw")
    folder = existing_folder(root, _EXPECTED)
    gathering = Gathering(
        folder,
        name="fleurs",
        licence="CC-BY-4.0",
        source="https://huggingface.co/datasets/google/fleurs",
        table=table_with(varieties_table),
    )
    found = _tables(folder)
    if not found:
        raise LayoutError(folder, "no table of any language", _EXPECTED)
    wanted = chosen("languages", languages, sorted(found)) if languages is not None else ()
    parts = chosen("splits", splits, SPLITS)
    for language in wanted or sorted(found):
        variety = gathering.variety(
            language, language, given=varieties, corpus="fleurs", also=language.partition("_")[0]
        )
        if variety is None:
            continue
        for part in parts:
            table = found[language].get(part)
            if table is None:
                gathering.skip(
                    f"{language}/{part}", "table is missing", f"get {language}/{part}.tsv"
                )
                continue
            _read_table(gathering, table, language, part, variety, transcript)
    return gathering.result()


def _tables(folder: Path) -> dict[str, dict[str, Path]]:
    """The table of each split of each language that is there."""
    found: dict[str, dict[str, Path]] = {}
    for above in _TABLE_FOLDERS:
        for part in SPLITS:
            for path in sorted((folder / above).glob(f"*/{part}.tsv")):
                if _LANGUAGE.fullmatch(path.parent.name):
                    found.setdefault(path.parent.name, {}).setdefault(part, path)
    return found


def _read_table(
    gathering: Gathering, table: Path, language: str, part: str, variety: str, transcript: str
) -> None:
    root = gathering.root
    folders = (
        root / language / part,
        root / language / "audio" / part,
        root / "audio" / language / part,
        root / "audio" / language,
        root / "data" / language / "audio" / part,
        root / "data" / language / part,
        root / "metadata" / language / part,
    )
    # Only the folders that exist, so that a missing file is reported once and not seven times.
    present = [folder for folder in folders if folder.is_dir()] or [folders[0]]
    for line, cells in read_rows(table, gathering, columns=_COLUMNS):
        where = f"{language}/{line}"
        if not cells["id"].isdecimal():
            gathering.skip(
                where, f"'{cells['id']}' is no FLoRes id", "the first column is a whole number"
            )
            continue
        if not cells["file"]:
            gathering.skip(where, "no file name", "the second column names the recording")
            continue
        audio = gathering.audio(where, *(folder / cells["file"] for folder in present))
        if audio is None:
            continue
        stem = cells["file"].rpartition(".")[0] or cells["file"]
        raw = without_han_spaces(cells["raw"])
        gathering.add(
            Item(
                id=f"{language}-{part}-{stem}",
                variety=variety,
                meaning=cells["id"],
                audio=audio,
                transcript=(raw if transcript == "raw" else None)
                or without_han_spaces(cells["normalised"])
                or None,
                split=part,
                extra={
                    key: text
                    for key, text in (("raw", raw), ("gender", cells["gender"].lower()))
                    if text
                },
            ),
            where=where,
        )
