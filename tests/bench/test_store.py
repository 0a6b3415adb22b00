from __future__ import annotations

import json

import pytest

from isogloss.bench import load_results, save_result
from isogloss.bench.store import FORMAT, RunRecord, RunResult, load_result, result_file, save_run
from isogloss.errors import IsoglossError

# Written by format 1 as first released; it must load for ever.
FORMAT_1 = {
    "isogloss_result": 1,
    "encoder": "own:exp/a",
    "made_by": "own:abc;layer=final",
    "suite": "speech_retrieval",
    "key": "00",
    "config": {"by": "variety"},
    "corpus": {"name": "old", "sha": "ff", "items": 2},
    "retrieval": {
        "signature": {},
        "sets": [{"name": "cmn", "group": "mandarin"}, {"name": "yue", "group": "yue"}],
        "measures": {"R@1": {"name": "R@1", "value": 0.5, "low": None, "high": None, "n": 2}},
        "buckets": [],
        "group_table": {"measure": "R@1", "groups": ["mandarin", "yue"], "cells": []},
        "pairs": [],
        "left_out": {},
        "unreadable": [],
    },
}


def write(path, values) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values), encoding="utf-8")


def test_an_old_result_loads(tmp_path) -> None:
    write(tmp_path / "a.json", FORMAT_1 | {"a_field_dropped_since": 1})
    result = load_result(tmp_path / "a.json")
    assert (result.encoder, result.layers, result.measure("R@1")["value"]) == ("own:exp/a", (), 0.5)


def test_what_is_saved_is_loaded(tmp_path) -> None:
    values = {k: v for k, v in FORMAT_1.items() if k != "isogloss_result"}
    result = RunResult(**values, layers=({"layer": 0},), seconds={"retrieval": 1.5})
    save_result(result, tmp_path)
    save_run(RunRecord({}, {}, (result_file(result.encoder, result.suite),)), tmp_path)
    assert load_results(tmp_path) == [result]


@pytest.mark.parametrize(
    ("values", "match"),
    [
        (FORMAT_1 | {"isogloss_result": FORMAT + 1}, "newer isogloss .format 3.*upgrade"),
        ({k: v for k, v in FORMAT_1.items() if k != "retrieval"}, "retrieval is missing"),
        ({"a": 1}, "no 'isogloss_result'"),
        ([], "no 'isogloss_result'"),
    ],
)
def test_what_is_no_result_is_refused(tmp_path, values, match: str) -> None:
    write(tmp_path / "a.json", values)
    with pytest.raises(IsoglossError, match=match):
        load_result(tmp_path / "a.json")


def test_a_damaged_file_is_refused(tmp_path) -> None:
    (tmp_path / "a.json").write_text('{"isogloss_result": 1, "enc', encoding="utf-8")
    with pytest.raises(IsoglossError, match="damaged"):
        load_result(tmp_path / "a.json")


def test_a_folder_without_a_run_says_how_to_make_one(tmp_path) -> None:
    with pytest.raises(IsoglossError, match="isogloss bench run"):
        load_results(tmp_path)
    save_run(RunRecord({}, {}, ("results/x.json",)), tmp_path)
    with pytest.raises(IsoglossError, match="no finished result"):
        load_results(tmp_path)


def test_names_that_look_alike_have_files_of_their_own() -> None:
    names = ["own:a/b", "own:a-b", "own:a b", "own:" + "x" * 300, "own:" + "x" * 299, "own:模型"]
    files = {result_file(name, "s") for name in names}
    assert len(files) == len(names)
    assert all(len(file) < 90 and file.isascii() for file in files)
