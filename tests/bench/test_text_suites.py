"""Suites on sentences: whole runs on a made corpus, the page, and real data where it is there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from isogloss.bench import compare, load_results, run_suite, write_report, write_results_csv
from isogloss.bench.data import find_data
from isogloss.bench.suite import load_suite, read_suite
from isogloss.bench.summary import encoder_label, is_text, role_of
from makers import write_manifest

SUITE = """\
about = "made sentences"
floors = ["ngram:"]
examples = 4
[corpus]
manifest = "corpus/manifest.jsonl"
[defaults]
bootstrap = 30
split = "test"
[[tasks]]
task = "text-retrieval"
[[tasks]]
name = "centred"
task = "text-retrieval"
center = true
floors = []
[[tasks]]
task = "mining"
[[tasks]]
task = "mixed-pool"
[[tasks]]
task = "knn"
label = "topic"
"""
WORDS = "rain road bread river horse paper stone music winter garden".split()


@pytest.fixture
def suite(tmp_path):
    records = []
    for variety, ending in (("eng", "x"), ("deu", "s"), ("nld", "z")):
        for split in ("train", "test"):
            for i in range(30):
                first, second = WORDS[i % 10], WORDS[(i * 7 + i // 10) % 10]
                records.append(
                    {
                        "id": f"{split}{i}-{variety}",
                        "variety": variety,
                        "meaning": f"{split}{i}",
                        "text": f"{first}{ending} {second}{ending} {i}",
                        "split": split,
                        "extra": {"topic": "weather" if i % 2 else "food"},
                    }
                )
    write_manifest(tmp_path / "corpus" / "manifest.jsonl", records, header={"name": "made"})
    path = tmp_path / "made.toml"
    path.write_text(SUITE, encoding="utf-8")
    return read_suite(path)


def test_every_task_runs_and_the_page_shows_it(suite, tmp_path) -> None:
    out = tmp_path / "out"
    narrow = "ngram:?dimension=64"
    done = run_suite(suite, [narrow], out=out, progress=False)
    assert not done.failures and len(done.results) == 2
    first = done.results[0]
    assert set(first.tasks) == {"text-retrieval", "centred", "mining", "mixed-pool", "knn"}
    assert is_text(first) and first.examples and "maps" not in first.examples[0]
    assert done.corpus is not None and len(done.corpus) == 180
    rows = {row["name"]: row for row in first.corpus["coverage"]["rows"]}
    assert rows["eng"] == {"name": "eng", "present": 30, "expected": 30}
    # Nothing is done again, and the floors are part of what is stored.
    told: list[str] = []
    again = run_suite(suite, [narrow], out=out, progress=False, say=told.append)
    assert all("already there" in line for line in told if "[" in line and "]" in line[:8])
    assert again.results[0].measure("R@1 by edit") == first.measure("R@1 by edit")
    results = load_results(out)
    found = compare(results, resamples=100)
    shown = {(row.task, row.measure) for row in found.rows}
    for wanted in (
        ("text-retrieval", "R@1 by tfidf"),
        ("text-retrieval", "R@1 by edit"),
        ("text-retrieval", "matched score"),
        ("mining", "F1 ratio intersection"),
        ("mixed-pool", "same-variety share"),
        ("knn", "accuracy mono k=1"),
        ("knn", "accuracy mono k=1 by tfidf"),
    ):
        assert wanted in shown
    # Two encoders on the same sentences are tested against each other, in every kind of task.
    tested = {row.task for row in found.rows if row.tested}
    assert {"text-retrieval", "mining", "mixed-pool", "knn"} <= tested
    page = write_report(results, done.corpus, tmp_path / "page.html").read_text(encoding="utf-8")
    for text in (
        "Text benchmark: made",
        "is its translation?",
        "Language bias",
        "Precision by recall",
        "<h2>Read</h2>",
        "n-grams of the pool",
        "rainx",
    ):
        assert text in page
    assert "recording" not in page.partition("<script")[0].partition("<h1>")[2]
    write_results_csv(results, tmp_path / "results.csv")
    header = (tmp_path / "results.csv").read_text(encoding="utf-8").splitlines()[0]
    assert "r_at_1_by_tfidf" in header


def test_an_encoder_of_speech_fails_with_a_line(suite, tmp_path, monkeypatch) -> None:
    class Ears:
        made_by = "ears"

    monkeypatch.setattr("isogloss.bench.run.load_encoder", lambda _name, **_options: Ears())
    options = {"out": tmp_path / "out", "tasks": ["text-retrieval"], "progress": False}
    done = run_suite(suite, ["own:ears"], floors=False, **options)
    assert len(done.failures) == 1 and "reads no text" in str(done.failures[0])


def test_the_floor_has_a_name_and_a_role() -> None:
    assert encoder_label("ngram:") == "character n-grams" and role_of("ngram:?low=2") == "ngram"


@pytest.mark.parametrize("name", ["text-ud-hk"])
def test_a_shipped_suite_on_real_data(name: str, tmp_path) -> None:
    data = Path(os.environ.get("ISOGLOSS_DATA", "../shared/data"))
    suite = load_suite(name)
    if find_data(suite, data) is None:
        pytest.skip(f"{suite.corpus.folder} is not below {data} (ISOGLOSS_DATA)")
    done = run_suite(
        suite,
        ["ngram:?dimension=512"],
        out=tmp_path / "out",
        data=data,
        tasks=["retrieval"],
        options={"bootstrap": 20, "most_sentences": 200},
        floors=False,
        progress=False,
    )
    assert not done.failures
    # 200 of 1,004 sentences; spelling alone finds most, chance would find .005.
    assert 0.6 < done.results[0].measure("R@1 by tfidf")["value"] < 0.95
