"""`isogloss text encode`: files, folders, what is left out, what is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from isogloss.cli.main import main
from isogloss.encoders import load_encoder
from isogloss.encoders.pool import pool, words_pool
from isogloss.types import Item
from text_checkpoints import TEXTS, make

pytest.importorskip("transformers")

if TYPE_CHECKING:
    from pathlib import Path

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"hf:{make('bert', tmp_path_factory.mktemp('text') / 'bert')}"


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    rows = [
        {"id": f"t{n}", "variety": "deu", "text": text, "split": "test" if n else "train"}
        for n, text in enumerate(TEXTS)
    ]
    path = tmp_path / "manifest.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def items() -> list[Item]:
    return [Item(f"t{n}", "deu", text=text) for n, text in enumerate(TEXTS)]


def test_steps_words_and_vectors_of_a_manifest(
    bert: str, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = load_encoder(bert, layer=2).encode(items())
    expected = {
        (): whole,
        ("--pool", "weighted"): pool(whole, "weighted"),
        ("--words",): words_pool(whole),
    }
    for options, wanted in expected.items():
        out = tmp_path / f"{len(options)}.npz"
        arguments = ["text", "encode", bert, str(manifest), "--layer", "2", "--out", str(out)]
        assert main([*arguments, *options, "--json"]) == 0
        summary = json.loads(capsys.readouterr().out)
        with np.load(out) as found:
            np.testing.assert_allclose(found["values"], wanted.values, atol=1e-5)
            assert found["ids"].tolist() == [f"t{n}" for n in range(len(TEXTS))]
            assert str(found["made_by"]) == wanted.made_by == summary["made_by"]
            assert ("words" in found) == ("--pool" not in options)
        assert summary["items"] == len(TEXTS)


def test_lines_of_text_with_blank_ones(
    bert: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_bytes("\ufeff".encode() + b"ein Fuchs\r\n\r\nzwei\n")
    out = tmp_path / "out"
    assert main(["text", "encode", bert, str(lines), "--variety", "deu", "--out", str(out)]) == 1
    said = capsys.readouterr()
    assert "item 'line-2': its text is empty" in said.err
    described = json.loads((out / "sequences.json").read_text())
    assert described["ids"] == ["line-1", "line-3"]
    found = np.load(out / "values.npy")
    alone = load_encoder(bert).encode([Item("a", "deu", text="ein Fuchs")])
    np.testing.assert_allclose(found[: len(alone.values)], alone.values, atol=1e-5)


def test_wrong_encodings_and_empty_files_are_named(
    bert: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_bytes("Füchse".encode("latin-1"))
    assert main(["text", "encode", bert, str(lines), "--out", str(tmp_path / "a.npz")]) == 1
    assert "lines.txt: byte 1 is no UTF-8; convert it" in capsys.readouterr().err
    lines.write_text("")
    assert main(["text", "encode", bert, str(lines), "--out", str(tmp_path / "a.npz")]) == 1
    assert "lines.txt is empty" in capsys.readouterr().err
    assert not (tmp_path / "a.npz").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mel:", "m.jsonl", "--out", "a.npz"], "mel: takes recordings"),
        (["ngram:", "m.jsonl", "--out", "steps", "--pool", "mean"], "--pool and --words write to"),
        (["ngram:", "m.jsonl", "--out", "a.npz", "--pool", "mean", "--words"], "choose one"),
        (["ngram:", "m.jsonl", "--out", "a.npz", "--ray-workers", "2"], "--ray-workers writes"),
        (["ngram:", "m.jsonl", "--out", "a", "--ray-address", "auto"], "needs --ray-workers"),
        (["ngram:", "m.txt", "--out", "a.npz", "--split", "test"], "--split is of a manifest"),
        (["ngram:", "m.jsonl", "--out", "a.npz", "--variety", "deu"], "--variety is for lines"),
    ],
)
def test_wrong_usage(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["text", "encode", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_split_and_a_manifest_without_text(
    bert: str, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "a.npz")
    code = main(["text", "encode", bert, str(manifest), "--split", "train", "--out", out, "--json"])
    assert code == 0
    assert json.loads(capsys.readouterr().out)["items"] == 1
    manifest.write_text('{"id": "a", "variety": "deu", "audio": "a.wav"}\n')
    assert main(["text", "encode", bert, str(manifest), "--out", out]) == 1
    assert "has no item with text or transcript" in capsys.readouterr().err
