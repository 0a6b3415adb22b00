"""First-order MAML and meta-distillation: gradients by hand, tasks, and what an inner step does."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import nn
from torch.func import functional_call

from isogloss.errors import UnknownName
from isogloss.training.objectives.meta import adapted, rows_of_batch, variety_tasks
from objective_makers import (
    ENGLISH,
    GERMAN,
    batch_of,
    generator,
    loss_of,
    objective_of,
    tiny,
    trained,
)

torch.set_num_threads(1)


class Number(nn.Module):
    """One parameter, and a loss of it."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor(start))
        self.fixed = nn.Parameter(torch.tensor(7.0), requires_grad=False)

    def forward(self, loss):
        return loss(self, None)


def square(learner, extra):
    return learner.x.square()


def test_inner_steps_are_those_of_sgd_and_leave_the_learner_alone():
    learner = Number(1.0)
    found = adapted(learner, square, rate=0.1, steps=3)
    # Each step multiplies by 1 - 2 * 0.1.
    assert float(found["x"].detach()) == pytest.approx(0.8**3)
    assert float(learner.x.detach()) == 1.0 and learner.x.grad is None
    assert set(found) == {"x"}
    assert float(adapted(learner, square, rate=0.1, steps=0)["x"].detach()) == 1.0


def test_the_outer_gradient_is_first_order():
    """d/dx of (x')² is 2 x' when x' = 0.8 x passes the gradient on as it is, not 2 x' * 0.8."""
    learner = Number(1.0)
    weights = adapted(learner, square, rate=0.1, steps=1)
    total = cast("torch.Tensor", functional_call(learner, weights, (square,)))
    total.backward()
    assert float(total.detach()) == pytest.approx(0.64)
    assert float(learner.x.grad) == pytest.approx(1.6)


def test_a_loss_without_gradient_leaves_the_weights():
    found = adapted(Number(2.0), lambda learner, extra: torch.tensor(1.0), rate=0.1, steps=2)
    assert float(found["x"].detach()) == 2.0


def test_tasks_are_pairs_of_varieties_with_two_rows_on_each_part():
    model = tiny()
    codes = [["eng"] * 8, ["deu"] * 5 + ["fra"] * 3]
    batch = batch_of(model, ENGLISH, GERMAN, varieties=codes)
    tasks = variety_tasks(batch, support=0.5, most=4, draw=generator())
    assert len(tasks) == 1
    support, query = tasks[0]
    assert sorted(support + query) == [0, 1, 2, 3, 4]
    assert min(len(support), len(query)) >= 2
    for share in (0.01, 0.99):
        ((support, query),) = variety_tasks(batch, support=share, most=4, draw=generator())
        assert min(len(support), len(query)) == 2
    codes = [["eng"] * 8, ["deu"] * 4 + ["fra"] * 4]
    batch = batch_of(model, ENGLISH, GERMAN, varieties=codes)
    assert len(variety_tasks(batch, support=0.5, most=4, draw=generator())) == 2
    assert len(variety_tasks(batch, support=0.5, most=1, draw=generator())) == 1


def test_rows_keep_what_belongs_to_them():
    model = tiny()
    batch = batch_of(model, ENGLISH, GERMAN, links=[[(i, i)] for i in range(8)])
    found = rows_of_batch(batch, [2, 5], [0, 1])
    assert found.texts == ((ENGLISH[2], ENGLISH[5]), (GERMAN[2], GERMAN[5]))
    assert found.names == ("m2", "m5")
    assert found.links == (((2, 2),), ((5, 5),))
    itself = rows_of_batch(batch, [2], [0, 0])
    assert itself.texts == ((ENGLISH[2],), (ENGLISH[2],)) and itself.links is None


