from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from isogloss.corpora import read_audio, read_corpus
from isogloss.corpora.synth.espeak import say
from isogloss.corpora.synth.speak import speak_corpus
from isogloss.errors import IsoglossError, UnknownName
from isogloss.types import Corpus, Item

TEXTS = Corpus(
    "texts",
    (
        Item("a-de", "deu", meaning="a", text="Regnet es?", split="train"),
        Item("a-ba", "bar-central", meaning="a", text="Rengts?", split="test"),
        Item("b-de", "deu", meaning="b", transcript="Guten Morgen", split="test"),
        Item("mute", "deu", meaning="c", split="test", text=None, audio="x.wav"),
        Item("han", "cmn", meaning="a", text="下雨吗", split="test"),
    ),
)


def test_texts_get_voices_and_say_whose(tmp_path: Path) -> None:
    spoken, skipped = speak_corpus(TEXTS, tmp_path)
    assert [entry.item for entry in skipped] == ["mute", "han"]
    assert "no voice for cmn" in skipped[1].reason
    items = {item.id: item for item in read_corpus(tmp_path).items}
    assert items.keys() == {"a-de", "a-ba", "b-de"} == {item.id for item in spoken.items}
    assert items["a-de"].extra["voice"] == "espeak-ng 'de'"
    assert "approximation" in items["a-ba"].extra["voice"]
    assert items["b-de"].phones is not None
    assert items["a-de"].transcript == "Regnet es?"
    for item in items.values():
        assert 0.2 < len(read_audio(str(item.audio))) / 16000 < 4


def test_training_voices_do_not_return_and_copies_differ(tmp_path: Path) -> None:
    spoken, _ = speak_corpus(TEXTS, tmp_path, copies=3)
    training = [item for item in spoken.items if item.split == "train"]
    assert [item.id for item in training] == ["a-de", "a-de-2", "a-de-3"]
    assert len({item.speaker for item in training}) == 3
    judged = {item.speaker for item in spoken.items if item.split == "test"}
    assert not judged & {item.speaker for item in training}


def test_the_same_call_gives_the_same_recordings_and_goes_on(tmp_path: Path) -> None:
    once, _ = speak_corpus(TEXTS, tmp_path / "a")
    again, _ = speak_corpus(TEXTS, tmp_path / "b")
    for one, two in zip(once.items, again.items, strict=True):
        assert np.array_equal(read_audio(str(one.audio)), read_audio(str(two.audio)))
    assert once.sha is not None
    repeated, _ = speak_corpus(TEXTS, tmp_path / "a")
    assert repeated.sha == once.sha


def test_what_cannot_be_spoken_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="xx-none"):
        speak_corpus(TEXTS, tmp_path, voices={"deu": "xx-none"})
    only_han = Corpus("han", TEXTS.items[-1:])
    with pytest.raises(IsoglossError, match="no voice for cmn"):
        speak_corpus(only_han, tmp_path)
    with pytest.raises(ValueError, match="copies must be at least 1"):
        speak_corpus(TEXTS, tmp_path, copies=0)


def test_foreign_words_are_read_or_refused() -> None:
    text = "zeige book name Straight No Chase"
    assert len(say(text, "de").phones) > 10
    with pytest.raises(ValueError, match="the voice cannot read"):
        say(text, "de", foreign=False)


@pytest.mark.parametrize("text", ["?!...", "—", "  "])
def test_a_text_without_sound_is_skipped_not_spoken_as_silence(text: str, tmp_path: Path) -> None:
    items = (*TEXTS.items[:1], dataclasses.replace(TEXTS.items[0], id="odd", text=text))
    spoken, skipped = speak_corpus(Corpus("odd", items), tmp_path)
    assert [item.id for item in spoken.items] == [TEXTS.items[0].id]
    assert [entry.item for entry in skipped] == ["odd"]


def test_odd_names_and_texts_are_spoken(tmp_path: Path) -> None:
    texts = ("🙂", "<speak>ja</speak>", "ja\x00nein", "12345678901234567890", "https://x.y/?a=1")
    items = tuple(Item(f"../{n} ü", "deu", text=text, split="test") for n, text in enumerate(texts))
    spoken, skipped = speak_corpus(Corpus("odd", items), tmp_path)
    assert skipped == ()
    for item in spoken.items:
        assert tmp_path in Path(str(item.audio)).parents
        assert len(read_audio(str(item.audio))) > 1600
