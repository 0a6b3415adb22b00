from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isogloss.errors import BadRecord, IsoglossError
from isogloss.training.objectives.infonce import (
    InfoNCE,
    contrast_loss,
    nearest_negatives,
    similarities,
)
from isogloss.training.objectives.text import Asked, make_objective
from isogloss.training.objectives.views import layers_asked, pool_states, word_vectors
from isogloss.training.text_batch import Tokens
from text_training_makers import text_batch, tiny_model

if TYPE_CHECKING:
    from pathlib import Path

torch.set_num_threads(1)

ENGLISH = ["the cat red sees house number 1", "the cat green", "number 3 house", "red house"]
GERMAN = ["die Katze rot sieht Haus Nummer 1", "die Katze grün", "Nummer 3 Haus", "rot Haus"]


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_model().eval()


def loss_of(objective: Any, model: Any, batch: Any, extra: Any = None) -> Any:
    draw = torch.Generator().manual_seed(0)
    found = objective(model, batch, extra=extra, draw=draw, step=0, steps=1)
    return replace(found, total=found.total.detach())


def tokens_of(length: int, special: list[int], padding: int) -> Tokens:
    real = torch.ones(1, length, dtype=torch.bool)
    if padding:
        real[0, -padding:] = False
    marks = torch.zeros(1, length, dtype=torch.bool)
    marks[0, special] = True
    ids = torch.arange(length)[None]
    words = torch.tensor([[-1, 0, 0, 1, -1, -1][:length]])
    return Tokens(ids, real, marks, words)


def test_loss_of_one_positive_by_hand() -> None:
    scores = torch.tensor([[1.0, 0.0], [0.5, 2.0]])
    positive = torch.eye(2, dtype=torch.bool)
    found = contrast_loss(scores, positive, ~positive)
    first = -math.log(math.e / (math.e + 1))
    second = -math.log(math.exp(2) / (math.exp(2) + math.exp(0.5)))
    assert float(found) == pytest.approx((first + second) / 2, abs=1e-6)


def test_loss_of_several_positives_by_hand() -> None:
    scores = torch.tensor([[1.0, 3.0, 0.0, -1.0]])
    positive = torch.tensor([[True, True, False, False]])
    # The last candidate is ignored: neither positive nor negative.
    negative = torch.tensor([[False, False, True, False]])
    found = contrast_loss(scores, positive, negative)
    expected = (math.log(1 + math.exp(0 - 1)) + math.log(1 + math.exp(0 - 3))) / 2
    assert float(found) == pytest.approx(expected, abs=1e-6)


def test_loss_with_one_positive_is_cross_entropy() -> None:
    scores = torch.randn(6, 6, generator=torch.Generator().manual_seed(1)) * 4
    positive = torch.eye(6, dtype=torch.bool)
    wanted = torch.nn.functional.cross_entropy(scores, torch.arange(6))
    assert float(contrast_loss(scores, positive, ~positive)) == pytest.approx(float(wanted))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(-1e4, 1e4), min_size=4, max_size=4), st.floats(-1e4, 1e4))
def test_loss_is_finite_not_negative_and_blind_to_a_shift(values: list[float], by: float) -> None:
    scores = torch.tensor([values], dtype=torch.float64, requires_grad=True)
    positive = torch.tensor([[True, False, False, True]])
    negative = torch.tensor([[False, True, True, False]])
    found = contrast_loss(scores, positive, negative)
    found.backward()
    assert float(found.detach()) >= 0.0
    assert bool(torch.isfinite(found))
    assert scores.grad is not None
    assert bool(torch.isfinite(scores.grad).all())
    assert float(contrast_loss(scores + by, positive, negative).detach()) == pytest.approx(
        float(found.detach()), abs=1e-6
    )


def test_anchors_without_negatives_or_positives_count_for_nothing() -> None:
    scores = torch.tensor([[5.0, 1.0], [0.0, 2.0]], requires_grad=True)
    positive = torch.tensor([[True, True], [False, True]])
    negative = torch.tensor([[False, False], [True, False]])
    found = contrast_loss(scores, positive, negative)
    assert float(found.detach()) == pytest.approx(math.log(1 + math.exp(-2)))
    found.backward()
    assert scores.grad is not None
    assert scores.grad[0].tolist() == [0.0, 0.0]
    nothing = contrast_loss(scores[:1], positive[:1], negative[:1])
    assert float(nothing) == 0.0
    assert not nothing.requires_grad


