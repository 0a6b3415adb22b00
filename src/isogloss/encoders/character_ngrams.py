"""Texts in, 64-bit codes of their character n-grams out; used by `ngram` and `hash_bag`.

A code depends on the characters alone, never on the process (`hash()` does), so that it can be
stored with a model. With 64 bits two n-grams of the same code are not expected in any corpus.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["as_characters", "check_orders", "folded", "ngram_codes", "window_codes"]

# Constants of the finaliser of SplitMix64 (Steele, Lea & Flood 2014).
_ODD = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def folded(text: str) -> str:
    """`text` composed (NFC) and without case, as long as its composed form.

    A character whose folding would be longer ('ß') is only put in lower case, so that places in
    the result are places in the composed text.
    """
    composed = unicodedata.normalize("NFC", text)
    plain = composed.casefold()
    if len(plain) == len(composed):
        return plain
    return "".join(_fold(character) for character in composed)


def as_characters(text: str) -> npt.NDArray[np.uint32]:
    """Code points of `text`, (C,) uint32; lone surrogates are kept as they are."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


def window_codes(characters: npt.NDArray[np.uint32], order: int) -> npt.NDArray[np.uint64]:
    """Codes of all runs of `order` characters, (C - order + 1,); none when C is smaller."""
    count = len(characters) - order + 1
    if count <= 0:
        return np.zeros(0, dtype=np.uint64)
    codes = np.full(count, order, dtype=np.uint64)
    wide = characters.astype(np.uint64)
    for place in range(order):
        codes = _mixed(codes + wide[place : place + count] * _ODD)
    return codes


def ngram_codes(text: str, low: int, high: int) -> npt.NDArray[np.uint64]:
    """Codes of all character n-grams of `low` to `high` characters, (G,), repeated as they occur.

    The text is folded and its white space put as one space; spaces at the ends are dropped. A
    text shorter than `low` counts as one n-gram, so that every text that is not blank has one.
    """
    plain = " ".join(folded(text).split())
    characters = as_characters(plain)
    if 0 < len(characters) < low:
        return window_codes(characters, len(characters))
    return np.concatenate([window_codes(characters, order) for order in range(low, high + 1)])


def check_orders(low: int, high: int) -> None:
    """Raise `ValueError` unless 1 <= low <= high <= 16."""
    if not 1 <= low <= high <= 16:
        raise ValueError(f"n-grams need 1 <= low <= high <= 16, got low={low} and high={high}")


def _fold(character: str) -> str:
    for plain in (character.casefold(), character.lower()):
        if len(plain) == 1:
            return plain
    return character


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    values = (values ^ (values >> np.uint64(30))) * _FIRST
    values = (values ^ (values >> np.uint64(27))) * _SECOND
    mixed: npt.NDArray[np.uint64] = values ^ (values >> np.uint64(31))
    return mixed
