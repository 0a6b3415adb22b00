from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from isogloss.errors import BadRecord
from isogloss.tasks.alignment_encode import WordStates
from isogloss.tasks.alignment_words import (
    ConceptOptions,
    WordPairs,
    concept_estimates,
    item_words,
    linked_words,
    read_lexicon,
    word_estimates,
)
from isogloss.types import Item

if TYPE_CHECKING:
    from pathlib import Path

WORDS = {0: ("the", "House", "is", "the", "7"), 1: ("das", "Haus", "ist", "das", "7", "house")}


def states() -> WordStates:
    item = np.repeat([0, 1], [5, 6])
    word = np.concatenate([np.arange(5), np.arange(6)])
    return WordStates(np.zeros((11, 2), dtype=np.float32), item, word)


def linked(lexicon: dict[str, frozenset[str]] | None) -> list[tuple[int, int]]:
    words = {i: tuple(w.casefold() for w in own) for i, own in WORDS.items()}
    found = linked_words(states(), {4: 0}, {4: 1}, words, lexicon)
    return sorted(zip(found.first.tolist(), found.second.tolist(), strict=True))


def test_words_written_alike_are_partners_when_each_occurs_once() -> None:
    # 'house' (1 - 10) and '7' (4 - 9); 'the' has no partner.
    assert linked(None) == [(1, 10), (4, 9)]


def test_a_lexicon_says_who_is_a_partner() -> None:
    lexicon = {"house": frozenset({"haus"}), "is": frozenset({"ist"}), "the": frozenset({"das"})}
    # 'the' occurs twice, so which of them 'das' translates is not known.
    assert linked(lexicon) == [(1, 6), (2, 7)]
    assert linked({"house": frozenset({"haus", "house"})}) == []
    assert linked({"house": frozenset({"haus"}), "is": frozenset({"haus"})}) == []


def test_words_of_an_item() -> None:
    assert item_words(Item("a", "deu", text="Das  Haus!")) == ("das", "haus!")
    assert item_words(Item("a", "yue", text="你好 ok")) == ("你", "好", "ok")


def test_retrieval_of_words_by_hand_and_by_chance() -> None:
    rng = np.random.default_rng(0)
    same = rng.normal(size=(30, 16)).astype(np.float32)
    values = np.concatenate([same, same, rng.normal(size=(30, 16)).astype(np.float32)])
    pairs = WordPairs(np.arange(30), np.arange(30, 60), "lexicon")
    found = {(e.name, e.direction): e.value for e in word_estimates(values, pairs)}
    assert found["word R@1", "there"] == found["word R@1", "back"] == 1.0
    assert found["word cosine matched", "both"] == pytest.approx(1.0)
    assert abs(found["word cosine random", "both"]) < 0.1
    chance = word_estimates(values, WordPairs(np.arange(30), np.arange(60, 90), "lexicon"))
    assert chance[0].value < 0.2
    with pytest.raises(ValueError, match="3 word pairs by lexicon"):
        word_estimates(values, WordPairs(np.arange(3), np.arange(3), "lexicon"))


def test_planted_concepts() -> None:
    """Twelve concepts of six words each: near in the space, or far apart by variety."""
    rng = np.random.default_rng(1)
    centres = 20 * rng.normal(size=(12, 8))
    concept = np.tile(np.repeat(np.arange(12), 6), 2)
    values = (centres[concept] + 0.1 * rng.normal(size=(144, 8))).astype(np.float32)
    types = [f"{'e' if i < 72 else 'd'}{i % 72}" for i in range(144)]
    lexicon = {f"e{i}": frozenset({f"d{i}"}) for i in range(72)}
    options = ConceptOptions(clusters=12, least_count=1, match=0.9)
    rows = np.arange(72), np.arange(72, 144)
    split = (types[:72], types[72:])
    found = {
        (e.name, e.direction): e
        for e in concept_estimates(values, rows, split, lexicon, options=options)
    }
    assert found["CALIGN", "there"].value == found["CALIGN", "back"].value == 1.0
    assert found["COLAP", "both"].value == 1.0
    assert "shuffled words give 0.000" in found["CALIGN", "there"].note
    apart = values.copy()
    apart[72:] += 1000
    far = concept_estimates(apart, rows, split, lexicon, options=options)
    assert [e.value for e in far if e.name == "CALIGN"] == [1.0, 1.0]
    assert [e.value for e in far if e.name == "COLAP"] == [0.0]
    with pytest.raises(ValueError, match="at least 40"):
        concept_estimates(values, (rows[0][:9], rows[1]), (split[0][:9], split[1]), lexicon,
                          options=options)  # fmt: skip


def test_lexicon_files(tmp_path: Path) -> None:
    path = tmp_path / "lexicon.tsv"
    path.write_text(
        "# comment\neng\tHouse\tdeu\tHaus\neng\thouse\tdeu\tGebäude\n", encoding="utf-8"
    )
    found = read_lexicon(path)
    assert found["eng", "deu"] == {"house": frozenset({"haus", "gebäude"})}
    assert found["deu", "eng"]["haus"] == frozenset({"house"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"eng\thouse\tdeu\n", ":1:line: expected variety, word"),
        (b"eng\ta\tdeu\tb\neng\t\xff\tdeu\tb\n", ":2:line: not UTF-8"),
        (b"\n", "empty"),
    ],
)
def test_bad_lexicons(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "lexicon.tsv"
    path.write_bytes(content)
    with pytest.raises(BadRecord, match=message):
        read_lexicon(path)


@pytest.mark.parametrize(
    "wrong",
    [{"clusters": 0}, {"match": 0.0}, {"overlap": 0.7}, {"least_size_ratio": -1.0}],
)
def test_wrong_thresholds(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        ConceptOptions(**wrong)  # type: ignore[arg-type]