def test_a_masked_score_changes_nothing_and_a_real_one_does() -> None:
    positive = torch.tensor([[True, False, False]])
    negative = torch.tensor([[False, True, False]])
    plain = contrast_loss(torch.tensor([[1.0, 2.0, 3.0]]), positive, negative)
    assert float(contrast_loss(torch.tensor([[1.0, 2.0, 99.0]]), positive, negative)) == float(
        plain
    )
    assert float(contrast_loss(torch.tensor([[1.0, 2.5, 3.0]]), positive, negative)) > float(plain)


def test_nearest_negatives_keeps_the_largest_among_negatives() -> None:
    scores = torch.tensor([[9.0, 1.0, 3.0, 2.0], [1.0, 9.0, 2.0, 3.0]])
    negative = ~torch.eye(4, dtype=torch.bool)[:2]
    kept = nearest_negatives(scores, negative, 2)
    assert kept.tolist() == [[False, False, True, True], [False, False, True, True]]
    assert torch.equal(nearest_negatives(scores, negative, 99), negative)


def test_similarities() -> None:
    a, b = torch.tensor([[3.0, 4.0], [0.0, 0.0]]), torch.tensor([[4.0, 3.0]])
    assert similarities(a, b, "dot").tolist() == [[24.0], [0.0]]
    assert similarities(a, b, "cosine").flatten().tolist() == pytest.approx([0.96, 0.0])


def test_pooling_by_hand() -> None:
    tokens = tokens_of(6, [0, 4], 1)  # <s> a b c </s> padding
    states = torch.tensor([[[8.0], [1.0], [2.0], [6.0], [7.0], [math.nan]]])
    expected = {"mean": 3.0, "first": 1.0, "last": 6.0, "weighted": (1 + 4 + 18) / 6, "class": 8.0}
    for how, value in expected.items():
        assert float(pool_states(states, tokens, how)) == pytest.approx(value), how
    found = word_vectors(states, tokens, [(0, 1), (0, 0), (0, 7)])
    assert found.flatten().tolist() == [6.0, 1.5, 0.0]


def test_a_text_without_tokens_of_its_own_is_a_zero_vector() -> None:
    tokens = tokens_of(3, [0, 1, 2], 0)
    assert float(pool_states(torch.ones(1, 3, 1), tokens, "mean")) == 0.0


def test_padding_changes_nothing_and_a_token_does(model: Any) -> None:
    short = text_batch(model, ENGLISH[:3], GERMAN[:3])
    longest = max(side.ids.shape[1] for side in short.sides)
    alone = [loss_of(InfoNCE(), model, short).total]
    wide = text_batch(model, [*ENGLISH[:3], ENGLISH[0] * 2], [*GERMAN[:3], GERMAN[0] * 2])
    assert wide.sides[0].ids.shape[1] > longest
    cut = type(short)(
        tuple(side.select([0, 1, 2]) for side in wide.sides),
        short.names,
        short.varieties,
        None,
        short.texts,
    )
    alone.append(loss_of(InfoNCE(), model, cut).total)
    assert float(alone[0]) == pytest.approx(float(alone[1]), abs=1e-4)
    other = text_batch(model, [*ENGLISH[:2], "green cat"], GERMAN[:3])
    assert float(loss_of(InfoNCE(), model, other).total) != pytest.approx(float(alone[0]))


def test_rows_of_one_meaning_are_no_negatives(model: Any) -> None:
    batch = text_batch(model, ENGLISH[:2], GERMAN[:2], names=("m", "m"))
    assert float(loss_of(InfoNCE(), model, batch).total) == 0.0  # nothing is left to tell from
    nameless = text_batch(model, ENGLISH[:2], GERMAN[:2], names=(None, None))
    assert float(loss_of(InfoNCE(), model, nameless).total) > 0.0


def test_meanings_in_several_rows_by_hand(model: Any) -> None:
    batch = text_batch(model, ENGLISH[:3], GERMAN[:3], names=("m", "m", "n"))
    with torch.no_grad():
        vectors = [
            torch.nn.functional.normalize(pool_states(model.states(side)[1], side, "mean"))
            for side in batch.sides
        ]
        s = (vectors[0] @ vectors[1].T / 0.5).double()

    def term(i: int, p: int, negatives: list[int]) -> float:
        return float(torch.log(1 + torch.exp(s[i, negatives] - s[i, p]).sum()))

    expected = [
        (term(0, 0, [2]) + term(0, 1, [2])) / 2,
        (term(1, 0, [2]) + term(1, 1, [2])) / 2,
        term(2, 2, [0, 1]),
    ]
    objective = InfoNCE(layer="1", temperature=0.5, sides="first")
    assert float(loss_of(objective, model, batch).total) == pytest.approx(
        sum(expected) / 3, abs=1e-5
    )
    ignored = InfoNCE(layer="1", temperature=0.5, sides="first", same="ignore")
    expected = [term(0, 0, [2]), term(1, 1, [2]), term(2, 2, [0, 1])]
    assert float(loss_of(ignored, model, batch).total) == pytest.approx(sum(expected) / 3, abs=1e-5)


