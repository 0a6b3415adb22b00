from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from isogloss.corpora.conformance import check_reader
from isogloss.corpora.readers import LayoutError
from isogloss.corpora.readers.tatoeba import read
from isogloss.errors import UnknownName

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, lines in (
        ("cmn-eng.cmn", "你好\n再见\n"),
        ("cmn-eng.eng", "Hello\nBye\n"),
        ("yue-eng.yue", "多謝\n"),
        ("yue-eng.eng", "Hello\n"),
    ):
        (tmp_path / f"tatoeba.{name}").write_text(lines, encoding="utf-8")
    return tmp_path


def test_the_english_of_one_pair_is_no_translation_of_anothers(root: Path) -> None:
    items = check_reader(read, root, expected_items=6, expected_skipped=0).corpus.items
    by_meaning: dict[str, set[str]] = {}
    for item in items:
        by_meaning.setdefault(str(item.meaning), set()).add(str(item.text))
    assert sorted(map(sorted, by_meaning.values())) == [
        ["Bye", "再见"], ["Hello", "你好"], ["Hello", "多謝"]
    ]  # fmt: skip


def test_languages_are_chosen(root: Path) -> None:
    assert {item.variety for item in read(root, languages=("yue",)).corpus.items} == {"yue", "eng"}
    with pytest.raises(UnknownName, match="gsw"):
        read(root, languages=("gsw",))


def test_half_a_pair_is_skipped_and_unequal_sides_are_refused(root: Path) -> None:
    (root / "tatoeba.gsw-eng.gsw").write_text("Grüezi\n", encoding="utf-8")
    assert [skip.item for skip in read(root).skipped] == ["gsw-eng"]
    (root / "tatoeba.gsw-eng.eng").write_text("Hello\nBye\n", encoding="utf-8")
    with pytest.raises(LayoutError, match=r"gsw-eng\.gsw has 1.*gsw-eng\.eng has 2|has 2.*has 1"):
        read(root)
