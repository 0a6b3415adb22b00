from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from adapt_makers import made, meant
from isogloss.adapt import load_transform
from isogloss.cli.main import main
from isogloss.encoders.shards import read_folder

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A folder of steps of two varieties that lie far apart, and its manifest."""
    rows = meant(40, 6)
    draw = np.random.default_rng(3)
    away = 6 * np.eye(6)[0]
    data = made(
        {
            "cmn": rows + 0.3 * draw.standard_normal(rows.shape) - away,
            "yue": rows + 0.3 * draw.standard_normal(rows.shape) + away,
        }
    )
    steps = tmp_path / "steps"
    steps.mkdir()
    values = np.repeat(data.vectors.values, 2, axis=0)
    values[::2] += 0.1
    np.save(steps / "values.npy", values)
    np.save(steps / "offsets.npy", np.arange(0, 161, 2, dtype=np.int64))
    described = {"ids": data.vectors.ids, "step_seconds": 0.04, "made_by": "made", "skipped": []}
    (steps / "sequences.json").write_text(json.dumps(described))
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text(
        "".join(
            json.dumps(
                {
                    "id": id_,
                    "variety": variety,
                    "meaning": meaning,
                    "text": f"{meaning} in {variety}",
                    "split": "train" if int(meaning[1:]) < 20 else "test",
                }
            )
            + "\n"
            for id_, variety, meaning in zip(
                data.vectors.ids, data.varieties, data.meanings, strict=True
            )
        )
    )
    return steps, manifest


def ran(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    """What a command that ended well printed as JSON."""
    assert main(["adapt", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_fit_apply_and_read_what_comes_out(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps, manifest = folders
    out, vectors = tmp_path / "t", tmp_path / "v"
    told = ran(
        capsys, "fit", steps, "--corpus", manifest, "--split", "train",
        "--transform", "center+unit", "--out", out,
    )  # fmt: skip
    assert told["transform"] == "center+unit"
    assert (told["items"], told["meanings"], told["parameters"]) == (40, 20, 12)
    one = load_transform(out)
    assert one.require_fitted().meanings == {f"m{i}" for i in range(20)}
    told = ran(capsys, "apply", out, steps, "--corpus", manifest, "--out", vectors)
    assert (told["items"], told["fitted on"], told["rows"]) == (80, 40, 80)
    found = read_folder(vectors)
    np.testing.assert_allclose(np.linalg.norm(found.values, axis=1), 1, rtol=1e-5)
    told = ran(
        capsys, "apply", out, steps, "--corpus", manifest, "--out", vectors, "--steps", "--unfitted"
    )
    assert (told["items"], told["fitted on"], told["rows"]) == (40, 0, 80)
    assert read_folder(vectors).step_seconds == 0.04
    # What was fitted on is refused, also from the folder.
    code = main(["adapt", "compare", str(vectors), "--corpus", str(manifest), "--split", "train",
                 "--out", str(tmp_path / "c")])  # fmt: skip
    assert code == 1
    assert "holds none of the 40 items" in capsys.readouterr().err
    ran(capsys, "apply", out, steps, "--corpus", manifest, "--out", vectors)
    code = main(["adapt", "compare", str(vectors), "--corpus", str(manifest),
                 "--out", str(tmp_path / "c")])  # fmt: skip
    assert code == 1
    assert "items to judge were fitted on" in capsys.readouterr().err


def test_vectors_that_stand_on_a_transform_hand_on_what_it_was_fitted_on(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps, manifest = folders
    first, vectors, second = tmp_path / "t", tmp_path / "v", tmp_path / "u"
    common = ("--corpus", manifest)
    ran(capsys, "fit", steps, *common, "--split", "train", "--transform", "zca", "--out", first)
    ran(capsys, "apply", first, steps, *common, "--out", vectors)
    told = ran(
        capsys, "fit", vectors, *common, "--split", "test", "--transform", "unit", "--out", second
    )
    assert (told["items"], told["meanings"]) == (80, 40)
    assert load_transform(second).require_fitted().meanings == {f"m{i}" for i in range(40)}
    assert main(["adapt", "apply", str(second), str(vectors), "--corpus", str(manifest),
                 "--unfitted", "--out", str(tmp_path / "w")]) == 1  # fmt: skip
    assert "was fitted on all items or their meanings" in capsys.readouterr().err


def test_apply_undoes(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps, manifest = folders
    common = ("--corpus", manifest)
    ran(capsys, "fit", steps, *common, "--transform", "center", "--out", tmp_path / "t")
    ran(capsys, "apply", tmp_path / "t", steps, *common, "--steps", "--out", tmp_path / "v")
    ran(
        capsys, "apply", tmp_path / "t", tmp_path / "v", *common, "--steps", "--inverse",
        "--out", tmp_path / "w",
    )  # fmt: skip
    np.testing.assert_allclose(
        read_folder(tmp_path / "w").values, np.load(steps / "values.npy"), atol=1e-5
    )


def test_every_option_of_fit_changes_something(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps, manifest = folders
    seen = set()
    for number, options in enumerate(
        (
            [],
            ["--split", "test"],
            ["--share", "0.5"],
            ["--share", "0.5", "--seed", "1"],
            ["--share", "0.25"],
            ["--varieties", "cmn"],
            ["--pool", "first"],
            ["--on", "steps"],
        )
    ):
        told = ran(
            capsys, "fit", steps, "--corpus", manifest, "--transform", "zca", *options,
            "--out", tmp_path / str(number),
        )  # fmt: skip
        seen.add(told["signed"])
    assert len(seen) == 8


def test_compare_shows_the_gain_and_writes(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    steps, manifest = folders
    out = tmp_path / "c"
    common = ["adapt", "compare", str(steps), "--corpus", str(manifest), "--out", str(out)]
    assert main([*common, "--transforms", "center,zca:eps=0.1,shrinkage=auto"]) == 0
    shown = capsys.readouterr().out
    assert "zca:eps=0.1,shrinkage=auto" in shown
    assert "ngram:" in shown
    rows = {
        row["transform"]: row for row in json.loads((out / "results.json").read_text())["rows"][:3]
    }
    assert rows["center"]["gain"]["low"] > 0
    assert (out / "compare.png").is_file()
    told = ran(
        capsys, *common[1:], "--transforms", "center", "--no-floor", "--seeds", "4",
        "--share", "0.3", "--meanings", "30", "--shared", "--resamples", "0",
        "--score", "seqsim", "--on", "steps",
    )  # fmt: skip
    assert [row["transform"] for row in told["rows"]] == ["identity", "center"]
    assert told["rows"][0]["low"] is None
    assert told["signature"]["score"] == "seqsim"
    assert told["rows"][1]["fitted_meanings"] == 9


def test_a_transform_that_fails_is_told_and_the_exit_code_is_1(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    steps, manifest = folders
    code = main(["adapt", "compare", str(steps), "--corpus", str(manifest), "--out",
                 str(tmp_path / "c"), "--transforms", "center,procrustes:target=zz"])  # fmt: skip
    assert code == 1
    assert "unknown target variety" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["fit", "S", "--transform", "zcaa"], 1, "did you mean zca"),
        (["fit", "S", "--transform", "zca", "--seed", "1"], 2, "name one"),
        (["fit", "S", "--transform", "zca", "--split", "dev"], 1, "its splits are test, train"),
        (["fit", "S", "--transform", "zca", "--varieties", "cmn,q"], 1, "unknown variety"),
        (["fit", "S", "--transform", "zca", "--on", "steps", "--pool", "max"], 2, "keeps them"),
        (["fit", "nowhere", "--transform", "zca"], 1, "no encoder"),
        (["compare", "S", "--layers", "x"], 2, "write numbers with commas, or all"),
        (["compare", "S", "--score", "seqsim", "--pool", "max"], 2, "no say"),
        (["compare", "S", "--transforms", "zca,eps=x"], 1, "follows a colon: zca:eps=x"),
        (["apply", "nowhere", "S"], 1, "name a folder that isogloss adapt fit wrote"),
    ],
)
def test_wrong_usage_is_one_line(
    arguments: list[str],
    code: int,
    said: str,
    folders: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    steps, manifest = folders
    given = [str(steps) if word == "S" else word for word in arguments]
    found = main(["adapt", *given, "--corpus", str(manifest), "--out", str(tmp_path / "o")])
    assert found == code
    err = capsys.readouterr().err
    assert said in err
    assert len(err.strip().splitlines()) == 1


def test_a_share_outside_0_and_1_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["adapt", "fit", "x", "--corpus", "y", "--transform", "z", "--out", "o",
              "--share", "1.5"])  # fmt: skip
    assert stopped.value.code == 2
    assert "does not lie between 0 and 1" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["fit", "apply", "compare"])
def test_help_has_an_example_and_loads_nothing_heavy(verb: str) -> None:
    code = (
        "import sys\nfrom isogloss.cli.main import main\n"
        f"try:\n    main(['adapt', '{verb}', '--help'])\n"
        "finally:\n    print([m for m in ('numpy', 'torch', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert f"isogloss adapt {verb}" in done.stdout
    assert done.stdout.strip().endswith("[]")


def test_a_transform_of_other_vectors_is_told(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps, manifest = folders
    ran(capsys, "fit", steps, "--corpus", manifest, "--split", "train", "--transform", "center",
        "--out", tmp_path / "c")  # fmt: skip
    apply = ["adapt", "apply", str(tmp_path / "c")]
    assert main([*apply, str(steps), "--corpus", str(manifest), "--out", str(tmp_path / "v")]) == 0
    assert "note:" not in capsys.readouterr().err
    described = json.loads((steps / "sequences.json").read_text())
    (steps / "sequences.json").write_text(json.dumps({**described, "made_by": "another"}))
    assert main([*apply, str(steps), "--corpus", str(manifest), "--out", str(tmp_path / "w")]) == 0
    assert (
        "note: the transform was fitted on made;pool=mean; these vectors are another;pool=mean"
        in capsys.readouterr().err
    )
    undo = [*apply, str(tmp_path / "v"), "--corpus", str(manifest), "--inverse"]
    assert main([*undo, "--out", str(tmp_path / "u")]) == 0
    assert "note:" not in capsys.readouterr().err


def test_a_variety_with_one_item_is_left_out_and_told(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, manifest = folders
    one = {"id": "one", "variety": "hak", "meaning": "m3", "text": "m3 in hak"}
    manifest.write_text(manifest.read_text() + json.dumps(one) + "\n")
    code = main(["adapt", "compare", "ngram:", "--corpus", str(manifest), "--seeds", "0",
                 "--transforms", "procrustes", "--out", str(tmp_path / "c"), "--json"])  # fmt: skip
    told = capsys.readouterr()
    assert code == 1
    assert "one: the only item of 'hak'" in told.err
    rows = json.loads(told.out)["rows"]
    assert all(row["r_at_1"] is not None for row in rows)


def test_a_corpus_without_translations_is_refused_in_a_line(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, manifest = folders
    code = main(["adapt", "compare", "ngram:", "--corpus", str(manifest), "--varieties", "cmn",
                 "--out", str(tmp_path / "c")])  # fmt: skip
    assert code == 1
    assert "no two varieties share two meanings (40 items" in capsys.readouterr().err
