from __future__ import annotations

import importlib.util
import json
from typing import TYPE_CHECKING, Any

import pytest
import torch

from isogloss.cli import main
from isogloss.speech.checkpoint import load_model, save_model
from isogloss.speech.ctc import CtcModel
from isogloss.speech.tokens import BLANK, UNKNOWN, Tokenizer
from training.tones import small_shape
from training.tuning_makers import NEW, OLD, voiced_corpus

if TYPE_CHECKING:
    from pathlib import Path

torch.set_num_threads(1)

SHORT = [
    *("--max-steps", "2", "--device", "cpu", "--threads", "1", "--bootstrap", "20"),
    *("--set", "max_batch_seconds=8.0", "--set", "max_seconds=3.0", "--set", "dev_minutes=9.0"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finetune")
    voiced_corpus(folder / "old", OLD, counts=(8, 2, 4))
    voiced_corpus(folder / "new", NEW, counts=(8, 2, 4))
    torch.manual_seed(0)
    model = CtcModel(small_shape(), 6)
    tokenizer = Tokenizer((BLANK, UNKNOWN, *"人地天水"))
    save_model(folder / "base", model, tokenizer, model.config)
    return folder


def finetune(place: Path, out: Path, *arguments: str, new: bool = True) -> int:
    manifest = [str(place / "new")] if new else []
    return main(
        ["speech", "finetune", str(place / "base"), *manifest, "--out", str(out), *arguments]
    )


def test_it_prints_old_and_new_before_and_after(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--replay", str(place / "old"), "--replay-share", "0.4", *SHORT]
    assert finetune(place, tmp_path / "run", *options) == 0
    said = capsys.readouterr()
    rows = [line.split() for line in said.out.splitlines()]
    assert rows[0][:3] == ["corpus", "variety", "items"]
    assert [row[:3] for row in rows[1:]] == [["new", "nan", "4"], ["old", "cmn", "4"]]
    assert "3 units were added: 土 木 金" in said.err
    assert "warning" not in said.err
    # Again, as JSON: nothing is trained, the same is said, and the file agrees.
    assert finetune(place, tmp_path / "run", *options, "--json") == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    written = json.loads((tmp_path / "run" / "finetune.json").read_text(encoding="utf-8"))
    assert found["changes"] == written["changes"]
    assert {entry["corpus"] for entry in found["changes"]} == {"old", "new"}
    for name in ("before", "after", "difference"):
        assert found["changes"][0][name].keys() == {"value", "low", "high"}
    # Other settings are refused, and the setting is named.
    assert finetune(place, tmp_path / "run", *options, "--layer-decay", "0.5") == 1
    assert "tuning.layer_decay = 0.9" in capsys.readouterr().err


def test_without_replay_it_warns(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert finetune(place, tmp_path / "run", "--units", "extend", *SHORT) == 0
    assert "warning: without replay" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--replay-share", "1.5"], "replay_share"),
        (["--lora-alpha", "4"], "lora_rank"),
        (["--set", "size='tiny'"], "no setting of fine-tuning"),
        (["--set", "no_such=1"], "no_such"),
        (["--set", "=="], "not TOML"),
        (["--apply-adapter", "x"], "leave the manifest out"),
    ],
)
def test_wrong_usage_ends_with_2(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], found: str
) -> None:
    assert finetune(place, tmp_path / "run", *options) == 2
    assert found in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_manifest_is_needed(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert finetune(place, tmp_path / "run", new=False) == 2
    assert "manifest" in capsys.readouterr().err


def test_items_left_out_end_with_1(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    extra = [
        {"id": f"t{i}", "variety": "nan", "audio": f"audio/{i}.wav", "split": "train"} | text
        for i, text in enumerate([{}, {"transcript": "天"}, {"transcript": "天"}])
    ]
    voiced_corpus(tmp_path / "new", NEW, counts=(8, 2, 4), extra=extra)
    arguments = [str(place / "base"), str(tmp_path / "new"), "--out", str(tmp_path / "run")]
    assert main(["speech", "finetune", *arguments, "--units", "keep", *SHORT]) == 1
    said = capsys.readouterr().err
    assert "x characters without a unit" in said
    assert "1 x no transcript" in said


@pytest.mark.skipif(importlib.util.find_spec("peft") is None, reason="LoRA needs the extra hf")
def test_a_kept_adapter_is_applied_again(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--lora-rank", "2", "--keep-adapter", "--replay", str(place / "old"), *SHORT]
    assert finetune(place, tmp_path / "run", *options) == 0
    capsys.readouterr()
    adapter = ["--apply-adapter", str(tmp_path / "run"), "--json"]
    assert finetune(place, tmp_path / "again", *adapter, new=False) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["revision"] == load_model(tmp_path / "run").revision
    assert load_model(tmp_path / "again").revision == found["revision"]
    assert finetune(place, tmp_path / "again", *adapter, new=False) == 2
