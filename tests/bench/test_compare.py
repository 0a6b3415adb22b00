from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from isogloss.bench import compare, compare_csv, compare_latex, load_results, write_report
from isogloss.bench.compare_table import notes_of, table_rows
from isogloss.bench.compare_table import test_rows as rows_of_tests
from isogloss.bench.entries import entry_of, per_item_of, table_of
from isogloss.bench.store import RunResult
from isogloss.errors import UnknownName
from isogloss.types import Measurement

OLD = Path(__file__).with_name("old_results")


def measured(values, keys=None, name="accuracy", **more) -> Measurement:
    values = np.asarray(values, dtype=np.float32)
    if values.ndim == 1:
        value = float(values.mean())
    else:
        value = float(values[:, :-1].sum() / values[:, -1].sum())
    keys = None if keys is None else tuple(keys)
    return Measurement(name, value, 0.0, 1.0, len(values), per_item=values, item_keys=keys, **more)


def result(encoder: str, *measurements: Measurement, **more) -> RunResult:
    entry = entry_of("probe", "key", ["accuracy", "CER", "rho"], measurements)
    corpus = {"name": "c", "sha": "ff", "items": 1}
    config = {"tasks": {"t": {}}}
    return RunResult(encoder, encoder, "s", "k", config, corpus, tasks={"t": entry}, **more)


def planted(seed: int = 0):
    """Best, its equal, and one that is worse on the same items."""
    rng = np.random.default_rng(seed)
    hard = rng.random(300)
    draw = [(rng.random(300) < np.clip(hard + gain, 0, 1)).astype(float) for gain in (0, 0, -0.25)]
    keys = [f"i{i}" for i in range(300)]
    names = ("own:a", "own:b", "mel:")
    return [result(n, measured(d, keys)) for n, d in zip(names, draw, strict=True)]


def test_ties_are_marked_alike_and_planted_differences_found() -> None:
    found = compare(planted())
    (row,) = found.rows
    assert row.cells["own:a"].alike and row.cells["own:b"].alike
    assert row.cells["mel:"].alike is False
    test = row.cells["mel:"].test
    assert test.against == row.reference and test.high < 0 and test.p_holm < 0.01
    assert test.p_holm >= test.p_value
    columns, (line,) = table_rows(found)
    assert line[columns.index("log-mel frames")].endswith(")")
    assert sum(str(cell).endswith("*") for cell in line) == 2
    assert "cannot be told from it" in notes_of(found)[0]


def test_a_baseline_is_what_others_are_set_against() -> None:
    found = compare(planted(), baseline="mel:")
    (row,) = found.rows
    assert row.reference == "mel:" and row.cells["mel:"].test is None
    assert row.cells["own:a"].test.difference > 0
    _, (line,) = table_rows(found)
    assert [str(cell)[-1] for cell in line[2:5]] == ["+", "+", ")"]
    with pytest.raises(UnknownName, match="did you mean mel"):
        compare(planted(), baseline="mle:")


def test_items_are_paired_by_key_not_by_place() -> None:
    values = np.arange(20) % 2
    keys = [f"i{i}" for i in range(20)]
    first = result("own:a", measured(values, keys))
    turned = result("own:b", measured(values[::-1], keys[::-1]))
    (row,) = compare([first, turned]).rows
    test = next(c.test for c in row.cells.values() if c.test)
    assert (test.difference, test.p_value, test.n) == (0, 1, 20)
    fewer = result("own:b", measured(values[5:], keys[5:]))
    (row,) = compare([first, fewer], baseline="own:a").rows
    assert row.cells["own:b"].test.n == 15


def test_what_cannot_be_paired_is_not_tested_and_said_so() -> None:
    no_items = Measurement("rho", 0.5, 0.4, 0.6, 10)
    other = replace(no_items, value=0.4)
    found = compare([result("own:a", no_items), result("own:b", other)])
    (row,) = found.rows
    # Nobody is the best of what was not tested.
    assert (row.cells["own:a"].alike, row.cells["own:b"].alike) == (None, None)
    assert found.tests == 0 and notes_of(found)[1].startswith("rows without any mark")
    assert str(table_rows(found)[1][0][2]).endswith(")")
    # Statistics that do not come to the value are not its items.
    wrong = replace(measured([0, 1, 1]), value=0.1)
    assert compare([result("own:a", wrong), result("own:b", measured([1, 1, 1]))]).tests == 0
    # Without keys, an encoder that could not read an item has another order.
    broken = measured([0, 1, 1], signature={"unreadable": 1})
    assert compare([result("own:a", broken), result("own:b", measured([1, 1, 1]))]).tests == 0
    # Sites are drawn too: items alone say nothing.
    sites = measured([0, 1, 1], signature={"by": "site"})
    assert compare([result("own:a", sites), result("own:b", sites)]).tests == 0


def test_rates_are_tested_as_rates() -> None:
    good = np.tile([0.0, 0.0, 0.0, 5.0], (40, 1))
    bad = np.tile([1.0, 0.0, 1.0, 5.0], (40, 1))
    rows = [
        result(name, measured(v, name="CER", higher_is_better=False))
        for name, v in (("own:a", good), ("own:b", bad))
    ]
    (row,) = compare(rows).rows
    assert row.reference == "own:a" and not row.higher_is_better
    assert row.cells["own:b"].test.difference == pytest.approx(0.4)
    # A mean over pairs of unequal sizes is nearly, not quite, the mean of its items.
    nearly = replace(measured([0, 1, 1, 1]), value=0.76)
    found = compare([result("own:a", nearly), result("own:b", measured([1, 1, 1, 1]))])
    assert next(c.test for c in found.rows[0].cells.values() if c.test).resampled.endswith("alike")
    _, (line,) = table_rows(compare(rows))
    assert line[1] == "CER (less is better)" and line[2].endswith("*")


