from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from isogloss.corpora.catalogue import load_reader
from isogloss.corpora.conformance import check_reader
from isogloss.corpora.readers import LayoutError, OptionError
from isogloss.corpora.readers.folder import read
from isogloss.errors import UnknownName

if TYPE_CHECKING:
    from pathlib import Path


def table(root: Path, *lines: str, name: str = "metadata.tsv") -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_a_table_with_every_kind_of_broken_line(tmp_path, tone) -> None:
    tone(tmp_path / "clips" / "a.wav")
    tone(tmp_path / "clips" / "b.wav")
    (tmp_path / "clips" / "empty.wav").touch()
    rows = [
        "audio\tvariety\tmeaning\ttranscript\tspeaker\tsplit\tage\tstart_seconds",
        "clips/a.wav\tyue\ts1\t佢去咗\tf01\ttrain\t30\t",
        'clips/b.wav\tcmn\ts1\t他"走了\tm02\tvalidation\t\t0.02',
        "clips/a.wav\tyue\ts2\t又嚟\tf01\ttrain\t\t",  # id taken
        "clips/none.wav\tyue\ts3\t冇\tf01\ttrain\t\t",  # missing
        "clips/empty.wav\tyue\ts3\t冇\tf01\ttrain\t\t",  # empty
        "clips/a.wav\tklingon\ts4\tx\tf01\ttrain\t\t",  # unknown variety
        "clips/a.wav\t\ts4\tx\tf01\ttrain\t\t",  # no variety
        "clips/a.wav\tyue\ts4\tx\tf01\tsecret\t\t9",  # unknown split
        "clips/a.wav\tyue\ts4\tx\tf01\ttrain\t\tsoon",  # no number
        "clips/a.wav\tyue",  # cut off
    ]
    table(tmp_path, *rows)
    with (tmp_path / "metadata.tsv").open("ab") as handle:
        handle.write(b"clips/a.wav\tyue\ts9\t\xff\xfe\tf\ttrain\t\t\n\n")
    result = check_reader(read, tmp_path, expected_items=2, expected_skipped=9)
    first, second = result.corpus.items
    assert (first.id, first.variety, first.meaning) == ("clips-a", "yue", "s1")
    assert first.extra == {"age": "30"}
    assert first.speaker == "f01"
    assert (second.split, second.start_seconds) == ("dev", 0.02)
    assert second.transcript == '他"走了'
    reasons = " | ".join(result.reasons())
    for word in ("twice", "missing", "empty", "klingon", "secret", "soon", "UTF-8", "columns"):
        assert word in reasons


def test_columns_labels_and_splits_can_be_renamed(tmp_path, tone) -> None:
    tone(tmp_path / "x.wav")
    table(tmp_path, "file,lang,id,part", 'x.wav,Patois of Canton,"u,1",eval', name="data.csv")
    result = check_reader(
        load_reader("folder"),
        tmp_path,
        expected_items=1,
        expected_skipped=0,
        columns=["audio=file", "variety=lang", "split=part"],
        varieties="Patois of Canton=yue",
        splits={"eval": "dev"},
    )
    item = result.corpus.items[0]
    assert (item.id, item.variety, item.split, item.extra) == ("u,1", "yue", "dev", {})


def test_a_label_of_the_varieties_table_becomes_its_code(tmp_path, tone) -> None:
    tone(tmp_path / "x.wav")
    table(tmp_path, "audio\tvariety", "x.wav\tSichuanese")
    assert read(tmp_path).corpus.items[0].variety == "cmn-sichuan"


def test_an_unclosed_quotation_mark_costs_one_line(tmp_path, tone) -> None:
    tone(tmp_path / "a.wav")
    tone(tmp_path / "b.wav")
    table(tmp_path, "audio,transcript", 'a.wav,"佢話', 'b.wav,"好, 啊"', name="data.csv")
    result = check_reader(read, tmp_path, expected_items=1, expected_skipped=1, variety="yue")
    assert result.corpus.items[0].transcript == "好, 啊"
    assert result.skipped[0].item == "data.csv:2"


def test_a_compressed_table_that_breaks_off_gives_what_is_whole(tmp_path, tone) -> None:
    tone(tmp_path / "a.wav")
    lines = "audio\tvariety\n" + "a.wav\tyue\n" + "".join(f"{n}.wav\tyue\n" for n in range(9999))
    whole = gzip.compress(lines.encode(), mtime=0)
    (tmp_path / "t.tsv.gz").write_bytes(whole[: len(whole) - 400])
    result = read(tmp_path)
    assert [item.id for item in result.corpus.items] == ["a"]
    assert any("breaks off" in skip.reason for skip in result.skipped)


def test_pieces_of_one_recording_get_ids_of_their_own(tmp_path, tone) -> None:
    tone(tmp_path / "a.wav", 1.0)
    table(
        tmp_path,
        "audio\tvariety\tstart_seconds\tend_seconds",
        "a.wav\tyue\t0\t0.5",
        "a.wav\tyue\t0.5\t0.75",
        "a.wav\tyue\t0.8\t0.8",
    )
    result = check_reader(read, tmp_path, expected_items=2, expected_skipped=1)
    assert [item.id for item in result.corpus.items] == ["a-0", "a-0.5"]


