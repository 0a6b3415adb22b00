"""Word-pair MSE and its anchor: by hand, which words count, what it moves."""

from __future__ import annotations

import pytest
import torch

from isogloss.training.objectives.state_sets import at_layer, mean_states, word_means
from isogloss.training.objectives.word_mse import links_of
from isogloss.training.text_batch import Tokens
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

LINKS = [[(1, 1), (4, 4)], [(1, 1), (2, 2), (4, 4)], [(1, 1), (2, 2)], [(1, 1)]]


def tokens_by_hand() -> Tokens:
    """[CLS] w0 w1 w1 [SEP], padding behind."""
    return Tokens(
        ids=torch.tensor([[2, 10, 11, 12, 3, 0]]),
        real=torch.tensor([[True, True, True, True, True, False]]),
        special=torch.tensor([[True, False, False, False, True, False]]),
        words=torch.tensor([[-1, 0, 1, 1, -1, -1]]),
    )


def test_words_are_means_or_last_tokens_by_hand():
    states = torch.tensor([[[9.0], [1.0], [2.0], [4.0], [9.0], [float("nan")]]])
    tokens = tokens_by_hand()
    assert word_means(states, tokens, [0, 0], [0, 1]).flatten().tolist() == [1, 3]
    assert word_means(states, tokens, [0, 0], [0, 1], last=True).flatten().tolist() == [1, 4]
    # A word that is not there is told, not guessed.
    assert torch.isnan(word_means(states, tokens, [0], [7])).all()


def test_means_leave_padding_and_special_tokens_out():
    states = torch.tensor([[[9.0], [1.0], [2.0], [6.0], [9.0], [float("nan")]]])
    mean, there = mean_states(states, tokens_by_hand())
    assert mean.tolist() == [[3.0]] and there.tolist() == [True]


def test_the_loss_by_definition():
    model = tiny()
    batch = batch_of(model, ENGLISH[:4], GERMAN[:4], links=LINKS)
    a, b = (at_layer(model, side, "last") for side in batch.sides)
    rows = [(r, i, j) for r, own in enumerate(LINKS) for i, j in own]
    wanted = [
        (word_means(a, batch.sides[0], [r], [i]) - word_means(b, batch.sides[1], [r], [j]))
        .square()
        .mean()
        for r, i, j in rows
    ]
    total, parts = loss_of(objective_of("word-mse:anchor=0"), model, batch)
    assert float(total.detach()) == pytest.approx(float(torch.stack(wanted).mean().detach()), 1e-5)
    assert float(parts["linked words"]) == len(rows)


def test_the_same_text_twice_is_at_zero_and_so_is_the_anchor_at_the_start():
    model = tiny()
    objective = objective_of("word-mse:anchor_side=both")
    extra = objective.modules(model)
    total, parts = loss_of(objective, model, batch_of(model, ENGLISH, ENGLISH), extra)
    assert float(total.detach()) == pytest.approx(0, abs=1e-9)
    assert float(parts["linked words"]) > 20
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    total, parts = loss_of(objective, model, batch_of(model, ENGLISH, ENGLISH), extra)
    assert float(parts["words"]) == pytest.approx(0, abs=1e-9)
    assert float(parts["anchor"]) > 1e-4


@pytest.mark.parametrize("side", ["second", "both"])
def test_the_anchor_holds_the_side_it_is_asked_to(side):
    model = tiny()
    objective = objective_of(f"word-mse:anchor_side={side}")
    extra = objective.modules(model)
    batch = batch_of(model, ENGLISH, GERMAN, links=[[]] * 8)
    only_english = set(batch.sides[0].ids.flatten().tolist()) - set(
        batch.sides[1].ids.flatten().tolist()
    )
    with torch.no_grad():
        model.input_embedding()[sorted(only_english), :8] += 1.0
    _, parts = loss_of(objective, model, batch, extra)
    assert (float(parts["anchor"]) > 1e-6) == (side == "both")


