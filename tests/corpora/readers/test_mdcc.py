from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from isogloss.corpora.catalogue import load_reader
from isogloss.corpora.conformance import check_reader
from isogloss.corpora.readers import LayoutError
from isogloss.corpora.readers.mdcc import read
from isogloss.errors import UnknownName

if TYPE_CHECKING:
    from pathlib import Path


def write(root: Path, part: str, names: list[str]) -> None:
    lines = ["audio_path,text_path,sex,duration"]
    lines += [f"./audio/{name}.wav,./transcription/{name}.txt,male,4.2" for name in names]
    root.mkdir(parents=True, exist_ok=True)
    (root / f"cnt_asr_{part}_metadata.csv").write_text("\n".join(lines), encoding="utf-8")


@pytest.fixture
def corpus(tmp_path, tone) -> Path:
    root = tmp_path / "mdcc" / "dataset"
    write(root, "train", ["a", "b", "mute", "silent", "blank", "a"])
    write(root, "test", ["c"])
    with (root / "cnt_asr_test_metadata.csv").open("a", encoding="utf-8") as handle:
        handle.write("\n./audio/c.wav\n,,male,1\n")
    for name in ("a", "b", "silent", "blank", "c"):
        tone(root / "audio" / f"{name}.wav")
    (root / "transcription").mkdir()
    for name, text in (("a", "佢 去咗\n"), ("b", "\ufeff好 OK\n啦"), ("mute", "x"), ("c", "係")):
        (root / "transcription" / f"{name}.txt").write_text(text, encoding="utf-8")
    (root / "transcription" / "blank.txt").write_bytes(b"\xff\xfe\n")
    return root


def test_audiobook_utterances(corpus) -> None:
    # Skipped: mute (no audio), silent (no transcript), blank (not UTF-8, then empty), a twice,
    # a cut line, a line without paths, the missing dev table.
    result = check_reader(load_reader("mdcc"), corpus, expected_items=3, expected_skipped=8)
    first, second, third = result.corpus.items
    assert (first.id, first.variety, first.transcript) == ("mdcc-a", "yue-hongkong", "佢去咗")
    assert second.transcript == "好OK啦"
    assert first.extra == {"gender": "male"}
    assert [first.split, third.split] == ["train", "test"]


def test_the_folder_above_works_too(corpus) -> None:
    result = check_reader(read, corpus.parent, expected_items=1, splits=("test",))
    assert result.corpus.root == str(corpus.resolve())


def test_wrong_roots_and_options_are_refused(corpus, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(LayoutError, match="no cnt_asr"):
        read(tmp_path / "empty")
    with pytest.raises(UnknownName, match="unknown splits 'valid'"):
        read(corpus, splits=("valid",))
    (corpus / "cnt_asr_test_metadata.csv").write_text("audio,text_path\n", encoding="utf-8")
    with pytest.raises(LayoutError, match="audio_path"):
        read(corpus)
