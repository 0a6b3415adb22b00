from __future__ import annotations

import gzip
import os
from collections import Counter
from pathlib import Path

import pytest

from isogloss.corpora.catalogue import load_reader
from isogloss.corpora.conformance import check_reader
from isogloss.corpora.readers import LayoutError
from isogloss.corpora.readers.xsid import read
from isogloss.errors import UnknownName

ENGLISH = """\
# text = show all reminders
# intent = reminder/show_reminders
# slots: 5:8:reminder/reference
1\tshow\treminder/show_reminders\tO

# text = Will it rain?
# intent = weather/find
1\tWill\tweather/find\tO

# text = Will it rain?
# intent = weather/find
1\tWill\tweather/find\tO
"""
# Another order, and a comment with a colon in the middle, as the Swiss German file has them.
BAVARIAN = """\
# id = 1
# text-en = Will it rain?
# text-de: Regnet es?
# text = Rengts?
# intent = weather/find
1\tRengts\tweather/find\tO

# id = 2
# text-en = show all reminders
# text = Zoag olle
# intent = reminder/show_reminders
1\tZoag\treminder/show_reminders\tO

# id = 3
# text-en = Will it rain?
# intent = weather/find
1\tRengts\tweather/find\tO
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "en.test.conll").write_text(ENGLISH, encoding="utf-8")
    with gzip.open(tmp_path / "de-ba.test.conll.gz", "wt", encoding="utf-8") as handle:
        handle.write(BAVARIAN)
    (tmp_path / "de-ba.valid.conll").write_text(BAVARIAN, encoding="utf-8")
    (tmp_path / "LICENSE").write_text("CC BY-SA 4.0", encoding="utf-8")
    return tmp_path


def test_requests_are_parallel_by_their_english_text(root: Path) -> None:
    # Skipped: the third of each Bavarian file, which has no text.
    result = check_reader(
        load_reader("xsid"), root, expected_items=7, expected_skipped=2, splits=("dev", "test")
    )
    items = {item.id: item for item in result.corpus.items}
    assert items["xsid-test-1-en"].meaning == items["xsid-test-2-de-ba"].meaning
    assert items["xsid-test-2-en"].meaning == items["xsid-test-1-de-ba"].meaning
    assert items["xsid-test-3-en"].meaning == "test: Will it rain? (2)"
    bavarian = items["xsid-test-1-de-ba"]
    assert (bavarian.variety, bavarian.text, bavarian.split) == ("bar-central", "Rengts?", "test")
    assert bavarian.extra == {"intent": "weather/find"}
    assert items["xsid-valid-1-de-ba"].split == "dev"


def test_the_validation_part_may_serve_for_training(root: Path) -> None:
    items = read(root, splits=("dev",), valid_split="train").corpus.items
    assert {item.split for item in items} == {"train"}


def test_what_is_not_there_is_refused(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(UnknownName, match="did you mean de-ba"):
        read(root, varieties=("de-by",))
    with pytest.raises(LayoutError, match=r"no \.conll file"):
        read(tmp_path_factory.mktemp("empty"))
    with pytest.raises(LayoutError, match=r"no \.conll file of de-ba for train"):
        read(root, varieties=("de-ba",), splits=("train",))


def test_the_real_files_are_parallel() -> None:
    data = Path(os.environ.get("ISOGLOSS_DATA", "../shared/data")) / "xsid-0.7"
    if not data.is_dir():
        pytest.skip(f"needs xsid-0.7 in ISOGLOSS_DATA; {data} is absent")
    result = read(data, splits=("test",), varieties=("de", "de-ba", "de-st", "gsw"))
    assert len(result.corpus) == 2000
    assert result.skipped == ()
    shared = Counter(item.meaning for item in result.corpus.items)
    # Three Bavarian requests name an English text that no other file has.
    assert Counter(shared.values()) == {4: 497, 3: 3, 1: 3}
