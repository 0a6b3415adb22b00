from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from isogloss.cli.main import main
from isogloss.corpora.synth.espeak import synthesise
from isogloss.speech.checkpoint import save_model
from isogloss.speech.ctc import CtcModel
from isogloss.speech.tokens import Tokenizer
from makers import write_wav
from training.tones import small_shape

if TYPE_CHECKING:
    from pathlib import Path

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights that prefer no blank, so that something is read."""
    folder = tmp_path_factory.mktemp("model")
    shape = small_shape()
    tokenizer = Tokenizer.characters(["天地人水火"])
    torch.manual_seed(0)
    network = CtcModel(shape, tokenizer.vocab_size)
    with torch.no_grad():
        network.ctc_output[1].bias[:2] -= 3.0
    save_model(folder, network, tokenizer, shape)
    return folder


@pytest.fixture(scope="module")
def interview(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sentences with pauses around them, at the synthesiser's 22,050 Hz."""
    speech = synthesise("wo3 men5 qu4 xue2 xiao4", "cmn", seed=1)
    quiet = np.zeros(round(0.7 * speech.sample_rate_hz), dtype=np.float32)
    samples = np.concatenate([quiet, speech.samples, quiet, speech.samples, quiet])
    folder = tmp_path_factory.mktemp("audio")
    return write_wav(folder / "an interview.wav", samples, speech.sample_rate_hz)


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main(["speech", "transcribe", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_table_and_json_agree(
    model: Path, interview: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, model, interview, "--json")
    assert code == 0
    (record,) = json.loads(out)
    assert (record["id"], len(record["segments"])) == (str(interview), 2)
    first, second = record["segments"]
    assert first["start_seconds"] == pytest.approx(0.7, abs=0.1)
    # The same sound later by one sentence and one pause.
    apart = second["start_seconds"] - first["start_seconds"]
    assert apart == pytest.approx((record["duration_seconds"] - 0.7) / 2, abs=0.07)
    for segment in record["segments"]:
        assert "".join(t["text"] for t in segment["tokens"]) == segment["text"] != ""
        for token in segment["tokens"]:
            assert first["start_seconds"] <= token["start_seconds"] < token["end_seconds"]
            assert 0.0 <= token["confidence"] <= 1.0
    code, out, _ = run(capsys, model, interview)
    assert code == 0
    assert out.splitlines()[0].split() == ["id", "start", "end", "text", "confidence"]
    assert first["text"] in out.splitlines()[1]


def test_every_format_can_be_printed(
    model: Path, interview: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = {
        form: run(capsys, model, interview, "--format", form)[1]
        for form in ("text", "json", "jsonl", "srt", "vtt", "ctm")
    }
    texts = printed["text"].splitlines()
    assert len(texts) == 2
    assert [s["text"] for s in json.loads(printed["json"])[0]["segments"]] == texts
    assert json.loads(printed["jsonl"])["text"] == "".join(texts)
    assert re.findall(r"-->.*\n(.*)\n", printed["srt"]) == texts
    assert re.findall(r"-->.*\n(.*)\n", printed["vtt"]) == texts
    rows = [line.split() for line in printed["ctm"].splitlines()]
    assert "".join(row[4] for row in rows) == "".join(texts)
    assert {row[0] for row in rows} == {"_".join(str(interview).split())}


def test_without_vad_a_recording_is_read_whole(
    model: Path, interview: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, model, interview, "--no-vad", "--json")
    assert code == 0
    (record,) = json.loads(out)
    (segment,) = record["segments"]
    assert (segment["start_seconds"], segment["end_seconds"]) == (0.0, record["duration_seconds"])


def test_a_folder_is_gone_on_with_and_tells_what_it_could_not_read(
    model: Path, interview: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tapes, out = tmp_path / "tapes", tmp_path / "out"
    for name in ("a/1.wav", "2.wav"):
        (tapes / name).parent.mkdir(parents=True, exist_ok=True)
        (tapes / name).write_bytes(interview.read_bytes())
    (tapes / "bad.wav").write_text("no sound")
    write_wav(tapes / "silent.wav", np.zeros(16000))
    code, printed, talk = run(capsys, model, tapes, "--out", out, "--format", "srt")
    assert (code, printed) == (1, "")
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*.srt")) == [
        "2.srt",
        "a/1.srt",
        "silent.srt",
    ]
    assert (out / "silent.srt").read_text() == ""
    assert f"3 transcripts in {out}\n" in talk
    assert "1 of 3 recordings hold no speech" in talk
    assert "1 of 4 recordings could not be read:\n  bad.wav  not audio but text" in talk
    (tapes / "bad.wav").unlink()
    code, _, talk = run(capsys, model, tapes, "--out", out, "--format", "srt")
    assert code == 0
    assert f"0 transcripts in {out}, 3 there already" in talk
    code, _, talk = run(capsys, model, tapes, "--out", out, "--format", "srt", "--gap", 0.5)
    assert code == 1
    assert "made with another segments" in talk


def test_the_ending_of_a_file_says_its_format(
    model: Path, interview: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, talk = run(capsys, model, interview, "--out", tmp_path / "x.vtt")
    assert (code, out) == (0, "")
    assert (tmp_path / "x.vtt").read_text().startswith("WEBVTT\n\n00:00:00.")
    assert "1 transcripts in" in talk


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["a.wav", "b.wav", "--format", "srt"], "give --out a folder"),
        (["a.wav", "--json", "--format", "ctm"], "choose one"),
        (["a.wav", "--threshold", "1.5"], "between 0 and 1"),
        (["a.wav", "--longest", "0"], "longest_seconds must be at least 1"),
        (["a.wav", "--split", "dev"], "--split chooses from a manifest"),
    ],
)
def test_wrong_usage_is_one_line(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, talk = run(capsys, "nowhere", *arguments)
    assert (code, out) == (2, "")
    assert problem in talk
    assert talk.count("\n") == 1
