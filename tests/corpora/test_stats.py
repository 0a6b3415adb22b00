"""Hours, items, speakers, meanings and characters per variety and split."""

from __future__ import annotations

import numpy as np
import pytest

from isogloss.corpora.audio import write_wav
from isogloss.corpora.stats import character_inventory, corpus_stats, item_seconds
from isogloss.errors import AudioError
from isogloss.types import Item


@pytest.fixture
def wav(tmp_path):
    write_wav(tmp_path / "a.wav", np.zeros(32000, np.float32), 16000)
    return str(tmp_path / "a.wav")


def test_counts_by_hand(wav):
    items = [
        Item("1", "yue", meaning="m1", audio=wav, speaker="s", site="p", split="train",
             transcript="你好 你"),
        Item("2", "yue", meaning="m1", audio=wav, speaker="t", site="p", split="train",
             transcript="好", start_seconds=0.5),
        Item("3", "yue", audio=wav, end_seconds=1.0, split="test"),
        Item("4", "cmn", text="字字"),
        Item("5", "yue", audio="/none.wav", split="test"),
    ]  # fmt: skip
    cmn, train, test = corpus_stats(iter(items))
    assert (cmn.variety, cmn.split, cmn.items, cmn.hours, cmn.characters) == ("cmn", None, 1, 0, 1)
    assert (train.split, train.items, train.speakers, train.sites) == ("train", 2, 2, 1)
    assert (train.meanings, train.characters, train.unmeasured) == (1, 2, 0)
    assert train.hours == pytest.approx(3.5 / 3600)
    assert (test.items, test.unmeasured) == (2, 1)
    assert test.hours == pytest.approx(1.0 / 3600)


def test_known_durations_are_used_and_nothing_is_opened():
    (row,) = corpus_stats([Item("a", "yue", audio="/none.wav")], durations={"a": 36.0})
    assert (row.hours, row.unmeasured) == (0.01, 0)


def test_no_items_no_rows():
    assert corpus_stats([]) == ()
    assert character_inventory([]) == {}


def test_seconds_of_one_item(wav):
    assert item_seconds(Item("a", "yue")) is None
    assert item_seconds(Item("a", "yue", audio=wav)) == 2.0
    assert item_seconds(Item("a", "yue", audio="/none.wav", end_seconds=3.0)) == 3.0
    with pytest.raises(AudioError):
        item_seconds(Item("a", "yue", audio="/none.wav"))


def test_characters_with_their_frequency_per_variety():
    items = [
        Item("1", "yue", transcript="食飯 食"),
        Item("2", "cmn", text="吃饭"),
        Item("3", "yue", transcript="飯", text="不计"),
    ]
    inventory = character_inventory(items)
    assert list(inventory) == ["cmn", "yue"]
    assert inventory["yue"] == {"食": 2, "飯": 2}
