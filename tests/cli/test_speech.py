from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from isogloss.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path
from training.tones import small_shape, tone_corpus

torch.set_num_threads(1)

# What `tones.small_shape` says, as TOML.
TRAIN = """\
max_batch_seconds = 4.0
max_seconds = 3.0
buckets = 3
threads = 1
device = "cpu"
epochs = 7
[shape]
"""


def toml_of(shape: Any) -> str:
    import dataclasses

    def value(x: Any) -> str:
        return json.dumps(list(x) if isinstance(x, tuple) else x)

    fields = dataclasses.asdict(shape)
    return "".join(f"{k} = {value(v)}\n" for k, v in fields.items() if v is not None)


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tone_corpus(tmp_path_factory.mktemp("tones"))


@pytest.fixture(scope="module")
def model(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    settings = folder / "train.toml"
    settings.write_text(TRAIN + toml_of(small_shape()), encoding="utf-8")
    command = ["speech", "train", str(tones), "--out", str(folder), "--config", str(settings)]
    assert main([*command, "--max-steps", "40", "--set", "specaugment=false"]) == 0
    return folder


def output(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Any, str]:
    code = main(["speech", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, json.loads(captured.out) if captured.out else None, captured.err


def test_options_win_over_the_file(model: Path) -> None:
    written = json.loads((model / "train_config.json").read_text())["config"]
    assert (written["max_steps"], written["epochs"], written["buckets"]) == (40, None, 3)
    assert written["specaugment"] is False


def test_training_again_prints_the_finished_run(
    tones: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found, talk = output(
        capsys,
        *("train", tones, "--out", model, "--config", model / "train.toml", "--json"),
        *("--max-steps", 40, "--set", "specaugment=false"),
    )
    assert code == 0
    assert (found["steps"], found["utterances"]) == (40, 20)
    assert "finished before" in talk


def test_items_that_were_left_out_are_counted_and_change_the_exit_code(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = {"id": "b", "variety": "cmn", "audio": "audio/none.wav", "transcript": "天"}
    tones = tone_corpus(tmp_path / "tones", count=12, extra=[{**broken, "split": "train"}])
    code, found, talk = output(
        capsys,
        *("train", tones, "--out", tmp_path / "run", "--config", model / "train.toml"),
        *("--max-steps", 1, "--json"),
    )
    assert code == 1
    assert [entry["id"] for entry in found["skipped"]] == ["b"]
    assert "1 x audio cannot be read" in talk


def test_transcribe_files_and_manifest(
    tones: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    audio = sorted((tones.parent / "audio").glob("*.wav"))[:3]
    code, found, _ = output(capsys, "transcribe", model, *audio, "--json")
    assert code == 0
    assert [entry["id"] for entry in found] == [str(path) for path in audio]
    assert all(set(entry["text"]) <= set("天地人水火") for entry in found)
    code, _, talk = output(
        capsys,
        *("transcribe", model, tones, "--split", "dev", "--beam", 4),
        *("--out", tmp_path / "read.jsonl"),
    )
    assert code == 0
    lines = (tmp_path / "read.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["u5", "u11", "u17", "u23"]
    assert "4 transcripts" in talk
    # What is asked for as JSON comes as JSON, whatever else is written.
    code, found, _ = output(
        capsys, "transcribe", f"own:{model}", audio[0], "--out", tmp_path / "b.jsonl", "--json"
    )
    assert code == 0
    assert found == [json.loads((tmp_path / "b.jsonl").read_text(encoding="utf-8"))]


def test_a_recording_that_cannot_be_read_is_named(
    tones: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_text("no sound")
    good = tones.parent / "audio" / "0.wav"
    code, found, talk = output(capsys, "transcribe", model, bad, good, "--json")
    assert code == 1
    assert [entry["id"] for entry in found] == [str(good)]
    assert "bad.wav" in talk


def test_evaluate_gives_edits_for_each_variety(
    tones: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found, _ = output(
        capsys, "evaluate", model, tones, "--split", "all", "--bootstrap", 20, "--json"
    )
    assert code == 0
    assert [entry["name"] for entry in found] == ["CER", "CER cmn", "CER yue"]
    assert found[0]["n"] == 24
    edits = ("substitutions", "deletions", "insertions")
    for name in edits:
        assert found[0]["signature"][name] == sum(e["signature"][name] for e in found[1:])
    assert main(["speech", "evaluate", str(model), str(tones), "--split", "dev"]) == 0
    assert "CER yue" in capsys.readouterr().out


def test_encode_to_a_file_and_to_a_folder(
    tones: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"own:{model}"
    code, found, _ = output(
        capsys, "encode", name, tones, "--layer", 1, "--out", tmp_path / "a.npz", "--json"
    )
    assert code == 0
    code, _, talk = output(
        capsys,
        *("encode", name, tones, "--layer", 1, "--out", tmp_path / "b"),
        *("--cache", tmp_path / "cache", "--json"),
    )
    with np.load(tmp_path / "a.npz") as file:
        values, offsets, ids = file["values"], file["offsets"], file["ids"]
        assert file["step_seconds"] == found["step_seconds"]
    assert values.dtype == np.float32
    assert (len(offsets), len(values)) == (25, found["steps"])
    assert ids.tolist() == [f"u{i}" for i in range(24)]
    np.testing.assert_allclose(np.load(tmp_path / "b" / "values.npy"), values, atol=1e-5)
    described = json.loads((tmp_path / "b" / "sequences.json").read_text())
    assert described["made_by"] == found["made_by"]
    assert talk == ""
    taken = tmp_path / "b" / "values.npy"
    assert main(["speech", "encode", name, str(tones), "--out", str(taken)]) == 2
    assert "is a file; name FILE.npz or a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (["train", "nowhere.jsonl", "--out", "x"], 1, "nowhere.jsonl"),
        (["transcribe", "nowhere", "a.wav"], 1, "no model folder"),
        (["evaluate", "own:nowhere", "m"], 1, "nowhere is no model folder"),
        (["encode", "mel:", "nowhere", "--out", "x"], 1, "no such manifest"),
        (["encode", "mell:", "nowhere", "--out", "x"], 1, "no such manifest"),
        (["train", "m", "--out", "x", "--set", "base_lrs=1"], 2, "base_lr"),
        (["train", "m", "--out", "x", "--set", "units=bpe"], 2, "text in double quotes"),
        (["train", "m", "--out", "x", "--set", "shape.dims=[16]"], 2, "dims"),
        (["train", "m", "--out", "x", "--size", "huge"], 2, "size"),
        (["train", "m", "--out", "x", "--minutes", "inf"], 2, "minutes"),
        (["train", "m", "--out", "x", "--config", "none.toml"], 2, "none.toml: No such file"),
        (["transcribe", "x", "a.wav", "--split", "dev"], 2, "--split"),
        (["transcribe", "x", "a.jsonl", "b.wav"], 2, "give it alone"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str],
    code: int,
    problem: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["speech", *arguments]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert problem in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize("verb", ["train", "transcribe", "evaluate", "encode"])
def test_help_shows_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["speech", verb, "--help"])
    assert caught.value.code == 0
    assert f"isogloss speech {verb}" in capsys.readouterr().out.split("example:")[1]


def test_two_lengths_are_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["speech", "train", "m", "--out", "x", "--epochs", "1", "--minutes", "2"])
    assert caught.value.code == 2
    assert "not allowed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["transcribe", "m", "a.wav", "--beam", "0"], "0 is less than 1"),
        (["transcribe", "m", "a.wav", "--beam", "wide"], "invalid whole number value"),
        (["evaluate", "m", "c", "--bootstrap", "-1"], "-1 is less than 0"),
    ],
)
def test_numbers_out_of_range_are_wrong_usage(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["speech", *arguments])
    assert caught.value.code == 2
    assert problem in capsys.readouterr().err


def test_recordings_that_cannot_be_read_are_counted_by_evaluate(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = {"id": "b", "variety": "cmn", "audio": "audio/b.wav", "transcript": "天"}
    tones = tone_corpus(tmp_path / "tones", count=6, extra=[{**broken, "split": "dev"}])
    (tones.parent / "audio" / "b.wav").write_text("no sound")
    arguments = ("evaluate", model, tones, "--split", "dev", "--bootstrap", 0, "--json")
    code, found, talk = output(capsys, *arguments)
    assert code == 1
    assert found[0]["n"] == 1
    assert "1 recordings could not be read" in talk
    assert "corpus check" in talk
    code, _, talk = output(capsys, *("evaluate", model, tones, "--split", "valid", "--json"))
    assert code == 1
    assert "splits there are: train (5), dev (2)" in talk


def test_a_device_that_is_not_there_is_one_line(
    tones: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["speech", "evaluate", str(model), str(tones), "--device", "cuda:99"]) == 1
    talk = capsys.readouterr().err
    assert "device 'cuda:99' cannot be used here" in talk
    assert talk.count("\n") == 1
