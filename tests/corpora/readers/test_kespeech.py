from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from isogloss.corpora.catalogue import load_reader
from isogloss.corpora.conformance import check_reader
from isogloss.corpora.readers import LayoutError
from isogloss.corpora.readers.kespeech import read
from isogloss.errors import UnknownName

if TYPE_CHECKING:
    from pathlib import Path


def part(root: Path, name: str, **files: str) -> None:
    folder = root / "Tasks" / "ASR" / name
    folder.mkdir(parents=True, exist_ok=True)
    names = {"wav": "wav.scp", "text": "text", "dialect": "utt2subdialect", "speaker": "utt2spk"}
    for key, file in names.items():
        (folder / file).write_text(files[key], encoding="utf-8")


@pytest.fixture
def corpus(tmp_path, tone) -> Path:
    root = tmp_path / "KeSpeech"
    for name in ("u1", "u2", "u5", "u7", "u8"):
        tone(root / "Audio" / f"{name}.wav")
    utterances = [f"u{n}" for n in range(1, 9)]
    part(
        root,
        "train_phase1",
        wav="".join(f"{u} Audio/{u}.wav\n" for u in utterances) + "u1 Audio/u1.wav\nu9\n",
        text="u1 今天 天气<SPOKEN_NOISE>很好\nu2 今天天气很好\nu3 没有声音\nu5 无人\nu6 x\n"
        "u7 <SPOKEN_NOISE>\nu8 月亮\nu99 没有录音\n",
        dialect="u1 Mandarin\nu2 Jiang-Huai\nu3 Beijing\nu4 Beijing\nu6 Beijing\nu7 Ji-Lu\n"
        "u8 Moonish\n",
        speaker="".join(f"{u} s{u}\n" for u in utterances),
    )
    part(
        root,
        "test",
        wav="t1 Audio/u1.wav\n",
        text="t1 今天天气很好\n",
        dialect="t1 Southwestern\n",
        speaker="t1 9\n",
    )
    return root


def test_files_are_joined_by_utterance(corpus) -> None:
    # Skipped: u1 twice, u9 without path, u3 no audio, u4 no text, u5 no subdialect, u6 no audio,
    # u7 only noise, u8 unknown subdialect, u99 without recording.
    result = check_reader(load_reader("kespeech"), corpus, expected_items=3, expected_skipped=9)
    items = {item.id: item for item in result.corpus.items}
    assert items["u1"].transcript == "今天天气很好"
    assert items["u1"].meaning == items["u2"].meaning == items["t1"].meaning
    assert [items[i].variety for i in ("u1", "u2", "t1")] == [
        "cmn-standard",
        "cmn-jianghuai",
        "cmn-southwestern",
    ]
    assert [items[i].split for i in ("u1", "t1")] == ["train", "test"]
    assert items["u2"].speaker == "su2"
    assert items["u2"].extra == {"subdialect": "Jiang-Huai"}


def test_parts_and_varieties_can_be_chosen(corpus) -> None:
    result = check_reader(
        load_reader("kespeech"),
        corpus,
        expected_items=1,
        expected_skipped=1,
        parts="test,dev_phase1",
        varieties="Southwestern=cmn-sichuan",
    )
    assert result.corpus.items[0].variety == "cmn-sichuan"
    assert result.skipped[0].reason == "part is missing"


def test_wrong_roots_and_options_are_refused(corpus, tmp_path) -> None:
    with pytest.raises(LayoutError, match=r"no part with a wav\.scp; expected Tasks/ASR"):
        read(tmp_path)
    with pytest.raises(UnknownName, match="did you mean"):
        read(corpus, parts=("train_phase3",))
    (corpus / "Tasks" / "ASR" / "test" / "utt2spk").unlink()
    with pytest.raises(LayoutError, match="no file 'utt2spk'"):
        read(corpus)


def test_a_command_in_wav_scp_is_told_from_a_missing_file(tmp_path, tone):
    tone(tmp_path / "a.wav")
    names = {"text": "u1 好\nu2 好\n", "dialect": "u1 Ji-Lu\nu2 Ji-Lu\n", "speaker": "u1 s\nu2 s\n"}
    part(tmp_path, "test", wav="u1 sox a.wav -t wav - |\nu2 a.wav\n", **names)
    result = read(tmp_path)
    assert [item.id for item in result.corpus.items] == ["u2"]
    (skip,) = result.skipped
    assert skip.item == "test/u1"
    assert skip.reason == "wav.scp has a command, not a path"
    assert "'sox a.wav -t wav -'" in skip.remedy


def test_varieties_of_ones_own(tmp_path, tone):
    tone(tmp_path / "a.wav")
    own = tmp_path / "own.tsv"
    own.write_text("code\tname\nmoon\tMoonish\n")
    part(
        tmp_path, "test", wav="u1 a.wav\n", text="u1 好\n", dialect="u1 Moonish\n", speaker="u1 s\n"
    )
    assert [s.item for s in read(tmp_path).skipped] == ["test/u1"]
    (item,) = read(tmp_path, varieties_table=own).corpus.items
    assert item.variety == "moon"
