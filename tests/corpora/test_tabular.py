"""Items as CSV and TSV."""

from __future__ import annotations

import pytest

from isogloss.corpora.tabular import read_table, write_table
from isogloss.errors import BadRecord
from isogloss.types import Item


@pytest.mark.parametrize("name", ["m.csv", "m.tsv"])
def test_items_come_back(tmp_path, name):
    items = [
        Item("a", "yue", audio=str(tmp_path / "w" / "a,\t.wav"), transcript='说"你好",\n好\t',
             start_seconds=0.1, end_seconds=2.5, words=("你", ""), extra={"k": "v,w"}),
        Item("b", "cmn", text="字"),
    ]  # fmt: skip
    assert write_table(items, tmp_path / name) == 2
    assert read_table(tmp_path / name) == items
    header = (tmp_path / name).read_text(encoding="utf-8").splitlines()[0]
    assert "speaker" not in header


def test_an_empty_string_cannot_be_told_from_nothing(tmp_path):
    write_table([Item("a", "yue", transcript="")], tmp_path / "m.csv")
    assert read_table(tmp_path / "m.csv") == [Item("a", "yue")]


def test_no_items_still_make_a_readable_file(tmp_path):
    assert write_table([], tmp_path / "m.csv") == 0
    assert read_table(tmp_path / "m.csv") == []


@pytest.mark.parametrize(
    ("text", "line", "field"),
    [
        ("id,variety,speeker\na,yue,s\n", 2, "speeker"),
        ("id,variety\na\n", 2, "row"),
        ("id,variety\na,yue,x\n", 2, "row"),
        ("id\na\n", 2, "variety"),
        ("id,variety,start_seconds\na,yue,soon\n", 2, "start_seconds"),
        ("id,variety,words\na,yue,[\n", 2, "words"),
    ],
)
def test_bad_rows_are_refused_with_line_and_field(tmp_path, text, line, field):
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(BadRecord) as caught:
        read_table(tmp_path / "m.csv")
    assert (caught.value.line, caught.value.field) == (line, field)
