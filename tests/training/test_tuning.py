from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isogloss.errors import IsoglossError
from isogloss.speech.ctc import CtcModel
from isogloss.training.config import TrainConfig
from isogloss.training.examples import Chosen
from isogloss.training.optim import ClippedAdamW, ScaledAdam, set_learning_rate
from isogloss.training.replay import epoch_members, with_replay
from isogloss.training.tuning import Tuning, learning_rate_scale, parameter_groups
from isogloss.types import Item
from training.tones import small_shape

torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("name", "distance"),
    [
        ("ctc_output.1.weight", 0),
        ("encoder.downsample_output.bias", 0),
        ("encoder.encoders.5.encoder.layers.1.norm.bias", 1),
        ("encoder.encoders.0.layers.0.norm.bias", 6),
        ("encoder_embed.conv.0.weight", 7),
    ],
)
def test_the_rate_falls_with_the_distance_from_the_output(name: str, distance: int) -> None:
    assert learning_rate_scale(name, 6, 0.9) == pytest.approx(0.9**distance)


def test_every_parameter_that_learns_is_in_one_group_the_fastest_first() -> None:
    model = CtcModel(small_shape(), 4)
    model.encoder_embed.requires_grad_(False)
    groups = parameter_groups(model, 2, 0.5)
    assert [group["lr_scale"] for group in groups] == [1.0, 0.5, 0.25]
    grouped = [id(p) for group in groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters() if p.requires_grad)


def moved(optimizer: Any, parameters: list[torch.Tensor]) -> list[float]:
    """How far one step with equal gradients moves each parameter."""
    before = [p.detach().clone() for p in parameters]
    set_learning_rate(optimizer, 0.01)
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, 0.3)
    optimizer.step()
    return [float((p.detach() - b).abs().max()) for p, b in zip(parameters, before, strict=True)]


@pytest.mark.parametrize("kind", [ScaledAdam, ClippedAdamW])
def test_a_group_moves_by_its_share_of_the_rate(kind: Any) -> None:
    parameters = [torch.nn.Parameter(torch.ones(3, 4)) for _ in range(3)]
    scales = (1.0, 0.5, 0.25)
    groups = [{"params": [p], "lr_scale": s} for p, s in zip(parameters, scales, strict=True)]
    options = {"weight_decay": 0.0} if kind is ClippedAdamW else {}
    steps = moved(kind(groups, 1.0, **options), parameters)
    assert steps[1] / steps[0] == pytest.approx(0.5, rel=1e-4)
    assert steps[2] / steps[0] == pytest.approx(0.25, rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"replay_share": 1.0}, "replay_share"),
        ({"replay_items": 0}, "replay_items"),
        ({"layer_decay": 0.0}, "layer_decay"),
        ({"lora_rank": -1}, "lora_rank"),
        ({"lora_rank": 2, "lora_alpha": 0.0}, "lora_alpha"),
        ({"lora_alpha": 3.0}, "no effect"),
        ({"keep_adapter": True}, "no effect"),
    ],
)
def test_wrong_tuning_is_refused(changes: dict[str, Any], found: str) -> None:
    with pytest.raises(ValueError, match=found):
        Tuning(**changes)


def test_tuning_needs_a_start_and_lora_adamw() -> None:
    with pytest.raises(ValueError, match="start_from"):
        TrainConfig(epochs=1.0, tuning=Tuning())
    with pytest.raises(ValueError, match="adamw"):
        TrainConfig(epochs=1.0, tuning=Tuning(lora_rank=2), start_from="m")


@given(
    new=st.lists(st.floats(0.5, 20.0), min_size=1, max_size=30),
    old=st.lists(st.floats(0.5, 20.0), min_size=1, max_size=30),
    share=st.floats(0.01, 0.9),
    epoch=st.integers(0, 50),
)
def test_an_epoch_has_everything_new_and_the_share_of_the_old(
    new: list[float], old: list[float], share: float, epoch: int
) -> None:
    seconds = [*new, *old]
    replayed = range(len(new), len(seconds))
    members = epoch_members(seconds, replayed, share, seed=1, epoch=epoch)
    assert sorted(i for i in members if i < len(new)) == list(range(len(new)))
    taken = sum(seconds[i] for i in members if i >= len(new))
    wanted = sum(new) * share / (1 - share)
    assert abs(taken - wanted) <= max(old) / 2 + 1e-6
    # Nothing comes twice before everything came once.
    counts = [members.count(i) for i in replayed]
    assert max(counts) - min(counts) <= 1
    assert members == epoch_members(seconds, replayed, share, seed=1, epoch=epoch)


def test_each_epoch_draws_anew() -> None:
    draws = {
        tuple(epoch_members([1.0] * 60, range(20, 60), 0.3, seed=0, epoch=epoch))
        for epoch in range(5)
    }
    assert len(draws) == 5
    assert epoch_members([1.0, 2.0], (), 0.3, seed=0, epoch=0) == [0, 1]


def chosen(names: str, sha: str) -> Chosen:
    return Chosen(tuple(Item(name, "cmn") for name in names), (), (), sha)


def test_two_corpora_with_equal_ids_become_one() -> None:
    both = with_replay(chosen("ab", "1"), chosen("abc", "2"), Tuning(), seed=0)
    assert [item.id for item in both.train] == ["a", "b", "replay/a", "replay/b", "replay/c"]
    assert both.replayed == {"replay/a", "replay/b", "replay/c"}
    assert both.sha != with_replay(chosen("ab", "1"), chosen("abc", "3"), Tuning(), seed=0).sha
    few = with_replay(chosen("a", "1"), chosen("bcdef", "2"), Tuning(replay_items=2), seed=0)
    assert len(few.replayed) == 2
    none = with_replay(chosen("a", "1"), chosen("b", "2"), Tuning(replay_share=0.0), seed=0)
    assert [item.id for item in none.train] == ["a"]
    clash = Chosen((Item("replay/b", "cmn"),), (), (), "1")
    with pytest.raises(IsoglossError, match="replay/b"):
        with_replay(clash, chosen("b", "2"), Tuning(), seed=0)
