"""Prediction consistency: KL in log space, its sign, its directions, what it moves."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from isogloss.errors import UnknownName
from isogloss.training.objectives.consistency import DIRECTIONS, divergence
from objective_makers import (
    ENGLISH,
    GERMAN,
    batch_of,
    loss_of,
    objective_of,
    tiny,
    trained,
    with_noise_at_padding,
)

torch.set_num_threads(1)

P = torch.tensor([[0.5, 0.25, 0.25]])
Q = torch.tensor([[0.25, 0.25, 0.5]])
FORWARD = 0.5 * math.log(2) + 0.25 * math.log(1 / 2)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_identical_predictions_are_at_zero_in_value_and_gradient(direction):
    logits = torch.randn(4, 7, requires_grad=True)
    value = divergence(logits, logits.detach(), direction)
    assert value.detach().abs().max() < 1e-6
    value.sum().backward()
    assert logits.grad.abs().max() < 1e-6


def test_values_by_hand():
    assert float(divergence(P.log(), Q.log(), "forward")) == pytest.approx(FORWARD, rel=1e-5)
    p, q = torch.tensor([[0.9, 0.1]]), torch.tensor([[0.5, 0.5]])
    forward = 0.9 * math.log(1.8) + 0.1 * math.log(0.2)
    backward = 0.5 * math.log(1 / 1.8) + 0.5 * math.log(5)
    assert float(divergence(p.log(), q.log(), "forward")) == pytest.approx(forward, rel=1e-5)
    assert float(divergence(p.log(), q.log(), "backward")) == pytest.approx(backward, rel=1e-5)
    assert float(divergence(p.log(), q.log())) == pytest.approx((forward + backward) / 2, rel=1e-5)
    js = 0.5 * (
        0.9 * math.log(0.9 / 0.7)
        + 0.1 * math.log(0.1 / 0.3)
        + 0.5 * math.log(0.5 / 0.7)
        + 0.5 * math.log(0.5 / 0.3)
    )
    assert float(divergence(p.log(), q.log(), "js")) == pytest.approx(js, rel=1e-5)


def test_forward_equals_torch():
    x, y = torch.randn(5, 9), torch.randn(5, 9)
    wanted = functional.kl_div(
        y.log_softmax(-1), x.log_softmax(-1), log_target=True, reduction="none"
    ).sum(-1)
    assert torch.allclose(divergence(x, y, "forward"), wanted, atol=1e-6)


def test_impossible_tokens_and_far_apart_predictions_stay_finite():
    x = torch.tensor([[0.0, -torch.inf, 1.0]])
    y = torch.tensor([[1.0, -torch.inf, 0.0]])
    for direction in DIRECTIONS:
        assert torch.isfinite(divergence(x, y, direction)).all()
    far = divergence(torch.tensor([[200.0, -200.0]]), torch.tensor([[-200.0, 200.0]]), "js")
    assert float(far) == pytest.approx(math.log(2), rel=1e-4)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 30))
def test_never_negative_and_js_bounded_and_symmetric(seed, scale):
    draw = torch.Generator().manual_seed(seed)
    x, y = torch.randn(3, 6, generator=draw) * scale, torch.randn(3, 6, generator=draw) * scale
    for direction in DIRECTIONS:
        assert divergence(x, y, direction).min() >= -1e-5
    for direction in ("symmetric", "js"):
        forth, back = divergence(x, y, direction), divergence(y, x, direction)
        assert torch.allclose(forth, back, rtol=1e-4, atol=1e-5)
    assert divergence(x, y, "js").max() <= math.log(2) + 1e-5


def test_an_unknown_direction_is_named():
    with pytest.raises(UnknownName, match="direction"):
        divergence(P, Q, "sideways")


AT = ("last", "mean", "words")


@pytest.mark.parametrize("at", AT)
def test_the_same_texts_are_consistent_and_translations_are_not(at):
    model = tiny()
    objective = objective_of(f"consistency:at={at}")
    total, _ = loss_of(objective, model, batch_of(model, ENGLISH, ENGLISH))
    assert float(total.detach()) == pytest.approx(0, abs=1e-5)
    links = [[(1, 1)]] * 8
    total, parts = loss_of(objective, model, batch_of(model, ENGLISH, GERMAN, links=links))
    assert float(total.detach()) > 0.001
    assert float(parts["compared"]) == 8


@pytest.mark.parametrize("at", AT)
def test_padding_and_special_tokens_take_no_part(at):
    model = tiny()
    batch = batch_of(
        model, ENGLISH, [" ".join(t.split()[:3]) for t in GERMAN], links=[[(1, 1)]] * 8
    )
    objective = objective_of(f"consistency:at={at}")
    clean, _ = loss_of(objective, model, batch)
    dirty, _ = loss_of(objective, with_noise_at_padding(tiny()), batch)
    assert float(dirty.detach()) == pytest.approx(float(clean.detach()), rel=1e-5)


def test_rows_without_text_are_left_out():
    model = tiny()
    for at in AT:
        total, parts = loss_of(
            objective_of(f"consistency:at={at}"), model, batch_of(model, ENGLISH[:2], ["", " "])
        )
        assert float(total) == 0 and float(parts["compared"]) == 0
    _, parts = loss_of(
        objective_of("consistency"), model, batch_of(model, ENGLISH[:2], ["", GERMAN[1]])
    )
    assert float(parts["compared"]) == 1


def test_directions_and_temperature_change_the_loss():
    model = tiny()
    batch = batch_of(model, ENGLISH, GERMAN)
    specs = ["direction=forward", "direction=backward", "direction=js", "temperature=2"]
    found = {
        spec: float(loss_of(objective_of(f"consistency:{spec}"), model, batch)[0].detach())
        for spec in specs
    }
    assert len({round(value, 7) for value in found.values()}) == len(specs)


@pytest.mark.parametrize("stop", ["first", "second"])
def test_the_stopped_side_gets_no_gradient(stop):
    model = tiny()
    batch = batch_of(model, ENGLISH, GERMAN)
    total, _ = loss_of(objective_of(f"consistency:stop={stop}"), model, batch)
    states = {}
    honest = model.states
    model.states = lambda tokens: states.setdefault(id(tokens), honest(tokens))
    total, _ = loss_of(objective_of(f"consistency:stop={stop}"), model, batch)
    finals = [states[id(side)][-1] for side in batch.sides]
    found = torch.autograd.grad(total, finals, allow_unused=True)
    still, moving = (0, 1) if stop == "first" else (1, 0)
    assert found[still] is None or float(found[still].abs().max()) == 0
    assert float(found[moving].abs().max()) > 0


def test_a_decoder_answers_alike_after_training_and_the_control_does_not():
    def after(spec: str) -> float:
        model = tiny("llama")
        batch = batch_of(model, ENGLISH, GERMAN)
        trained([objective_of(spec)], model, batch, steps=20, rate=6e-3)
        total, _ = loss_of(objective_of("consistency:at=last"), model, batch)
        return float(total.detach())

    assert after("consistency:at=last") < 0.2 * after("lm")


def test_one_side_is_refused():
    model = tiny()
    with pytest.raises(ValueError, match="two sides"):
        loss_of(objective_of("consistency"), model, batch_of(model, ENGLISH))
    with pytest.raises(ValueError, match="temperature"):
        objective_of("consistency:temperature=0")