def test_entries_come_back_as_they_were() -> None:
    first = measured([0.25, 1.0, 1e-7], ["a", "b", "c"], signature={"x": 1, "y": 2})
    second = measured([[1.0, 4.0], [0.0, 5.0]], name="CER", signature={"x": 1, "y": 3})
    entry = json.loads(json.dumps(entry_of("probe", "k", ["accuracy"], [first, second])))
    assert entry["signature"] == {"x": 1}
    for stored, one in zip(entry["measurements"], (first, second), strict=True):
        np.testing.assert_array_equal(per_item_of(stored).astype(np.float32), one.per_item)
    assert entry["item_keys"] == [["a", "b", "c"]]
    with pytest.raises(ValueError, match="accuracy is nan"):
        entry_of("probe", "k", [], [replace(first, value=float("nan"))])


def test_tables_give_the_measures_made_of_ranks() -> None:
    tables = {
        "meanings": ["a", "b", "c"],
        "pairs": [["x", "y"], ["y", "x"]],
        "strata": {"x": "x", "y": "y"},
        "rank": ["1 3 -", "2 1 4"],
        "hard R@1": ["1 0 -", "- - -"],
    }
    _, rows, _ = table_of({"tables": tables}, "R@1")
    np.testing.assert_array_equal(rows["x", "y"], [1, 0, np.nan])
    _, rows, _ = table_of({"tables": tables}, "MRR")
    np.testing.assert_allclose(rows["y", "x"], [0.5, 1, 0.25])
    _, rows, _ = table_of({"tables": tables}, "hard R@1")
    assert list(rows) == [("x", "y")]
    assert table_of({"tables": tables}, "CER") is None
    assert table_of({}, "R@1") is None


def test_a_finished_run_is_compared_over_sentences(finished) -> None:
    found = compare(finished.results)
    assert found.suite == "speech_retrieval"
    row = next(r for r in found.rows if r.measure == "R@1")
    assert row.cells["mel:"].test.difference == pytest.approx(-2 / 3)
    assert row.cells["mel:"].test.resampled == "sentences"
    assert row.chance == 0.25


def test_csv_latex_and_json_hold_the_numbers(finished) -> None:
    found = compare(finished.results)
    rows = list(csv.DictReader(io.StringIO(compare_csv(found))))
    first = next(r for r in rows if r["measure"] == "R@1" and r["encoder"] == "own:exp/a")
    assert float(first["value"]) == pytest.approx(2 / 3) and first["alike"] == "True"
    latex = compare_latex(found)
    assert r"\textbf{66.7}" in latex and r"\toprule" in latex and "Holm" in latex
    assert "$+$" not in latex
    against = compare_latex(compare(finished.results, baseline="mel:"))
    assert "$+$ better" in against
    assert json.loads(json.dumps(found.to_dict()))["rows"][0]["measure"] == "R@1"
    columns, tests = rows_of_tests(found)
    assert columns[-1] == "n" and len(tests) == found.tests


def test_results_of_different_corpora_are_refused(finished) -> None:
    other = replace(finished.results[1], corpus={**finished.results[1].corpus, "sha": "00"})
    with pytest.raises(ValueError, match="different suites or corpora"):
        compare([finished.results[0], other])
    with pytest.raises(ValueError, match="no result"):
        compare([])


@pytest.mark.parametrize("folder", sorted(p.name for p in OLD.iterdir()))
def test_stored_old_results_still_load_compare_and_report(folder: str, tmp_path) -> None:
    # Written by the release of that format (format1: 0.1.0, planted encoders); never rewritten.
    results = load_results(OLD / folder)
    assert [r.encoder for r in results] == ["own:exp/a", "mel:"]
    own = results[0]
    assert own.measure("R@1")["value"] == pytest.approx(2 / 3)
    assert list(own.tasks) == ["retrieval", "layers", "transcription"]
    assert [p["layer"] for p in own.layers] == [0, 1, 2]
    found = compare(OLD / folder)
    row = next(r for r in found.rows if r.measure == "R@1")
    # Ranks stood in the rows of queries, so that a paired test is made of them.
    assert row.cells["mel:"].test.difference == pytest.approx(-2 / 3)
    page = write_report(results, None, tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Layer by layer" in page and "Character error rate" in page


def test_a_run_goes_on_in_a_folder_of_format_1(encoders, planted, tmp_path) -> None:
    import shutil
    from types import SimpleNamespace

    from isogloss.bench import RunConfig, run_benchmark

    class Reader(planted.Planted):
        def transcribe(self, items, *, head):
            return [SimpleNamespace(text=item.transcript[:-1]) for item in items]

    shutil.copytree(OLD / "format1", tmp_path / "o")
    corpus = planted.planted_corpus(tmp_path / "corpus")
    encoders["own:exp/a"] = Reader(tokenizer="any")
    config = RunConfig(encoders=("own:exp/a", "mel:"), layers="all", bootstrap=50, examples=2)
    own, _ = run_benchmark(corpus, config, cache_dir=None, out=tmp_path / "o", progress=False)
    assert encoders["own:exp/a"].calls == encoders["mel:"].calls == []
    assert own.layers and own.transcription