def test_all_negatives_is_the_softmax_over_2b_minus_1(model: Any) -> None:
    batch = text_batch(model, ENGLISH, GERMAN)
    with torch.no_grad():
        a, b = (pool_states(model.states(side)[1], side, "mean") for side in batch.sides)
        both = torch.cat([a, b])
        scores = (both @ both.T).fill_diagonal_(-torch.inf)
        wanted = torch.nn.functional.cross_entropy(scores, torch.arange(8).roll(4))
    objective = InfoNCE(layer="1", similarity="dot", temperature=1.0, negatives="all")
    assert float(loss_of(objective, model, batch).total) == pytest.approx(float(wanted), rel=1e-5)


def test_symmetric_is_the_mean_of_both_directions_whichever_side_is_first(model: Any) -> None:
    batch = text_batch(model, ENGLISH, GERMAN)
    turned = text_batch(model, GERMAN, ENGLISH)
    both, first, second = (
        float(loss_of(InfoNCE(sides=side), model, batch).total)  # type: ignore[arg-type]
        for side in ("both", "first", "second")
    )
    assert both == pytest.approx((first + second) / 2, rel=1e-5)
    assert float(loss_of(InfoNCE(), model, turned).total) == pytest.approx(both, rel=1e-5)
    assert first != pytest.approx(second, rel=1e-5)


def test_several_layers_are_the_mean(model: Any) -> None:
    batch = text_batch(model, ENGLISH, GERMAN)
    each = [float(loss_of(InfoNCE(layer=str(i)), model, batch).total) for i in (0, 1, 2)]
    for name in ("0+1+2", "all"):
        found = float(loss_of(InfoNCE(layer=name), model, batch).total)
        assert found == pytest.approx(sum(each) / 3, rel=1e-5)
    output = float(loss_of(InfoNCE(layer="output"), model, batch).total)
    assert output == pytest.approx(each[0], rel=0.5)  # tied to the embedding, but not normed
    assert output != each[0]


@pytest.mark.parametrize("layer", ["4", "x", "1+1", "-1", ""])
def test_layers_that_are_not_there(model: Any, layer: str) -> None:
    with pytest.raises(ValueError, match="layer"):
        layers_asked(layer, model)


def test_words_that_are_linked(model: Any) -> None:
    links = (((1, 1), (2, 2)), ((1, 1),), ((0, 0),), ())
    batch = text_batch(model, ENGLISH, GERMAN, links=links)
    objective = InfoNCE(layer="1", pooling="word", temperature=0.5, sides="first")
    assert objective.needs == {"pairs", "links"}
    with torch.no_grad():
        states = [model.states(side)[1] for side in batch.sides]
        left = [(0, 1), (0, 2), (1, 1), (2, 0)]  # cat red cat number
        a = torch.nn.functional.normalize(word_vectors(states[0], batch.sides[0], left))
        b = torch.nn.functional.normalize(word_vectors(states[1], batch.sides[1], left))
        s = (a @ b.T / 0.5).double()

    def term(i: int, p: int, negatives: list[int]) -> float:
        return float(torch.log(1 + torch.exp(s[i, negatives] - s[i, p]).sum()))

    # "cat" and "Katze" stand in two rows: each is a positive of both.
    cats = [(term(i, 0, [1, 3]) + term(i, 2, [1, 3])) / 2 for i in (0, 2)]
    others = [term(1, 1, [0, 2, 3]), term(3, 3, [0, 1, 2])]
    found = float(loss_of(objective, model, batch).total)
    assert found == pytest.approx((sum(cats) + sum(others)) / 4, abs=1e-5)


def test_words_without_links(model: Any) -> None:
    objective = InfoNCE(pooling="word")
    with pytest.raises(IsoglossError, match="links"):
        loss_of(objective, model, text_batch(model, ENGLISH, GERMAN))
    empty = text_batch(model, ENGLISH, GERMAN, links=((), (), (), ()))
    assert float(loss_of(objective, model, empty).total) == 0.0


