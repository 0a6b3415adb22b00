from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from isogloss.cli.main import main
from isogloss.search.vector_index import VectorIndex
from isogloss.search.vector_settings import VectorSettings
from makers import melody_corpus, write_manifest
from search_mining_makers import items_of, planted_sides

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def melodies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return melody_corpus(tmp_path_factory.mktemp("melodies"))


def mine(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Any, str]:
    code = main(["search", "mine", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, json.loads(captured.out) if "--json" in arguments else captured.out, captured.err


def test_varieties_of_one_manifest(
    melodies: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pairs.tsv"
    command = [melodies, "--varieties", "cmn", "yue", "--encoder", "mel:", "--out", out]
    code, found, _ = mine(capsys, *command, "--threshold", 0, "--gold", "meaning", "--json")
    assert code == 0
    assert (found["items_a"], found["items_b"], found["known"]["findable"]) == (4, 4, 4)
    assert found["known"]["judged"] == found["pairs"] > 0
    lines = [line.split("\t") for line in out.read_text().splitlines()]
    assert lines[0][:3] == ["id_a", "id_b", "margin"]
    assert all(a.endswith("-cmn") and b.endswith("-yue") for a, b, *_ in lines[1:])
    assert not (tmp_path / "pairs.tsv.work").exists()
    assert json.loads((tmp_path / "pairs.tsv.json").read_text())["pairs"] == found["pairs"]
    code, text, _ = mine(capsys, *command)
    assert code == 0
    assert "estimated precision" in text


def test_kept_work_serves_another_threshold(
    melodies: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = tmp_path / "work"
    command = [melodies, "--varieties", "cmn", "hak", "--encoder", "mel:", "--pool", "--center"]
    command += ["--margin", "distance", "--work", work, "--out", tmp_path / "p.jsonl", "--json"]
    code, every, _ = mine(capsys, *command, "--threshold", -5)
    assert code == 0
    before = {path: path.stat().st_mtime_ns for path in (work / "blocks").iterdir()}
    code, some, _ = mine(capsys, *command, "--threshold", 5)
    assert (code, some["pairs"]) == (0, 0)
    assert every["pairs"] > 0
    assert {path: path.stat().st_mtime_ns for path in (work / "blocks").iterdir()} == before


def test_two_indexes_with_gold_pairs_in_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b, shared = planted_sides(0, first=60, second=60, shared=40, noise=0.3)
    for name, side in (("a", a), ("b", b)):
        settings = VectorSettings(center=False)
        VectorIndex.build(tmp_path / name, side, items_of(side.ids), settings=settings)
    gold = tmp_path / "gold.tsv"
    gold.write_text("".join(f"a{i:04d}\tb{i:04d}\n" for i in range(shared)))
    command = [tmp_path / "a", tmp_path / "b", "--out", tmp_path / "p.tsv", "--gold", gold]
    code, found, _ = mine(
        capsys, *command, "--gold-complete", "--threshold", "precision=0.9", "--json"
    )
    assert code == 0
    assert found["known"]["precision"] >= 0.9
    assert found["cross_fitted"]["judged"] > 0
    code, text, _ = mine(capsys, *command)
    assert code == 0
    assert "cross-fitted" in text
    code, _, talk = mine(capsys, *command[:4], "--center", "--pool")
    assert code == 1
    assert "chosen when it was built" in talk


def test_recordings_left_out_change_the_exit_code(
    melodies: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [json.loads(line) for line in melodies.read_text().splitlines()[1:]]
    for record in records:
        record["audio"] = str(melodies.parent / record["audio"])
    records[0]["audio"] = str(tmp_path / "gone.wav")
    manifest = write_manifest(tmp_path / "m.jsonl", records)
    code, found, talk = mine(
        capsys,
        *(manifest, "--varieties", "cmn", "yue", "--encoder", "mel:"),
        *("--out", tmp_path / "p.tsv", "--json"),
    )
    assert code == 1
    assert (found["items_a"], list(found["skipped"])) == (3, ["m0-cmn"])
    assert "m0-cmn" in talk


def test_a_precision_that_cannot_be_had(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    a, b, _ = planted_sides(1, first=80, second=80, shared=0)
    for name, side in (("a", a), ("b", b)):
        settings = VectorSettings(center=False)
        VectorIndex.build(tmp_path / name, side, items_of(side.ids), settings=settings)
    gold = tmp_path / "gold.tsv"
    first, second = a.ids[int(rng.integers(80))], b.ids[int(rng.integers(80))]
    gold.write_text(f"{first}\t{second}\n")
    code, _, talk = mine(
        capsys,
        *(tmp_path / "a", tmp_path / "b", "--out", tmp_path / "p.tsv", "--gold", gold),
        *("--gold-complete", "--threshold", "precision=0.99"),
    )
    assert code == 1
    assert "no threshold keeps a share of 0.99 right" in talk
    assert (tmp_path / "p.tsv").read_text().count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["M", "--out", "p"], "name a second source"),
        (["M", "--varieties", "cmn", "cmn", "--out", "p"], "every one would find itself"),
        (["M", "M", "--out", "p"], "every one would find itself"),
        (["M", "--varieties", "cmn", "yue", "--out", "p", "--center"], "add --pool"),
        (["M", "N", "--out", "p", "--threshold", "high"], "say auto, a number"),
        (["M", "N", "--out", "p", "--threshold", "precision=2"], "precision must lie"),
        (["M", "N", "--out", "p", "--gold-complete"], "add it"),
    ],
)
def test_wrong_usage(
    arguments: list[str],
    message: str,
    melodies: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {"M": str(melodies), "N": str(melodies.parent), "p": str(tmp_path / "p.tsv")}
    words = [places.get(word, word) for word in arguments]
    code, _, talk = mine(capsys, *words, "--encoder", "mel:")
    assert code == 2
    assert message in talk


def test_sources_that_are_none(
    melodies: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ("--out", tmp_path / "p.tsv")
    code, _, talk = mine(capsys, tmp_path / "nothing", melodies, *out, "--encoder", "mel:")
    assert code == 1
    assert "nothing" in talk
    code, _, talk = mine(capsys, melodies, "--varieties", "cmn", "yue", *out)
    assert code == 1
    assert "name the encoder" in talk
    code, _, talk = mine(capsys, melodies, "--varieties", "cmn", "wuu", *out, "--encoder", "mel:")
    assert code == 1
    assert "wuu" in talk
    (tmp_path / "empty").mkdir()
    code, _, talk = mine(capsys, tmp_path / "empty", melodies, *out, "--encoder", "mel:")
    assert code == 1
    assert "neither an index nor" in talk
