from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import torch

import export_makers
from isogloss.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    export_makers.random_model(folder)
    return folder


def test_export_prints_what_it_wrote_and_how_close_it_is(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["speech", "export", f"own:{model}", "--out", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(entry["what"], entry["precision"]) for entry in found] == [
        ("ctc", "fp32"),
        ("ctc", "int8"),
        ("encoder", "fp32"),
        ("encoder", "int8"),
    ]
    assert all(
        entry["largest_difference"] < 1e-3 for entry in found if entry["precision"] == "fp32"
    )
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {
        "model.onnx",
        "model.int8.onnx",
        "encoder.onnx",
        "encoder.int8.onnx",
        "tokens.txt",
        "export.json",
    }


def test_options_choose_files(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["speech", "export", str(model), "--out", str(tmp_path), "--what", "encoder"]
    assert main([*command, "--quantize", "none"]) == 0
    captured = capsys.readouterr()
    assert "encoder.onnx" in captured.out.replace("\n", "")
    assert "export.json says" in captured.err
    assert {path.suffix for path in tmp_path.iterdir()} == {".onnx", ".txt", ".json"}
    assert main([*command, "--format", "torchscript"]) == 0
    assert (tmp_path / "encoder.pt").is_file()


def test_wrong_usage_and_a_file_too_far_off(
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = ["speech", "export", str(model), "--out", str(tmp_path)]
    assert main([*command, "--format", "torchscript", "--quantize", "int8"]) == 2
    assert "--quantize int8 is made for --format onnx only" in capsys.readouterr().err
    assert main([*command, "--head", "dialect"]) == 1
    assert "no dialect head" in capsys.readouterr().err
    monkeypatch.setattr("isogloss.speech.export.LARGEST_DIFFERENCE", 1e-12)
    assert main(command) == 1
    assert "model.onnx: values differ" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