@pytest.mark.parametrize("name", ["maml", "maml-align"])
def test_without_an_inner_step_it_is_the_inner_loss_of_the_query_rows(name):
    model = tiny()
    batch = batch_of(model, ENGLISH, GERMAN)
    spec = f"{name}:inner=infonce:layer=last:temperature=0.5,inner_steps=0"
    total, parts = loss_of(objective_of(spec), model, batch)
    ((_, query),) = variety_tasks(batch, support=0.5, most=4, draw=generator())
    inner = objective_of("infonce:layer=last,temperature=0.5")
    wanted, _ = loss_of(inner, model, rows_of_batch(batch, query, [0, 1]))
    times = 1 if name == "maml" else 2
    assert float(total.detach()) == pytest.approx(times * float(wanted.detach()), rel=1e-5)
    if name == "maml-align":
        assert float(parts["distil"]) == pytest.approx(0, abs=1e-10)


def test_an_inner_step_changes_the_loss_and_the_gradient_reaches_the_model():
    model = tiny()
    batch = batch_of(model, ENGLISH, GERMAN)
    found = {}
    for rate in ("0.001", "0.5"):
        total, _ = loss_of(objective_of(f"maml:inner=infonce:layer=last,rate={rate}"), model, batch)
        found[rate] = float(total.detach())
        model.zero_grad()
        total.backward()
        slope = model.input_embedding().grad
        assert torch.isfinite(slope).all() and float(slope.abs().max()) > 0
    assert found["0.001"] != found["0.5"]


def test_the_students_distance_to_the_teacher_counts_by_its_weight():
    model = tiny()
    batch = batch_of(model, ENGLISH, GERMAN)
    spec = "maml-align:inner=infonce:layer=last,rate=0.1,distil={}"
    without, parts = loss_of(objective_of(spec.format(0)), model, batch)
    twice, _ = loss_of(objective_of(spec.format(2)), model, batch)
    assert float(parts["distil"]) > 0
    assert float((twice - without).detach()) == pytest.approx(2 * float(parts["distil"]), rel=1e-2)


def test_further_parts_of_the_inner_objective_learn_too():
    model = tiny()
    objective = objective_of("maml:inner=adversary:multiplier=1:rate=0:hidden=8")
    extra = objective.modules(model)
    total, _ = loss_of(objective, model, batch_of(model, ENGLISH, GERMAN), extra)
    total.backward()
    assert float(extra.layers[1].weight.grad.abs().max()) > 0
    assert objective.needs == frozenset()
    assert objective_of("maml").needs == {"pairs"}


def test_it_works_where_no_gradient_is_taken():
    model = tiny()
    with torch.no_grad():
        total, _ = loss_of(objective_of("maml"), model, batch_of(model, ENGLISH, GERMAN))
    assert not total.requires_grad and torch.isfinite(total)


def test_batches_without_a_task_give_zero():
    model = tiny()
    for name in ("maml", "maml-align"):
        total, parts = loss_of(objective_of(name), model, batch_of(model, ENGLISH[:3], GERMAN[:3]))
        assert float(total) == 0 and float(parts["tasks"]) == 0


@pytest.mark.parametrize("name", ["maml", "maml-align"])
def test_training_lowers_the_loss_after_an_inner_step(name):
    model = tiny()
    batch = batch_of(model, ENGLISH, GERMAN)
    objective = objective_of(f"{name}:inner=infonce:layer=last,rate=0.05")
    with torch.no_grad():
        before, _ = loss_of(objective, model, batch)
    trained([objective], model, batch, steps=8, rate=1e-2)
    with torch.no_grad():
        after, _ = loss_of(objective, model, batch)
    assert float(after) < 0.6 * float(before)


def test_wrong_inner_objectives_are_refused():
    for spec, kind, said in (
        ("maml:inner=maml", ValueError, "name another"),
        ("maml:inner=infonc", UnknownName, "infonce"),
        ("maml:inner=infonce:weight=2", ValueError, "no weight"),
        ("maml:inner=distillation:teacher=nowhere:x:floor=2", ValueError, "floor"),
        ("maml:rate=0", ValueError, "rate > 0"),
        ("maml-align:distil=-1", ValueError, "0 or more"),
    ):
        with pytest.raises(kind, match=said):
            objective_of(spec)
