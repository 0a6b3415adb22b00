"""The experiment of steering: splits kept apart, the baseline always there, numbers by hand."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from isogloss.errors import UnknownName
from isogloss.llm import CausalModel, load_causal
from isogloss.tasks.steering import Prompt, SteeringResult, SteeringRow, SteeringTask
from isogloss.tasks.steering_meaning import MeaningJudge
from isogloss.tasks.text_variety import fit_variety_classifier
from isogloss.types import Corpus, Item
from llm_makers import make_causal

ENGLISH = ["the quick fox number {} jumps over the dog", "a lazy dog number {} sleeps in the sun"]
GERMAN = [
    "der schnelle Fuchs Nummer {} springt über den",
    "ein fauler Hund Nummer {} schläft in der",
]


def corpus() -> Corpus:
    items = []
    for number in range(60):
        split = {8: "dev", 9: "test"}.get(number % 10, "train")
        for variety, texts in (("eng", ENGLISH), ("deu", GERMAN)):
            text = texts[number % 2].format(number)
            items.append(Item(f"{variety}{number}", variety, f"m{number}", text=text, split=split))
    return Corpus("planted", tuple(items), sha="0")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> CausalModel:
    torch.set_num_threads(1)
    return load_causal(make_causal("llama", tmp_path_factory.mktemp("lm") / "m"))


TASK = SteeringTask(
    "eng", "deu", ("experts",), (1, 2), (0.0, 2.0), units=5, new_tokens=6, prompt_words=3
)


def test_every_method_stands_beside_the_baseline_and_nothing(model: CausalModel) -> None:
    before = model.log_probs(["The quick"])[0]
    result = TASK.run(corpus(), model)
    settings = [(row.method, row.layer, row.strength) for row in result.rows]
    assert settings == [
        ("none", None, 0.0),
        *[("mean-shift", layer, s) for layer in (1, 2) for s in (0.0, 2.0)],
        *[("experts", None, s) for s in (0.0, 2.0)],
    ]
    # A strength of nothing is no intervention.
    for row in result.rows:
        if row.strength == 0.0:
            assert row.outputs == result.without.outputs
        assert sum(row.shares.values()) == pytest.approx(1.0)
        assert row.shares["deu"] == row.share
    assert result.best("mean-shift") in result.rows
    assert result.best("lda") is None
    assert result.accuracy == 1.0
    assert result.held_out == 12
    assert result.judged == len(result.prompts) == 6
    assert result.chance == pytest.approx(1 / 6)
    assert {len(p.text.split()) for p in result.prompts} == {3}
    np.testing.assert_array_equal(model.log_probs(["The quick"])[0], before)
    again = TASK.run(corpus(), model)
    assert [row.outputs for row in again.rows] == [row.outputs for row in result.rows]


def test_the_best_row_keeps_meaning_where_enough_is_reached() -> None:
    def row(method: str, share: float, found: float) -> SteeringRow:
        return SteeringRow(method, 1, 1.0, share, None, None, {}, None, {"x": found}, ())

    rows = (row("none", 0, 1), row("a", 0.85, 0.5), row("a", 1.0, 0.1), row("b", 0.3, 0.2))
    result = SteeringResult(rows, (), 1.0, 1, 1, None)
    assert result.best("a") is rows[1]
    assert result.best("a", enough=0.9) is rows[2]
    assert result.best("b") is rows[3]
    assert result.best("c") is None


def test_every_option_changes_something(model: CausalModel) -> None:
    base = replace(TASK, strengths=(1.0,), layers=(1,), prompts=4, new_tokens=5)
    first = base.run(corpus(), model)
    changed: list[dict[str, Any]] = [
        {"phase": "generated"},
        {"relative": False},
        {"units": 50},
        {"fit_texts": 3},
        {"temperature": 1.5},
        {"template": "{} ="},
        {"layers": (2,)},
        {"strengths": (3.0,)},
        {"value": "p90", "units": 60},
        {"methods": ("shifcon",)},
    ]
    for options in changed:
        other = replace(base, **options).run(corpus(), model)
        assert [r.outputs for r in other.rows] != [r.outputs for r in first.rows], options


def test_prompts_of_ones_own_enter_retrieval_where_their_meaning_is_known(
    model: CausalModel,
) -> None:
    prompts = [Prompt("hello there"), Prompt("x", "hello", "hallo"), Prompt("y", "dog", "Hund")]
    result = replace(TASK, methods=()).run(corpus(), model, prompts=prompts)
    assert result.judged == 2
    assert len(result.rows[0].outputs) == 3
    alone = replace(TASK, methods=()).run(corpus(), model, prompts=prompts[:1])
    assert (alone.judged, alone.chance, alone.without.retrieval) == (0, None, {})
    fitted = ENGLISH[0].format(0)
    with pytest.raises(ValueError, match="1 prompts are of texts that the shift was fitted on"):
        TASK.run(corpus(), model, prompts=[Prompt("the quick", fitted, "x")])
    with pytest.raises(ValueError, match="no prompt"):
        TASK.run(corpus(), model, prompts=[])


def test_outputs_that_are_their_translations_find_them(model: CausalModel) -> None:
    prompts = [Prompt(str(i), ENGLISH[i % 2].format(i), GERMAN[i % 2].format(i)) for i in range(8)]
    judge = MeaningJudge.of(prompts, model)
    right = judge.retrieval([str(p.target) for p in prompts])
    assert right["n-grams to target"] == 1.0
    assert right["states to target"] == 1.0
    other = judge.retrieval([str(prompts[(i + 1) % 8].target) for i in range(8)])
    assert other["n-grams to target"] == 0.0
    empty = judge.retrieval([""] * 8)
    assert set(empty.values()) == {0.0}


def test_meanings_that_two_prompts_share_are_judged_once(model: CausalModel) -> None:
    prompts = [Prompt("a", "one", "eins"), Prompt("b", "uno", "eins"), Prompt("c", "two", "zwei")]
    assert MeaningJudge.of(prompts, model).rows == (0, 2)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"methods": ("meanshift",)}, UnknownName, "mean-shift"),
        ({"layers": ()}, ValueError, "at least one layer"),
        ({"template": "x"}, ValueError, "has no {}"),
        ({"methods": ("experts",), "units": 0}, ValueError, "units must be at least 1"),
    ],
)
def test_wrong_tasks_are_refused(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        replace(TASK, **options)


def test_a_corpus_without_what_is_needed_is_refused(model: CausalModel) -> None:
    with pytest.raises(ValueError, match="no text of 'fra' to fit on"):
        replace(TASK, target="fra", methods=()).run(corpus(), model)
    with pytest.raises(ValueError, match="lower prompt_words"):
        replace(TASK, prompt_words=99).run(corpus(), model)
    few = Corpus("x", tuple(i for i in corpus().items if i.meaning in ("m0", "m9")))
    with pytest.raises(ValueError, match=r"held out to judge the classifier.*a split dev"):
        TASK.run(few, model)


def test_without_dev_texts_a_tenth_of_training_judges_the_classifier(model: CausalModel) -> None:
    without = Corpus("x", tuple(i for i in corpus().items if i.split != "dev"), sha="1")
    found = replace(TASK, strengths=(0.0,), layers=(1,)).run(without, model)
    tenth = {i.meaning for i in without.items if zlib.crc32(str(i.meaning).encode()) % 10 == 0}
    there = [i for i in without.items if i.split == "train" and i.meaning in tenth]
    assert found.held_out == len({i.text for i in there}) > 0


def test_the_classifier_is_not_judged_on_what_it_has_seen() -> None:
    texts, varieties = ["the dog", "der Hund", "the cat"], ["eng", "deu", "eng"]
    found = fit_variety_classifier(
        texts, varieties, ["the dog", "the fox", "der Fuchs"], ["deu", "eng", "deu"]
    )
    assert (found.accuracy, found.held_out) == (1.0, 2)
    assert found.name(["der Wolf", "%s 12", ""]) == ["deu", "eng", None] or found.name(["%d"]) == [
        "eng"
    ]
    assert found.name(["12 %", ""]) == [None, None]
    with pytest.raises(ValueError, match="two varieties, there is eng"):
        fit_variety_classifier(["a"], ["eng"], ["b"], ["eng"])
