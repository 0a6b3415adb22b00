"""Suites of sentences are taken as such: nobody is told of recordings that are missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from isogloss.bench.data import prepare_corpus
from isogloss.bench.suite import load_suite, suite_names
from isogloss.bench.task_kinds import SHOWN, TASKS, TEXT_TASKS

if TYPE_CHECKING:
    from pathlib import Path

NAMES = [name for name in suite_names() if name.startswith("text-")]


def test_every_kind_of_text_task_is_known_and_shown() -> None:
    assert set(TEXT_TASKS) <= set(TASKS)
    assert set(TEXT_TASKS) <= set(SHOWN)


@pytest.mark.parametrize("name", NAMES)
def test_a_suite_of_text_has_tasks_of_text_alone(name: str) -> None:
    suite = load_suite(name)
    assert suite.of_text
    assert {task.task for task in suite.tasks} <= set(TEXT_TASKS)


def test_pairs_of_sentences_are_all_there(tmp_path: Path) -> None:
    # Both sides are meanings of one variety each, so neither has those of the other.
    data = tmp_path / "refresd"
    data.mkdir()
    columns = ("#english_sentence", "#french_sentence", "#3_labels")
    names = (*columns, "#english_rational", "#french_rationale")
    rows = [names, *(("a b", "c d", "unrelated", "1 1", "2 2") for _ in range(3))]
    table = "".join("\t".join(row) + "\n" for row in rows)
    (data / "REFreSD_rationale.tsv").write_text(table, encoding="utf-8")
    prepared = prepare_corpus(load_suite("text-refresd"), tmp_path, tmp_path / "work")
    assert len(prepared.corpus.items) == 6
    assert all(row["present"] == row["expected"] for row in prepared.coverage["rows"])
