from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from isogloss.corpora.conformance import check_reader
from isogloss.corpora.readers import LayoutError, OptionError
from isogloss.corpora.readers.text_table import read

if TYPE_CHECKING:
    from pathlib import Path

WIDE = 'n,indonesian,english,topic\n0,"satu\ndua",one two,numbers\n1,tiga,,numbers\n'
LONG = "lang\tstory\tpage\ttext\nyue\t1\t0\t一\nzh\t1\t0\t壹\nyue\t1\t1\t二\n\t1\t1\tx\n"


def test_a_wide_table_gives_an_item_for_each_filled_cell(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(WIDE, encoding="utf-8")
    columns = {"ind": "indonesian", "eng": "english"}
    result = check_reader(read, tmp_path, text_column=columns, expected_items=3, expected_skipped=1)
    texts = {(i.meaning, i.variety): i.text for i in result.corpus.items}
    assert texts == {("1", "ind"): "satu dua", ("1", "eng"): "one two", ("2", "ind"): "tiga"}
    assert result.corpus.items[0].extra["topic"] == "numbers"


def test_a_long_table_joins_rows_by_the_columns_of_their_meaning(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text(LONG, encoding="utf-8")
    result = read(
        tmp_path,
        text_column={"text": "text"},
        variety_column="lang",
        meaning_columns=("story", "page"),
    )
    texts = {(i.meaning, i.variety): i.text for i in result.corpus.items}
    assert texts == {("1:0", "yue"): "一", ("1:0", "cmn"): "壹", ("1:1", "yue"): "二"}
    assert len(result.skipped) == 1


def test_one_lost_quotation_mark_costs_one_row(tmp_path: Path) -> None:
    rows = ["ind,eng", 'satu,"one', *(f"kata {n},word {n}" for n in range(60))]
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    result = read(tmp_path, text_column={"ind": "ind", "eng": "eng"})
    assert len(result.corpus.items) == 120
    assert [skip.item for skip in result.skipped] == ["t.csv:2"]


def test_options_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text(LONG, encoding="utf-8")
    with pytest.raises(LayoutError, match="unknown column 'txt'; did you mean text"):
        read(tmp_path, text_column={"yue": "txt"})
    with pytest.raises(OptionError, match="meaning_columns"):
        read(tmp_path, text_column={"text": "text"}, variety_column="lang")
    with pytest.raises(OptionError, match="text=COLUMN"):
        read(
            tmp_path, text_column={"yue": "text"}, variety_column="lang", meaning_columns=("story",)
        )
    with pytest.raises(OptionError, match="at least one"):
        read(tmp_path, text_column={})
