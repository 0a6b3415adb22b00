"""Mixed and packed translations: pieces, draws, what is left out and counted."""

from __future__ import annotations

import pytest

from isogloss.errors import UnknownName
from isogloss.types import Item
from isogloss.variation import mix_varieties, pack_pairs
from isogloss.variation.mix import sentences_of


def item(variety: str, meaning: str | None, text: str | None, **other) -> Item:
    return Item(f"{variety}-{meaning}", variety, meaning=meaning, text=text, **other)


def corpus(count: int = 30) -> list[Item]:
    texts = {"eng": "One {0}. Two {0}! Three {0}?", "deu": "Eins {0}. Zwei {0}! Drei {0}?"}
    return [
        item(variety, f"m{i}", text.format(i), split="train")
        for i in range(count)
        for variety, text in texts.items()
    ]


def test_sentences_of_several_scripts():
    for text, wanted in (
        ('He said "no." Then he left. ', ['He said "no."', "Then he left."]),
        ("我食飯。你呢？好！", ["我食飯。", "你呢？", "好！"]),
        ("line one\nline two", ["line one", "line two"]),
        ("वह गया। मैं आया।", ["वह गया।", "मैं आया।"]),
        ("no end", ["no end"]),
        ("  ", []),
    ):
        assert [text[a:b] for a, b in sentences_of(text)] == wanted


def test_each_sentence_stands_in_its_place_in_one_of_the_varieties():
    found = mix_varieties(corpus(), seed=1)
    assert not found.skipped and len(found.items) == 30
    seen = set()
    for number, mixed in enumerate(found.items):
        assert mixed.meaning == f"m{number}" and mixed.split == "train"
        assert mixed.variety == "eng-mixed"
        pieces = mixed.extra["edits"].split(";")
        codes = [piece.split("=")[1] for piece in pieces]
        assert len(codes) == 3 and set(codes) == {"eng", "deu"}
        seen.add(tuple(codes))
        for piece, english, german in zip(
            pieces, ("One", "Two", "Three"), ("Eins", "Zwei", "Drei"), strict=True
        ):
            start, end = piece.split(">")[1].split("=")[0].split(":")
            word = english if piece.endswith("eng") else german
            assert mixed.text[int(start) : int(end)].startswith(f"{word} {number}")
    assert len(seen) > 3


def test_draws_go_by_seed_and_meaning_alone():
    items = corpus()
    first = {i.id: i.text for i in mix_varieties(items, seed=1).items}
    again = {i.id: i.text for i in mix_varieties(items[::-1], seed=1).items}
    assert first == again
    assert first != {i.id: i.text for i in mix_varieties(items, seed=2).items}


def test_what_cannot_be_mixed_is_counted():
    items = [
        item("eng", "a", "One. Two."),
        item("eng", "b", "One. Two."),
        item("deu", "b", "Eins, zwei."),
        item("eng", "c", "One."),
        item("deu", "c", "Eins."),
        item("eng", None, "x"),
        item("eng", "d", "  "),
    ]
    found = mix_varieties(items)
    assert found.items == ()
    assert found.skipped == {
        "no text or no meaning": 2,
        "one variety only": 1,
        "translations differ in their number of sentences": 1,
        "fewer than two sentences": 1,
    }


def test_chunks_part_a_text_into_equal_shares_of_words():
    items = [item("eng", "m", "a b c d e f"), item("deu", "m", "1 2 3 4 5 6 7 8 9")]
    (mixed,) = mix_varieties(items, unit="chunk", chunks=3, seed=3).items
    words = mixed.text.split()
    for place, (latin, digits) in enumerate((("ab", "123"), ("cd", "456"), ("ef", "789"))):
        part = [w for w in words if w in latin or w in digits]
        assert part in (list(latin), list(digits)), place


def test_only_the_named_varieties_take_part():
    items = [*corpus(2), item("fra", "m0", "Un. Deux. Trois.")]
    found = mix_varieties(items, varieties=["eng", "fra"])
    assert len(found.items) == 1 and "deu" not in found.items[0].extra["edits"]


def test_translations_are_packed_one_after_the_other():
    found = pack_pairs(corpus(5), size=2, separator=" | ", seed=1)
    assert [len(i.text.split(" | ")) for i in found.items] == [4, 4, 2]
    first = found.items[0]
    assert first.meaning == "m0" and first.extra["meanings"] == "m0 m1"
    codes = [piece.split("=")[1] for piece in first.extra["edits"].split(";")]
    assert codes[:2] == codes[2:] and set(codes) == {"eng", "deu"}
    orders = {
        tuple(p.split("=")[1] for p in i.extra["edits"].split(";"))
        for i in pack_pairs(corpus(40), seed=1).items
    }
    assert len(orders) == 2


def test_meanings_of_one_variety_are_not_packed():
    found = pack_pairs([item("eng", "a", "x"), *corpus(1)])
    assert len(found.items) == 1 and found.skipped == {"one variety only": 1}


def test_wrong_options_are_refused():
    with pytest.raises(UnknownName, match="sentence"):
        mix_varieties([], unit="word")
    with pytest.raises(ValueError, match="chunks"):
        mix_varieties([], unit="chunk", chunks=1)
    with pytest.raises(ValueError, match="size"):
        pack_pairs([], size=0)
