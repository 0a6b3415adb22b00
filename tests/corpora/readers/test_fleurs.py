from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from isogloss.corpora.catalogue import load_reader
from isogloss.corpora.conformance import check_reader
from isogloss.corpora.readers import LayoutError, OptionError
from isogloss.corpora.readers.fleurs import read
from isogloss.errors import UnknownName

if TYPE_CHECKING:
    from pathlib import Path


def line(number: int | str, file: str, raw: str, normalised: str) -> str:
    return f"{number}\t{file}\t{raw}\t{normalised}\tx | y |\t1600\tFEMALE"


@pytest.fixture
def corpus(tmp_path, tone) -> Path:
    root = tmp_path / "fleurs"
    for language in ("cmn_hans_cn", "yue_hant_hk", "xx_yy"):
        (root / language).mkdir(parents=True)
    (root / "cmn_hans_cn" / "test.tsv").write_text(
        "\n".join(
            [
                line(1660, "11.wav", '"这 是"一个 iPhone 手机。', "这 是 一 个 iphone 手 机"),
                line(1660, "12.wav", "这是一个手机。", "这 是 一 个 手 机"),
                line(1661, "13.wav", "没有。", "没 有"),  # no recording
                line("id", "11.wav", "x", "x"),  # a header that should not be there
                "1662\t14.wav\tcut off",
                line(1663, "", "x", "x"),
            ]
        ),
        encoding="utf-8",
    )
    (root / "cmn_hans_cn" / "train.tsv").write_text(
        line(7, "11.wav", "好。", "好"), encoding="utf-8"
    )
    (root / "yue_hant_hk" / "test.tsv").write_text(
        line(1660, "21.wav", "呢個係手機。", "呢 個 係 手 機"), encoding="utf-8"
    )
    (root / "xx_yy" / "test.tsv").write_text(line(1, "a.wav", "x", "x"), encoding="utf-8")
    tone(root / "cmn_hans_cn" / "test" / "11.wav")
    tone(root / "cmn_hans_cn" / "audio" / "test" / "12.wav")
    tone(root / "cmn_hans_cn" / "train" / "11.wav")
    tone(root / "audio" / "yue_hant_hk" / "21.wav")
    return root


def test_recordings_of_one_sentence_share_its_id(corpus) -> None:
    # Skipped: 4 lines, the dev table of cmn, two tables of yue, the unknown language.
    result = check_reader(load_reader("fleurs"), corpus, expected_items=4, expected_skipped=8)
    items = {item.id: item for item in result.corpus.items}
    first = items["cmn_hans_cn-test-11"]
    assert (first.variety, first.meaning, first.split) == ("cmn-standard", "1660", "test")
    assert first.transcript == "这是一个iphone手机"
    assert first.extra == {"raw": '"这是"一个iPhone手机。', "gender": "female"}
    assert items["cmn_hans_cn-train-11"].meaning == "7"
    other = items["yue_hant_hk-test-21"]
    assert (other.variety, other.meaning, other.transcript) == (
        "yue-hongkong",
        "1660",
        "呢個係手機",
    )
    assert any("xx_yy" in skip.item for skip in result.skipped)


def test_languages_splits_varieties_and_transcripts_can_be_chosen(corpus) -> None:
    result = check_reader(
        load_reader("fleurs"),
        corpus,
        expected_items=3,
        languages="cmn_hans_cn,yue_hant_hk",
        splits=["test"],
        varieties={"yue_hant_hk": "yue"},
        transcript="raw",
    )
    assert {item.variety for item in result.corpus.items} == {"cmn-standard", "yue"}
    assert result.corpus.items[-1].transcript == "呢個係手機。"


def test_tables_below_metadata_are_found(corpus) -> None:
    for language in ("cmn_hans_cn", "yue_hant_hk"):
        (corpus / "metadata" / language).mkdir(parents=True)
        for table in (corpus / language).glob("*.tsv"):
            shutil.move(table, corpus / "metadata" / language / table.name)
    check_reader(read, corpus, expected_items=4)


def test_wrong_roots_and_options_are_refused(corpus, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(LayoutError, match="no table of any language; expected LANGUAGE"):
        read(tmp_path / "empty")
    with pytest.raises(UnknownName, match="did you mean yue_hant_hk"):
        read(corpus, languages=("yue_hans_hk",))
    with pytest.raises(UnknownName, match="did you mean dev"):
        read(corpus, splits=("deev",))
    with pytest.raises(OptionError, match="normalised or raw"):
        read(corpus, transcript="clean")
    with pytest.raises(UnknownName, match="unknown variety 'yuu'"):
        read(corpus, varieties={"yue_hant_hk": "yuu"})
