"""The language adversary: gradient reversed, multiplier by dual ascent, and what it does."""

from __future__ import annotations

import math

import pytest
import torch

from isogloss.errors import IsoglossError
from isogloss.training.objectives.adversary import (
    Discriminator,
    LanguageAdversary,
    label_entropy,
    reverse_gradient,
)
from isogloss.training.objectives.state_sets import at_layer, mean_states
from objective_makers import (
    ENGLISH,
    GERMAN,
    batch_of,
    loss_of,
    objective_of,
    tiny,
    with_noise_at_padding,
)

torch.set_num_threads(1)


def test_reversal_keeps_values_and_turns_the_gradient():
    x = torch.tensor([1.0, -2.0], requires_grad=True)
    turned = reverse_gradient(x, 0.5)
    assert torch.equal(turned, x)
    (turned * torch.tensor([3.0, 4.0])).sum().backward()
    assert x.grad.tolist() == [-1.5, -2.0]


def test_entropy_of_labels_by_hand():
    assert float(label_entropy(torch.tensor([0, 1, 2, 3]))) == pytest.approx(math.log(4))
    wanted = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert float(label_entropy(torch.tensor([5, 5, 5, 9]))) == pytest.approx(wanted)
    assert float(label_entropy(torch.tensor([7, 7]))) == 0
    assert float(label_entropy(torch.tensor([], dtype=torch.long))) == 0


def test_classes_stay_with_their_varieties_and_survive_a_checkpoint():
    found = Discriminator(4, 8, 3, 0.0)
    assert found.classes(["srp", "eng", "srp"]).tolist() == [1, 0, 1]
    assert found.classes(["deu", "srp"]).tolist() == [2, 1]
    again = Discriminator(4, 8, 3, 0.0)
    again.load_state_dict(found.state_dict())
    assert again.classes(["srp", "deu", "eng"]).tolist() == [1, 2, 0]
    with pytest.raises(IsoglossError, match="varieties=N"):
        again.classes(["fra"])


def test_classes_that_nobody_has_yet_have_no_probability():
    found = Discriminator(4, 8, 5, 0.0)
    found.classes(["eng", "deu"])
    shares = found(torch.randn(2, 4)).softmax(-1)
    assert shares[:, 2:].abs().max() == 0
    assert torch.allclose(shares.sum(1), torch.ones(2))


@pytest.mark.parametrize("level", ["sentence", "token"])
def test_model_and_discriminator_learn_the_opposite(level):
    model = tiny()
    batch = batch_of(model, ENGLISH, GERMAN)
    objective = objective_of(f"adversary:multiplier=0.5,rate=0,level={level}")
    extra = objective.modules(model)
    total, parts = loss_of(objective, model, batch, extra)
    total.backward()
    reversed_slope = model.input_embedding().grad.clone()
    own = extra.layers[1].weight.grad.clone()
    model.zero_grad()
    extra.zero_grad()
    # The same loss without reversal, from its definition.
    states, codes = [], []
    for side, varieties in zip(batch.sides, batch.varieties, strict=True):
        layer = at_layer(model, side, "last")
        if level == "sentence":
            states.append(mean_states(layer, side)[0])
            codes += varieties
        else:
            states.append(layer[side.content])
            codes += [varieties[row] for row in side.content.nonzero()[:, 0].tolist()]
    plain = torch.nn.functional.cross_entropy(extra(torch.cat(states)), extra.classes(codes))
    plain.backward()
    assert float(total.detach()) == pytest.approx(float(plain.detach()), rel=1e-5)
    assert torch.allclose(own, extra.layers[1].weight.grad, atol=1e-6)
    assert torch.allclose(reversed_slope, -0.5 * model.input_embedding().grad, atol=1e-6)
    assert float(parts["chance"]) <= math.log(2) + 1e-6


