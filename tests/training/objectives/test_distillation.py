"""Distillation: its value by hand, its guard against collapse, what it moves."""

from __future__ import annotations

import pytest
import torch

from isogloss.training.objectives.distillation import spread
from isogloss.training.objectives.state_sets import at_layer, mean_states
from objective_makers import (
    ENGLISH,
    GERMAN,
    batch_of,
    checkpoint,
    loss_of,
    objective_of,
    tiny,
    trained,
    with_noise_at_padding,
)

torch.set_num_threads(1)


def pooled(model, side, layer="last"):
    return mean_states(at_layer(model, side, layer), side)[0].detach()


def test_spread_by_hand():
    teacher = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
    assert float(spread(teacher, teacher)) == 1
    assert float(spread(3 * teacher + 5, teacher)) == pytest.approx(3)
    assert float(spread(torch.ones(2, 2), teacher)) == 0
    # Nothing to compare with: no alarm.
    assert float(spread(torch.ones(1, 2), torch.ones(1, 2))) == 1
    assert float(spread(teacher, torch.ones(2, 2))) == 1


def test_at_the_start_the_first_side_is_at_zero_and_the_second_by_definition():
    model = tiny()
    batch = batch_of(model, ENGLISH, GERMAN)
    a, b = (pooled(model, side) for side in batch.sides)
    objective = objective_of("distillation:guard=0")
    total, parts = loss_of(objective, model, batch, objective.modules(model))
    assert float(total.detach()) == pytest.approx(0.5 * float((b - a).square().mean()), rel=1e-5)
    same = batch_of(model, ENGLISH, ENGLISH)
    for spec in ("distillation", "distillation:loss=cosine"):
        objective = objective_of(spec)
        total, parts = loss_of(objective, model, same, objective.modules(model))
        assert float(total.detach()) == pytest.approx(0, abs=1e-6)
        assert float(parts["spread"]) == pytest.approx(1, rel=1e-5)


def test_the_teacher_stays_when_the_student_moves():
    model = tiny()
    objective = objective_of("distillation")
    extra = objective.modules(model)
    before = pooled(extra.teacher, batch_of(model, ENGLISH).sides[0])
    with torch.no_grad():
        model.input_embedding().mul_(3)
    assert torch.equal(pooled(extra.teacher, batch_of(model, ENGLISH).sides[0]), before)
    assert not any(parameter.requires_grad for parameter in extra.teacher.parameters())


def test_centring_takes_a_common_direction_off():
    model = tiny()
    batch = batch_of(model, ENGLISH, GERMAN)
    found = {}
    for centre in ("true", "false"):
        objective = objective_of(f"distillation:loss=cosine,guard=0,centre={centre}")
        found[centre] = float(
            loss_of(objective, model, batch, objective.modules(model))[0].detach()
        )
    a, b = (pooled(model, side) for side in batch.sides)
    cosine = torch.nn.functional.cosine_similarity
    plain = 0.5 * (1 - cosine(b, a)).mean()
    centred = 0.5 * (1 - cosine(b - a.mean(0), a - a.mean(0))).mean()
    assert found["false"] == pytest.approx(float(plain), rel=1e-4)
    assert found["true"] == pytest.approx(float(centred), rel=1e-4)


def test_padding_and_special_tokens_take_no_part():
    model = tiny()
    batch = batch_of(model, ENGLISH, [text.split()[0] for text in GERMAN])
    objective = objective_of("distillation")
    extra = objective.modules(model)
    clean, _ = loss_of(objective, model, batch, extra)
    dirty, _ = loss_of(objective, with_noise_at_padding(tiny()), batch, extra)
    assert float(dirty.detach()) == pytest.approx(float(clean.detach()), rel=1e-5)


