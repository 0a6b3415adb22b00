"""The kit on encoders of text that break the contract, each in one way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from isogloss.encoders import check_encoder
from isogloss.encoders.item_text import text_of
from isogloss.types import Item, Sequences

if TYPE_CHECKING:
    from collections.abc import Sequence

ITEMS = [Item("a", "deu", text="ein Hund"), Item("b", "deu", text="zwei")]


class Reader:
    """A step a character: its number and place; words by white space."""

    takes_text = True
    made_by = "reader"

    def encode(self, items: Sequence[Item]) -> Sequences:
        texts = [self.text(item) for item in items]
        return Sequences.from_list(
            [item.id for item in items],
            [self.steps(text, max(map(len, texts))) for text in texts],
            made_by=self.made_by,
            words=[self.words(text) for text in texts],
        )

    def text(self, item: Item) -> str:
        return text_of(item)

    def steps(self, text: str, longest: int) -> np.ndarray:
        return np.array([[ord(c), i] for i, c in enumerate(text)], np.float32)

    def words(self, text: str) -> np.ndarray:
        return np.array([text[:i].count(" ") for i in range(len(text))], np.int64)


def test_one_that_keeps_it() -> None:
    check_encoder(Reader(), ITEMS)


class Blank(Reader):
    def text(self, item: Item) -> str:
        return (item.text or "").strip() or "?"


class Nameless(Reader):
    def text(self, item: Item) -> str:
        return text_of(Item("row 0", "und", text=item.text))


class Falling(Reader):
    def words(self, text: str) -> np.ndarray:
        return super().words(text)[::-1].copy()


class TooMany(Reader):
    def words(self, text: str) -> np.ndarray:
        return super().words(text) + 1


class Padded(Reader):
    """The longest text of a batch is in every step: padding that leaked."""

    def steps(self, text: str, longest: int) -> np.ndarray:
        found = super().steps(text, longest)
        found[:, 1] += longest - len(text)
        return found


class Cut(Reader):
    """What lies beyond 100 characters has no number."""

    def steps(self, text: str, longest: int) -> np.ndarray:
        found = super().steps(text, longest)
        found[100:] = np.nan
        return found


@pytest.mark.parametrize(
    ("encoder", "problem"),
    [
        (Blank(), "an item with the text None is not refused by a TextError"),
        (Nameless(), "the TextError of an item with the text '' names another"),
        (Falling(), "item 'a': the words of its steps fall"),
        (TooMany(), "item 'b' has 1 words but a step of word 1"),
        (Padded(), "item 'b' alone differs from the batch"),
        (Cut(), "values hold NaN"),
    ],
)
def test_each_breach_is_named(encoder: Reader, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        check_encoder(encoder, ITEMS)
