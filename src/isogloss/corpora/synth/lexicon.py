"""The lexicon of the synthetic corpus: `data/lexicon.tsv` in, checked words per variety out.

One row is one concept, with the everyday word of each variety in characters and romanisation, and
a flag that says whether it is a cognate of the Mandarin word. `grammar` and `sentences` use it.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

from isogloss.errors import BadRecord, UnknownName

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "LEXICON_VARIETIES",
    "Cognate",
    "LexiconEntry",
    "Word",
    "check_word",
    "load_lexicon",
    "read_cognate",
    "read_rows",
    "syllables",
]

Cognate = Literal["full", "partial", "none"]
LEXICON_VARIETIES = ("cmn", "yue", "hak", "nan")
"""Varieties that the lexicon has words for; the first is the standard that the others refer to."""

DATA = Path(__file__).parent / "data"
_PINYIN = re.compile(r"[a-zü]+[1-5]")
_JYUTPING = re.compile(
    r"(?:(?:ng|gw|kw|[bpmfdtnlgkhwzcsj])?(?:aa|oe|eo|yu|[aeiou])(?:ng|[iumnptk])?|ng|m)[1-6]"
)
_TONE_MARKS = {"\u0301", "\u0300", "\u0302", "\u0304", "\u030d"}


@dataclass(frozen=True, slots=True)
class Word:
    """The word of one variety for one concept.

    `characters` are simplified for cmn and traditional for the others. `romanisation` is pinyin or
    jyutping with tone digits and spaces between syllables (cmn, yue), Pha̍k-fa-sṳ (Sixian) or
    Pe̍h-ōe-jī with diacritics and hyphens (hak, nan). `cognate` compares with the Mandarin word,
    both in one script: "full" means the same characters, "partial" some of them, "none" none, or
    the same character for an unrelated word (Hokkien ê written 的). It is "full" for cmn itself.
    """

    concept: str
    characters: str
    romanisation: str
    cognate: Cognate


@dataclass(frozen=True, slots=True)
class LexiconEntry:
    """One row of the lexicon: a concept, its category and its word in each variety."""

    concept: str
    category: str
    words: Mapping[str, Word]

    def word(self, variety: str) -> Word:
        """The word of `variety`.

        Raises:
            UnknownName: the lexicon has no such variety.
        """
        if variety not in self.words:
            raise UnknownName("variety of the lexicon", variety, self.words)
        return self.words[variety]


def load_lexicon(path: Path | None = None) -> dict[str, LexiconEntry]:
    """Entries by concept, in the order of the file; `path` None reads the built-in lexicon.

    Raises:
        BadRecord: a cell is empty, a concept comes twice, a syllable is not in the romanisation's
            alphabet, or a word has not as many syllables as characters.
    """
    return dict(_builtin()) if path is None else _read(path)


@cache
def _builtin() -> dict[str, LexiconEntry]:
    return _read(DATA / "lexicon.tsv")


def _read(path: Path) -> dict[str, LexiconEntry]:
    entries: dict[str, LexiconEntry] = {}
    columns = ["concept", "category", "cmn", "cmn_romanisation"]
    for variety in LEXICON_VARIETIES[1:]:
        columns += [variety, f"{variety}_romanisation", f"{variety}_cognate"]
    for line, row in read_rows(path, columns):
        concept = row["concept"]
        if concept in entries:
            raise BadRecord(path, line, "concept", f"{concept!r} comes twice; remove one row")
        words = {}
        for variety in LEXICON_VARIETIES:
            column = f"{variety}_cognate"
            cognate = read_cognate(path, line, column, row.get(column, "full"))
            word = Word(concept, row[variety], row[f"{variety}_romanisation"], cognate)
            problem = check_word(variety, word.characters, word.romanisation)
            if problem:
                raise BadRecord(path, line, f"{variety}_romanisation", problem)
            words[variety] = word
        entries[concept] = LexiconEntry(concept, row["category"], words)
    return entries


def read_rows(
    path: Path, columns: list[str], *, may_be_empty: frozenset[str] = frozenset()
) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and cells (NFC) of every row of a TSV file whose header is `columns`.

    Raises:
        BadRecord: another header, another number of cells, or an empty cell of a column that is
            not in `may_be_empty`.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    if not lines or lines[0].split("\t") != columns:
        raise BadRecord(path, 1, "header", f"expected the columns {', '.join(columns)}")
    for number, line in enumerate(lines[1:], start=2):
        cells = [unicodedata.normalize("NFC", cell.strip()) for cell in line.split("\t")]
        if len(cells) != len(columns):
            raise BadRecord(path, number, "row", f"{len(cells)} cells instead of {len(columns)}")
        row = dict(zip(columns, cells, strict=True))
        for column, cell in row.items():
            if not cell and column not in may_be_empty:
                raise BadRecord(path, number, column, "is empty; fill it in")
        yield number, row


def read_cognate(path: Path, line: int, field: str, text: str) -> Cognate:
    """The flag in `text`.

    Raises:
        BadRecord: `text` is none of full, partial, none.
    """
    for flag in get_args(Cognate):
        if text == flag:
            return cast("Cognate", flag)
    raise BadRecord(path, line, field, f"{text!r} is not {', '.join(get_args(Cognate))}")


def syllables(romanisation: str) -> list[str]:
    """Syllables of a romanised word or sentence, split at spaces and hyphens."""
    return [syllable for syllable in re.split(r"[ -]", romanisation) if syllable]


def check_word(variety: str, characters: str, romanisation: str) -> str | None:
    """What is wrong with a word or sentence of `variety`, or None.

    One character is one syllable, and every syllable must fit the romanisation: pinyin and
    jyutping with one tone digit, Pha̍k-fa-sṳ and Pe̍h-ōe-jī with at most one tone mark.
    """
    found = syllables(romanisation)
    if len(found) != len(characters):
        return f"{len(found)} syllables ({romanisation}) for {len(characters)} characters"
    for syllable in found:
        if not _is_syllable(variety, syllable):
            return f"{syllable!r} is no syllable of the romanisation used for {variety}"
    return None


def _is_syllable(variety: str, syllable: str) -> bool:
    if variety == "cmn":
        return _PINYIN.fullmatch(syllable) is not None
    if variety == "yue":
        return _JYUTPING.fullmatch(syllable) is not None
    # Beside tone marks, POJ has o͘ (U+0358) and a raised n; Pha̍k-fa-sṳ has ṳ (U+0324).
    letters = unicodedata.normalize("NFD", syllable).replace("ⁿ", "")
    marks = [mark for mark in letters if unicodedata.combining(mark)]
    tones = [mark for mark in marks if mark in _TONE_MARKS]
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    others = set(marks) - _TONE_MARKS
    allowed = {"\u0358"} if variety == "nan" else {"\u0324"}
    return plain.isascii() and plain.islower() and len(tones) <= 1 and others <= allowed
