"""Words of a text, and which word a piece of it belongs to: by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isogloss.encoders.item_text import has_text, text_of
from isogloss.encoders.words import item_spans, span_words, words_of
from isogloss.errors import TextError
from isogloss.types import Item


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The fox.", ["The", "fox."]),
        ("  a \n\tb ", ["a", "b"]),
        ("我爱你", ["我", "爱", "你"]),
        ("我爱 Linux系统。", ["我", "爱", "Linux", "系", "统", "。"]),
        ("カタカナ", ["カ", "タ", "カ", "ナ"]),
        ("한국어 말", ["한국어", "말"]),
        ("น้ดี", ["น้", "ดี"]),
        ("葛\U000e0100城", ["葛\U000e0100", "城"]),
        ("", []),
        (" \n", []),
    ],
)
def test_words_by_hand(text: str, words: list[str]) -> None:
    assert [text[first:last] for first, last in words_of(text)] == words


@given(st.text(alphabet=st.sampled_from("ab 我ทน้\u0301\n"), max_size=20))
def test_spans_rise_and_leave_out_white_space_alone(text: str) -> None:
    spans = words_of(text)
    ends = [0, *(place for span in spans for place in span)]
    assert ends == sorted(ends)
    assert all(first < last for first, last in spans)
    inside = {place for first, last in spans for place in range(first, last)}
    assert inside == {place for place, c in enumerate(text) if not c.isspace()}


def test_pieces_go_to_the_word_of_their_first_character() -> None:
    text = "ab cd  ef"
    words = words_of(text)
    pieces = [(0, 1), (1, 2), (2, 4), (4, 7), (2, 3), (5, 5), (1, 9), (6, 9)]
    assert span_words(text, pieces, words).tolist() == [0, 0, 1, 1, -1, -1, 0, 2]


def test_pieces_between_given_words_are_in_none() -> None:
    item = Item("a", "und", text="the (old) fox", words=("the", "old", "", "fox"))
    spans = item_spans(item)
    assert spans == [(0, 3), (5, 8), (8, 8), (10, 13)]
    pieces = [(0, 3), (3, 5), (5, 8), (8, 9), (9, 13)]
    # '(' begins before 'old' and reaches nothing; ' fox' has its first letter in the last word.
    found = span_words(item.text or "", pieces, spans)
    assert found.tolist() == [0, -1, 1, -1, 3]
    assert found.dtype == np.int64


def test_words_that_are_not_in_the_text_are_named() -> None:
    item = Item("a", "und", text="fox dog", words=("dog", "fox"))
    with pytest.raises(TextError, match="item 'a': its word 1, 'fox', does not follow in the text"):
        item_spans(item)


def test_the_text_goes_before_the_transcript() -> None:
    assert text_of(Item("a", "und", text="t", transcript="s")) == "t"
    assert text_of(Item("a", "und", transcript="s")) == "s"
    assert text_of(Item("a", "und", text="", transcript="s")) == "s"
    with pytest.raises(TextError, match="item 'a': it has no text and no transcript"):
        text_of(Item("a", "und", audio="x.wav"))
    with pytest.raises(TextError, match="item 'a': its text is empty"):
        text_of(Item("a", "und", text=" \n"))
    assert not has_text(Item("a", "und", text=" ", transcript=None))
    assert has_text(Item("a", "und", transcript="s"))
