from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from isogloss.corpora.conformance import check_reader
from isogloss.corpora.readers import LayoutError
from isogloss.corpora.readers.sib200 import read

if TYPE_CHECKING:
    from pathlib import Path

HEAD = "index_id\tcategory\ttext\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for language, rows in (
        ("eng_Latn", "7\tsports\tA ball.\n8\ttravel\tA road.\n"),
        ("zho_Hans", "7\tsports\t一个球。\n8\ttravel\t\n"),
        ("zho_Hant", "7\tsports\t一個球。\n"),
    ):
        folder = tmp_path / language
        folder.mkdir()
        with gzip.open(folder / "test.tsv.gz", "wt", encoding="utf-8") as handle:
            handle.write(HEAD + rows)
    return tmp_path


def test_rows_with_one_index_are_translations(root: Path) -> None:
    result = check_reader(read, root, splits=("test",), expected_items=4, expected_skipped=1)
    assert {i.variety: i.text for i in result.corpus.items if i.meaning == "7"} == {
        "eng": "A ball.", "cmn-simplified": "一个球。", "cmn-traditional": "一個球。",
    }  # fmt: skip
    assert {i.extra["category"] for i in result.corpus.items} == {"sports", "travel"}


def test_languages_and_splits_are_chosen(root: Path) -> None:
    found = read(root, languages=("zho_Hant",))
    assert {item.variety for item in found.corpus.items} == {"cmn-traditional"}
    assert sorted(s.item for s in found.skipped) == ["zho_Hant/dev", "zho_Hant/train"]


def test_another_table_is_refused(root: Path) -> None:
    (root / "eng_Latn" / "dev.tsv").write_text("id\ttext\n", encoding="utf-8")
    with pytest.raises(LayoutError, match="no column 'index_id'"):
        read(root, splits=("dev",))
