from __future__ import annotations

import csv
import json
from dataclasses import replace

import pytest

from isogloss.bench import (
    latex_matrix,
    summarise,
    write_latex,
    write_layers_png,
    write_matrix_png,
    write_results_csv,
    write_results_json,
)
from isogloss.bench.summary import baseline_labels, encoder_label, role_of, set_label


def test_the_headline_numbers_are_flat(finished) -> None:
    values = summarise(finished.results)
    assert values["r_at_1_trained"] == pytest.approx(2 / 3)
    assert values["r_at_1_mel"] == 0.0
    assert values["r_at_1_random"] is None
    assert values["r_at_1_phonetic"] == 1.0  # transcripts of the melodies are equal
    assert values["chance"] == 0.25
    assert values["cer"] is None
    assert len(values["pairs"]) == 12
    with pytest.raises(ValueError, match="no result"):
        summarise([])


def test_json_has_the_extra_keys_and_is_json(finished, tmp_path) -> None:
    path = tmp_path / "results.json"
    written = write_results_json(finished.results, path, extra={"seconds": 3.5})
    assert json.loads(path.read_text(encoding="utf-8")) == json.loads(json.dumps(written))
    assert written["seconds"] == 3.5


def test_csv_has_a_row_for_each_encoder_and_pair(finished, tmp_path) -> None:
    path = tmp_path / "results.csv"
    write_results_csv(finished.results, path)
    with path.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 2 * 6
    row = next(
        r for r in rows if (r["encoder"], r["query"], r["target"]) == ("own:exp/a", "yue", "hak")
    )
    assert float(row["r_at_1"]) == 0.5
    assert float(row["r_at_1_low"]) <= 0.5 <= float(row["r_at_1_high"])
    assert (row["query_group"], row["n"], row["chance"]) == ("yue", "4", "0.25")


def test_latex_is_the_matrix_with_a_dash_on_the_diagonal(finished) -> None:
    lines = latex_matrix(finished.results[0]).splitlines()
    assert r"Mandarin & - & 100.0 & 50.0 \\" in lines
    assert r"Hakka & 50.0 & 50.0 & - \\" in lines
    assert lines.count(r"\toprule") == lines.count(r"\midrule") == lines.count(r"\bottomrule") == 1


def test_latex_escapes(finished, tmp_path) -> None:
    first = finished.results[0]
    nasty = replace(first, corpus={**first.corpus, "name": r"a_b & 50% \x"})
    assert r"a\_b \& 50\% \textbackslash{}x" in latex_matrix(nasty)
    write_latex(finished.results, tmp_path / "m.tex")
    assert (tmp_path / "m.tex").read_text(encoding="utf-8").count(r"\begin{table}") == 2


def test_pictures_are_png(finished, tmp_path) -> None:
    pytest.importorskip("matplotlib")
    write_matrix_png(finished.results, tmp_path / "matrix.png")
    assert write_layers_png(finished.results, tmp_path / "layers.png")
    assert not write_layers_png(finished.results[1:], tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()
    for name in ("matrix.png", "layers.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_names_without_glyphs_do_not_reach_the_picture(finished, tmp_path) -> None:
    pytest.importorskip("matplotlib")
    first = finished.results[0]
    write_matrix_png([replace(first, encoder="own:模型")], tmp_path / "m.png")


@pytest.mark.parametrize(
    ("name", "label", "role"),
    [
        ("own:exp/a/", "trained (a)", "trained"),
        ("own:exp/a/model", "trained (a)", "trained"),
        ("own:model", "trained (model)", "trained"),
        ("mel:", "log-mel frames", "mel"),
        ("random:tiny:3", "random weights (tiny:3)", "random"),
        ("theirs:x", "theirs:x", "other"),
    ],
)
def test_encoders_have_names_for_people(name: str, label: str, role: str) -> None:
    assert (encoder_label(name), role_of(name)) == (label, role)


def test_sets_have_english_names() -> None:
    assert set_label("cmn", "variety") == "Mandarin"
    assert set_label("zh_dialect", "group") == "Dialect Mandarin"
    assert set_label("河北_承德市", "site") == "河北_承德市"
    assert set_label("xx-unknown", "variety") == "xx-unknown"


@pytest.mark.parametrize(
    ("bases", "words", "spelling"),
    [
        (("phones",), "edit distance of phones", True),
        (("transcript",), "edit distance of transcripts, for want of phones", False),
        (("phones", "transcript"), "transcripts where a pair has none", True),
    ],
)
def test_the_phonetic_baseline_says_what_it_compares(finished, bases, words, spelling) -> None:
    first = finished.results[0]
    pairs = [
        {**pair, "phonetic_basis": bases[i % len(bases)]}
        for i, pair in enumerate(first.retrieval["pairs"])
    ]
    labels = baseline_labels(replace(first, retrieval={**first.retrieval, "pairs": pairs}))
    assert labels["R@1 phonetic"].startswith("sound alone: ")
    assert labels["R@1 phonetic"].endswith(words)
    # The same number is not shown twice under two names.
    assert ("R@1 by transcript" in labels) is spelling


def test_a_result_without_baselines_has_no_labels(finished) -> None:
    first = finished.results[0]
    measures = {"R@1": first.retrieval["measures"]["R@1"]}
    pairs = [{**pair, "phonetic_basis": None} for pair in first.retrieval["pairs"]]
    bare = {**first.retrieval, "measures": measures, "pairs": pairs}
    assert baseline_labels(replace(first, retrieval=bare)) == {}
