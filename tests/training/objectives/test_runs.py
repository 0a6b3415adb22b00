"""Whole runs with losses beside CTC: what they log and write, and that a kill changes nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from isogloss._files import sha256_of_file
from isogloss.encoders import load_encoder
from isogloss.errors import IsoglossError
from isogloss.speech.checkpoint import load_model
from isogloss.training.loop import TrainResult, train
from isogloss.types import Item
from training import tones as tones_module
from training.tones import config, tone_corpus

torch.set_num_threads(1)
# Every loss at once, with every way of lacking a text.
EVERYTHING: dict[str, Any] = {
    "transcripts": "both",
    "standard_share": 0.6,
    "standard_weight": 2.0,
    "objective": "cr-ctc",
    "inter_ctc": 0.4,
    "inter_ctc_stacks": (1, 2),
    "inter_ctc_text": "standard",
    "pooled_teacher": 1.0,
    "teacher_text": "standard",
    "contrastive": 0.5,
    "contrastive_text": "dialect",
    "max_steps": 20,
}


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tone_corpus(tmp_path_factory.mktemp("tones"))


def run(tones: Path, folder: Path, **changes: Any) -> TrainResult:
    return train(config(**changes), corpus=tones, folder=folder, quiet=True)


def logged(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def killed_after(tones: Path, folder: Path, steps: int, settings: dict[str, Any]) -> None:
    arguments = [f"{k}={v!r}" for k, v in {**settings, "checkpoint_minutes": 1e-9}.items()]
    maker = Path(tones_module.__file__)
    process = subprocess.Popen(
        [sys.executable, str(maker), str(tones), str(folder), *arguments],
        env={**os.environ, "PYTHONPATH": str(maker.parent.parent), "OMP_NUM_THREADS": "1"},
    )
    try:
        while process.poll() is None and not list(folder.glob(f"checkpoints/step-*{steps}.json")):
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        assert process.wait() == -signal.SIGKILL


def test_a_killed_run_with_every_loss_ends_in_the_same_weights(tones: Path, tmp_path: Path) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    run(tones, whole, **EVERYTHING)
    killed_after(tones, folder, 7, EVERYTHING)
    run(tones, folder, **EVERYTHING)
    for name in ("model.safetensors", "alignment.safetensors"):
        assert sha256_of_file(folder / name) == sha256_of_file(whole / name)
    parts = {"ctc", "ctc_dialect", "cr", "cr_dialect", "inter_ctc", "teacher", "contrastive"}
    assert parts <= logged(whole)[-1].keys()
    strip = ("audio_per_second",)
    last = [{k: v for k, v in logged(f)[-1].items() if k not in strip} for f in (whole, folder)]
    assert last[0] == last[1]


def test_a_killed_tagged_run_draws_the_same_texts(tones: Path, tmp_path: Path) -> None:
    settings = {"transcripts": "tagged", "max_steps": 20}
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    run(tones, whole, **settings)
    killed_after(tones, folder, 7, settings)
    run(tones, folder, **settings)
    assert sha256_of_file(folder / "model.safetensors") == sha256_of_file(
        whole / "model.safetensors"
    )
    symbols = load_model(whole).tokenizer.symbols
    assert symbols[2:4] == ("<standard>", "<dialect>")


def test_the_model_loads_without_what_was_added(tones: Path, tmp_path: Path) -> None:
    run(tones, tmp_path, **{**EVERYTHING, "max_steps": 2})
    loaded = load_model(tmp_path)
    assert not any(name.startswith("aligned") for name in loaded.model.state_dict())
    assert loaded.model.has_dialect_head
    assert loaded.extra["beside_ctc"] == {
        "inter_ctc": 0.4,
        "pooled_teacher": 1.0,
        "contrastive": 0.5,
    }
    with safe_open(tmp_path / "alignment.safetensors", framework="pt") as file:
        names = set(file.keys())
        assert json.loads(file.metadata()["isogloss"])["stacks"] == [1, 2]
    assert {"pooling.output.weight", "contrast.log_scale", "inner.outputs.0.1.weight"} <= names
    item = Item(id="a", variety="cmn", audio=str(tones.parent / "audio" / "1.wav"))
    assert load_encoder(f"own:{tmp_path}").encode([item]).values.shape[1] == 16


def test_losses_fall_when_they_are_trained(tones: Path, tmp_path: Path) -> None:
    run(
        tones,
        tmp_path,
        pooled_teacher=1.0,
        contrastive=0.5,
        inter_ctc=0.3,
        inter_ctc_heads="shared",
        max_steps=80,
        specaugment=False,
        max_batch_seconds=10.0,
        warmup=5,
    )
    records = logged(tmp_path)
    for name in ("ctc", "inter_ctc", "teacher", "contrastive"):
        assert records[-1][name] < 0.75 * records[0][name], name


def test_only_the_chosen_items_show_their_standard_text(tones: Path, tmp_path: Path) -> None:
    losses = [
        run(tones, tmp_path / str(share), transcripts="both", standard_share=share, max_steps=1)
        for share in (0.0, 0.5, 1.0)
    ]
    found = [logged(result.folder)[-1] for result in losses]
    assert found[0]["ctc"] == 0.0 < found[1]["ctc"] < found[2]["ctc"]
    # The other head sees the same; only the units differ in number.
    assert found[0]["ctc_dialect"] == pytest.approx(found[2]["ctc_dialect"], rel=0.1)


def test_features_are_shared(tones: Path, tmp_path: Path) -> None:
    shared = str(tmp_path / "features")
    first = run(tones, tmp_path / "a", features=shared, max_steps=2)
    written = {path: path.stat().st_mtime_ns for path in Path(shared).glob("*/*")}
    second = run(tones, tmp_path / "b", features=shared, max_steps=2, transcripts="dialect")
    assert {path: path.stat().st_mtime_ns for path in Path(shared).glob("*/*")} == written
    assert not list((tmp_path / "b").glob("features-*"))
    # Where they lie changes nothing.
    assert run(tones, tmp_path / "c", max_steps=2).revision == first.revision != second.revision


def test_vectors_of_ones_own_teach(tones: Path, tmp_path: Path) -> None:
    path = tmp_path / "v.npz"
    ids = [f"u{number}" for number in range(12)]
    np.savez(path, ids=np.array(ids), vectors=np.eye(12))
    options = {"pooled_teacher": 1.0, "text_teacher": f"vectors:{path}", "max_steps": 2}
    run(tones, tmp_path / "run", **options)
    assert 0 < logged(tmp_path / "run")[-1]["teacher"] < 2
    # A run goes on with the vectors it began with, or not at all.
    (tmp_path / "run" / "result.json").unlink()
    np.savez(path, ids=np.array(ids), vectors=2 * np.eye(12))
    with pytest.raises(IsoglossError, match="another text_teacher"):
        run(tones, tmp_path / "run", **options)


def test_a_lexicon_makes_the_units(tones: Path, tmp_path: Path) -> None:
    path = tmp_path / "words.tsv"
    path.write_text("dialect\tstandard\n天\t地\n", encoding="utf-8")
    options = {"transcripts": "dialect", "lexicon": str(path), "max_steps": 2}
    run(tones, tmp_path / "run", **options)
    assert set(load_model(tmp_path / "run").tokenizer.symbols[2:]) == set("地人水火")
    path.unlink()
    with pytest.raises(IsoglossError, match="no such file"):
        run(tones, tmp_path / "run", **options)


def test_a_run_of_an_earlier_version_goes_on(tones: Path, tmp_path: Path) -> None:
    first = run(tones, tmp_path, max_steps=3)
    (tmp_path / "result.json").unlink()
    path = tmp_path / "train_config.json"
    described = json.loads(path.read_text(encoding="utf-8"))
    for key in ("standard_share", "inter_ctc", "lexicon", "features", "contrastive"):
        del described["config"][key]
    del described["files_read"]
    path.write_text(json.dumps(described), encoding="utf-8")
    assert run(tones, tmp_path, max_steps=3).revision == first.revision


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"transcripts": "both"}, 'no item has standard text .*use transcripts "dialect"'),
        ({"contrastive": 0.3, "contrastive_text": "standard"}, "no item has the text.*contrastive"),
        ({"inter_ctc": 0.3, "inter_ctc_text": "standard"}, "no item has the text.*inter_ctc"),
        ({"pooled_teacher": 1.0, "teacher_text": "standard"}, "no item has the text.*teacher"),
    ],
)
def test_a_loss_that_no_item_has_text_for_is_refused(
    settings: dict[str, Any], words: str, tones: Path, tmp_path: Path
) -> None:
    records = [json.loads(line) for line in tones.read_text(encoding="utf-8").splitlines()]
    for record in records:
        del record["translation"]
        record["audio"] = str(tones.parent / record["audio"])
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (tmp_path / "manifest.jsonl").write_text(lines, encoding="utf-8")
    with pytest.raises(IsoglossError, match=words):
        run(
            tmp_path / "manifest.jsonl",
            tmp_path / "run",
            **{"transcripts": "dialect", "max_steps": 2, **settings},
        )
