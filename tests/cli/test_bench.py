from __future__ import annotations

import json

import pytest

from isogloss.cli import main


def fast(manifest, out, *more: str) -> list[str]:
    common = ["bench", "run", str(manifest), "--out", str(out), "--bootstrap", "20", "--quiet"]
    return [*common, *more]


def test_run_and_report(melodies, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    assert main(fast(melodies, out, "--encoder", "mel:")) == 0
    captured = capsys.readouterr()
    assert "log-mel frames" in captured.out and "cmn" in captured.out
    assert "bench report" in captured.err
    assert main(["bench", "report", str(out), "--csv", "--json", "--latex", "--png"]) == 0
    told = capsys.readouterr().out
    for name in ("report.html", "results.csv", "results.json", "matrix.tex", "matrix.png"):
        assert (out / name).stat().st_size > 0
        assert name in told
    assert "<audio" in (out / "report.html").read_text(encoding="utf-8")
    assert not (out / "layers.png").exists()


def test_json_goes_to_stdout_alone(melodies, tmp_path, capsys) -> None:
    assert main(fast(melodies, tmp_path / "o", "--encoder", "mel:", "--json")) == 0
    values = json.loads(capsys.readouterr().out)
    assert len(values["pairs"]) == 6
    assert values["r_at_1_mel"] is not None


def test_a_recipe_is_changed_by_options(melodies, tmp_path, capsys) -> None:
    recipe = melodies.parent / "recipe.toml"
    recipe.write_text('corpus = "manifest.jsonl"\nencoders = ["mel:"]\n', encoding="utf-8")
    options = ["--score", "csls", "--centre", "--split", "all", "--json"]
    assert main(fast(recipe, tmp_path / "o", *options)) == 0
    (encoder,) = json.loads(capsys.readouterr().out)["encoders"]
    assert encoder["signature"]["adjust"].startswith("csls")
    assert encoder["signature"]["center"].startswith("mean step")
    assert encoder["signature"]["split"] is None


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ([], "no encoder"),
        (["--encoder", "melt:"], "did you mean mel"),
        (["--encoder", "mel:", "--layers", "some"], "--layers"),
    ],
)
def test_wrong_usage_is_2(melodies, tmp_path, capsys, options: list[str], match: str) -> None:
    assert main(fast(melodies, tmp_path / "o", *options)) == 2
    assert match in capsys.readouterr().err


def test_a_bad_recipe_key_is_2_with_a_near_one(melodies, tmp_path, capsys) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('encoder = ["mel:"]\n', encoding="utf-8")
    assert main(fast(recipe, tmp_path / "o")) == 2
    assert "did you mean encoders" in capsys.readouterr().err


def test_a_missing_manifest_is_1(tmp_path, capsys) -> None:
    assert main(fast(tmp_path / "none.jsonl", tmp_path / "o", "--encoder", "mel:")) == 1
    assert "none.jsonl" in capsys.readouterr().err


def test_a_broken_recording_is_left_out_and_1(melodies, tmp_path, capsys) -> None:
    (melodies.parent / "audio" / "m0-hak.wav").write_text("no sound", encoding="utf-8")
    assert main(fast(melodies, tmp_path / "o", "--encoder", "mel:")) == 1
    assert "m0-hak" in capsys.readouterr().err


def test_reporting_nothing_is_1(tmp_path, capsys) -> None:
    assert main(["bench", "report", str(tmp_path)]) == 1
    assert "isogloss bench run" in capsys.readouterr().err


def test_a_corpus_that_moved_is_found_again(melodies, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    main(fast(melodies, out, "--encoder", "mel:"))
    moved = melodies.parent.rename(tmp_path / "moved")
    assert main(["bench", "report", str(out)]) == 0
    assert "--manifest" in capsys.readouterr().err
    page = tmp_path / "page.html"
    arguments = ["--manifest", str(moved / "manifest.jsonl"), "--html", str(page)]
    assert main(["bench", "report", str(out), *arguments]) == 0
    assert "<audio" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("verb", [[], ["run"], ["report"]])
def test_help_shows_an_example(verb: list[str], capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["bench", *verb, "--help"])
    assert stopped.value.code == 0
    assert "isogloss bench" in capsys.readouterr().out.partition("examples:")[2]
