from __future__ import annotations

import csv
import io
import json

import pytest

from isogloss.cli import main

SUITE = """\
floors = ["mel:"]
examples = 2
[corpus]
manifest = "MANIFEST"
[defaults]
bootstrap = 20
[[tasks]]
task = "retrieval"
[[tasks]]
name = "centred"
task = "retrieval"
center = true
"""


@pytest.fixture
def suite(melodies, tmp_path):
    path = tmp_path / "melody.toml"
    path.write_text(SUITE.replace("MANIFEST", str(melodies)), encoding="utf-8")
    return path


def test_run_compare_and_report_a_suite(suite, tmp_path, capsys) -> None:
    out = str(tmp_path / "o")
    assert main(["bench", "run", str(suite), "--out", out, "--quiet"]) == 0
    captured = capsys.readouterr()
    assert "log-mel frames" in captured.out and "centred" in captured.out
    assert "[2/2]" in captured.err and "bench compare" in captured.err
    assert main(["bench", "compare", out]) == 0
    assert "R@1" in capsys.readouterr().out
    assert main(["bench", "compare", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["suite"] == "melody"
    assert main(["bench", "compare", out, "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {row["task"] for row in rows} == {"retrieval", "centred"}
    assert main(["bench", "compare", out, "--latex"]) == 0
    assert "toprule" in capsys.readouterr().out
    assert main(["bench", "report", out, "--csv", "--json"]) == 0
    assert "Side by side" in (tmp_path / "o" / "report.html").read_text(encoding="utf-8")


def test_a_corrupt_checkpoint_is_told_at_the_end_and_1(suite, tmp_path, capsys) -> None:
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "config.json").write_text("{", encoding="utf-8")
    (bad / "model.safetensors").write_bytes(b"no weights")
    arguments = ["bench", "run", str(suite), "--encoder", f"own:{bad}", "--quiet"]
    assert main([*arguments, "--out", str(tmp_path / "o")]) == 1
    captured = capsys.readouterr()
    assert "log-mel frames" in captured.out
    assert captured.err.rstrip().rpartition("\n")[2].startswith(f"failed: own:{bad}: ")


def test_a_corrupt_checkpoint_loses_no_other_encoder_of_a_manifest(
    melodies, tmp_path, capsys
) -> None:
    arguments = ["bench", "run", str(melodies), "--encoder", f"own:{tmp_path}", "--encoder", "mel:"]
    out = ["--out", str(tmp_path / "o"), "--quiet", "--bootstrap", "0"]
    assert main([*arguments, *out]) == 1
    captured = capsys.readouterr()
    assert "log-mel frames" in captured.out and "failed: own:" in captured.err


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["demoo"], "did you mean demo"),
        (["demo", "--task", "retreival"], "did you mean retrieval"),
        (["demo", "--encoder", "melt:"], "did you mean mel"),
        (["demo", "--center"], "--center is for manifests"),
        (["demo", "--no-floors"], "no encoder is named"),
    ],
)
def test_wrong_usage_is_2(arguments, match: str, tmp_path, capsys) -> None:
    assert main(["bench", "run", *arguments, "--out", str(tmp_path / "o")]) == 2
    assert match in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["list", "demoo"], "bench list: unknown suite 'demoo'; did you mean demo"),
        (["compare", "DIR", "--suite", "melod"], "did you mean melody"),
        (["compare", "DIR", "--baseline", "mell:"], "did you mean mel:"),
        (["report", "DIR", "--suite", "melod"], "did you mean melody"),
    ],
)
def test_names_that_nothing_has_are_2(arguments, match: str, suite, tmp_path, capsys) -> None:
    made = ["bench", "run", str(suite), "--out", str(tmp_path), "--quiet", "--task", "retrieval"]
    if "DIR" in arguments:
        assert main(made) == 0
    capsys.readouterr()
    assert main(["bench", *(str(tmp_path) if a == "DIR" else a for a in arguments)]) == 2
    captured = capsys.readouterr()
    assert match in captured.err and not captured.out


def test_a_suite_without_results_hides_no_other_and_pages_do_not_overwrite(
    suite, tmp_path, capsys
) -> None:
    """One encoder that cannot be loaded leaves a record without results."""
    out = tmp_path / "o"
    other = suite.with_name("other.toml")
    third = suite.with_name("third.toml")
    for path in (other, third):
        path.write_text(suite.read_text(encoding="utf-8"), encoding="utf-8")
    one = ["--out", str(out), "--quiet", "--task", "retrieval"]
    assert main(["bench", "run", str(other), "--encoder", "own:gone", "--no-floors", *one]) == 1
    assert main(["bench", "run", str(suite), *one]) == 0
    capsys.readouterr()
    assert main(["bench", "compare", str(out)]) == 0
    captured = capsys.readouterr()
    assert "log-mel frames" in captured.out and "left out other: no result" in captured.err
    assert main(["bench", "run", str(third), *one]) == 0
    assert main(["bench", "report", str(out), "--html", str(tmp_path / "page.html")]) == 0
    assert sorted(p.name for p in tmp_path.glob("*.html")) == [
        f"page-{suite.stem}.html",
        "page-third.html",
    ]


def test_absent_data_is_1(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.delenv("ISOGLOSS_DATA", raising=False)
    assert main(["bench", "run", "yubao", "--out", str(tmp_path / "o")]) == 1
    assert "--data DIR or ISOGLOSS_DATA" in capsys.readouterr().err


def test_list_says_what_is_found_and_what_a_suite_does(tmp_path, capsys) -> None:
    folder = tmp_path / "speech-cmn-yue-word-constructed" / "cmn_word"
    folder.mkdir(parents=True)
    assert main(["bench", "list", "--data", str(tmp_path), "--json"]) == 0
    listed = {s["suite"]: s for s in json.loads(capsys.readouterr().out)}
    assert listed["words-cmn-yue"]["found"] == str(folder.parent)
    assert listed["yubao"]["found"] is None and listed["yubao"]["needs"]
    assert main(["bench", "list", "demo"]) == 0
    assert "speaker probe" in capsys.readouterr().out
    assert main(["bench", "list", "demo", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tasks"][0]["task"] == "retrieval"


@pytest.mark.parametrize("verb", ["list", "compare"])
def test_help_shows_an_example(verb: str, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["bench", verb, "--help"])
    assert stopped.value.code == 0
    assert "isogloss bench" in capsys.readouterr().out.partition("examples:")[2]
