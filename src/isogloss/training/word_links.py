"""Word links of two texts without an aligner: identical words, or a lexicon's; for objectives."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from isogloss.corpora.word_pairs import read_lexicons
from isogloss.encoders.words import words_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from isogloss.types import Lexicon

__all__ = ["LexiconLinks", "bare", "lexicon_links", "one_to_one", "same_words"]


def bare(word: str) -> str:
    """A word without the signs around it, and without capitals; "" for signs alone."""
    first, last = 0, len(word)
    while first < last and unicodedata.category(word[first])[0] not in "LMN":
        first += 1
    while last > first and unicodedata.category(word[last - 1])[0] not in "LMN":
        last -= 1
    return word[first:last].casefold()


def one_to_one(links: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The links whose words have no other link, in order; a link twice counts once."""
    found = sorted(set(links))
    left: dict[int, int] = {}
    right: dict[int, int] = {}
    for i, j in found:
        left[i] = left.get(i, 0) + 1
        right[j] = right.get(j, 0) + 1
    return tuple((i, j) for i, j in found if left[i] == right[j] == 1)


def same_words(a: str, b: str) -> tuple[tuple[int, int], ...]:
    """Links (word of `a`, word of `b`) between equal words that stand once in each text.

    Words are those of `words_of`, compared without capitals and the signs around them. Numbers,
    names and cognates in one script link; texts in two scripts have hardly any link.
    """
    left, right = _bare_words(a), _bare_words(b)
    return one_to_one(
        (i, j)
        for i, word in enumerate(left)
        for j, other in enumerate(right)
        if word and word == other
    )


@dataclass(frozen=True, slots=True)
class LexiconLinks:
    """Links by a dictionary: `words` maps a bare word to the bare words it is translated by."""

    words: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, lexicons: Iterable[Lexicon]) -> LexiconLinks:
        """Of word lists, read both ways; pairs with a phrase of several words are left out.

        In scripts without spaces every character is a word of its own (see `words_of`), so that
        only entries of one character each link.
        """
        words: dict[str, set[str]] = {}
        for lexicon in lexicons:
            for source, target in lexicon.pairs:
                if len(words_of(source)) == len(words_of(target)) == 1:
                    words.setdefault(bare(source), set()).add(bare(target))
                    words.setdefault(bare(target), set()).add(bare(source))
        return cls({word: frozenset(others) for word, others in words.items() if word})

    def links(self, a: str, b: str) -> tuple[tuple[int, int], ...]:
        """Links between words of which one translates the other, where no third word competes."""
        left, right = _bare_words(a), _bare_words(b)
        return one_to_one(
            (i, j)
            for i, word in enumerate(left)
            for j, other in enumerate(right)
            if word and other in self.words.get(word, ())
        )


@lru_cache(maxsize=8)
def lexicon_links(path: str) -> LexiconLinks:
    """The links of a lexicon file (see `read_lexicons`), read once."""
    return LexiconLinks.of(read_lexicons(Path(path)))


def _bare_words(text: str) -> list[str]:
    return [bare(text[first:last]) for first, last in words_of(text)]
