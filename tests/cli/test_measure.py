from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from alignment_makers import parallel_texts
from isogloss.cli import main
from isogloss.tasks.alignment_explain import EXPLAINED

if TYPE_CHECKING:
    from pathlib import Path

QUICK = ["--measures", "retrieval,separation", "--bootstrap", "5", "--quiet"]


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    lines = [json.dumps({"isogloss_corpus": 1, "name": "texts"})]
    lines += [
        json.dumps({"id": i.id, "variety": i.variety, "meaning": i.meaning, "text": i.text})
        for i in parallel_texts(("eng", "deu", "nld"), 8).items
    ]
    path = tmp_path / "manifest.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_table_and_a_folder(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["measure", "ngram:", "--corpus", str(manifest), "--out", str(out), *QUICK]) == 0
    said = capsys.readouterr()
    assert "cosine random" in said.out and "chosen layer 0" in said.out
    assert f"wrote {out / 'report.html'}" in said.err
    told = json.loads((out / "results.json").read_text(encoding="utf-8"))
    rows = [row for row in told["measurements"] if row["pair"] is None]
    assert {row["name"] for row in rows} == {
        "R@1", "R@5", "MRR", "cosine matched", "cosine random", "separation",
    }  # fmt: skip
    assert all(row["low"] <= row["value"] <= row["high"] for row in rows)


def test_json_is_what_the_folder_gets(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["measure", "ngram:?high=2", "--corpus", str(manifest), "--json", *QUICK]
    assert main(arguments) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["floor"]["signature"]["encoder"].startswith("ngram")
    assert main([*arguments, "--floor", "none"]) == 0
    assert json.loads(capsys.readouterr().out)["floor"] is None
    assert main([*arguments, "--items", "4", "--pairs", "pivot", "--pivot", "deu"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["signature"]["meanings"] == 4
    assert told["signature"]["pairs"] == [["deu", "eng"], ["deu", "nld"]]


def test_explain(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["measure", "--explain", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in told] == [one.name for one in EXPLAINED]
    assert main(["measure", "--explain", "--measures", "mexa"]) == 0
    assert "strict" in capsys.readouterr().out
    assert main(["measure", "--explain", "--measures", "meksa"]) == 2
    assert "did you mean mexa" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a model and --corpus"),
        (["ngram:"], "name a model and --corpus"),
        (["ngram:", "--corpus", "x", "--measures", "bleu"], "unknown measure 'bleu'"),
        (["ngram:", "--corpus", "x", "--distances", "mood"], "unknown distance 'mood'"),
        (["ngram:", "--corpus", "x", "--cca-share", "2"], "share must be"),
        (["ngram:", "--corpus", "x", "--match", "0"], "match must be"),
        (["ngram:", "--corpus", "x", "--map", "places"], "name a folder with --out"),
    ],
)
def test_wrong_usage(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["measure", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_failures_are_one_line(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["measure", "ngram:", "--corpus", str(tmp_path / "none.jsonl")]) == 1
    assert main(["measure", "ngram:", "--corpus", str(manifest), "--split", "test"]) == 1
    assert main(["measure", "ngram:", "--corpus", str(manifest), "--layers", "7"]) == 1
    assert main(["measure", "ngram:", "--corpus", str(manifest), "--site", "mlp"]) == 1
    said = capsys.readouterr().err.strip().splitlines()
    assert all(line.startswith("isogloss: error:") for line in said) and len(said) == 4


def test_a_measure_that_was_asked_for_and_cannot_be_is_told(
    manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["measure", "ngram:", "--corpus", str(manifest), "--bootstrap", "0", "--quiet"]
    assert main([*arguments, "--measures", "retrieval,concepts"]) == 1
    assert "not measured: concepts" in capsys.readouterr().err
    assert main([*arguments, "--measures", "gradients"]) == 1
    assert "no language-model loss" in capsys.readouterr().err


def test_a_folder_of_vectors_is_no_model(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "vectors"
    folder.mkdir()
    (folder / "sequences.json").write_text("{}", encoding="utf-8")
    assert main(["measure", str(folder), "--corpus", str(manifest), *QUICK]) == 1
    assert "use isogloss adapt compare" in capsys.readouterr().err
