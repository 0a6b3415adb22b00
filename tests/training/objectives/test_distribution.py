"""Distribution matching on batches: which sets are compared, what is left out, what it moves."""

from __future__ import annotations

import pytest
import torch

from isogloss.training.objectives.distribution import pair_w2
from isogloss.training.objectives.divergences import gaussian_w2, mmd
from isogloss.training.objectives.state_sets import at_layer, by_variety, mean_states
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

KINDS = ("mmd", "mmd-rbf", "w2", "w2-full", "sinkhorn")
every_kind = pytest.mark.parametrize("kind", KINDS)


def test_the_loss_is_the_divergence_of_the_varieties_pooled_states():
    model = tiny()
    batch = batch_of(model, ENGLISH, GERMAN)
    sets = [mean_states(at_layer(model, side, "middle"), side)[0] for side in batch.sides]
    total, parts = loss_of(objective_of("distribution:layer=middle"), model, batch)
    assert float(total.detach()) == pytest.approx(float(mmd(*sets).detach()), rel=1e-5)
    assert float(parts["variety pairs"]) == 1


@every_kind
def test_the_same_texts_as_two_varieties_are_at_zero(kind):
    model = tiny()
    batch = batch_of(model, ENGLISH, ENGLISH)
    for level in ("sentence", "token"):
        objective = objective_of(f"distribution:divergence={kind},level={level}")
        total, _ = loss_of(objective, model, batch)
        assert float(total.detach()) == pytest.approx(0, abs=1e-5)


@every_kind
def test_padding_and_special_tokens_take_no_part(kind):
    model = tiny()
    batch = batch_of(model, ENGLISH, [text.split()[0] for text in GERMAN])
    for level in ("sentence", "token"):
        objective = objective_of(f"distribution:divergence={kind},level={level}")
        clean, _ = loss_of(objective, model, batch)
        dirty, _ = loss_of(objective, with_noise_at_padding(tiny()), batch)
        assert float(dirty.detach()) == pytest.approx(float(clean.detach()), rel=1e-4)


def test_varieties_are_gathered_over_sides_and_pairs_go_by_the_pivot():
    model = tiny()
    codes = [["eng"] * 4 + ["deu"] * 4, ["deu"] * 4 + ["fra"] * 4]
    batch = batch_of(model, ENGLISH, GERMAN, varieties=codes)
    sets = by_variety(model, batch, layer="last", tokens=False)
    assert {code: len(own) for code, own in sets.items()} == {"deu": 8, "eng": 4, "fra": 4}
    for spec, pairs in (("distribution", 3), ("distribution:pivot=eng", 2)):
        _, parts = loss_of(objective_of(spec), model, batch)
        assert float(parts["variety pairs"]) == pairs


@every_kind
def test_missing_varieties_and_single_rows_give_zero_and_no_nan(kind):
    model = tiny()
    objective = objective_of(f"distribution:divergence={kind}")
    for batch in (
        batch_of(model, ENGLISH),
        batch_of(model, ENGLISH[:1], GERMAN[:1]),
        batch_of(model, ENGLISH[:2], ["", " "]),
    ):
        total, parts = loss_of(objective, model, batch)
        assert float(total) == 0 and not total.requires_grad
        assert float(parts["variety pairs"]) == 0
    # With least=1 a single row is a set.
    objective = objective_of(f"distribution:divergence={kind},least=1")
    total, _ = loss_of(objective, model, batch_of(model, ENGLISH[:1], GERMAN[:1]))
    total.backward()
    assert torch.isfinite(total.detach())
    assert torch.isfinite(model.input_embedding().grad).all()


def test_a_large_set_is_cut_by_lot():
    model = tiny()
    batch = batch_of(model, ENGLISH, GERMAN)
    objective = objective_of("distribution:most=4")
    values = {
        round(float(loss_of(objective, model, batch, seed=s)[0].detach()), 6) for s in range(4)
    }
    assert len(values) > 1
    again = [float(loss_of(objective, model, batch, seed=1)[0].detach()) for _ in range(2)]
    assert again[0] == again[1]


@every_kind
def test_training_brings_the_varieties_together(kind):
    model = tiny()
    batch = batch_of(model, ENGLISH, GERMAN)

    def apart() -> float:
        sets = [mean_states(at_layer(model, s, "last"), s)[0].detach() for s in batch.sides]
        return float(gaussian_w2(*sets))

    before = apart()
    trained([objective_of(f"distribution:divergence={kind}")], model, batch, steps=20, rate=6e-3)
    assert apart() < 0.5 * before


def test_pairs_as_gaussians_by_hand():
    x = torch.tensor([[[0.0], [2.0], [99.0]], [[1.0], [1.0], [1.0]]])
    y = torch.tensor([[[5.0], [5.0]], [[4.0], [9.0]]])
    kept_x = torch.tensor([[True, True, False], [False, False, False]])
    kept_y = torch.ones(2, 2, dtype=torch.bool)
    # Row 0: means 1 and 5, deviations 1 and 0. Row 1 has nothing on one side.
    assert float(pair_w2(x, kept_x, y, kept_y)) == pytest.approx(16 + 1)
    assert float(pair_w2(x[1:], kept_x[1:], y[1:], kept_y[1:])) == 0


def test_minotaur_is_the_weighted_sum_of_both_and_needs_pairs_for_one():
    model = tiny()
    batch = batch_of(model, ENGLISH, GERMAN)
    states = [at_layer(model, side, "last") for side in batch.sides]
    individual = pair_w2(states[0], batch.sides[0].content, states[1], batch.sides[1].content)
    aggregate, _ = loss_of(objective_of("distribution"), model, batch)
    total, parts = loss_of(objective_of("minotaur:individual=0.5,aggregate=2"), model, batch)
    assert float(total.detach()) == pytest.approx(
        0.5 * float(individual.detach()) + 2 * float(aggregate.detach()), rel=1e-5
    )
    assert set(parts) == {"individual", "aggregate"}
    assert objective_of("minotaur").needs == {"pairs"}
    assert objective_of("minotaur:individual=0").needs == frozenset()
    total, _ = loss_of(objective_of("minotaur"), model, batch_of(model, ENGLISH))
    assert float(total) == 0


def test_minotaur_pulls_pairs_together_where_sets_alone_do_not():
    def matched(spec: str) -> float:
        """Distance of translations over that of all pairs; mlm keeps texts apart."""
        model = tiny()
        batch = batch_of(model, ENGLISH, GERMAN)
        trained([objective_of(spec), objective_of("mlm")], model, batch, steps=20, rate=6e-3)
        a, b = (mean_states(at_layer(model, s, "last"), s)[0].detach() for s in batch.sides)
        return float((a - b).square().mean() / (a[:, None] - b).square().mean())

    assert matched("minotaur") < 0.7 * matched("minotaur:individual=0")


def test_weights_of_nothing_are_refused():
    with pytest.raises(ValueError, match="both 0"):
        objective_of("minotaur:individual=0,aggregate=0")
    with pytest.raises(ValueError, match="least"):
        objective_of("distribution:least=0")