def test_empty_rows_are_left_out_and_one_row_is_no_collapse():
    model = tiny()
    objective = objective_of("distillation")
    extra = objective.modules(model)
    some, _ = loss_of(objective, model, batch_of(model, ["", ENGLISH[0]], ["x", GERMAN[0]]), extra)
    one, parts = loss_of(objective, model, batch_of(model, ENGLISH[:1], GERMAN[:1]), extra)
    assert float(some.detach()) == pytest.approx(float(one.detach()), rel=1e-5)
    assert float(parts["spread"]) == 1
    total, _ = loss_of(objective, model, batch_of(model, [""], [" "]), extra)
    assert float(total) == 0


def test_a_collapsed_student_is_told_and_pushed_apart():
    model = tiny()
    batch = batch_of(model, ENGLISH, GERMAN)
    objective = objective_of("distillation:guard=1")
    extra = objective.modules(model)
    # A student whose vectors are nearly one: its last states shrunk to a hundredth of their spread.
    norm = model.model.bert.encoder.layer[-1].output.LayerNorm
    with torch.no_grad():
        norm.weight.mul_(0.01)
    total, parts = loss_of(objective, model, batch, extra)
    assert float(parts["spread"]) < 0.05
    assert float(parts["guard"]) == pytest.approx(0.25, abs=0.01)
    (slope,) = torch.autograd.grad(total, norm.weight)
    before = float(parts["spread"])
    with torch.no_grad():
        norm.weight.sub_(0.05 * slope / slope.norm())
    _, parts = loss_of(objective, model, batch, extra)
    assert float(parts["spread"]) > before


def test_a_healthy_student_is_not_pushed():
    model = tiny()
    batch = batch_of(model, ENGLISH, GERMAN)
    objective = objective_of("distillation")
    _, parts = loss_of(objective, model, batch, objective.modules(model))
    assert float(parts["guard"]) == 0


@pytest.mark.parametrize("spec", ["distillation", "distillation:loss=cosine"])
def test_training_pulls_translations_together_without_collapse_and_the_control_does_not(spec):
    def matched(model, batch) -> tuple[float, float]:
        a, b = (pooled(model, side) for side in batch.sides)
        middle = torch.cat([a, b]).mean(0)
        a, b = (torch.nn.functional.normalize(x - middle) for x in (a, b))
        cosines = a @ b.T
        return float(cosines.diagonal().mean()), float(
            (cosines.argmax(1) == torch.arange(8)).float().mean()
        )

    model, control = tiny(), tiny()
    batch = batch_of(model, ENGLISH, GERMAN)
    started = pooled(model, batch.sides[0])
    trained([objective_of(spec)], model, batch, steps=35, rate=2e-2)
    trained([objective_of("mlm")], control, batch, steps=35, rate=2e-2)
    cosine, right = matched(model, batch)
    assert cosine > matched(control, batch)[0] + 0.3
    assert right >= 0.75
    assert float(spread(pooled(model, batch.sides[0]), started)) > 0.5


def test_an_encoder_of_another_width_teaches_through_a_map(tmp_path):
    import text_checkpoints

    wide = text_checkpoints.make(
        "bert", tmp_path / "wide", texts=[*ENGLISH, *GERMAN], hidden_size=24, intermediate_size=32
    )
    model = tiny()
    batch = batch_of(model, [*ENGLISH[:3], ""], [*GERMAN[:3], "x"])
    objective = objective_of(f"distillation:teacher=hf:{wide},guard=0")
    extra = objective.modules(model)
    assert tuple(extra.project.weight.shape) == (24, 16)
    total, _ = loss_of(objective, model, batch, extra)
    total.backward()
    assert extra.project.weight.grad is not None
    again, _ = loss_of(objective, model, batch, extra)
    assert float(again.detach()) == float(total.detach())
    # A teacher with the student's own weights is the start itself.
    same = objective_of(f"distillation:teacher=hf:{checkpoint('bert')},guard=0")
    start = objective_of("distillation:guard=0")
    batch = batch_of(model, ENGLISH, GERMAN)
    found = [float(loss_of(o, model, batch, o.modules(model))[0].detach()) for o in (same, start)]
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match="floor"):
        objective_of("distillation:floor=2")
    with pytest.raises(ValueError, match="loss"):
        objective_of("distillation:loss=huber")
