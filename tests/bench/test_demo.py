import dataclasses
import json

import numpy as np
import pytest

from isogloss.bench.demo import DemoConfig, run_demo

TINY = DemoConfig(minutes=0.2, varieties=("cmn", "yue"), train_sentences=12, test_sentences=5)
FILES = ("report.html", "results.json", "results.csv", "matrix.tex", "matrix.png")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    said = []
    return out, run_demo(TINY, out, progress=False, say=said.append), said


def test_every_promised_file_and_number_is_there(demo):
    out, result, said = demo
    assert all((out / name).stat().st_size > 0 for name in FILES)
    stored = json.loads((out / "results.json").read_text())
    for key in ("trained", "mel", "random", "phonetic"):
        assert 0.0 <= stored[f"r_at_1_{key}"] <= 1.0
    assert stored["chance"] == pytest.approx(1 / 5)
    assert stored["cer"] >= 0.0
    assert stored["seconds"] > 0
    pairs = {(p["query"], p["target"]) for p in stored["pairs"] if p["encoder"].startswith("own:")}
    assert pairs == {("cmn", "yue"), ("yue", "cmn")}
    assert all(p["r_at_1_low"] <= p["r_at_1"] <= p["r_at_1_high"] for p in stored["pairs"])
    assert stored["demo"] == json.loads(json.dumps(dataclasses.asdict(TINY)))
    assert [line[:3] for line in said] == ["1/3", "2/3", "3/3"]
    assert stored == json.loads(json.dumps(result.summary))


def test_the_mean_is_the_mean_of_the_pairs(demo):
    _, result, _ = demo
    rows = [p for p in result.summary["pairs"] if p["encoder"].startswith("own:")]
    assert result.summary["r_at_1_trained"] == pytest.approx(np.mean([p["r_at_1"] for p in rows]))


def test_a_repeated_demo_trains_nothing_and_gives_the_same(demo):
    out, first, _ = demo
    weights = next(out.glob("runs/*/model/model.safetensors"))
    before = weights.stat().st_mtime_ns
    again = run_demo(TINY, out, progress=False)
    assert weights.stat().st_mtime_ns == before
    assert again.summary == first.summary


def test_the_page_warns_that_the_speech_is_synthetic(demo):
    out, _, _ = demo
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "All speech here is synthetic" in page
    assert "<audio" in page


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"minutes": 0.0}, "minutes must be above 0"),
        ({"varieties": ("cmn",)}, "two varieties"),
        ({"test_sentences": 1}, "at least 2"),
        ({"transcripts": "pinyin"}, "'pinyin' is not standard"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        DemoConfig(**settings)


def test_runs_with_other_settings_do_not_share_a_folder():
    names = {DemoConfig().name, DemoConfig(minutes=60).name, DemoConfig(transcripts="dialect").name}
    assert len(names | {DemoConfig(seed=2).name}) == 4
