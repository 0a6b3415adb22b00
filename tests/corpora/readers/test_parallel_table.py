from __future__ import annotations

import wave
from pathlib import Path

import pytest

from isogloss.corpora.catalogue import load_reader
from isogloss.corpora.conformance import check_reader
from isogloss.corpora.readers import LayoutError, OptionError
from isogloss.corpora.readers.parallel_table import read
from isogloss.errors import UnknownName

THREE = {"cmn/word": "cmn_w", "cmn/syllable": "cmn_s", "yue": "yue_a"}


@pytest.fixture
def corpus(tmp_path, tone) -> Path:
    root = tmp_path / "corpus"
    for name in ("w1", "s1", "y1", "w2", "y2"):
        tone(root / f"{name}.wav")
    (root / "broken.wav").write_text("not sound", encoding="utf-8")
    rows = [
        "id\tsplit\tchar\tpinyin\tjyutping\tgloss\tcmn_w\tcmn_s\tyue_a",
        "r1\teval\t抄\tchao1\tcaau1\tcopy\tw1.wav\ts1.wav\ty1.wav",
        "r2\ttrain\t聊\tliao2\tliu4\tchat\tw2.wav\t\ty1.wav y2.wav",
        "\ttrain\t無\tx\tx\tx\tw2.wav\t\t",
        "r3\ttrain\t壞\thuai4\twaai6\tbad\tnone.wav\ts1.wav\ty1.wav broken.wav",
    ]
    (root / "m.tsv").write_text("\n".join(rows), encoding="utf-8")
    return root


def test_each_filled_cell_is_an_item_that_shares_the_meaning_of_its_row(corpus) -> None:
    result = check_reader(
        read,
        corpus,
        expected_items=5,
        expected_skipped=5,  # an empty cell, no id, none.wav, two cells that are no file name
        audio_column=THREE,
        transcript_column={"cmn": "char", "yue": "char"},
        phones_column={"cmn": "pinyin", "yue": "jyutping"},
        speaker={"cmn/word": "tan"},
    )
    items = {item.id: item for item in result.corpus.items}
    assert list(items) == [
        "r1-cmn-word",
        "r1-cmn-syllable",
        "r1-yue",
        "r2-cmn-word",
        "r3-cmn-syllable",
    ]
    assert {items[i].meaning for i in list(items)[:3]} == {"r1"}
    word, yue = items["r1-cmn-word"], items["r1-yue"]
    assert (word.variety, word.site, word.speaker) == ("cmn", "cmn-word", "tan")
    assert (yue.variety, yue.site, yue.speaker) == ("yue", "yue", None)
    assert (word.phones, yue.phones, yue.transcript) == ("chao1", "caau1", "抄")
    assert (word.split, items["r2-cmn-word"].split) == ("test", "train")
    assert word.extra["gloss"] == "copy"


def test_several_recordings_in_a_cell_are_joined_in_order(corpus, tmp_path) -> None:
    work = tmp_path / "work"
    options = {
        "audio_column": ["cmn=cmn_w", "yue=yue_a"],
        "audio_separator": " ",
        "work_folder": str(work),
        "gap_seconds": "0.05",
    }
    result = check_reader(
        load_reader("parallel_table"), corpus, expected_items=4, expected_skipped=3, **options
    )
    joined = next(item for item in result.corpus.items if item.id == "r2-yue")
    assert joined.extra["constructed"] == "true"
    assert Path(joined.audio).parent == work
    with wave.open(joined.audio) as handle:
        assert handle.getframerate() == 16000
        assert handle.getnchannels() == 1
        assert handle.getnframes() == 1600 + 800 + 1600  # 0.1 s + gap + 0.1 s
    single = next(item for item in result.corpus.items if item.id == "r1-yue")
    assert "constructed" not in single.extra
    assert single.audio == str(corpus.resolve() / "y1.wav")
    assert any("cannot be joined" in skip.reason for skip in result.skipped)


def test_a_part_that_changes_is_joined_again(corpus, tmp_path, tone) -> None:
    def joined() -> Path:
        result = read(
            corpus, audio_column={"yue": "yue_a"}, audio_separator=" ", work_folder=tmp_path / "w"
        )
        return next(Path(item.audio) for item in result.corpus.items if item.id == "r2-yue")

    before = joined()
    stamp = before.stat().st_mtime_ns
    assert joined() == before
    assert before.stat().st_mtime_ns == stamp
    tone(corpus / "y2.wav", 0.2)
    assert joined() != before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"audio_column": {}}, "name at least one"),
        ({"audio_column": {"klingon": "yue_a"}}, "unknown variety 'klingon'"),
        ({"audio_column": {"yue": "yue_b"}}, "did you mean yue_a"),
        ({"audio_column": {"yue": "yue_a"}, "phones_column": {"cmn": "x"}}, "source of phones"),
        ({"audio_column": {"yue": "yue_a"}, "id_column": "ID"}, "column 'ID'"),
        ({"audio_column": {"yue": "yue_a"}, "audio_separator": " "}, "work_folder"),
        ({"audio_column": {"yue": "yue_a"}, "audio_separator": ""}, "audio_separator"),
        ({"audio_column": {"yue": "yue_a"}, "gap_seconds": float("nan")}, "0 to 60 seconds"),
        ({"audio_column": {"yue": "yue_a"}, "metadata": "n.tsv"}, "no file 'n.tsv'"),
    ],
)
def test_wrong_options_are_refused(corpus, options, message) -> None:
    with pytest.raises((OptionError, UnknownName, LayoutError), match=message):
        read(corpus, **options)


def test_the_reader_needs_to_be_told_the_audio_columns(corpus) -> None:
    with pytest.raises(OptionError, match="'audio_column': reader 'parallel_table' needs it"):
        load_reader("parallel_table")(corpus)


def test_three_sources_of_single_characters(shared_data) -> None:
    result = check_reader(
        load_reader("parallel_table"),
        shared_data("speech-cmn-yue-char"),
        expected_items=3 * 462,
        expected_skipped=0,
        audio_column=[
            "cmn/word=cmn_word_audio",
            "cmn/syllable=cmn_syllable_audio",
            "yue=yue_audio",
        ],
        transcript_column=["cmn=char_simp", "yue=char_trad"],
    )
    test = [item for item in result.corpus.items if item.split == "test"]
    assert len(test) == 3 * 323
    assert len({item.meaning for item in test}) == 323
    assert {item.site for item in test} == {"cmn-word", "cmn-syllable", "yue"}


def test_words_made_of_syllable_recordings(shared_data, tmp_path) -> None:
    result = check_reader(
        read,
        shared_data("speech-cmn-yue-word-constructed"),
        expected_items=2 * 475,
        expected_skipped=0,
        audio_column={"cmn": "cmn_audio", "yue": "yue_syllable_audio"},
        transcript_column={"cmn": "mandarin_simp", "yue": "cantonese"},
        translation_column="mandarin_simp",
        audio_separator=" ",
        work_folder=tmp_path,
    )
    item = next(item for item in result.corpus.items if item.id == "w0000-yue")
    assert (item.meaning, item.transcript, item.translation) == ("w0000", "千祈", "告诫")
    assert item.extra["relation"] == "different"
    assert item.extra["constructed"] == "true"
