from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from isogloss.corpora.conformance import check_reader
from isogloss.corpora.readers import LayoutError, OptionError
from isogloss.corpora.readers.conllu import read

if TYPE_CHECKING:
    from pathlib import Path


def word(number: str, form: str, tag: str = "NOUN") -> str:
    return "\t".join([number, form, form, tag, "_", "_", "0", "root", "_", "_"]) + "\n"


YUE = (
    "# sent_id = a\n# parallel_id = hk/1\n# text = 你好\n" + word("1", "你") + word("2", "好")
    + "\n# sent_id = b\n# parallel_id = hk/2\n# text = 走\n" + word("1", "走", "VERB")
)  # fmt: skip
# A multiword token, an empty node, and a second sentence without comments.
DEU = (
    "# sent_id = x\n# parallel_id = hk/1\n# text = zum Haus\n"
    + word("1-2", "zum", "_") + word("1", "zu", "ADP") + word("2", "dem", "DET")
    + word("2.1", "leer") + word("3", "Haus") + "\n" + word("1", "Geh", "VERB") + word("2", "fort")
)  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "yue_hk-ud-test.conllu").write_text(YUE, encoding="utf-8")
    (tmp_path / "de_x-ud-dev.conllu").write_text(DEU, encoding="utf-8")
    return tmp_path


def test_sentences_with_words_and_tags(root: Path) -> None:
    items = check_reader(read, root, expected_items=4, expected_skipped=0).corpus.items
    by_text = {item.text: item for item in items}
    assert by_text["zum Haus"].words == ("zum", "Haus")
    assert by_text["zum Haus"].extra["upos"] == "_ NOUN"
    assert by_text["你好"].meaning == by_text["zum Haus"].meaning == "hk/1"
    assert by_text["Geh fort"].meaning is None
    assert {item.split for item in items} == {"test", "dev"}


def test_joined_by_number(root: Path) -> None:
    items = read(root, parallel_by="number", split="train").corpus.items
    assert {item.text for item in items if item.meaning == "2"} == {"走", "Geh fort"}
    assert {item.split for item in items} == {"train"}
    with pytest.raises(OptionError, match="parallel_by"):
        read(root, parallel_by="nothing")


def test_a_line_with_missing_columns_is_skipped(root: Path) -> None:
    (root / "yue_hk-ud-test.conllu").write_text(YUE + "2\t了\n", encoding="utf-8")
    result = read(root)
    assert [skip.reason for skip in result.skipped] == ["2 columns instead of 10"]
    assert len(result.corpus.items) == 4


def test_files_can_be_named_and_must_exist(root: Path) -> None:
    (root / "bank.conllu").write_text(YUE, encoding="utf-8")
    assert {i.variety for i in read(root, files={"hak": "bank.conllu"}).corpus.items} == {"hak"}
    with pytest.raises(LayoutError, match="no file 'x'"):
        read(root, files={"hak": "x"})
    with pytest.raises(LayoutError, match="no treebank"):
        read(_empty(root))


def _empty(root: Path) -> Path:
    folder = root / "empty"
    folder.mkdir()
    return folder


def test_a_word_without_a_number_is_counted(tmp_path: Path) -> None:
    rows = ["1\tA\t_\tX", "1-b\tB\t_\tX", "x\tC\t_\tX", "1.1\tD\t_\tX"]
    lines = "".join(f"{row}{chr(9).join([''] + ['_'] * 6)}\n" for row in rows)
    (tmp_path / "en_x-ud-test.conllu").write_text(lines, encoding="utf-8")
    result = read(tmp_path)
    assert result.corpus.items[0].words == ("A",)
    assert [s.reason for s in result.skipped] == ["'1-b' is no number", "'x' is no number"]
