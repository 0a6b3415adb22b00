from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from isogloss.corpora.conformance import check_reader
from isogloss.corpora.readers import LayoutError, OptionError
from isogloss.corpora.readers.sentence_pairs import read

if TYPE_CHECKING:
    from pathlib import Path

TABLE = "id\ten_a\ten_b\tja_b\tscore\n7\tA dog.\tA cat.\t猫。\t3.5\n8\tA\t\tB\t1\n"
SIDES = {"A/eng": "en_a", "B/eng": "en_b", "B/jpn": "ja_b"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "dev.tsv").write_text(TABLE, encoding="utf-8")
    return tmp_path


def test_a_row_is_an_item_for_each_sentence(root: Path) -> None:
    result = check_reader(
        read, root, text_column=SIDES, id_column="id", judgements={"relatedness": "score"},
        expected_items=3, expected_skipped=1,
    )  # fmt: skip
    by_id = {item.id: item for item in result.corpus.items}
    assert by_id["7-B-jpn"].meaning == by_id["7-B-eng"].meaning == "7:B"
    assert by_id["7-A-eng"].extra == {"pair": "7", "side": "A", "relatedness": "3.5"}
    assert result.skipped[0].reason == "column 'en_b' is empty"


def test_words_are_kept_where_judgements_count_them(root: Path) -> None:
    items = read(root, text_column=SIDES, words=True, split="dev").corpus.items
    assert items[0].words == ("A", "dog.")
    assert items[0].split == "dev"
    assert items[0].extra["pair"] == "1"


def test_options_that_cannot_be_used(root: Path) -> None:
    with pytest.raises(OptionError, match="SIDE/VARIETY=COLUMN"):
        read(root, text_column={"eng": "en_a"})
    with pytest.raises(OptionError, match="two sides"):
        read(root, text_column={"A/eng": "en_a"})
    with pytest.raises(LayoutError, match="unknown column 'en_c'"):
        read(root, text_column={"A/eng": "en_a", "B/eng": "en_c"})


def test_two_sentences_in_one_cell(tmp_path: Path) -> None:
    (tmp_path / "eng.csv").write_text(
        'PairID,Text,Score\nE1,"It is red, she said.\nShe said so.",0.5\nE2,only one,0.1\n',
        encoding="utf-8",
    )
    result = read(
        tmp_path,
        text_column={"A+B/eng": "Text"},
        judgements={"relatedness": "Score"},
        id_column="PairID",
    )
    assert [(i.text, i.extra["side"], i.extra["relatedness"]) for i in result.corpus.items] == [
        ("It is red, she said.", "A", "0.5"),
        ("She said so.", "B", "0.5"),
    ]
    assert [s.reason for s in result.skipped] == ["a cell does not hold two lines"]


def test_a_column_called_pair_does_not_name_the_pair(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("pair\tx\ty\nsame\ta\tb\nsame\tc\td\n", encoding="utf-8")
    items = read(tmp_path, text_column={"A/eng": "x", "B/eng": "y"}).corpus.items
    assert [i.extra["pair"] for i in items] == ["1", "1", "2", "2"]
