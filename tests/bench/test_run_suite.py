from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from isogloss.bench import compare, load_results, load_runs, run, run_suite, write_report
from isogloss.bench.data import find_data
from isogloss.bench.store import load_run
from isogloss.bench.suite import load_suite, read_suite
from isogloss.errors import IsoglossError, UnknownName
from isogloss.types import Sequences
from makers import melody_corpus

SUITE = """\
about = "melodies"
floors = ["mel:"]
examples = 2
[corpus]
manifest = "corpus/manifest.jsonl"
[defaults]
bootstrap = 50
[[tasks]]
task = "retrieval"
[[tasks]]
task = "layers"
[[tasks]]
name = "centred"
task = "retrieval"
center = true
[[tasks]]
task = "controlled"
[[tasks]]
task = "transcription"
optional = true
"""


@pytest.fixture
def suite(tmp_path):
    melody_corpus(tmp_path / "corpus")
    path = tmp_path / "melody.toml"
    path.write_text(SUITE, encoding="utf-8")
    return read_suite(path)


def test_every_task_is_stored_and_every_item_encoded_once(suite, encoders, tmp_path) -> None:
    said: list[str] = []
    done = run_suite(suite, ["own:exp/a"], out=tmp_path / "o", progress=False, say=said.append)
    assert [r.encoder for r in done.results] == ["own:exp/a", "mel:"]
    assert done.failures == ()
    own, mel = done.results
    assert list(own.tasks) == ["retrieval", "layers", "centred", "controlled", "transcription"]
    assert own.measure("R@1")["value"] == pytest.approx(2 / 3)
    assert [point["layer"] for point in own.layers] == [0, 1, 2]
    assert mel.tasks["layers"]["left_out"] == "the encoder has one layer"
    assert "cannot transcribe" in own.tasks["transcription"]["left_out"]
    # They are asked again by every run, so a time of theirs would differ each time.
    assert "layers" not in mel.seconds
    assert "transcription" not in own.seconds
    # Three layers, two retrievals, a control and maps: one pass over the 12 items.
    assert len(encoders["own:exp/a"].calls) == len(encoders["mel:"].calls) == 12
    assert said[0].startswith("[1/10] trained (a), retrieval: done, ")
    assert any("left" in line for line in said)
    stored = load_results(tmp_path / "o")
    assert [json.dumps(r.tasks) for r in stored] == [json.dumps(r.tasks) for r in done.results]
    assert own.corpus["coverage"]["rows"] == [
        {"name": name, "present": 4, "expected": 4} for name in ("cmn", "yue", "hak")
    ]
    for name in ("retrieval", "controlled"):
        entry = own.tasks[name]
        assert entry["signature"]["encoder"] == own.made_by
        assert entry["signature"]["corpus_sha"] == own.corpus["sha"]


def test_a_repeated_run_does_nothing_and_further_tasks_and_encoders_join(
    suite, encoders, planted, tmp_path
) -> None:
    out = tmp_path / "o"
    run_suite(suite.only(("retrieval",)), ["own:exp/a"], out=out, progress=False, floors=False)
    encoders["own:exp/a"] = planted.Planted()
    done = run_suite(suite, ["own:exp/a"], out=out, progress=False)
    assert "centred" in done.results[0].tasks
    # What the first run encoded is in the cache; only the other layers were missing.
    assert [r.encoder for r in load_results(out)] == ["own:exp/a", "mel:"]
    encoders["own:exp/a"], encoders["mel:"] = planted.Planted(), planted.Constant()
    said: list[str] = []
    run_suite(suite, ["own:exp/a"], out=out, progress=False, say=said.append)
    assert encoders["own:exp/a"].calls == encoders["mel:"].calls == []
    assert "already there" in said[0]
    assert sorted(load_run(out).config["tasks"]) == sorted(task.name for task in suite.tasks)