def test_names_alone_can_say_everything(tmp_path, tone) -> None:
    tone(tmp_path / "rec" / "7_george_3.wav")
    tone(tmp_path / "rec" / "7_lucas_0.WAV")
    tone(tmp_path / "rec" / "noise.wav")
    (tmp_path / "rec" / "8_lucas_0.wav").touch()
    result = check_reader(
        read,
        tmp_path,
        expected_items=2,
        expected_skipped=2,
        pattern=r"(?P<meaning>\d)_(?P<speaker>[a-z]+)_(?P<take>\d+)",
        variety="eng",
    )
    item = result.corpus.items[0]
    assert (item.id, item.meaning, item.speaker) == ("rec-7_george_3", "7", "george")
    assert item.extra == {"take": "3"}


def test_a_pattern_with_a_slash_sees_the_folders(tmp_path, tone) -> None:
    tone(tmp_path / "yue" / "f01" / "hello.wav")
    result = read(
        tmp_path,
        pattern="(?P<variety>[a-z]+)/(?P<who>[^/]+)/(?P<meaning>.+)",
        columns={"speaker": "who"},
    )
    item = result.corpus.items[0]
    assert (item.variety, item.speaker, item.meaning) == ("yue", "f01", "hello")


def test_text_without_audio_is_an_item(tmp_path) -> None:
    table(tmp_path, "text\tvariety\tmeaning", "佢去咗\tyue\ts1", "\tyue\ts2")
    result = check_reader(read, tmp_path, expected_items=1, expected_skipped=1)
    assert result.corpus.items[0].text == "佢去咗"


def test_a_folder_that_is_no_corpus_says_what_was_expected(tmp_path) -> None:
    with pytest.raises(LayoutError, match=r"does not exist.*TSV or CSV"):
        read(tmp_path / "nowhere")
    with pytest.raises(LayoutError, match="no TSV or CSV file"):
        read(tmp_path)
    table(tmp_path, "audio\tvariety", name="a.tsv")
    table(tmp_path, "sound\tvariety", name="b.tsv")
    with pytest.raises(LayoutError, match=r"several tables \(a.tsv, b.tsv\)"):
        read(tmp_path)
    with pytest.raises(LayoutError, match="no column 'audio'"):
        read(tmp_path, metadata="b.tsv")
    with pytest.raises(LayoutError, match=r"no file 'c\.tsv'"):
        read(tmp_path, metadata="c.tsv")
    (tmp_path / "b.tsv").write_bytes(b"\xff\xfea\x00")
    with pytest.raises(LayoutError, match="first line cannot be read"):
        read(tmp_path, metadata="b.tsv")
    (tmp_path / "b.tsv").write_bytes(b"")
    with pytest.raises(LayoutError, match="first line is empty"):
        read(tmp_path, metadata="b.tsv")
    table(tmp_path, "audio\taudio", name="b.tsv")
    with pytest.raises(LayoutError, match="'audio' is there twice"):
        read(tmp_path, metadata="b.tsv")


def test_wrong_options_are_refused(tmp_path, tone) -> None:
    tone(tmp_path / "a.wav")
    table(tmp_path, "audio\tvariety", "a.wav\tyue")
    with pytest.raises(UnknownName, match="did you mean speaker"):
        read(tmp_path, columns={"speakr": "audio"})
    with pytest.raises(UnknownName, match="did you mean variety"):
        read(tmp_path, columns={"variety": "varity"})
    with pytest.raises(UnknownName, match="variety"):
        read(tmp_path, variety="klingon")
    with pytest.raises(UnknownName, match="unknown variety 'klingon'"):
        read(tmp_path, varieties={"yue": "klingon"})
    with pytest.raises(OptionError, match="not a regular expression"):
        read(tmp_path, pattern="(?P<x>", variety="yue")
    with pytest.raises(OptionError, match="none of 1 names, such as 'a'"):
        read(tmp_path, pattern="zzz", variety="yue")
    with pytest.raises(OptionError, match="not both"):
        read(tmp_path, pattern="a", metadata="metadata.tsv")


def test_a_table_of_own_varieties(tmp_path, tone) -> None:
    tone(tmp_path / "a.wav")
    table(tmp_path, "audio\tvariety", "a.wav\tyue-village")
    own = tmp_path / "own" / "varieties.tsv"
    table(own.parent, "code\tname\tparent", "yue-village\tVillage speech\tyue", name=own.name)
    result = read(tmp_path, varieties_table=own)
    assert [item.variety for item in result.corpus.items] == ["yue-village"]
    assert len(read(tmp_path).skipped) == 1


def test_free_spoken_digits(shared_data) -> None:
    result = check_reader(
        read,
        shared_data("speech-fsdd"),
        expected_items=320,
        expected_skipped=0,
        pattern=r"(?P<meaning>\d)_(?P<speaker>[a-z]+)_(?P<take>\d+)",
        variety="eng",
    )
    assert {item.meaning for item in result.corpus.items} == set("0123456789")
    assert len({item.speaker for item in result.corpus.items}) == 4
