"""Whole studies of a few steps: what they write, and that they go on to the same end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from isogloss.cli.main import main
from isogloss.errors import IsoglossError
from study_makers import study_corpus, tiny

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("uroman")

from isogloss.bench.study_pictures import write_study_pictures  # noqa: E402
from isogloss.bench.study_write import write_study  # noqa: E402
from isogloss.tasks.study_data import DataChoice  # noqa: E402
from isogloss.tasks.study_layers import LayersStudy, run_layers  # noqa: E402
from isogloss.tasks.study_methods import MethodsStudy, run_methods  # noqa: E402
from isogloss.tasks.study_repairs import RepairsStudy, run_repairs  # noqa: E402
from isogloss.tasks.study_repairs_table import repairs_report  # noqa: E402
from isogloss.tasks.study_report import StudyPicture  # noqa: E402
from isogloss.tasks.study_scripts import ScriptsStudy, run_scripts  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

    from isogloss.tasks.study_report import StudyReport

PAIR = ("srp", "srp-latn")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return study_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def scripts(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StudyReport]:
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("scripts")
    study = ScriptsStudy(DataChoice(corpus, must=PAIR), PAIR, **tiny())
    return out, run_scripts(study, out)


@pytest.fixture(scope="module")
def start(scripts: tuple[Path, StudyReport]) -> Path:
    return scripts[0] / "arms" / "start-0"


def without_seconds(value: Any) -> Any:
    """The same without what a clock gave."""
    if isinstance(value, dict):
        return {k: without_seconds(v) for k, v in value.items() if k != "seconds"}
    return [without_seconds(v) for v in value] if isinstance(value, list) else value


def test_scripts_hold_every_arm_against_its_control(scripts: tuple[Path, StudyReport]) -> None:
    _, report = scripts
    arms = report.results["arms"]
    assert list(arms) == ["start", "control", "both scripts", "contrast", "contrast+tlm"]
    spent = {name: rows[0]["spent"]["tokens"] for name, rows in arms.items() if name != "start"}
    assert spent["control"] < spent["both scripts"] < spent["contrast"] < spent["contrast+tlm"]
    # uroman gives both scripts nearly the same letters, whatever the model.
    settings = arms["start"][0]["settings"]
    same, other = (
        settings[name]["srp>srp-latn"]
        for name in ("transliterated-transliterated", "original-original")
    )
    assert same["R@1"] > other["R@1"] and same["matched"] > same["random"]
    assert any(line.startswith("contrast against both scripts") for line in report.says)


def test_a_study_that_was_stopped_goes_on_to_the_same_end(
    corpus: Path, scripts: tuple[Path, StudyReport], tmp_path: Path
) -> None:
    class Stopped(Exception):
        pass

    def stop(line: str) -> None:
        if line.startswith("training 2/"):
            raise Stopped

    study = ScriptsStudy(DataChoice(corpus, must=PAIR), PAIR, **tiny())
    with pytest.raises(Stopped):
        run_scripts(study, tmp_path, say=stop)
    assert (tmp_path / "arms" / "control-0" / "result.json").is_file()
    again = run_scripts(study, tmp_path)
    assert without_seconds(again.to_dict()) == without_seconds(scripts[1].to_dict())


def test_another_study_in_the_same_folder_is_refused(
    corpus: Path, scripts: tuple[Path, StudyReport]
) -> None:
    other = DataChoice(corpus, must=PAIR, judged=7)
    with pytest.raises(IsoglossError, match="holds a study with judged"):
        run_scripts(ScriptsStudy(other, PAIR, **tiny()), scripts[0])


def test_numbers_page_and_pictures_are_written(
    scripts: tuple[Path, StudyReport], tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    report = scripts[1]
    written = write_study(report, tmp_path)
    names = [path.name for path in written]
    assert names == ["results.json", "report.html", "retrieval.png", "similarities.png"]
    told = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert told == json.loads(json.dumps(report.to_dict()))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert all(table.columns[1] in page for table in report.tables)
    assert page.count("data:image/png;base64,") == 2 and "http" not in page.split("</style>")[1]
    assert (tmp_path / "retrieval.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("columns", "taller"), [(20, False), (30, True)])
def test_a_wide_table_of_measures_is_drawn_downwards(
    columns: int, taller: bool, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    from PIL import Image

    picture = StudyPicture(
        "wide", "measures", "heat", ("R@1", "CKA"), tuple(f"c{i}" for i in range(columns)),
        (tuple(i / 10 for i in range(columns)), (None,) * columns), by_row=True,
    )  # fmt: skip
    (path,) = write_study_pictures([picture], tmp_path)
    with Image.open(path) as drawn:
        assert (drawn.height > drawn.width) is taller


def test_repairs_put_transforms_and_objectives_in_one_table(
    corpus: Path, start: Path, tmp_path: Path
) -> None:
    from isogloss.tasks.study_start import StartChoice

    study = RepairsStudy(
        data=DataChoice(corpus),
        transforms=("center", "procrustes:target={pivot}", "procrustes:target=xxx"),
        objectives=("infonce", "distribution"),
        pair=PAIR,
        fit_meanings=30,
        resamples=50,
        **tiny(start=StartChoice(str(start)), seeds=(0, 1)),
    )
    found = run_repairs(study, tmp_path)
    report = repairs_report(study, found)
    rows = {row["repair"]: row for row in report.results["rows"]}
    assert rows["raw"]["control"] is None and "gain" not in rows["raw"]
    assert rows["infonce"]["control"] == "mlm, pairs"
    assert rows["distribution"]["control"] == "mlm, texts"
    assert rows["infonce > center"]["control"] == "infonce"
    for row in rows.values():
        if row["problem"]:
            continue
        assert len(row["numbers"]["R@1"]["seeds"]) == 2
        assert {"xSIM", "MEXA", "CKA", "ANC", "variety identification"} <= set(row["numbers"])
    # Centring takes the same from all pairs alike, so what it gains is the difference of means.
    gain = rows["raw > center"]["gain"]["difference"]
    means = [rows[name]["numbers"]["R@1"]["mean"] for name in ("raw > center", "raw")]
    assert gain == pytest.approx(means[0] - means[1], abs=1e-6)
    assert "xxx" in rows["raw > procrustes:target=xxx"]["problem"]
    assert "raw > procrustes:target=xxx" in report.notes
    assert rows["raw > procrustes:target=eng"]["spent"][0]["tokens"] == 0
    again = repairs_report(study, run_repairs(study, tmp_path))
    assert again.to_dict() == report.to_dict()


def test_align_methods_compare_four_cells_at_equal_data(
    corpus: Path, start: Path, tmp_path: Path
) -> None:
    from isogloss.tasks.study_start import StartChoice

    lexicon = tmp_path / "words.tsv"
    lexicon.write_text("source\ttarget\nкућа\thouse\nvoda\twater\nkuća\thouse\nвода\twater\n",
                       encoding="utf-8")  # fmt: skip
    study = MethodsStudy(
        data=DataChoice(corpus),
        lexicon=lexicon,
        rotation="procrustes:target={pivot}",
        meanings=30,
        **tiny(start=StartChoice(str(start))),
    )
    cells = run_methods(study, tmp_path / "out").results["cells"]
    assert list(cells) == [
        "raw", "rotate, parallel", "rotate, dictionary", "control", "finetune, parallel",
        "finetune, dictionary",
    ]  # fmt: skip
    assert cells["rotate, parallel"][0]["learnt_pairs"] == 30
    assert cells["rotate, dictionary"][0]["learnt_pairs"] <= 8 + 30
    assert cells["raw"][0]["word_pairs"] > 2
    tokens = [cells[name][0]["spent"]["tokens"] for name in ("control", "finetune, parallel")]
    assert tokens[0] < tokens[1]


def test_layers_of_several_models_stand_side_by_side(
    corpus: Path, start: Path, tmp_path: Path
) -> None:
    from isogloss.tasks.alignment import Alignment

    study = LayersStudy(
        models=(f"hf:{start}", "ngram:"),
        data=DataChoice(corpus),
        task=Alignment(measures=("retrieval", "cka"), bootstrap=0),
        pools=("mean", "last"),
        transforms=("center",),
        fit_meanings=20,
    )
    report = run_layers(study, tmp_path)
    told = report.results["models"][f"hf:{start}"]
    assert list(told) == ["mean", "last"]
    assert {row["layer"] for row in told["mean"]["measurements"]} == {0, 1, 2, 3}
    assert told["mean"] != told["last"]
    layers = report.results["transforms"][0]["seeds"][0]
    assert set(layers) == {"0", "1", "2", "3"} and "R@1" in layers["0"]
    names = [picture.name for picture in report.pictures]
    assert names[0] == "retrieval" and "measures-2" in names and "pairs-1-layer-3" in names
    assert run_layers(study, tmp_path).to_dict() == report.to_dict()


def test_a_vocabulary_is_rebuilt_beside_its_control(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from isogloss.training.text_config import Shape
    from isogloss.training.text_parameters import new_model
    from isogloss.training.text_tokenizer import train_tokenizer

    lines = [f"the {c} cat number {n} sees a house" for n in range(70) for c in ("red", "old")]
    text = tmp_path / "lines.txt"
    text.write_text("\n".join(lines), encoding="utf-8")
    tokenizer = train_tokenizer(lines, pieces=300, kind="decoder", max_tokens=32)
    torch.manual_seed(0)
    shape = Shape(kind="decoder", layers=1, width=16, heads=2, vocabulary=300)
    new_model(shape, tokenizer, max_tokens=32).save(tmp_path / "lm")
    code = main(
        [
            "study", "vocabulary", str(tmp_path / "lm"), "--corpus", str(text), "--size", "320",
            "--sizes", "300,20,320", "--init", "random,fvt", "--steps", "1", "--batch", "4",
            "--items", "4", "--out", str(tmp_path / "out"), "--json", "--quiet",
        ]
    )  # fmt: skip
    told = json.loads(capsys.readouterr().out)
    assert code == 0
    assert [row["init"] for row in told["seeds"][0]["rows"]] == ["random", "fvt"]
    assert told["seeds"][0]["trained_before"] is not None
    assert [row["size"] for row in told["curve"]] == [300, 320]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["scripts", "--pair", "srp", "--romanise"], "--pair takes two varieties"),
        (["scripts", "--pair", "srp,srp-latn", "--views", "nothing"], "nothing"),
        (["scripts", "--pair", "a,b", "--romanise", "--arms", "more"], "no arm 'more'"),
        (["scripts", "--pair", "a,b", "--romanise", "--start", "m", "--blocks", "2"], "--blocks"),
        (["repairs", "--transforms", "zcaa"], "zca"),
        (["repairs", "--objectives", "tlm", "--on", "infonce"], "cannot be tried on 'infonce'"),
        (["repairs", "--varieties", "eng", "--pair", "srp,eng"], "srp is needed"),
        (["align-methods", "--method", "guess"], "method must be"),
        (["layers", "ngram:", "--seeds", "0,1"], "--transforms"),
    ],
)
def test_wrong_usage_is_told_in_a_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code = main(["study", *arguments, "--corpus", str(tmp_path), "--out", str(tmp_path / "out")])
    error = capsys.readouterr().err
    assert code == 2
    assert said in error and "Traceback" not in error


def test_clones_refuse_a_stage_without_prealign(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code = main(["study", "clones", "--text", "x", "--stage", "0.1", "--out", str(tmp_path)])
    assert code == 2 and "--prealign" in capsys.readouterr().err
    missing = str(tmp_path / "nothing.txt")
    assert main(["study", "clones", "--text", missing, "--out", str(tmp_path)]) == 1
    assert "no such text file" in capsys.readouterr().err
