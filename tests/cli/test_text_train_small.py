from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("torch")
pytest.importorskip("accelerate")
pytest.importorskip("PIL")

from isogloss.cli import main
from isogloss.encoders import load_encoder
from parallel_text_makers import items_of, manifest

if TYPE_CHECKING:
    from pathlib import Path

QUICK = ["--steps", "2", "--batch", "8", "--threads", "1", "--device", "cpu", "--json"]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return manifest(tmp_path, items_of(12))


def test_options_of_the_kind_and_of_the_run_are_told_apart(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    given = ["--set", "buckets=500", "--width", "12", "--set", "buckets=400", "--set", "keep=2"]
    code = main(["text", "train", str(corpus), "--out", str(out), "--kind", "hash", *QUICK, *given])
    assert code == 0
    result = json.loads(capsys.readouterr().out)
    assert result["model"]["buckets"] == 400
    assert result["model"]["dimension"] == 12
    assert result["steps"] == 2
    assert result["control"]["model"]["pairs"] == "shuffled"
    settings = json.loads((out / "train_config.json").read_text(encoding="utf-8"))["config"]
    assert (settings["batch"], settings["base_lr"], settings["keep"]) == (8, 0.005, 2)
    assert load_encoder(f"hash:{out}").shape.dimension == 12


@pytest.mark.parametrize("kind", ["laser", "pixel"])
def test_every_kind_can_be_trained_and_loaded(kind: str, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    small = ["--layers", "1", "--no-control"]
    small += ["--vocabulary", "50"] if kind == "laser" else ["--width", "8", "--heads", "2"]
    code = main(["text", "train", str(corpus), "--out", str(out), "--kind", kind, *QUICK, *small])
    assert code == 0
    assert load_encoder(f"{kind}:{out}").encode(items_of(1)).values.any()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--kind", "hash", "--heads", "2"], "--heads has no effect on kind 'hash'"),
        (["--kind", "hash", "--set", "low=9"], "low=9 and high=5"),
        (["--kind", "pixel", "--set", "bucket=9"], "bucket"),
        (["--kind", "hash", "--objective", "mlm"], "objectives has no effect on kind 'hash'"),
        (["--kind", "laser", "--start", "x"], "start has no effect on kind 'laser'"),
    ],
)
def test_what_has_no_effect_is_refused(
    given: list[str], message: str, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["text", "train", str(corpus), "--out", str(tmp_path / "run"), *given])
    assert code in (1, 2)
    assert message in capsys.readouterr().err
