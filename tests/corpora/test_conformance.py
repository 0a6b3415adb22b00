from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from isogloss.corpora.conformance import NotAReader, check_reader
from isogloss.corpora.readers import Coverage, ReadResult, Skipped
from isogloss.types import Corpus, Item

if TYPE_CHECKING:
    from pathlib import Path

GOOD = Item(id="a", variety="yue", meaning="s1", text="佢去咗", speaker="f01", split="test")


def reader_of(*items: Item, skipped: tuple[Skipped, ...] = (), **changes: object):
    def read(root: Path) -> ReadResult:
        corpus = Corpus("c", items, root=str(root.resolve()))
        return replace(ReadResult(corpus, skipped), **changes)

    return read


def test_a_good_reader_gives_its_result_back(tmp_path) -> None:
    result = check_reader(reader_of(GOOD), tmp_path, expected_items=1, expected_skipped=0)
    assert result.corpus.items == (GOOD,)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"id": ""}, "id is empty"),
        ({"variety": "klingon"}, "variety 'klingon'"),
        ({"text": None}, "neither audio nor text"),
        ({"audio": "a.wav"}, "not absolute"),
        ({"audio": "/nowhere/a.wav"}, "does not exist"),
        ({"meaning": ""}, "meaning is ''"),
        ({"meaning": 7}, "meaning is 7"),
        ({"speaker": " "}, "speaker is ' '"),
        ({"split": "eval"}, "split is 'eval'"),
        ({"start_seconds": 2.0, "end_seconds": 1.0}, "ends at 1.0 s"),
        ({"extra": {"age": 30}}, "extra 'age' is 30"),
    ],
)
def test_an_item_that_breaks_a_rule_is_named(tmp_path, changes, problem) -> None:
    with pytest.raises(NotAReader, match=problem):
        check_reader(reader_of(replace(GOOD, **changes)), tmp_path)


def test_all_problems_are_told_at_once(tmp_path) -> None:
    read = reader_of(
        GOOD, GOOD, replace(GOOD, id="b", variety="x"), skipped=(Skipped("l", "", "r"),)
    )
    with pytest.raises(NotAReader) as caught:
        check_reader(read, tmp_path, expected_items=1, expected_skipped=2)
    text = str(caught.value)
    for word in ("3 items instead of 1", "1 skipped instead of 2", "'a' is there twice", "reason"):
        assert word in text
    assert len(caught.value.problems) == 5


def test_a_result_that_is_no_result(tmp_path) -> None:
    with pytest.raises(NotAReader, match="gave a list"):
        check_reader(lambda root: [], tmp_path)  # type: ignore[arg-type, return-value]


def test_a_reader_that_changes_its_mind(tmp_path) -> None:
    count = itertools.count()

    def read(root: Path) -> ReadResult:
        item = replace(GOOD, id=f"a{next(count)}")
        return ReadResult(Corpus("c", (item,), root=str(root)))

    with pytest.raises(NotAReader, match="second reading"):
        check_reader(read, tmp_path)


def test_a_corpus_without_root_or_name_and_too_much_coverage(tmp_path) -> None:
    read = reader_of(corpus=Corpus("", (GOOD,)), coverage=Coverage(3, 2))
    with pytest.raises(NotAReader, match=r"no name.*root 'None'.*coverage is 3 of 2"):
        check_reader(read, tmp_path)
