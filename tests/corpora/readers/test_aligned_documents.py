from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from isogloss.corpora.conformance import check_reader
from isogloss.corpora.readers import LayoutError, OptionError
from isogloss.corpora.readers.aligned_documents import read, read_blocks

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "dev.de").write_text("eins\nzwei\n\nvier\n", encoding="utf-8")
    (tmp_path / "dev.fr").write_text("un\nun et demi\ndeux\n", encoding="utf-8")
    (tmp_path / "dev.defr").write_text("[0]:[0, 1]\n[1]:[2]\n[2,3]:[]:0.5\n", encoding="utf-8")
    return tmp_path


def test_sentences_of_a_block_share_a_meaning(root: Path) -> None:
    result = check_reader(read, root, expected_items=6, expected_skipped=0)
    by_meaning: dict[object, list[str]] = {}
    for item in result.corpus.items:
        by_meaning.setdefault(item.meaning, []).append(str(item.text))
    assert by_meaning["dev:0"] == ["eins", "un", "un et demi"]
    assert by_meaning["dev:1"] == ["zwei", "deux"]
    assert by_meaning[None] == ["vier"]
    assert {item.extra["line"] for item in result.corpus.items if item.text == "vier"} == {"3"}
    assert {item.split for item in result.corpus.items} == {"dev"}


def test_a_gold_that_names_a_missing_line_is_refused(root: Path) -> None:
    (root / "dev.defr").write_text("[0]:[7]\n", encoding="utf-8")
    with pytest.raises(LayoutError, match=r"line 7 of dev\.fr, which has 3"):
        read(root)


def test_a_line_that_is_no_block_is_named(root: Path) -> None:
    (root / "dev.defr").write_text("[0]:[0]\n0-0\n", encoding="utf-8")
    with pytest.raises(LayoutError, match="line 2 is no block: '0-0'"):
        read_blocks(root / "dev.defr")


def test_a_line_of_two_blocks_belongs_to_the_first(root: Path) -> None:
    (root / "dev.defr").write_text("[0]:[0]\n[0]:[1]\n[1]:[2]\n", encoding="utf-8")
    result = read(root)
    assert [skip.reason for skip in result.skipped] == ["line 0 is in an earlier block too"]
    by_text = {item.text: item.meaning for item in result.corpus.items}
    assert by_text["eins"] == by_text["un"] == "dev:0"
    assert by_text["un et demi"] is None


def test_a_gold_in_another_encoding_is_refused(root: Path) -> None:
    (root / "dev.defr").write_bytes("[0]:[0]\n".encode("utf-16"))
    with pytest.raises(LayoutError, match="not UTF-8"):
        read(root)


def test_languages_and_missing_files(root: Path) -> None:
    (root / "test1.defr").write_text("[0]:[0]\n", encoding="utf-8")
    assert [skip.item for skip in read(root).skipped] == ["test1"]
    with pytest.raises(LayoutError, match="no alignment"):
        read(root, languages=("de", "it"))
    with pytest.raises(OptionError, match="two endings"):
        read(root, languages=("de",))
