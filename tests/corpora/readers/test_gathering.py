from __future__ import annotations

import os
import sys

import pytest

from isogloss.corpora.conformance import check_reader
from isogloss.corpora.readers.folder import read
from isogloss.corpora.readers.gathering import Gathering
from isogloss.types import Item


@pytest.fixture
def gathering(tmp_path) -> Gathering:
    return Gathering(tmp_path, name="test")


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (Item(id="", variety="yue"), "id is empty"),
        (Item(id="b", variety="yuue"), "did you mean yue"),
        (Item(id="a", variety="yue"), "twice"),
        (Item(id="b", variety="yue", transcript="\udcff"), "transcript is not text"),
        (Item(id="b", variety="yue", extra={"k\udcff": "v"}), "extra 'k?' is not text"),
        (Item(id="b", variety="yue", split="later"), "'later' is not a split"),
    ],
)
def test_an_item_that_would_spoil_the_corpus_is_refused(gathering, item, reason) -> None:
    assert gathering.add(Item(id="a", variety="yue"))
    assert not gathering.add(item, where="line 7")
    result = gathering.result()
    assert [i.id for i in result.corpus.items] == ["a"]
    skip = result.skipped[0]
    assert skip.item == "line 7"
    assert reason in skip.reason
    assert skip.remedy


def test_names_no_file_can_have_are_missing_files(gathering, tmp_path) -> None:
    assert gathering.audio("a", tmp_path / ("x" * 5000)) is None
    assert gathering.audio("b", tmp_path / "a\0b.wav") is None
    assert gathering.audio("c") is None
    assert gathering.audio("d", tmp_path) is None  # a folder
    assert gathering.result().reasons() == {"audio file is missing": 4}


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux only")
def test_a_recording_whose_name_is_not_utf8_is_reported(tmp_path, tone) -> None:
    tone(tmp_path / "a.wav")
    os.rename(tmp_path / "a.wav", os.fsencode(tmp_path) + b"/\xff.wav")  # noqa: PTH104
    tone(tmp_path / "b.wav")
    result = check_reader(
        read, tmp_path, expected_items=1, expected_skipped=1, pattern=".+", variety="yue"
    )
    assert "is not text" in result.skipped[0].reason
