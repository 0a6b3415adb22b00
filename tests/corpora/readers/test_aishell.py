from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from isogloss.corpora.catalogue import load_reader
from isogloss.corpora.conformance import check_reader
from isogloss.corpora.readers import LayoutError
from isogloss.corpora.readers.aishell import read
from isogloss.errors import UnknownName

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def corpus(tmp_path, tone) -> Path:
    root = tmp_path / "data_aishell"
    tone(root / "wav" / "train" / "S0002" / "BAC009S0002W0122.wav")
    tone(root / "wav" / "train" / "S0002" / "BAC009S0002W0123.wav")  # no transcript
    tone(root / "wav" / "test" / "S0764" / "BAC009S0764W0121.wav")
    (root / "wav" / "test" / "S0764" / "BAC009S0764W0122.wav").touch()
    (root / "transcript").mkdir()
    (root / "transcript" / "aishell_transcript_v0.8.txt").write_text(
        "BAC009S0002W0122 而 对 楼市 成交\n"
        "BAC009S0764W0121 甚至 出现 GDP 数据\n"
        "BAC009S0764W0122 空 的\n"
        "BAC009S0764W0199 没有 录音\n"
        "BAC009S0764W0123\n",
        encoding="utf-8",
    )
    return root


def test_sound_and_transcripts_are_joined(corpus) -> None:
    # Skipped: no transcript, empty file, no recording, no text, no dev folder.
    result = check_reader(load_reader("aishell"), corpus, expected_items=2, expected_skipped=5)
    first, second = result.corpus.items
    assert (first.id, first.speaker, first.split) == ("BAC009S0002W0122", "S0002", "train")
    assert (first.variety, first.transcript) == ("cmn-standard", "而对楼市成交")
    assert second.transcript == "甚至出现GDP数据"


def test_the_folder_above_and_one_split(corpus) -> None:
    check_reader(read, corpus.parent, expected_items=1, expected_skipped=2, splits=("test",))


def test_wrong_roots_and_options_are_refused(corpus, tmp_path) -> None:
    with pytest.raises(LayoutError, match="no transcript/aishell_transcript"):
        read(corpus / "wav")
    with pytest.raises(UnknownName, match="did you mean train"):
        read(corpus, splits=("trian",))
    for path in corpus.rglob("*.wav"):
        path.unlink()
    with pytest.raises(LayoutError, match="no recordings below wav"):
        read(corpus)
    (corpus / "wav" / "S0002.tar.gz").touch()
    with pytest.raises(LayoutError, match="archives in wav/ are not extracted"):
        read(corpus)
