"""Word links without an aligner: equal words and dictionaries, one to one."""

from __future__ import annotations

import pytest

from isogloss.errors import BadRecord
from isogloss.training.word_links import LexiconLinks, bare, lexicon_links, one_to_one, same_words
from isogloss.types import Lexicon


def test_a_bare_word_has_no_signs_around_it_and_no_capitals():
    assert bare("„Haus“,") == "haus"
    assert bare("don't!") == "don't"
    assert bare("Straße") == "strasse"
    assert bare("--") == ""
    assert bare("हिन्दी।") == "हिन्दी"


def test_only_words_with_one_link_stay():
    assert one_to_one([(0, 1), (2, 1), (3, 0), (3, 0), (4, 4)]) == ((3, 0), (4, 4))
    assert one_to_one([]) == ()


def test_equal_words_link_where_they_stand_once():
    assert same_words("Open the file config.txt !", "Die Datei Config.txt öffnen !") == ((3, 2),)
    assert same_words("a b a", "a b") == ((1, 1),)
    assert same_words("", "a") == ()
    # Characters of Han are words of their own.
    assert same_words("我食飯", "我吃饭") == ((0, 0),)


def test_dictionary_links_both_ways_and_drop_what_competes():
    lexicon = Lexicon("eng", "deu", (("dog", "Hund"), ("house", "Haus"), ("ice cream", "Eis")))
    table = LexiconLinks.of([lexicon])
    assert table.links("The dog, a house", "Ein Haus und ein Hund.") == ((1, 4), (3, 1))
    assert table.links("Hund", "dog") == ((0, 0),)
    assert table.links("dog dog", "Hund") == ()
    assert table.links("ice cream", "Eis") == ()


def test_a_lexicon_file_is_read(tmp_path):
    path = tmp_path / "words.tsv"
    path.write_text("source\ttarget\ndog\tHund\n", encoding="utf-8")
    assert lexicon_links(str(path)).links("dog", "hund") == ((0, 0),)
    bad = tmp_path / "bad.tsv"
    bad.write_text("dog\n", encoding="utf-8")
    with pytest.raises(BadRecord):
        lexicon_links(str(bad))
