"""Pseudo tokens: how many, what they may see and be, and that they help once they are learnt."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from isogloss.errors import IsoglossError
from isogloss.training.objectives.pseudo_tokens import with_pseudo_tokens
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


def filled(model, texts, **options):
    tokens = model.tokens(list(texts))
    return tokens, with_pseudo_tokens(
        model, tokens, **{"ratio": 0.5, "mask_id": model.mask_id, **options}
    )


def test_as_many_as_asked_behind_the_text_and_no_special_token_among_them():
    model = tiny()
    tokens, found = filled(model, [*ENGLISH, ""])
    for row in range(len(tokens)):
        own = int(tokens.real[row].sum())
        count = int((found.side[row] == 1).sum())
        assert count == max(1, round(0.5 * int(tokens.content[row].sum())))
        assert found.tokens.ids[row, :own].tolist() == tokens.ids[row, :own].tolist()
    guessed = set(found.tokens.ids[found.side == 1].tolist())
    assert guessed and not guessed & set(model.tokenizer.all_special_ids)


def test_a_row_is_filled_the_same_in_any_batch():
    model = tiny()
    _, alone = filled(model, ENGLISH[:1])
    _, among = filled(model, ENGLISH)
    width = int(alone.tokens.real.sum())
    assert among.tokens.ids[0, :width].tolist() == alone.tokens.ids[0].tolist()


def test_guesses_depend_on_the_text_and_not_on_each_other():
    """One placeholder sees the text and itself, so the first ones are the same with more behind."""
    model = tiny()
    tokens, few = filled(model, ENGLISH[:1], ratio=0.2)
    _, many = filled(model, ENGLISH[:1], ratio=0.9)
    count = int((few.side == 1).sum())
    own = int(tokens.real.sum())
    assert few.tokens.ids[0, own:].tolist() == many.tokens.ids[0, own : own + count].tolist()


def test_sampled_guesses_go_by_the_generator():
    model = tiny()
    found = [
        filled(model, ENGLISH, fill="sampled", draw=generator(seed))[1].tokens.ids.tolist()
        for seed in (1, 1, 2)
    ]
    assert found[0] == found[1] != found[2]
    with pytest.raises(ValueError, match="generator"):
        filled(model, ENGLISH, fill="sampled")


def test_no_gradient_and_the_mode_comes_back():
    model = tiny()
    model.train()
    filled(model, ENGLISH)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_long_texts_leave_room_for_their_guesses():
    model = tiny(max_tokens=12)
    _, found = filled(model, [" ".join(ENGLISH)], ratio=1.0)
    assert int(found.tokens.real.sum()) <= 12
    assert int((found.side == 1).sum()) >= 4


def test_the_loss_is_of_the_texts_own_tokens_alone():
    model = tiny()
    batch = batch_of(model, ENGLISH)
    total, parts = loss_of(objective_of("pseudo-tokens:share=1"), model, batch)
    total.backward()
    assert torch.isfinite(total.detach()) and 0 <= float(parts["told right"]) <= 1
    total, _ = loss_of(objective_of("pseudo-tokens"), model, batch_of(model, ["", " "]))
    assert float(total) == 0


def test_options_change_the_loss():
    model = tiny()
    batch = batch_of(model, ENGLISH)
    found = {
        round(float(loss_of(objective_of(f"pseudo-tokens:{spec}"), model, batch)[0].detach()), 6)
        for spec in ("share=0.5", "share=0.5,ratio=1", "share=0.5,fill=sampled", "share=0.9")
    }
    assert len(found) == 4


def test_after_camlm_the_guesses_are_words_of_the_translation_and_before_they_are_not():
    def share(model) -> float:
        """Of the guesses for English texts, how many are tokens of their German translations."""
        tokens, found = filled(model, ENGLISH, ratio=1.0)
        german = model.tokens(list(GERMAN))
        right = total = 0
        for row in range(len(tokens)):
            wanted = set(german.ids[row][german.content[row]].tolist())
            guesses = found.tokens.ids[row][found.side[row] == 1].tolist()
            right += sum(guess in wanted for guess in guesses)
            total += len(guesses)
        return right / total

    model = tiny()
    before = share(model)
    # German is the first side, so that German tokens are predicted from English ones behind them.
    trained(
        [objective_of("camlm:share=0.5")],
        model,
        batch_of(model, GERMAN, ENGLISH),
        steps=70,
        rate=2e-2,
    )
    assert before < 0.2
    assert share(model) > before + 0.2


def test_a_text_without_room_or_model_without_mask_is_refused():
    with pytest.raises(IsoglossError, match="left to right"):
        objective_of("pseudo-tokens").modules(tiny("llama"))
    with pytest.raises(ValueError, match="ratio"):
        objective_of("pseudo-tokens:ratio=2")
    assert replace(objective_of("pseudo-tokens"), ratio=1.0).ratio == 1.0
