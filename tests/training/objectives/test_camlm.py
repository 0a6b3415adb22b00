"""Cross-attention masked LM: who sees whom, that it is so in the model, and what it learns."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from isogloss.errors import IsoglossError
from isogloss.training.objectives.camlm import cross_attention, drawn_tokens, join, masked_loss
from objective_makers import (
    ENGLISH,
    GERMAN,
    batch_of,
    generator,
    loss_of,
    objective_of,
    tiny,
    trained,
    with_noise_at_padding,
)

torch.set_num_threads(1)


def test_texts_are_joined_without_padding_between_them():
    model = tiny()
    batch = batch_of(model, ["the dog", "a cat drinks cold milk"], ["der Hund sieht", "eine"])
    first, second = batch.sides
    found = join(first, second, most=64, pad=model.pad_id)
    for row in range(2):
        own = first.ids[row][first.real[row]].tolist()
        other = second.ids[row][second.real[row]].tolist()
        there = found.tokens.real[row]
        assert found.tokens.ids[row][there].tolist() == own + other
        assert found.side[row][there].tolist() == [0] * len(own) + [1] * len(other)
        assert set(found.side[row][~there].tolist()) <= {-1}
    alone = join(first.select([0]), second.select([0]), most=64, pad=model.pad_id)
    width = int(alone.tokens.real.sum())
    assert found.tokens.ids[0, :width].tolist() == alone.tokens.ids[0].tolist()


@pytest.mark.parametrize(
    ("a", "b", "wanted"), [(10, 5, (10, 5)), (20, 5, (15, 5)), (3, 40, (3, 17)), (40, 40, (10, 10))]
)
def test_what_is_too_long_is_cut_and_keeps_its_end_mark(a, b, wanted):
    def side(length: int, first: int):
        ids = torch.arange(first, first + length)[None]
        model_side = batch_of(tiny(), ["x"]).sides[0]
        ones = torch.ones_like(ids, dtype=torch.bool)
        return replace(model_side, ids=ids, real=ones, special=~ones, words=torch.zeros_like(ids))

    found = join(side(a, 100), side(b, 500), most=20, pad=0)
    counts = [(found.side == number).sum().item() for number in (0, 1)]
    assert tuple(counts) == wanted
    ids = found.tokens.ids[0].tolist()
    assert ids[counts[0] - 1] == 100 + a - 1 and ids[-1] == 500 + b - 1


def test_who_sees_whom_by_hand():
    side = torch.tensor([[0, 0, 1, 1, -1]])
    masked = torch.tensor([[False, True, False, False, False]])
    seen = cross_attention(side, masked)[0].int().tolist()
    assert seen == [
        [1, 1, 0, 0, 0],
        [0, 1, 1, 1, 0],
        [0, 0, 1, 1, 0],
        [0, 0, 1, 1, 0],
        [0, 0, 0, 0, 0],
    ]


@pytest.fixture
def joined():
    model = tiny()
    batch = batch_of(model, ENGLISH[:3], GERMAN[:3])
    found = join(*batch.sides, most=64, pad=model.pad_id)
    masked = torch.zeros_like(found.tokens.real)
    masked[:, 2] = True
    return model, found, masked


def predictions(model, found, masked, ids=None):
    tokens = found.tokens if ids is None else replace(found.tokens, ids=ids)
    hidden = replace(tokens, ids=tokens.ids.masked_fill(masked, model.mask_id))
    attention = cross_attention(found.side, masked)
    return model.states(hidden, attention=attention)[-1][masked].detach()


def test_changing_what_cannot_be_seen_changes_nothing(joined):
    model, found, masked = joined
    before = predictions(model, found, masked)
    # The rest of the own side, special tokens included; and padding.
    unseen = ((found.side == 0) & ~masked) | (found.side == -1)
    ids = torch.where(unseen, torch.full_like(found.tokens.ids, 57), found.tokens.ids)
    assert torch.allclose(predictions(model, found, masked, ids), before, atol=1e-6)


@pytest.mark.parametrize("place", range(5))
def test_changing_any_token_of_the_translation_changes_the_prediction(joined, place):
    model, found, masked = joined
    before = predictions(model, found, masked)
    first = int((found.side[0] == 0).sum())
    ids = found.tokens.ids.clone()
    ids[0, first + place] = 57 if ids[0, first + place] != 57 else 58
    after = predictions(model, found, masked, ids)
    assert (after[0] - before[0]).abs().max() > 1e-5
    assert torch.allclose(after[1:], before[1:], atol=1e-6)


def test_in_translation_lm_the_own_context_is_seen(joined):
    """The control of the test above: with plain attention the same change moves the prediction."""
    model, found, masked = joined
    unseen = (found.side == 0) & ~masked & found.tokens.content
    ids = torch.where(unseen, torch.full_like(found.tokens.ids, 57), found.tokens.ids)
    plain, _ = masked_loss(model, found.tokens, masked, model.mask_id)
    moved, _ = masked_loss(model, replace(found.tokens, ids=ids), masked, model.mask_id)
    assert abs(float(plain.detach()) - float(moved.detach())) > 1e-5


def test_the_wrong_translation_gives_another_loss():
    model = tiny()
    objective = objective_of("camlm:direction=first,share=1")
    right, _ = loss_of(objective, model, batch_of(model, ENGLISH, GERMAN))
    wrong, _ = loss_of(objective, model, batch_of(model, ENGLISH, [*GERMAN[1:], GERMAN[0]]))
    assert abs(float(right.detach()) - float(wrong.detach())) > 1e-4


def test_drawn_tokens_are_of_the_text_and_one_at_least():
    kept = torch.zeros(3, 10, dtype=torch.bool)
    kept[0, 2:9] = True
    kept[1, 4] = True
    for seed in range(5):
        chosen = drawn_tokens(kept, 0.3, generator(seed))
        assert not bool((chosen & ~kept).any())
        assert chosen.any(1).tolist() == [True, True, False]
    assert torch.equal(drawn_tokens(kept, 1.0, generator()), kept)
    one = drawn_tokens(kept, 0.3, generator(1))
    assert torch.equal(one, drawn_tokens(kept, 0.3, generator(1)))


def test_padding_and_special_tokens_are_never_masked():
    model = tiny()
    batch = batch_of(model, ENGLISH, [text.split()[0] for text in GERMAN])
    objective = objective_of("camlm:share=1")
    clean, _ = loss_of(objective, model, batch)
    dirty, _ = loss_of(objective, with_noise_at_padding(tiny()), batch)
    assert float(dirty.detach()) == pytest.approx(float(clean.detach()), rel=1e-5)


def test_empty_rows_give_nothing_and_no_nan():
    model = tiny()
    objective = objective_of("camlm")
    total, _ = loss_of(objective, model, batch_of(model, ["", ENGLISH[0]], [GERMAN[0], " "]))
    assert float(total) == 0
    total, _ = loss_of(objective, model, batch_of(model, ["", *ENGLISH[:2]], ["", *GERMAN[:2]]))
    total.backward()
    assert torch.isfinite(total.detach())
    assert torch.isfinite(model.input_embedding().grad).all()


def test_training_makes_the_translation_tell_and_the_control_does_not():
    """After CAMLM, tokens are told by the right translation and not by a wrong one."""
    wrong = [*GERMAN[1:], GERMAN[0]]
    judge = objective_of("camlm:direction=first,share=1")

    def gap(spec: str) -> float:
        model = tiny()
        trained([objective_of(spec)], model, batch_of(model, ENGLISH, GERMAN), steps=60, rate=2e-2)
        with torch.no_grad():
            right, _ = loss_of(judge, model, batch_of(model, ENGLISH, GERMAN))
            other, _ = loss_of(judge, model, batch_of(model, ENGLISH, wrong))
        return float(other - right)

    learnt, control = gap("camlm:direction=first,share=0.5"), gap("mlm")
    assert learnt > 1.0
    assert learnt > 3 * abs(control)


def test_models_that_cannot_be_masked_are_refused():
    with pytest.raises(IsoglossError, match="left to right"):
        objective_of("camlm").modules(tiny("llama"))
    with pytest.raises(ValueError, match="share"):
        objective_of("camlm:share=0")
    model = tiny()
    with pytest.raises(ValueError, match="two sides"):
        loss_of(objective_of("camlm"), model, batch_of(model, ENGLISH))
