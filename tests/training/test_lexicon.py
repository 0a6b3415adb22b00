from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isogloss.errors import BadRecord, IsoglossError
from isogloss.training.lexicon import WordTies, read_word_ties

if TYPE_CHECKING:
    from pathlib import Path


def ties(*rows: str) -> WordTies:
    return WordTies.of([tuple((*row.split(" "), "", "")[:3]) for row in rows])


@pytest.mark.parametrize(
    ("rows", "text", "wanted"),
    [
        (["唔 不", "唔好 别"], "唔好去唔", "别去不"),
        (["佢 他"], "佢佢", "他他"),
        # The longest word from the left, not the best cover.
        (["ab X", "bcd Y"], "abcd", "Xcd"),
        (["好 很好"], "好好", "很好很好"),
        (["啦 "], "去啦", "去"),
        ([], "去啦", "去啦"),
        (["佢 他"], "", ""),
        # What stands for a word is not looked up again.
        (["a b", "b c"], "ab", "bc"),
        (["hong ⟦香⟧"], "去 hong kong", "去⟦香⟧ kong"),
    ],
)
def test_words_are_replaced(rows: list[str], text: str, wanted: str) -> None:
    assert ties(*rows).replaced(text, "yue") == wanted


def test_a_variety_goes_before_all() -> None:
    lexicon = ties("佢 他", "佢 她 hak", "涯 我 hak")
    assert lexicon.replaced("佢涯", "yue") == "他涯"
    assert lexicon.replaced("佢涯", "hak") == "她我"


@given(st.text(alphabet="abc唔好", max_size=12))
def test_words_that_stand_for_themselves_change_nothing(text: str) -> None:
    assert ties("唔 唔", "唔好 唔好", "ab ab").replaced(text, "yue") == text


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("\ufeff# words\n\ndialect\tstandard\tvariety\n唔\t不\t\n佢\t她\thak\n啦\t\t\n")
    lexicon = read_word_ties(path)
    assert lexicon.replaced("佢唔去啦", "hak") == "她不去"
    assert lexicon.replaced("佢唔去啦", "yue") == "佢不去"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("唔\t不\n", ":1:header"),
        ("dialect\tstandard\n唔\n", ":2:row: 1 cells"),
        ("dialect\tstandard\n唔\t不\n\t不\n", ":3:dialect: .* is empty"),
        ("dialect\tstandard\n唔\t不\n唔\t没\n", "'唔' stands for '不' and for '没'"),
    ],
)
def test_a_bad_file_is_refused_with_its_line(tmp_path: Path, content: str, problem: str) -> None:
    path = tmp_path / "a.tsv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(BadRecord, match=problem):
        read_word_ties(path)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(IsoglossError, match="no such file"):
        read_word_ties(tmp_path / "none.tsv")
