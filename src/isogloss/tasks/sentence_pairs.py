"""Pairs of sentences that a corpus judges: which there are, and what can be measured of each.

Used by `relatedness` and `divergence`. Items of a pair share `extra['pair']`; its sides are told
by `extra['side']`, and a side may be there in several varieties.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from isogloss.encoders.item_text import text_of
from isogloss.encoders.words import words_of
from isogloss.scores import paired_edit_similarity
from isogloss.tasks.sentences import usable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from isogloss.types import Corpus, FloatArray, Item

__all__ = [
    "JudgedPair",
    "character_dice",
    "cosines",
    "edit_similarities",
    "judged_pairs",
    "length_ratios",
    "word_dice",
]

Floats = npt.NDArray[np.float64]
_LONGEST = 300


@dataclass(frozen=True, slots=True)
class JudgedPair:
    """One pair: its name, both sides by variety, and what the corpus says of it."""

    key: str
    first: Mapping[str, Item]
    second: Mapping[str, Item]

    @property
    def judgements(self) -> Mapping[str, str]:
        """`extra` of its first item."""
        return next(iter(self.first.values())).extra


def judged_pairs(corpus: Corpus, split: str | None) -> tuple[list[JudgedPair], dict[str, int]]:
    """The pairs of a split, in the order of the corpus, and how many were left out by reason.

    The side that comes first in the alphabet is the first. Items without text, and a second item
    of one side and variety, are left out.

    Raises:
        ValueError: there is no pair with two sides.
    """
    members: dict[str, dict[str, dict[str, Item]]] = {}
    left_out: dict[str, int] = {}
    for item in corpus.items:
        pair, side = item.extra.get("pair"), item.extra.get("side")
        if split is not None and item.split not in (None, split):
            continue
        if pair is None or side is None:
            left_out["no pair or side in extra"] = left_out.get("no pair or side in extra", 0) + 1
            continue
        lacking = usable(item)
        if lacking is not None:
            left_out[lacking] = left_out.get(lacking, 0) + 1
            continue
        of_side = members.setdefault(pair, {}).setdefault(side, {})
        if item.variety in of_side:
            reason = "another item of its pair, side and variety"
            left_out[reason] = left_out.get(reason, 0) + 1
            continue
        of_side[item.variety] = item
    found = []
    for key, sides in members.items():
        if len(sides) != 2:
            left_out["not two sides"] = left_out.get("not two sides", 0) + 1
            continue
        first, second = sorted(sides)
        found.append(JudgedPair(key, sides[first], sides[second]))
    if not found:
        raise ValueError(
            f"corpus '{corpus.name}' has no pair of sentences"
            + ("" if split is None else f" in split '{split}'")
            + "; items need `pair` and `side` in `extra`, as the reader sentence_pairs writes them"
        )
    return found, left_out


def cosines(first: FloatArray, second: FloatArray) -> Floats:
    """Cosine of row i of both, (N,); 0 with a zero vector."""
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    products = np.einsum("ij,ij->i", first.astype(np.float64), second.astype(np.float64))
    found: Floats = np.divide(products, norms, out=np.zeros(len(products)), where=norms > 0)
    return found


def character_dice(first: Sequence[str], second: Sequence[str], *, n: int = 3) -> Floats:
    """Dice coefficient of the sets of character n-grams of pair i, (N,), in [0, 1].

    Case is folded; blanks count, and stand at both ends. 1 for two texts without any n-gram.
    """
    return _dice(
        [_ngrams(plain_text(a), n) for a in first], [_ngrams(plain_text(b), n) for b in second]
    )


def word_dice(first: Sequence[str], second: Sequence[str]) -> Floats:
    """Dice coefficient of the sets of words, case folded, (N,); see `encoders.words`."""
    return _dice([_words(plain_text(a)) for a in first], [_words(plain_text(b)) for b in second])


def edit_similarities(first: Sequence[str], second: Sequence[str]) -> Floats:
    """Edit similarity of pair i, of their first 300 characters, (N,)."""
    texts = ([plain_text(text)[:_LONGEST] for text in side] for side in (first, second))
    return paired_edit_similarity(*texts).astype(np.float64)


def length_ratios(first: Sequence[str], second: Sequence[str]) -> Floats:
    """Shorter over longer length in characters, (N,); 1 for two empty texts."""
    found = [(min(len(a), len(b)), max(len(a), len(b))) for a, b in zip(first, second, strict=True)]
    return np.array([low / high if high else 1.0 for low, high in found])


def texts_of(items: Sequence[Item]) -> list[str]:
    """The text of each item."""
    return [text_of(item) for item in items]


def plain_text(text: str) -> str:
    """`text` in one normal form, lower case, blanks single."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _ngrams(text: str, n: int) -> set[str]:
    padded = f" {text} "
    return {padded[i : i + n] for i in range(len(padded) - n + 1)}


def _words(text: str) -> set[str]:
    return {text[start:end] for start, end in words_of(text)}


def _dice(first: Sequence[set[str]], second: Sequence[set[str]]) -> Floats:
    return np.array(
        [
            2 * len(a & b) / (len(a) + len(b)) if a or b else 1.0
            for a, b in zip(first, second, strict=True)
        ]
    )