def test_other_options_of_a_task_are_refused_by_name(suite, encoders, tmp_path) -> None:
    run_suite(suite, [], out=tmp_path / "o", progress=False)
    with pytest.raises(IsoglossError, match="another bootstrap of task 'retrieval'"):
        run_suite(suite, [], out=tmp_path / "o", progress=False, options={"bootstrap": 5})
    items = (tmp_path / "corpus" / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    (tmp_path / "corpus" / "manifest.jsonl").write_text("\n".join(items[:-1]), encoding="utf-8")
    with pytest.raises(IsoglossError, match="another corpus"):
        run_suite(suite, [], out=tmp_path / "o", progress=False)


def test_one_failing_encoder_and_one_failing_task_do_not_lose_the_others(
    suite, encoders, planted, monkeypatch, tmp_path
) -> None:
    class NoSuchLayer(planted.Planted):
        def with_layer(self, layer):
            raise ValueError("the layers of this checkpoint are damaged")

    encoders["own:damaged"] = NoSuchLayer(name="own:damaged")

    def load(name, **_):
        if name == "own:corrupt":
            raise IsoglossError("own:corrupt: model.safetensors is damaged")
        return encoders[name]

    monkeypatch.setattr(run, "load_encoder", load)
    names = ["own:corrupt", "own:damaged", "own:exp/a"]
    done = run_suite(suite, names, out=tmp_path / "o", progress=False)
    assert [r.encoder for r in done.results] == ["own:damaged", "own:exp/a", "mel:"]
    assert [str(f) for f in done.failures] == [
        "own:corrupt: own:corrupt: model.safetensors is damaged",
        "own:damaged, task layers: the layers of this checkpoint are damaged",
    ]
    assert "layers" not in done.results[0].tasks and "controlled" in done.results[0].tasks
    assert "layers" in done.results[1].tasks
    page = write_report(done.results, done.corpus, tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Side by side" in page


def test_the_page_has_all_sections_of_a_suite(suite, encoders, tmp_path) -> None:
    done = run_suite(suite, ["own:exp/a"], out=tmp_path / "o", progress=False)
    page = write_report(done.results, done.corpus, tmp_path / "r.html").read_text(encoding="utf-8")
    for heading in ("Side by side", "Meaning or sound?", "Layer by layer", "How much of it"):
        assert f"<h2>{heading}" in page
    assert "http://" not in page and "https://" not in page
    assert 'class="alike"' in page and "paired bootstrap tests" in page


def test_two_suites_share_a_folder(suite, encoders, tmp_path) -> None:
    out = tmp_path / "o"
    run_suite(suite.only(("retrieval",)), [], out=out, progress=False)
    run_suite(replace(suite.only(("centred",)), name="other"), [], out=out, progress=False)
    assert list(load_runs(out)) == ["melody", "other"]
    with pytest.raises(IsoglossError, match="several suites: melody, other"):
        load_results(out)
    with pytest.raises(UnknownName, match="did you mean melody"):
        load_results(out, "melodi")
    (result,) = load_results(out, "other")
    assert list(result.tasks) == ["centred"]


SCRIPT = """\
import importlib.util, sys, time
from pathlib import Path
spec = importlib.util.spec_from_file_location("planted", sys.argv[1])
planted = importlib.util.module_from_spec(spec)
sys.modules["planted"] = planted
spec.loader.exec_module(planted)
from isogloss.bench import run, run_suite
from isogloss.bench.suite import read_suite

run.load_encoder = lambda name, **_: planted.Planted()
out = Path(sys.argv[3])

def say(line):
    if "centred: done" in line:
        (out / "reached").touch()
        time.sleep(120)

run_suite(read_suite(Path(sys.argv[2])), ["own:exp/a"], out=out, progress=False, floors=False,
          say=say)
"""


def test_after_kill_9_the_run_goes_on_without_encoding_again(
    suite, encoders, planted, tmp_path
) -> None:
    out = tmp_path / "o"
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    tests = Path(__file__).parent
    arguments = [str(tests / "planted.py"), str(tmp_path / "melody.toml"), str(out)]
    process = subprocess.Popen(
        [sys.executable, str(script), *arguments],
        env={**os.environ, "PYTHONPATH": str(tests.parent)},
    )
    try:
        waited = time.monotonic()
        while not (out / "reached").exists():
            assert process.poll() is None and time.monotonic() - waited < 100
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    (before,) = load_results(out)
    assert list(before.tasks) == ["retrieval", "layers", "centred"]
    encoders["own:exp/a"] = planted.Planted()
    done = run_suite(suite, ["own:exp/a"], out=out, progress=False, floors=False)
    (after,) = done.results
    assert "controlled" in after.tasks
    assert encoders["own:exp/a"].calls == []
    # What was there was not run again, down to its seconds.
    assert after.seconds["retrieval"] == before.seconds["retrieval"]
    assert after.tasks["retrieval"] == before.tasks["retrieval"]


def test_data_is_found_below_the_folder_or_in_the_variable(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("ISOGLOSS_DATA", raising=False)
    words = load_suite("words-cmn-yue")
    assert find_data(words, None) is None
    folder = tmp_path / "speech-cmn-yue-word-constructed"
    (folder / "cmn_word").mkdir(parents=True)
    assert find_data(words, tmp_path) == find_data(words, folder) == folder
    monkeypatch.setenv("ISOGLOSS_DATA", str(tmp_path))
    assert find_data(words, None) == folder
    demo = load_suite("demo")
    assert find_data(demo, tmp_path) is None
    made = tmp_path / "corpus-cmn-yue-hak-9-seed1"
    melody_corpus(made)
    assert find_data(demo, tmp_path) == made / "manifest.jsonl"


def test_missing_data_says_what_is_needed_and_where_it_was_looked_for(tmp_path) -> None:
    with pytest.raises(IsoglossError, match=r"YuBao metadata.*ISOGLOSS_DATA"):
        run_suite("yubao", [], data=tmp_path, out=tmp_path / "o", progress=False)


def test_a_data_folder_that_is_not_there_is_not_made(tmp_path) -> None:
    with pytest.raises(IsoglossError, match="typo: no such folder"):
        run_suite("demo", [], data=tmp_path / "typo", out=tmp_path / "o", progress=False)
    assert not (tmp_path / "typo").exists()


def test_names_are_checked_before_anything_runs(suite, tmp_path) -> None:
    with pytest.raises(UnknownName, match="did you mean mel"):
        run_suite(suite, ["melt:"], out=tmp_path / "o")
    with pytest.raises(ValueError, match="no encoder"):
        run_suite(suite, [], out=tmp_path / "o", floors=False)
    assert not (tmp_path / "o").exists()


def yubao(folder: Path, sites, sentences: int) -> None:
    """A YuBao folder with the first `sentences` recordings of some sites."""
    from makers import melody, write_wav

    rows = []
    for n, site in enumerate(sites):
        for number in range(1, 5):
            utterance = f"{site.site_ids[0]}mb01yf{number:04d}"
            row = dict.fromkeys(("transcript", "translation", "ipa", "subgrouping"), "")
            english = f"m{number - 1}"
            rows.append(row | {"utterance_id": utterance, "site": site.name, "english": english})
            if number <= sentences:
                wave = melody((number, 2 * number, n), note_seconds=0.1)
                write_wav(folder / site.name / f"{utterance}.wav", wave)
    (folder / "metadata.json").write_text(json.dumps(rows), encoding="utf-8")


def test_yubao_runs_on_any_part_of_the_audio_and_reports_coverage(
    encoders, planted, tmp_path
) -> None:
    from isogloss.varieties import yubao_sites

    class Noise(planted.Planted):
        def _steps(self, items):
            rng = np.random.default_rng(0)
            arrays = [rng.random((20, 4), dtype=np.float32) for _ in items]
            ids = [item.id for item in items]
            return Sequences.from_list(ids, arrays, step_seconds=0.04, made_by=self.made_by)

    encoders["mel:"] = Noise(name="mel:noise")

    known = yubao_sites()
    sites = [s for s in known if s.group == "yue"][:2] + [s for s in known if s.group == "gan"][:2]
    yubao(tmp_path / "data" / "yubao", sites, 3)
    names = ["own:exp/a", "mel:"]
    data, out = tmp_path / "data", tmp_path / "o"
    done = run_suite("yubao", names, data=data, out=out, progress=False, floors=False)
    assert [str(failure) for failure in done.failures] == []
    own = done.results[0]
    rows = {
        row["name"]: (row["present"], row["expected"]) for row in own.corpus["coverage"]["rows"]
    }
    assert len(rows) == 8
    assert rows["yue"] == rows["gan"] == (6, 550) and rows["zh_standard"] == (0, 50)
    assert own.measure("R@1")["value"] == 1.0
    assert "sites" in own.measure("R@1")["signature"]["interval"]
    assert own.tasks["within"]["measurements"][0]["value"] == 1.0
    # Nothing tells how the sentences sound or are written.
    assert "left_out" in own.tasks["controlled"]
    found = compare(done.results)
    row = next(r for r in found.rows if (r.task, r.measure) == ("retrieval", "R@1"))
    assert row.cells["mel:"].test.resampled == "sentences and sites"
    page = write_report(done.results, done.corpus, tmp_path / "r.html").read_text(encoding="utf-8")
    assert "How much of it was there" in page and "6 of 550" in page


def test_fleurs_runs_with_the_languages_that_are_there(encoders, tmp_path) -> None:
    from makers import melody, write_wav

    root = tmp_path / "data" / "fleurs"
    for language in ("cmn_hans_cn", "yue_hant_hk", "en_us"):
        lines = []
        for n in range(4):
            write_wav(root / language / "test" / f"{n}.wav", melody((n, 2 * n), note_seconds=0.1))
            cells = [str(100 + n), f"{n}.wav", f"句{n}号", f"句{n}号", "", "3200", "MALE"]
            lines.append("\t".join(cells))
        (root / language / "test.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = run_suite(
        load_suite("fleurs-sinitic").only(("retrieval", "pooled cosine")),
        ["mel:"],
        data=tmp_path / "data",
        out=tmp_path / "o",
        progress=False,
        floors=False,
    )
    assert done.failures == ()
    assert done.notes[0] == "ja_jp: not there, left out"
    names = [s["name"] for s in done.results[0].retrieval["sets"]]
    assert [name.partition("-")[0] for name in names] == ["cmn", "yue", "eng"]
