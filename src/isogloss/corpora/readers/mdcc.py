"""MDCC (Yu et al. 2022): 73.6 h of Cantonese audiobooks from Hong Kong.

    root/                                     or root/dataset/
      cnt_asr_train_metadata.csv              audio_path,text_path,sex,duration
      cnt_asr_valid_metadata.csv              ./audio/a.wav,./transcription/a.txt,male,4.2
      cnt_asr_test_metadata.csv
      audio/a.wav
      transcription/a.txt                     one sentence

Blanks beside Han characters are dropped. The corpus names no speakers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from isogloss.corpora.readers.gathering import Gathering, chosen
from isogloss.corpora.readers.result import LayoutError, ReadResult
from isogloss.corpora.readers.rows import existing_folder, read_header, read_rows, text_lines
from isogloss.corpora.readers.text_rules import without_han_spaces
from isogloss.errors import UnknownName
from isogloss.types import Item

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read"]

_TABLES = {
    "train": "cnt_asr_train_metadata.csv",
    "dev": "cnt_asr_valid_metadata.csv",
    "test": "cnt_asr_test_metadata.csv",
}
_NEEDED = ("audio_path", "text_path")
_EXPECTED = "cnt_asr_{train,valid,test}_metadata.csv beside audio/ and transcription/"


def read(root: Path, *, splits: tuple[str, ...] = ("train", "dev", "test")) -> ReadResult:
    """The Cantonese utterances of the splits asked for.

    Args:
        root: the folder with the three tables, or the one above it.
        splits: some of train, dev, test.

    Raises:
        LayoutError: no table is there, or one lacks a column.
        UnknownName: a split asked for does not exist.
    """
    folder = existing_folder(root, _EXPECTED)
    if not _present(folder) and _present(folder / "dataset"):
        folder = folder / "dataset"
    if not _present(folder):
        raise LayoutError(folder, "no cnt_asr_*_metadata.csv", _EXPECTED)
    gathering = Gathering(folder, name="mdcc", source="https://github.com/HLTCHKUST/cantonese-asr")
    for split in chosen("splits", splits, tuple(_TABLES)):
        table = folder / _TABLES[split]
        if not table.is_file():
            gathering.skip(table.name, "table is missing", f"put it into {folder}")
            continue
        names = read_header(table)
        for needed in _NEEDED:
            if needed not in names:
                raise LayoutError(
                    table,
                    str(UnknownName("column", needed, names)),
                    "columns audio_path,text_path,sex,duration",
                )
        for where, cells in read_rows(table, gathering):
            _add(gathering, split, where, cells)
    return gathering.result()


def _present(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _TABLES.values())


def _add(gathering: Gathering, split: str, where: str, cells: dict[str, str]) -> None:
    if not cells["audio_path"] or not cells["text_path"]:
        gathering.skip(where, "no audio_path or no text_path", "complete or drop the line")
        return
    recording = gathering.root / cells["audio_path"]
    audio = gathering.audio(where, recording)
    if audio is None:
        return
    text = gathering.root / cells["text_path"]
    if not text.is_file():
        gathering.skip(where, "transcript file is missing", f"put it here: {text}")
        return
    transcript = without_han_spaces(" ".join(line for _, line in text_lines(text, gathering)))
    if not transcript:
        gathering.skip(where, "transcript is empty", f"write what is said into {text}")
        return
    gathering.add(
        Item(
            id=f"mdcc-{recording.stem}",
            variety="yue-hongkong",
            audio=audio,
            transcript=transcript,
            split=split,
            extra={"gender": cells["sex"].lower()} if cells.get("sex") else {},
        ),
        where=where,
    )
