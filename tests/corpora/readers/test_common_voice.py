from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from isogloss.corpora.catalogue import load_reader
from isogloss.corpora.conformance import check_reader
from isogloss.corpora.readers import LayoutError, OptionError
from isogloss.corpora.readers.common_voice import read
from isogloss.errors import UnknownName

if TYPE_CHECKING:
    from pathlib import Path

HEADER = "client_id\tpath\tsentence\tup_votes\tage\tgender\taccents\tvariant\tlocale"


def line(speaker: str, clip: str, sentence: str) -> str:
    return f"{speaker}\t{clip}\t{sentence}\t2\t\tfemale\t出生地:香港\t\tzh-HK"


def write(root: Path, locale: str, **tables: list[str]) -> None:
    (root / locale).mkdir(parents=True, exist_ok=True)
    for part, lines in tables.items():
        text = "\n".join([HEADER, *lines])
        (root / locale / f"{part}.tsv").write_text(text + "\n", encoding="utf-8")


@pytest.fixture
def corpus(tmp_path, tone) -> Path:
    root = tmp_path / "cv"
    for n in range(1, 9):
        tone(root / "zh-HK" / "clips" / f"c{n}.mp3")  # the name is all a reader looks at
    tone(root / "yue" / "clips" / "y1.mp3")
    train = [
        line("s1", "c1.mp3", '佢話"唔好'),
        line("s1", "c2", '"佢話""好"""'),
        line("s1", "c1.mp3", "又一次"),  # id taken
        line("s1", "c99.mp3", "冇"),  # no clip
        line("s1", "", "冇"),  # no path
        "s1\tc3.mp3",
    ]
    test = [line("s9", "c4.mp3", "考試")]
    validated = [
        *train[:2],
        *test,
        line("s2", "c5.mp3", "新"),
        line("s9", "c6.mp3", "同一個人"),  # a speaker of test
        line("s3", "c7.mp3", "考試"),  # a sentence of test
    ]
    write(root, "zh-HK", train=train, dev=[], test=test, validated=validated)
    write(root, "yue", test=[line("s1", "y1.mp3", "考試")])
    write(root, "zz-ZZ", test=[line("s1", "z.mp3", "z")])
    return root


def test_the_three_splits_of_every_locale(corpus) -> None:
    # Skipped: 4 lines, train and dev of yue, the unknown locale.
    result = check_reader(load_reader("common_voice"), corpus, expected_items=4, expected_skipped=7)
    items = {item.id: item for item in result.corpus.items}
    assert items["c1"].transcript == '佢話"唔好'
    assert items["c2"].transcript == '佢話"好"'
    assert (items["c1"].variety, items["c1"].speaker) == ("yue-hongkong", "s1")
    assert items["c1"].extra == {"locale": "zh-HK", "gender": "female", "accents": "出生地:香港"}
    assert items["y1"].variety == "yue"
    assert items["c4"].meaning == items["y1"].meaning == "考試"
    assert result.corpus.licence == "CC0-1.0"


def test_validated_clips_are_added_only_where_they_leak_nothing(corpus) -> None:
    splits = ("train", "dev", "test", "validated")
    result = check_reader(read, corpus, expected_items=5, splits=splits, locales=("zh-HK", "yue"))
    items = {item.id: item for item in result.corpus.items}
    assert items["c5"].split == "train"
    assert not {"c6", "c7"} & set(items)
    leaks = [skip for skip in result.skipped if "dev or test" in skip.reason]
    assert len(leaks) == 2


def test_validated_alone_leaks_nothing_either(corpus) -> None:
    result = read(corpus, splits=("validated",), locales=("zh-HK",))
    assert [item.id for item in result.corpus.items] == ["c5"]


def test_validated_is_left_alone_where_the_test_set_is_not_known(corpus) -> None:
    (corpus / "zh-HK" / "test.tsv").unlink()
    result = read(corpus, splits=("validated",), locales=("zh-HK",))
    assert len(result.corpus) == 0
    assert result.skipped[0].reason == "without test nobody knows what it would leak"


def test_the_folder_of_one_locale_is_enough(corpus) -> None:
    result = check_reader(read, corpus / "yue", expected_items=1)
    assert result.corpus.items[0].variety == "yue"


def test_the_user_decides_on_the_variety(corpus) -> None:
    result = check_reader(
        load_reader("common_voice"), corpus, expected_items=1, locales="yue", varieties="yue=cmn"
    )
    assert result.corpus.items[0].variety == "cmn"


def test_wrong_roots_and_options_are_refused(corpus, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(LayoutError, match="no table of any locale"):
        read(tmp_path / "empty")
    with pytest.raises(UnknownName, match="did you mean zh-HK"):
        read(corpus, locales=("zh-Hk",))
    with pytest.raises(UnknownName, match="did you mean validated"):
        read(corpus, splits=("valid",))
    with pytest.raises(OptionError, match="at least one"):
        read(corpus, splits=())
    (corpus / "yue" / "test.tsv").write_text("client_id\tfile\tsentence\n", encoding="utf-8")
    with pytest.raises(LayoutError, match="column 'path'"):
        read(corpus)
