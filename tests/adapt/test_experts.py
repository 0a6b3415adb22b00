"""Average precision and AUROC of all units at once are scikit-learn's of each, ties included."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import average_precision_score, roc_auc_score

from isogloss.adapt.experts import (
    area_under_roc,
    average_precision,
    dampening,
    find_experts,
    setting,
    unit_responses,
)
from isogloss.adapt.interventions import intervened
from isogloss.adapt.model_states import text_states
from isogloss.llm import CausalModel, load_causal
from llm_makers import make_causal

if TYPE_CHECKING:
    import numpy.typing as npt

TEXTS = ["The quick brown fox", "the lazy dog", "Der braune Fuchs", "den faulen Hund", "jumps"]
VARIETIES = ["eng", "eng", "deu", "deu", "eng"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> CausalModel:
    torch.set_num_threads(1)
    return load_causal(make_causal("llama", tmp_path_factory.mktemp("lm") / "m"))


@settings(max_examples=25)
@given(
    arrays.arrays(np.float32, (9, 4), elements=st.sampled_from([-1.0, 0.0, 0.5, 2.0])),
    st.lists(st.booleans(), min_size=9, max_size=9).filter(lambda b: any(b) and not all(b)),
)
def test_all_units_at_once_are_scikit_learns_one_by_one(
    responses: npt.NDArray[np.float32], positive: list[bool]
) -> None:
    truth = np.array(positive)
    expected = [average_precision_score(truth, column) for column in responses.T]
    np.testing.assert_allclose(average_precision(responses, truth), expected, atol=1e-6)
    expected = [roc_auc_score(truth, column) for column in responses.T]
    np.testing.assert_allclose(area_under_roc(responses, truth), expected, atol=1e-6)


def test_by_hand() -> None:
    truth = np.array([True, False, True, False])
    # Perfect; all alike: the share of positives; positives first and last: (1 + 2/4) / 2.
    columns = np.array([[3, 1, 2, 0], [1, 1, 1, 1], [4, 3, 1, 2]], dtype=np.float32).T
    np.testing.assert_allclose(average_precision(columns, truth), [1.0, 0.5, 0.75])
    np.testing.assert_allclose(area_under_roc(columns, truth), [1.0, 0.5, 0.5])


def test_blocks_of_columns_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    responses, truth = rng.normal(size=(20, 30)).astype(np.float32), rng.random(20) < 0.4
    whole = average_precision(responses, truth)
    monkeypatch.setattr("isogloss.adapt.experts._CELLS_AT_ONCE", 140)
    np.testing.assert_array_equal(average_precision(responses, truth), whole)


@pytest.mark.parametrize(
    ("responses", "positive", "message"),
    [
        (np.zeros((3, 2)), [True, False], r"\(N, U\) and positive \(N,\)"),
        (np.zeros((2, 2)), [False, False], "no text is positive"),
        (np.full((2, 2), np.nan), [True, False], "NaN"),
    ],
)
def test_bad_responses_are_refused(
    responses: npt.NDArray[np.float64], positive: list[bool], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        average_precision(responses.astype(np.float32), np.array(positive))


def test_a_response_is_the_greatest_over_the_tokens(model: CausalModel) -> None:
    responses, layers, units = unit_responses(model, TEXTS)
    assert responses.shape == (5, 3 * 24)
    states = text_states(model, TEXTS, [(2, "mlp")])[2, "mlp"]
    expected = np.array([states[i].max(axis=0) for i in range(5)])
    np.testing.assert_array_equal(responses[:, layers == 2], expected)
    np.testing.assert_array_equal(units[layers == 2], np.arange(24))


def test_experts_are_the_best_units_and_are_set_to_what_is_typical(model: CausalModel) -> None:
    experts = find_experts(model, TEXTS, VARIETIES, "deu", count=10)
    responses, layers, units = unit_responses(model, TEXTS)
    truth = np.array([v == "deu" for v in VARIETIES])
    every = average_precision(responses, truth)
    assert experts.of == 72
    np.testing.assert_allclose(experts.expertise, np.sort(every)[::-1][:10])
    first = np.flatnonzero((layers == experts.layers[0]) & (units == experts.units[0]))[0]
    assert experts.typical[0] == pytest.approx(np.median(responses[truth, first]), abs=1e-6)
    high = find_experts(model, TEXTS, VARIETIES, "deu", count=10, value="p90")
    assert (high.typical >= experts.typical - 1e-6).all()
    with intervened(model, *setting(experts, count=5)):
        states = text_states(model, TEXTS, [(1, "mlp"), (2, "mlp"), (3, "mlp")])
    for layer, unit, value in list(
        zip(experts.layers, experts.units, experts.typical, strict=True)
    )[:5]:
        np.testing.assert_allclose(states[int(layer), "mlp"].values[:, unit], value, atol=1e-5)


def test_dampening_silences_a_perfect_detector_and_leaves_chance(model: CausalModel) -> None:
    experts = find_experts(model, TEXTS, VARIETIES, "deu", count=72)
    perfect = experts.expertise == 1.0
    assert perfect.any()
    np.testing.assert_allclose(experts.dampening[perfect], 0.0, atol=1e-6)
    assert experts.dampening.max() <= 1.0
    before = model.log_probs(TEXTS)
    with intervened(model, *dampening(experts)):
        after = model.log_probs(TEXTS)
    assert np.abs(np.concatenate(before) - np.concatenate(after)).max() > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0}, "count must be at least 1"),
        ({"variety": "fra"}, "0 of 5 texts are of variety 'fra'"),
        ({"varieties": ["deu"]}, "1 varieties for 5 texts"),
        ({"varieties": ["deu"] * 5}, "5 of 5 texts"),
        ({"texts": ["", "a", "b", "c", "d"]}, "text 0 has no token"),
    ],
)
def test_what_experts_cannot_be_found_in_is_refused(
    model: CausalModel, arguments: dict[str, object], message: str
) -> None:
    given = {"texts": TEXTS, "varieties": VARIETIES, "variety": "deu", **arguments}
    with pytest.raises(ValueError, match=message):
        find_experts(model, **given)  # type: ignore[arg-type]
