"""AISHELL-1 (Bu et al. 2017): 178 h of read Mandarin, 400 speakers, Apache-2.0.

    root/                                                or the folder above data_aishell
      data_aishell/transcript/aishell_transcript_v0.8.txt    BAC009S0002W0122 而 对 楼市 成交 ...
      data_aishell/wav/{train,dev,test}/S0002/BAC009S0002W0122.wav

The recordings come as one archive for each speaker (wav/S0002.tar.gz) that must be extracted
first. Blanks between the words of a transcript are dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from isogloss.corpora.readers.gathering import Gathering, chosen
from isogloss.corpora.readers.result import LayoutError, ReadResult
from isogloss.corpora.readers.rows import existing_folder, keyed_lines
from isogloss.corpora.readers.text_rules import without_han_spaces
from isogloss.types import Item

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read"]

SPLITS = ("train", "dev", "test")
_TRANSCRIPT = "transcript/aishell_transcript_v0.8.txt"
_EXPECTED = f"data_aishell/{_TRANSCRIPT} and data_aishell/wav/{{train,dev,test}}/SPEAKER/*.wav"


def read(root: Path, *, splits: tuple[str, ...] = SPLITS) -> ReadResult:
    """The Mandarin utterances of the splits asked for that have both sound and transcript.

    Args:
        root: data_aishell or the folder above it.
        splits: some of train, dev, test.

    Raises:
        LayoutError: the transcript file or every recording is missing.
        UnknownName: a split asked for does not exist.
    """
    folder = existing_folder(root, _EXPECTED)
    if (folder / "data_aishell").is_dir():
        folder = folder / "data_aishell"
    if not (folder / _TRANSCRIPT).is_file():
        raise LayoutError(folder, f"no {_TRANSCRIPT}", _EXPECTED)
    gathering = Gathering(
        folder, name="aishell", licence="Apache-2.0", source="https://www.openslr.org/33"
    )
    recordings = _recordings(gathering, chosen("splits", splits, SPLITS))
    if not recordings:
        archives = any((folder / "wav").glob("*.tar.gz"))
        problem = "archives in wav/ are not extracted" if archives else "no recordings below wav/"
        raise LayoutError(folder, problem, _EXPECTED)
    transcripts = keyed_lines(folder / _TRANSCRIPT, gathering)
    for split, path in recordings:
        where = f"{split}/{path.parent.name}/{path.name}"
        if path.stem not in transcripts:
            gathering.skip(where, "no transcript", "the release has none for some utterances")
            continue
        audio = gathering.audio(where, path)
        if audio is None:
            continue
        gathering.add(
            Item(
                id=path.stem,
                variety="cmn-standard",
                audio=audio,
                transcript=without_han_spaces(transcripts[path.stem]),
                speaker=path.parent.name,
                split=split,
            ),
            where=where,
        )
    _report_silent(gathering, recordings, transcripts, splits)
    return gathering.result()


def _recordings(gathering: Gathering, splits: tuple[str, ...]) -> list[tuple[str, Path]]:
    found: list[tuple[str, Path]] = []
    for split in splits:
        paths = sorted((gathering.root / "wav" / split).glob("*/*.wav"))
        if not paths:
            gathering.skip(f"wav/{split}", "no recordings", "extract the archives of its speakers")
        found += [(split, path) for path in paths]
    return found


def _report_silent(
    gathering: Gathering,
    recordings: list[tuple[str, Path]],
    transcripts: dict[str, str],
    splits: tuple[str, ...],
) -> None:
    """Report transcripts without a recording; only a run over all splits can know them."""
    if set(splits) != set(SPLITS):
        return
    heard = {path.stem for _, path in recordings}
    for utterance in transcripts:
        if utterance not in heard:
            gathering.skip(utterance, "audio file is missing", "extract its speaker's archive")
