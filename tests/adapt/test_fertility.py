"""Fertility and ALP counted by hand; the size of a vocabulary stops where little is gained."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from isogloss.adapt.fertility import average_log_probability, choose_size, fertility
from isogloss.adapt.static_spaces import static_spaces
from isogloss.adapt.vocabulary_pieces import pieces_of
from isogloss.llm.new_tokenizer import train_tokenizer


class Letters:
    """A token a letter; 'x' is unknown, and 'whole' one token."""

    unk_token_id = 0

    def __call__(self, text: str, **options: Any) -> dict[str, list[int]]:
        del options
        if text.strip() == "whole":
            return {"input_ids": [1]}
        return {"input_ids": [0 if c == "x" else ord(c) for c in text if c != " "]}

    def __len__(self) -> int:
        return 300


def test_fertility_by_hand() -> None:
    found = fertility(Letters(), ["whole ab", "", "abx whole"])
    assert found.words == 4
    assert found.tokens_per_word == (1 + 2 + 3 + 1) / 4
    assert found.tokens_per_character == 7 / (5 + 2 + 3 + 5)
    assert found.whole_words == 0.5
    assert found.unknown == 1 / 7
    with pytest.raises(ValueError, match="no word"):
        fertility(Letters(), ["", " "])


def test_alp_by_hand() -> None:
    # a three times, b once; two lines, the empty one left out.
    expected = (3 * math.log(3 / 4) + math.log(1 / 4)) / 2
    assert average_log_probability(Letters(), ["aab", "a", ""]) == pytest.approx(expected)
    with pytest.raises(ValueError, match="no token"):
        average_log_probability(Letters(), [""])


TEXTS = [f"das Wort {word} steht im Satz" for word in "eins zwei drei vier fünf sechs".split()] * 4


def test_the_size_stops_where_little_is_gained() -> None:
    size, curve = choose_size(TEXTS, train_tokenizer, start=264, step=10, stop=0.5, relative=False)
    assert curve[0].change is None
    assert size == curve[-1].size
    assert all(abs(step.change or 9) >= 0.5 for step in curve[:-1])
    assert [step.alp for step in curve] == sorted(step.alp for step in curve)
    assert [step.fertility for step in curve] == sorted(
        (step.fertility for step in curve), reverse=True
    )
    sooner, _ = choose_size(TEXTS, train_tokenizer, start=264, step=10, stop=0.5, relative=True)
    assert sooner == 274
    capped, _ = choose_size(TEXTS, train_tokenizer, start=264, step=10, most=280, stop=1e-9)
    assert capped == 274
    # Texts are used up: no larger vocabulary comes of them.
    last, curve = choose_size(TEXTS, train_tokenizer, start=264, step=200, stop=1e-9)
    assert last < 600
    with pytest.raises(ValueError, match="positive"):
        choose_size(TEXTS, train_tokenizer, stop=0)


def test_a_tokenizer_that_cannot_be_made_is_refused() -> None:
    with pytest.raises(ValueError, match="needs 260 tokens, got 100"):
        train_tokenizer(TEXTS, 100)
    with pytest.raises(ValueError, match="nothing to make a tokenizer of"):
        train_tokenizer(["", "  "], 300)
    with pytest.raises(ValueError, match="'bpe' or 'unigram'"):
        train_tokenizer(TEXTS, 300, kind="wordpiece")  # type: ignore[arg-type]


def test_tokens_of_the_same_words_are_near_in_static_spaces() -> None:
    old, new = train_tokenizer(TEXTS, 380), train_tokenizer(TEXTS, 80, kind="unigram")
    a, b = static_spaces(TEXTS, pieces_of(old), pieces_of(new), dimensions=8)
    assert a.shape == (len(old), 8)
    assert b.shape == (len(new), 8)
    assert not a[old.eos_token_id].any()
    word = pieces_of(old).by_key[b" sechs"]
    ids = new(" sechs", add_special_tokens=False)["input_ids"]
    rare = max(ids, key=lambda i: np.linalg.norm(b[i]))
    others = [a[i] for i in range(len(a)) if i != word and a[i].any()]
    cosines = [v @ b[rare] / np.linalg.norm(v) / np.linalg.norm(b[rare]) for v in others]
    own = a[word] @ b[rare] / np.linalg.norm(a[word]) / np.linalg.norm(b[rare])
    assert own > np.median(cosines) + 0.2
    again = static_spaces(TEXTS, pieces_of(old), pieces_of(new), dimensions=8)
    np.testing.assert_array_equal(again[0], a)
    with pytest.raises(ValueError, match="different words"):
        static_spaces(["one"], pieces_of(old), pieces_of(new))
