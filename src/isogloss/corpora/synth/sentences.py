"""The fixed list of 50 everyday sentences: `data/sentences.tsv` in, parallel `Sentence`s out.

They are written by hand in the spirit of a dialect survey questionnaire, for testing only: the
grammar words its sentences otherwise, so a model trained on those has heard the words of these
sentences but never the sentences.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import TYPE_CHECKING

from isogloss.corpora.synth.grammar import Sentence
from isogloss.corpora.synth.lexicon import (
    DATA,
    LEXICON_VARIETIES,
    Word,
    check_word,
    load_lexicon,
    read_cognate,
    read_rows,
)
from isogloss.errors import BadRecord

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_sentences", "survey_sentences"]


def survey_sentences() -> list[Sentence]:
    """The 50 sentences, in their fixed order, each in cmn, yue, hak and nan."""
    return list(_builtin())


@cache
def _builtin() -> tuple[Sentence, ...]:
    return tuple(read_sentences(DATA / "sentences.tsv"))


def read_sentences(path: Path) -> list[Sentence]:
    """Sentences of a TSV file with the columns `sentence` and one per variety.

    The first column is the key of the meaning. A variety's column holds words separated by spaces:
    the key of a lexicon concept, or `concept[characters/romanisation/cognate]` for a word that is
    put otherwise here than in the lexicon (`_` stands for a space in the romanisation). An empty
    column has the same concepts in the same order as Mandarin.

    Raises:
        BadRecord: a meaning comes twice, a word is no concept, or its syllables do not fit its
            characters.
    """
    sentences: dict[str, Sentence] = {}
    columns = ["sentence", *LEXICON_VARIETIES]
    for line, row in read_rows(path, columns, may_be_empty=frozenset(LEXICON_VARIETIES[1:])):
        forms = {
            variety: tuple(
                _word(path, line, variety, token) for token in (row[variety] or row["cmn"]).split()
            )
            for variety in LEXICON_VARIETIES
        }
        meaning = f"survey:{row['sentence']}"
        if meaning in sentences:
            raise BadRecord(path, line, "sentence", f"{row['sentence']!r} comes twice")
        sentences[meaning] = Sentence(meaning, "survey", forms)
    return list(sentences.values())


def _word(path: Path, line: int, variety: str, token: str) -> Word:
    concept, bracket, rest = token.partition("[")
    if not bracket:
        entry = load_lexicon().get(concept)
        if entry is None:
            raise BadRecord(path, line, variety, f"{concept!r} is no concept of the lexicon")
        return entry.word(variety)
    parts = rest.removesuffix("]").split("/")
    if not rest.endswith("]") or len(parts) != 3:
        raise BadRecord(path, line, variety, f"{token!r} is not concept[characters/sounds/cognate]")
    characters = parts[0]
    romanisation = unicodedata.normalize("NFC", parts[1].replace("_", " "))
    problem = check_word(variety, characters, romanisation)
    if problem:
        raise BadRecord(path, line, variety, problem)
    cognate = read_cognate(path, line, variety, parts[2])
    return Word(concept, characters, romanisation, cognate)
