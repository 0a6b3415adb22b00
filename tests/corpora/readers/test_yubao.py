from __future__ import annotations

import json
from pathlib import Path

import pytest

from isogloss.corpora.catalogue import load_reader
from isogloss.corpora.conformance import check_reader
from isogloss.corpora.readers import LayoutError, OptionError
from isogloss.corpora.readers.yubao import read
from isogloss.errors import UnknownName

MEIZHOU = "广东_梅州_梅江区"  # hak, site id 15233
SHAOSHAN = "湖南_湘潭市_韶山市"  # hsn, surveyed twice: 26J45 and 26D56
SANTAI = "四川_绵阳_三台"  # not in the benchmark


def row(utterance: str, site: str, transcript: str = "佢去咗", **more: str | None) -> dict:
    return {
        "transcript": transcript,
        "translation": "他走了",
        "ipa": "ki²¹ hi⁵³",
        "english": "He has left.",
        "utterance_id": utterance,
        "site": site,
        "subgrouping": "客家话-粤台片",
        **more,
    }


ROWS = [
    row("15233mb01yf0001", MEIZHOU, "佢走咧/佢去咧"),
    row("15233mb01yf0002", MEIZHOU, english="Eat!"),
    row("15233mb01yf0003", MEIZHOU, english=None, translation=None, ipa=None),
    row("15233mb01yf0004", MEIZHOU, english="Four"),
    row("26J45mb01yf0001", SHAOSHAN),
    row("26D56mb01yf0001", SHAOSHAN),
    row("26D56mb01yf0003", SHAOSHAN, english="It rains."),
    row("99999mb01yf0001", SANTAI, subgrouping="官话-西南官话-川黔片"),
    row("99998mb01yf0001", "月球_（无）_（无）", subgrouping="月球话"),
    row("", MEIZHOU),
]


@pytest.fixture
def corpus(tmp_path, tone) -> Path:
    root = tmp_path / "yubao"
    tone(root / MEIZHOU / "15233mb01yf0001.wav")
    (root / MEIZHOU / "15233mb01yf0001.mp4").write_bytes(b"the video")
    tone(root / MEIZHOU / "梅州_0002.wav")  # as the download page names it
    tone(root / "15233mb01yf0003.wav")  # flat
    (root / "15233mb01yf0004.wav").touch()  # broken
    tone(root / "26J45" / "26J45mb01yf0001.wav")
    tone(root / "26D56" / "26D56mb01yf0001.wav")
    tone(root / "26D56" / "26D56mb01yf0003.wav")
    tone(root / "any" / "99999mb01yf0001.wav")
    (root / "metadata.jsonl").write_text(
        "\n".join([*(json.dumps(r, ensure_ascii=False) for r in ROWS), "{broken", "[1]"]),
        encoding="utf-8",
    )
    return root


def test_whatever_subset_exists_is_read_and_counted(corpus) -> None:
    result = check_reader(load_reader("yubao"), corpus, expected_items=5)
    items = {item.id: item for item in result.corpus.items}
    first = items["15233mb01yf0001"]
    assert Path(first.audio).name == "15233mb01yf0001.wav"  # the WAV wins over the video
    assert (first.variety, first.site, first.split) == ("hak-meixian", MEIZHOU, "test")
    assert (first.meaning, first.transcript, first.translation) == (
        "He has left.",
        "佢走咧",
        "他走了",
    )
    assert first.phones == "k i ²¹ h i ⁵³"
    assert first.extra["transcript_raw"] == "佢走咧/佢去咧"
    assert first.extra["cleaned"] == "variant"
    assert Path(items["15233mb01yf0002"].audio).name == "梅州_0002.wav"
    # No English of its own: the one that another site has for sentence 3.
    assert items["15233mb01yf0003"].meaning == "It rains."
    coverage = result.coverage
    assert (coverage.present, coverage.expected) == (5, 3900)
    assert coverage.groups["hak"] == (3, 550)
    assert coverage.groups["hsn"] == (2, 550)
    assert coverage.groups["zh_standard"] == (0, 50)
    reasons = " | ".join(skip.reason for skip in result.skipped)
    for word in ("no utterance id", "not JSON", "no object", "empty", "no row in the metadata"):
        assert word in reasons