def test_the_multiplier_rises_while_varieties_can_be_told_and_falls_once_they_cannot():
    model = tiny()
    batch = batch_of(model, ENGLISH, GERMAN)
    objective = LanguageAdversary(multiplier=0.2, rate=0.1)
    extra = objective.modules(model)
    total, parts = loss_of(objective, model, batch, extra)
    wanted = 0.2 + 0.1 * (math.log(2) - float(total.detach()))
    assert float(parts["multiplier"]) == pytest.approx(0.2)
    assert float(extra.multiplier) == pytest.approx(wanted, rel=1e-4)
    # A discriminator that is sure and wrong loses more than chance.
    with torch.no_grad():
        extra.layers[-1].bias[0] += 50
    before = float(extra.multiplier)
    loss_of(objective, model, batch, extra)
    assert float(extra.multiplier) < before
    for _ in range(5):
        loss_of(objective, model, batch, extra)
    assert float(extra.multiplier) == 0


def test_the_multiplier_stands_still_without_gradients():
    model = tiny()
    objective = LanguageAdversary()
    extra = objective.modules(model)
    with torch.no_grad():
        loss_of(objective, model, batch_of(model, ENGLISH, GERMAN), extra)
    assert float(extra.multiplier) == 0


def test_padding_and_special_tokens_are_never_seen():
    model = tiny()
    short = [text.split()[0] for text in GERMAN]
    batch = batch_of(model, ENGLISH, short)
    for level in ("sentence", "token"):
        objective = objective_of(f"adversary:multiplier=1,level={level}")
        extra = objective.modules(model)
        clean, _ = loss_of(objective, model, batch, extra)
        dirty, _ = loss_of(objective, with_noise_at_padding(tiny()), batch, extra)
        assert float(dirty.detach()) == pytest.approx(float(clean.detach()), rel=1e-5)


def test_a_batch_of_one_variety_teaches_nothing():
    model = tiny()
    objective = objective_of("adversary:multiplier=1")
    extra = objective.modules(model)
    total, _ = loss_of(objective, model, batch_of(model, ENGLISH), extra)
    assert float(total) == 0 and not total.requires_grad
    total, _ = loss_of(objective, model, batch_of(model, [" "], ["."]), extra)
    assert float(total) == 0


def test_a_pivot_is_told_from_all_others():
    model = tiny()
    objective = objective_of("adversary:multiplier=1,pivot=eng")
    extra = objective.modules(model)
    codes = [["eng"] * 8, ["deu", "gsw"] * 4]
    loss_of(objective, model, batch_of(model, ENGLISH, GERMAN, varieties=codes), extra)
    assert int((extra.marks != 0).sum()) == 2


def test_training_keeps_the_discriminator_at_chance_and_the_control_does_not():
    """What the constraint promises: nothing of what a probe of another kind would find."""

    def last_losses(objective: LanguageAdversary) -> float:
        model = tiny()
        batch = batch_of(model, ENGLISH, GERMAN)
        extra = objective.modules(model)
        parameters = [*model.parameters(), *extra.parameters()]
        optimiser = torch.optim.Adam([p for p in parameters if p.requires_grad], lr=3e-3)
        seen = []
        for _ in range(45):
            optimiser.zero_grad()
            total, _ = loss_of(objective, model, batch, extra)
            total.backward()
            optimiser.step()
            seen.append(float(total.detach()))
        return sum(seen[-15:]) / 15

    assert last_losses(LanguageAdversary(hidden=32)) > 0.9 * math.log(2)
    # The control: the same discriminator and steps, and next to no gradient for the model.
    assert last_losses(LanguageAdversary(multiplier=1e-9, rate=0, hidden=32)) < 0.6 * math.log(2)


def test_options_that_make_no_sense_are_refused():
    for spec, said in (
        ("adversary:rate=0", "stays 0"),
        ("adversary:multiplier=-1", "0 <= multiplier"),
        ("adversary:varieties=1", "2 or more"),
    ):
        with pytest.raises(ValueError, match=said):
            objective_of(spec)
    with pytest.raises(ValueError, match="layer"):
        model = tiny()
        objective = objective_of("adversary:layer=9")
        loss_of(objective, model, batch_of(model, ENGLISH, GERMAN), objective.modules(model))
