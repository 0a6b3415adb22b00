from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import torch

from isogloss.cli.main import main
from isogloss.corpora.jsonl import write_items
from isogloss.training.text_model import TextModel
from text_training_makers import parallel_items

if TYPE_CHECKING:
    from pathlib import Path

torch.set_num_threads(1)

SMALL = ("--layers", "2", "--width", "16", "--heads", "2", "--vocabulary", "400")
QUICK = ("--batch", "8", "--max-tokens", "24", "--threads", "1", "--device", "cpu")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "manifest.jsonl"
    write_items(parallel_items(30), path, name="small")
    return path


def test_train_on_and_merge(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mlm, aligned, merged = (tmp_path / name for name in ("mlm", "aligned", "merged"))
    assert (
        main(["text", "train", str(manifest), "--out", str(mlm), "--steps", "3", *SMALL, *QUICK])
        == 0
    )
    capsys.readouterr()
    command = ["text", "train", str(manifest), "--out", str(aligned), "--start", str(mlm)]
    command += ["--objective", "infonce:layer=1", "--objective", "mlm", "--parameters", "lora:2,4"]
    command += ["--steps", "3", "--lr", "0.01", *QUICK]
    assert main(command) == 0
    shown = capsys.readouterr().out
    for word in ("control", "forward passes", "FLOPs", "infonce, last steps", "seconds in steps"):
        assert word in shown, word
    assert main([*command, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["steps"] == result["control"]["steps"] == 3
    assert result["spent"]["flops"] > result["control"]["spent"]["flops"]
    merge = ["text", "merge", str(mlm), f"{aligned}/adapter", f"{aligned}/adapter=0.5"]
    assert main([*merge, "--out", str(merged), "--json"]) == 0
    assert [a["weight"] for a in json.loads(capsys.readouterr().out)["adapters"]] == [1.0, 0.5]
    assert TextModel.load(merged).layers == (0, 1, 2, 3)
    assert main([*merge[:3], f"{aligned}/adapter=y", "--out", str(merged)]) == 2
    assert "the weight 'y' is not a number" in capsys.readouterr().err


def test_views_of_a_file(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    views = tmp_path / "views.txt"
    texts = [item.text or "" for item in parallel_items(30)]
    views.write_text("".join(text.upper() + "\n" for text in texts), encoding="utf-8")
    command = ["text", "train", str(manifest), "--out", str(tmp_path / "a"), "--steps", "2"]
    command += ["--objective", "infonce", "--objective", "mlm", "--no-control", "--json"]
    command += ["--views", str(views), *SMALL, *QUICK]
    assert main(command) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["pairs"] == "views"
    assert result["control"] is None
    views.write_text("one line\n", encoding="utf-8")
    command[4] = str(tmp_path / "b")
    assert main(command) == 1
    assert "1 views for 90 items" in capsys.readouterr().err
    views.write_bytes(b"\xff\xfe")
    assert main(command) == 1
    assert "no UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--objective", "infonec"), "did you mean infonce"),
        (("--start", "x", "--layers", "2"), "--layers is for a new model"),
        (("--set", "nonsense=1"), "nonsense"),
        (("--parameters", "lora"), "needs start"),
        (("--alternate",), "alternate has no effect"),
    ],
)
def test_wrong_settings(
    manifest: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    said: str,
) -> None:
    assert main(["text", "train", str(manifest), "--out", str(tmp_path / "a"), *arguments]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--start", "absent"), "there is no such folder"),
        (("--varieties", "eng,deo"), "did you mean deu"),
        (("--varieties", "eng", "--objective", "infonce"), "no pairs to learn from"),
    ],
)
def test_failures_are_one_line(
    manifest: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    said: str,
) -> None:
    assert main(["text", "train", str(manifest), "--out", str(tmp_path / "a"), *arguments]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
