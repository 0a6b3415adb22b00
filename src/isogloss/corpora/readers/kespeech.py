"""KeSpeech (Tang et al. 2021): 1,542 h of Mandarin and eight of its subdialects, 34 cities.

    root/
      Audio/...                               the paths in wav.scp are relative to root
      Tasks/ASR/train_phase1/wav.scp          utterance path
      Tasks/ASR/train_phase1/text             utterance sentence
      Tasks/ASR/train_phase1/utt2subdialect   utterance subdialect
      Tasks/ASR/train_phase1/utt2spk          utterance speaker
      Tasks/ASR/{train_phase2,dev_phase1,dev_phase2,test}/...
      Metadata/city2subdialect, spk2city ...  not needed

The four files of a part are joined by the utterance, not by line number, so that a missing line
costs one utterance. Sentences are in standard characters; part of them is read both in standard
Mandarin and in the speaker's subdialect, so the sentence is the meaning. The licence is academic.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from isogloss.corpora.readers.gathering import Gathering, chosen, table_with
from isogloss.corpora.readers.result import LayoutError, ReadResult
from isogloss.corpora.readers.rows import existing_folder, keyed_lines
from isogloss.corpora.readers.text_rules import without_han_spaces
from isogloss.types import Item

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["PARTS", "VARIETIES", "read"]

PARTS = ("train_phase1", "train_phase2", "dev_phase1", "dev_phase2", "test")
FILES = ("wav.scp", "text", "utt2subdialect", "utt2spk")
_EXPECTED = "Tasks/ASR/{train_phase1,...,test}/{wav.scp,text,utt2subdialect,utt2spk}"
_MARK = re.compile(r"<[A-Z_]+>")

# The corpus calls the standard language Mandarin; to others the word means the whole group.
VARIETIES = {"Mandarin": "cmn-standard"}


def read(
    root: Path,
    *,
    parts: tuple[str, ...] | None = None,
    varieties: Mapping[str, str] | None = None,
    varieties_table: Path | None = None,
) -> ReadResult:
    """The utterances of every part found, their subdialect as variety.

    Args:
        root: the folder that holds Tasks and Audio.
        parts: some of train_phase1, train_phase2, dev_phase1, dev_phase2, test; all by default.
        varieties: SUBDIALECT=CODE where the varieties table's choice is not wanted.
        varieties_table: a TSV of varieties beside the built-in ones.

    Raises:
        LayoutError: no part is there, or one lacks a file.
        UnknownName: a part asked for does not exist.
    """
    folder = existing_folder(root, _EXPECTED)
    tasks = folder / "Tasks" / "ASR"
    present = [part for part in PARTS if (tasks / part / "wav.scp").is_file()]
    if not present:
        raise LayoutError(folder, "no part with a wav.scp", _EXPECTED)
    gathering = Gathering(
        folder,
        name="kespeech",
        licence="academic use (KeSpeech licence)",
        source="https://github.com/KeSpeech/KeSpeech",
        table=table_with(varieties_table),
    )
    codes = {**VARIETIES, **(varieties or {})}
    for part in chosen("parts", parts, PARTS) if parts is not None else tuple(present):
        if part not in present:
            gathering.skip(f"Tasks/ASR/{part}", "part is missing", "extract it, or leave it out")
            continue
        _read_part(gathering, tasks / part, codes)
    return gathering.result()


def _read_part(gathering: Gathering, part: Path, codes: Mapping[str, str]) -> None:
    for name in FILES:
        if not (part / name).is_file():
            raise LayoutError(part, f"no file '{name}'", _EXPECTED)
    paths, texts, subdialects, speakers = (keyed_lines(part / name, gathering) for name in FILES)
    split = part.name.partition("_")[0]
    for utterance, path in paths.items():
        where = f"{part.name}/{utterance}"
        absent = [
            name
            for name, table in zip(FILES[1:], (texts, subdialects, speakers), strict=True)
            if utterance not in table
        ]
        if absent:
            gathering.skip(where, f"not in {', '.join(absent)}", "add its line, or drop it")
            continue
        sentence = without_han_spaces(_MARK.sub("", texts[utterance]))
        if not sentence:
            gathering.skip(where, "nothing but noise marks in text", "drop the utterance")
            continue
        variety = gathering.variety(where, subdialects[utterance], given=codes, corpus="kespeech")
        if variety is None:
            continue
        if path.endswith("|"):
            gathering.skip(
                where,
                "wav.scp has a command, not a path",
                f"run '{path.rstrip('| ')}' and name the file that it writes",
            )
            continue
        audio = gathering.audio(where, gathering.root / path)
        if audio is None:
            continue
        gathering.add(
            Item(
                id=utterance,
                variety=variety,
                meaning=sentence,
                audio=audio,
                transcript=sentence,
                speaker=speakers[utterance],
                split=split,
                extra={"subdialect": subdialects[utterance]},
            ),
            where=where,
        )
    for name, table in zip(FILES[1:], (texts, subdialects, speakers), strict=True):
        for utterance in table:
            if utterance not in paths:
                gathering.skip(
                    f"{part.name}/{utterance}", f"in {name} but not in wav.scp", "add its recording"
                )
