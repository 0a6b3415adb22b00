"""Translations made into pairs that differ in meaning, in known ways; used by `divergence`.

    equivalent        as it was
    deletion          a run of words is left out of one side
    replacement       a run of words is replaced by one of another sentence
    unrelated         one side is another sentence

Ranked by how much is lost: equivalent above deletion and replacement, these above unrelated.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

from isogloss.encoders.words import words_of
from isogloss.tasks.token_differences import item_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.types import Item

__all__ = ["KINDS", "Divergent", "synthetic_divergences"]

KINDS = ("equivalent", "deletion", "replacement", "unrelated")
"""From the same meaning to none in common."""

_LEAST_WORDS = 4
_LEAST_SHARE, _MOST_SHARE = 0.25, 0.6


@dataclass(frozen=True, slots=True)
class Divergent:
    """A pair made from a translation: its seed's number, its kind, and both sides."""

    seed: int
    kind: str
    first: Item
    second: Item


def synthetic_divergences(pairs: Sequence[tuple[Item, Item]], *, seed: int = 0) -> list[Divergent]:
    """Four pairs of every translation that has at least four words on both sides.

    Which side is changed, where and how much is drawn from `seed` and the ids of a pair, whatever
    the others are; the other sentence comes from the next pair in the order of a hash of the ids.

    Args:
        pairs: translations.
        seed: of every draw.

    Returns:
        The pairs in order, four for each seed; none for a seed too short.

    Raises:
        ValueError: there are fewer than two translations, so there is no other sentence.

    Source: deletions and replacements after Briakou and Carpuat (2020), section 3, without parser
    and word alignment: a run of words stands for a subtree or phrase.
    """
    usable = [
        number
        for number, pair in enumerate(pairs)
        if min(len(item_tokens(item)) for item in pair) >= _LEAST_WORDS
    ]
    if len(usable) < 2:
        raise ValueError(
            f"synthetic divergences need two translations of {_LEAST_WORDS} words, got "
            f"{len(usable)}"
        )
    order = sorted(usable, key=lambda n: crc32(f"{seed}:{pairs[n][0].id}".encode()))
    after = dict(zip(order, [*order[1:], order[0]], strict=True))
    made: list[Divergent] = []
    for number in usable:
        pair, other = pairs[number], pairs[after[number]]
        key = f"{seed}:{pair[0].id}:{pair[1].id}"
        rng = np.random.default_rng(crc32(key.encode()))
        made.append(Divergent(number, "equivalent", *pair))
        for kind in KINDS[1:]:
            side = int(rng.integers(2))
            changed = _changed(pair[side], other[side], kind, rng)
            sides = (changed, pair[1]) if side == 0 else (pair[0], changed)
            made.append(Divergent(number, kind, *sides))
    return made


def _changed(item: Item, other: Item, kind: str, rng: np.random.Generator) -> Item:
    if kind == "unrelated":
        return replace(other, id=f"{item.id}~{kind}")
    pieces, spaced = _pieces(item)
    share = float(rng.uniform(_LEAST_SHARE, _MOST_SHARE))
    length = max(1, min(len(pieces) - 1, round(share * len(pieces))))
    start = int(rng.integers(len(pieces) - length + 1))
    new: list[str] = []
    if kind == "replacement":
        source, _ = _pieces(other)
        taken = min(length, len(source))
        first = int(rng.integers(len(source) - taken + 1))
        new = source[first : first + taken]
    words = [*pieces[:start], *new, *pieces[start + length :]]
    text = (" " if spaced else "").join(words)
    return replace(item, id=f"{item.id}~{kind}", text=text, transcript=None, words=())


def _pieces(item: Item) -> tuple[list[str], bool]:
    """The words of an item, and whether blanks stand between them."""
    text = item.text or item.transcript or ""
    if item.words or " " in text.strip():
        return list(item_tokens(item)), True
    return [text[start:end] for start, end in words_of(text)], False