def test_queue_adds_negatives_and_follows_the_model() -> None:
    model = tiny_model(seed=3).eval()
    objective = InfoNCE(layer="1", negatives="queue", queue=6, momentum=0.5)
    extra: Any = objective.modules(model)
    batch = text_batch(model, ENGLISH, GERMAN, names=("a", "b", "c", "d"))
    first = loss_of(objective, model, batch, extra)
    assert int(extra.held) == 4
    # The queue holds these very meanings only, none of which is a negative of itself.
    again = loss_of(objective, model, batch, extra)
    assert float(again.total) > float(first.total)
    assert int(extra.held) == 8
    more = text_batch(model, ENGLISH, GERMAN, names=("a", "a", "a", "a"))
    loss_of(objective, model, more, extra)
    with torch.no_grad():
        # The first weights of all: some have no gradient, and move all the same.
        before = [p.clone() for p in extra.copy.parameters()]
        for parameter in model.parameters():
            parameter.add_(1.0)
        extra.follow(model, 0.5)
    for old, new in zip(before, extra.copy.parameters(), strict=True):
        assert torch.allclose(new, old + 0.5, atol=1e-5)
    assert not any(p.requires_grad for p in extra.copy.parameters())
    extra.train()
    assert not extra.copy.training


def test_queue_replaces_the_oldest_and_is_in_the_checkpoint() -> None:
    model = tiny_model().eval()
    objective = InfoNCE(layer="1", negatives="queue", queue=6)
    extra: Any = objective.modules(model)
    batch = text_batch(model, ENGLISH, GERMAN, names=("a", "b", "c", "d"))
    loss_of(objective, model, batch, extra)
    oldest = extra.names[:2].clone()
    other = text_batch(model, ENGLISH, GERMAN, names=("e", "f", "g", "h"))
    loss_of(objective, model, other, extra)
    assert extra.names[2:4].tolist() != [-1, -1]
    assert not torch.equal(extra.names[:2], oldest)
    state = extra.state_dict()
    fresh: Any = objective.modules(model)
    fresh.load_state_dict(state)
    assert torch.equal(fresh.keys, extra.keys)
    assert int(fresh.held) == 8


def test_listed_negatives_make_it_harder(model: Any, tmp_path: Path) -> None:
    path = tmp_path / "hard.tsv"
    path.write_text(f"{ENGLISH[0]}\tdie Katze rot sieht Haus Nummer 2\n", encoding="utf-8")
    batch = text_batch(model, ENGLISH, GERMAN)
    plain = float(loss_of(InfoNCE(), model, batch).total)
    listed = float(loss_of(InfoNCE(list=str(path)), model, batch).total)
    assert listed > plain
    # A listed text that is a row's own translation is no negative of that row.
    path2 = tmp_path / "same.tsv"
    path2.write_text(f"{ENGLISH[1]}\t{GERMAN[0]}\n", encoding="utf-8")
    assert float(loss_of(InfoNCE(list=str(path2)), model, batch).total) > plain
    path.write_text("one column\n", encoding="utf-8")
    with pytest.raises(BadRecord, match=r"hard.tsv:1:negative"):
        # A new name: files are read once.
        broken = tmp_path / "broken-hard.tsv"
        path.rename(broken)
        InfoNCE(list=str(broken)).modules(model)
    with pytest.raises(IsoglossError, match="no such file"):
        InfoNCE(list=str(tmp_path / "absent")).modules(model)


def test_hard_negatives_are_a_part_of_all(model: Any) -> None:
    batch = text_batch(model, ENGLISH, GERMAN)
    losses = [float(loss_of(InfoNCE(hard=k), model, batch).total) for k in (1, 2, 3)]
    assert losses[0] < losses[1] < losses[2]
    assert losses[2] == pytest.approx(float(loss_of(InfoNCE(), model, batch).total))


@pytest.mark.parametrize(
    "values",
    [
        {"temperature": "0"},
        {"hard": "-1"},
        {"queue": "10"},
        {"momentum": "0.5"},
        {"negatives": "queue", "momentum": "1"},
        {"negatives": "queue", "queue": "0"},
        {"pooling": "word", "negatives": "queue"},
        {"pooling": "max"},
        {"similarity": "l2"},
        {"list": "x", "sides": "second"},
    ],
)
def test_settings_that_make_no_sense(values: dict[str, str]) -> None:
    with pytest.raises(ValueError):
        make_objective(Asked("infonce", options=tuple(values.items())))


def test_every_option_changes_the_loss(model: Any) -> None:
    batch = text_batch(model, ENGLISH, GERMAN, names=("a", "b", "c", "c"))
    plain = float(loss_of(InfoNCE(), model, batch).total)
    for changes in (
        {"layer": "2"},
        {"pooling": "first"},
        {"pooling": "last"},
        {"pooling": "weighted"},
        {"pooling": "class"},
        {"similarity": "dot"},
        {"temperature": 0.5},
        {"negatives": "all"},
        {"hard": 1},
        {"same": "ignore"},
        {"sides": "first"},
    ):
        found = float(loss_of(InfoNCE(**changes), model, batch).total)  # type: ignore[arg-type]
        assert found != plain, changes
