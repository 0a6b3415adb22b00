from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from isogloss.corpora.conformance import check_reader
from isogloss.corpora.readers import LayoutError
from isogloss.corpora.readers.aligned_lines import read
from isogloss.errors import UnknownName

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "eng.txt").write_text("one\ntwo\n\nfour\n", encoding="utf-8")
    with gzip.open(tmp_path / "yue.txt.gz", "wt", encoding="utf-8") as handle:
        handle.write("一\n二\n三\n四\n")
    return tmp_path


def test_an_empty_line_is_skipped_and_shifts_nothing(root: Path) -> None:
    result = check_reader(read, root, expected_items=7, expected_skipped=1)
    texts = {(item.meaning, item.variety): item.text for item in result.corpus.items}
    assert texts["4", "eng"] == "four"
    assert texts["4", "yue"] == "四"
    assert ("3", "eng") not in texts
    assert result.skipped[0].item == "eng.txt:3"


def test_unequal_numbers_of_lines_are_refused_with_both_counts(root: Path) -> None:
    (root / "cmn.txt").write_text("一\n二\n", encoding="utf-8")
    with pytest.raises(LayoutError, match=r"cmn\.txt has 2, eng\.txt has 4"):
        read(root)


def test_a_line_in_another_encoding_is_skipped(root: Path) -> None:
    (root / "deu.txt").write_bytes("eins\nzwölf\ndrei\nvier\n".encode("latin-1"))
    result = read(root)
    assert [s.item for s in result.skipped if "UTF-8" in s.reason] == ["deu.txt:2"]
    assert {i.meaning for i in result.corpus.items if i.variety == "deu"} == {"1", "3", "4"}


def test_a_line_of_a_hundred_thousand_characters_is_kept_whole(tmp_path: Path) -> None:
    (tmp_path / "eng.txt").write_text("a" * 100_000 + "\nshort\n", encoding="utf-8")
    assert [len(item.text or "") for item in read(tmp_path).corpus.items] == [100_000, 5]


def test_files_can_be_named(root: Path) -> None:
    (root / "corpus.nan").write_text("a\nb\nc\nd\n", encoding="utf-8")
    result = read(root, files={"nan": "corpus.nan", "eng": "eng.txt"}, split="dev")
    assert {item.variety for item in result.corpus.items} == {"nan", "eng"}
    assert {item.split for item in result.corpus.items} == {"dev"}
    with pytest.raises(LayoutError, match=r"no file 'absent\.txt'"):
        read(root, files={"nan": "absent.txt"})
    with pytest.raises(UnknownName, match="nann"):
        read(root, files={"nann": "corpus.nan"})


def test_a_folder_without_texts_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=r"VARIETY\.txt"):
        read(tmp_path)


def test_a_line_in_another_encoding_is_counted_once_and_blank_ends_too(tmp_path: Path) -> None:
    (tmp_path / "eng.txt").write_bytes(b"one\ntwo\nthree\nfour\n")
    (tmp_path / "deu.txt").write_bytes("eins\nzwölf\ndrei\n\n".encode("latin-1"))
    result = read(tmp_path)
    assert [(s.item, s.reason) for s in result.skipped] == [
        ("deu.txt:2", "line is not UTF-8"),
        ("deu.txt:4", "no text"),
    ]
    assert [i.meaning for i in result.corpus.items if i.variety == "deu"] == ["1", "3"]