def test_padding_and_special_tokens_take_no_part():
    model = tiny()
    batch = batch_of(model, ENGLISH, [" ".join(text.split()[:3]) for text in GERMAN])
    batch = batch_of(model, *batch.texts, links=[[(1, 1)]] * 8)
    objective = objective_of("word-mse")
    extra = objective.modules(model)
    clean, _ = loss_of(objective, model, batch, extra)
    dirty, _ = loss_of(objective, with_noise_at_padding(tiny()), batch, extra)
    assert float(dirty.detach()) == pytest.approx(float(clean.detach()), abs=1e-6)


def test_links_come_from_the_batch_or_a_lexicon_or_equal_words(tmp_path):
    path = tmp_path / "words.tsv"
    path.write_text("source\ttarget\ndog\tHund\nbread\tBrot\n", encoding="utf-8")
    model = tiny()
    batch = batch_of(model, ENGLISH, GERMAN)
    assert links_of(batch, str(path))[0] == ((1, 1),)
    assert links_of(batch, str(path))[6] == ((2, 2),)
    assert links_of(batch) == ((),) * 8
    assert links_of(batch_of(model, ["Peter sleeps"], ["Peter schläft"])) == (((0, 0),),)
    own = batch_of(model, ENGLISH[:1], GERMAN[:1], links=[[(0, 0), (1, 1), (1, 2)]])
    assert links_of(own, str(path)) == (((0, 0),),)
    same = batch_of(model, ["Peter sleeps"], ["Peter schläft"], links=[[(0, 0), (1, 1)]])
    assert links_of(same, drop_identical=True) == (((1, 1),),)


def test_rows_without_links_and_words_that_were_cut_off_give_no_nan():
    model = tiny(max_tokens=6)
    objective = objective_of("word-mse:anchor=0")
    total, _ = loss_of(objective, model, batch_of(model, ENGLISH, GERMAN, links=[[]] * 8))
    assert float(total) == 0 and not total.requires_grad
    links = [[(0, 0), (4, 4)]] * 8
    total, parts = loss_of(objective, model, batch_of(model, ENGLISH, GERMAN, links=links))
    assert torch.isfinite(total.detach())
    assert float(parts["linked words"]) < 16
    total.backward()
    assert torch.isfinite(model.input_embedding().grad).all()


def test_training_pulls_linked_words_together_and_the_anchor_keeps_them_apart_from_others():
    links = [[(i, i) for i in range(len(text.split()))] for text in ENGLISH]

    def after(spec: str) -> tuple[float, float]:
        """Distance of linked words, and spread of the second side, relative to the start."""
        model = tiny()
        batch = batch_of(model, ENGLISH, GERMAN, links=links)
        measure = objective_of("word-mse:anchor=0")
        before, _ = loss_of(measure, model, batch)
        spread = mean_states(at_layer(model, batch.sides[1], "last"), batch.sides[1])[0].std(0)
        trained([objective_of(spec)], model, batch, steps=25, rate=5e-3)
        now, _ = loss_of(measure, model, batch)
        other = mean_states(at_layer(model, batch.sides[1], "last"), batch.sides[1])[0].std(0)
        with torch.no_grad():
            return float(now / before), float(other.norm() / spread.norm())

    near, spread = after("word-mse:anchor=1")
    assert near < 0.5
    assert spread > 0.7
    _, collapsed = after("word-mse:anchor=0")
    assert collapsed < spread


def test_wrong_use_is_refused():
    model = tiny()
    objective = objective_of("word-mse:anchor=0")
    with pytest.raises(ValueError, match="two sides"):
        loss_of(objective, model, batch_of(model, ENGLISH))
    with pytest.raises(ValueError, match="0 or more"):
        objective_of("word-mse:anchor=-1")
    with pytest.raises(ValueError, match="layer"):
        objective_of("word-mse:layer=all").modules(model)
    with pytest.raises(FileNotFoundError):
        objective_of("word-mse:lexicon=nowhere.tsv").modules(model)
