"""Where the words of a text are: character spans, by white space or as the item says.

A tokenizer's pieces are put to words by these spans, never by tokenising word by word, so that a
word of which a tokenizer leaves nothing gets no steps and moves no other.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

import numpy as np

from isogloss.encoders.item_text import text_of
from isogloss.errors import TextError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from isogloss.types import Item

__all__ = ["UNSPACED_RANGES", "item_spans", "span_words", "words_of"]

# Scripts written without spaces between words: each character is a word of its own.
UNSPACED_RANGES = (
    (0x0E01, 0x0E3A),  # Thai
    (0x0E40, 0x0E4E),
    (0x0E81, 0x0EDF),  # Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17D3),  # Khmer
    (0x2E80, 0x2FDF),  # radicals
    (0x3005, 0x3007),
    (0x3021, 0x3029),
    (0x3031, 0x3035),
    (0x3040, 0x309F),  # hiragana
    (0x30A0, 0x30FF),  # katakana
    (0x3100, 0x312F),  # bopomofo
    (0x31A0, 0x31BF),
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F),
    (0x1B000, 0x1B16F),  # kana supplements
    (0x20000, 0x3FFFF),  # Han, planes 2 and 3
)
"""First and last code points of scripts without spaces, rising."""

_FIRSTS = [first for first, _ in UNSPACED_RANGES]


def words_of(text: str) -> list[tuple[int, int]]:
    """Character spans (first, one behind the last) of the words of `text`, in order.

    Words are what white space separates, punctuation included; each character of Han, kana,
    bopomofo, Thai, Lao, Khmer and Myanmar is a word of its own, with the marks (vowel signs, tones,
    variation selectors) that follow it. A text of white space alone has no words.
    """
    spans: list[tuple[int, int]] = []
    start: int | None = None
    for place, character in enumerate(text):
        if character.isspace():
            if start is not None:
                spans.append((start, place))
            start = None
        elif _is_unspaced(character):
            if start is not None and not (_is_mark(character) and _is_unspaced(text[start])):
                spans.append((start, place))
                start = place
            elif start is None:
                start = place
        elif start is not None and _is_unspaced(text[start]) and not _is_mark(character):
            spans.append((start, place))
            start = place
        elif start is None:
            start = place
    if start is not None:
        spans.append((start, len(text)))
    return spans


def item_spans(item: Item) -> list[tuple[int, int]]:
    """Character spans of the item's words in `text_of(item)`: its own `words`, else `words_of`.

    Its own words are looked for one behind the other; an empty one has an empty span. What stands
    between them belongs to no word.

    Raises:
        TextError: there is no text, or one of its words does not follow in it.
    """
    text = text_of(item)
    if not item.words:
        return words_of(text)
    spans = []
    place = 0
    for number, word in enumerate(item.words):
        found = text.find(word, place)
        if found < 0:
            raise TextError(
                item.id, f"its word {number}, '{word}', does not follow in the text at {place}"
            )
        place = found + len(word)
        spans.append((found, place))
    return spans


def span_words(
    text: str, pieces: Sequence[tuple[int, int]], words: Sequence[tuple[int, int]]
) -> npt.NDArray[np.int64]:
    """The number of the word of each of `pieces`, (T,) int64; -1 for a piece in no word.

    A piece belongs to the word in which its first character lies that is no white space; one over
    several words to the first of them. An empty piece is in no word.

    Args:
        text: what the spans are of.
        pieces: character spans, in any order.
        words: character spans in rising order that do not overlap.
    """
    numbers = [number for number, (first, last) in enumerate(words) if first < last]
    firsts = [words[number][0] for number in numbers]
    found = np.full(len(pieces), -1, dtype=np.int64)
    for row, (first, last) in enumerate(pieces):
        place = first
        while place < last and text[place].isspace():
            place += 1
        if place >= last:
            continue
        at = bisect_right(firsts, place) - 1
        if at >= 0 and place < words[numbers[at]][1]:
            found[row] = numbers[at]
        elif at + 1 < len(firsts) and firsts[at + 1] < last:
            found[row] = numbers[at + 1]
    return found


def _is_unspaced(character: str) -> bool:
    code = ord(character)
    if code < _FIRSTS[0]:
        return False
    return code <= UNSPACED_RANGES[bisect_right(_FIRSTS, code) - 1][1]


def _is_mark(character: str) -> bool:
    import unicodedata

    return unicodedata.category(character).startswith("M")