def test_a_place_surveyed_twice_gives_the_survey_with_more_recordings(corpus) -> None:
    result = read(corpus)
    here = [item.id for item in result.corpus.items if item.site == SHAOSHAN]
    assert here == ["26D56mb01yf0001", "26D56mb01yf0003"]
    twice = [skip for skip in result.skipped if "surveyed twice" in skip.reason]
    assert [skip.item for skip in twice] == [f"{SHAOSHAN} (26J45)"]


def test_groups_limit_what_is_read_and_expected(corpus) -> None:
    result = check_reader(load_reader("yubao"), corpus, expected_items=2, groups="hsn")
    assert result.coverage.groups == {"hsn": (2, 550)}


def test_all_sites_take_their_variety_from_the_subgrouping(corpus) -> None:
    result = check_reader(read, corpus, expected_items=6, sites="all")
    other = next(item for item in result.corpus.items if item.site == SANTAI)
    assert (other.variety, other.split) == ("cmn-chuanqian", None)
    assert any("月球话" in skip.reason for skip in result.skipped)
    assert result.coverage.groups["mandarin"] == (1, 1)


def test_sentences_without_a_recording_can_be_kept_as_text(corpus) -> None:
    for path in corpus.rglob("*.wav"):
        path.unlink()
    (corpus / MEIZHOU / "15233mb01yf0001.mp4").unlink()
    assert len(read(corpus).corpus) == 0
    result = check_reader(read, corpus, expected_items=5, keep_without_audio=True)
    assert result.coverage.present == 0
    assert {item.text for item in result.corpus.items} == {"佢走咧", "佢去咗"}
    missing = [skip for skip in result.skipped if "recordings are missing" in skip.reason]
    assert missing[0].reason == "4 of 4 recordings are missing"


def test_recordings_may_lie_elsewhere(corpus, tmp_path) -> None:
    (tmp_path / "text").mkdir()
    (corpus / "metadata.jsonl").rename(tmp_path / "text" / "metadata.jsonl")
    result = check_reader(read, tmp_path / "text", expected_items=5, audio_folder=corpus)
    assert result.coverage.present == 5


@pytest.mark.parametrize("form", ["rows", "lists", "pandas", "parquet"])
def test_every_form_of_metadata_reads_the_same(corpus, form) -> None:
    good = [r for r in ROWS if r["utterance_id"]]
    columns = {name: [r[name] for r in good] for name in good[0]}
    if form == "parquet":
        pyarrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pyarrow.table(columns), corpus / "metadata.parquet")
    else:
        value = {
            "rows": good,
            "lists": columns,
            "pandas": {k: {str(n): c for n, c in enumerate(v)} for k, v in columns.items()},
        }[form]
        (corpus / "data").mkdir()
        (corpus / "data" / "yubao.json").write_text(json.dumps(value), encoding="utf-8")
    wanted = read(corpus, metadata="metadata.jsonl").corpus
    (corpus / "metadata.jsonl").unlink()
    assert check_reader(read, corpus, expected_items=5).corpus == wanted


def test_metadata_that_cannot_be_used_is_refused(tmp_path) -> None:
    with pytest.raises(LayoutError, match="no metadata file; expected the metadata as one"):
        read(tmp_path)
    file = tmp_path / "m.json"
    for text, message in (
        ("{", "is not JSON"),
        ("3", "neither a list of rows"),
        ('{"utterance_id": ["a"], "site": []}', "different lengths"),
        ('[{"utt_id": "x", "site": "y"}]', "did you mean utt_id"),
        ('{"site_id": ["a"], "site": ["b"]}', "utterance_id"),
    ):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(LayoutError, match=message):
            read(tmp_path)
    (tmp_path / "n.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(LayoutError, match="several metadata files"):
        read(tmp_path)
    with pytest.raises(LayoutError, match="cannot be read"):
        read(tmp_path, metadata="n.parquet")


def test_wrong_options_are_refused(corpus) -> None:
    with pytest.raises(OptionError, match="benchmark or all"):
        read(corpus, sites="some")
    with pytest.raises(UnknownName, match="wu"):
        read(corpus, groups=("wu",))
    with pytest.raises(OptionError, match="groups are the benchmark's"):
        read(corpus, sites="all", groups=("hak",))
