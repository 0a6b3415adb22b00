"""Word lists of pairs of varieties: what is read, and what is refused with its line."""

from __future__ import annotations

import pytest

from isogloss.corpora.word_pairs import read_lexicons
from isogloss.errors import BadRecord


def written(tmp_path, text: str, encoding: str = "utf-8"):
    path = tmp_path / "words.tsv"
    path.write_bytes(text.encode(encoding))
    return path


def test_one_lexicon_for_each_pair_of_varieties(tmp_path):
    path = written(
        tmp_path,
        "source\ttarget\tsource_variety\ttarget_variety\tweight\n"
        "dog\tHund\teng\tdeu\t0.5\n"
        "dog\tHund\teng\tdeu\t0.9\n"
        "dog\tchien\teng\tfra\t\n"
        "ice cream\tEis\teng\tdeu\n",
    )
    german, french = read_lexicons(path)
    assert (german.source_variety, german.target_variety) == ("eng", "deu")
    assert german.pairs == (("dog", "Hund"), ("ice cream", "Eis"))
    assert german.weights == (0.9, 1.0)
    assert french.pairs == (("dog", "chien"),)


def test_two_columns_without_a_header(tmp_path):
    (found,) = read_lexicons(written(tmp_path, "\ufeffdog\tHund\r\n\r\ncat\tKatze\n"))
    assert found.pairs == (("dog", "Hund"), ("cat", "Katze"))
    assert (found.source_variety, found.target_variety) == ("", "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dog\tHund\ncat\n", ":2:source: expected a word"),
        ("dog\tHund\ncat\t\n", ":2:source: expected a word"),
        ("source\ttarget\n\tHund\n", ":2:source: is empty"),
        ("source\ttarget\tweight\ndog\tHund\tmany\n", ":2:weight: 'many' is not"),
        ("source\ttarget\tweight\ndog\tHund\t-1\n", ":2:weight: '-1' is not"),
        ("source\ttarget\tweight\ndog\tHund\tnan\n", ":2:weight: 'nan' is not"),
        ("source\ttarget\n", "no word pair"),
        ("source\ttarget\tcolour\ndog\tHund\tred\n", "column 'colour'"),
        ("a\tb\tc\n", "column 'a'"),
        ("", "empty"),
    ],
)
def test_bad_lines_are_named(tmp_path, text, said):
    with pytest.raises(BadRecord, match=said):
        read_lexicons(written(tmp_path, text))


def test_another_encoding_is_refused(tmp_path):
    for text in ("source\ttarget\ndog\tHündin\n", "dog\tHündin\n"):
        with pytest.raises(BadRecord, match="not UTF-8"):
            read_lexicons(written(tmp_path, text, "latin-1"))
