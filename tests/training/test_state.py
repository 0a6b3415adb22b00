from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from isogloss.errors import IsoglossError
from isogloss.speech.ctc import CtcModel
from isogloss.training.optim import ClippedAdamW, ScaledAdam
from isogloss.training.state import (
    Average,
    Position,
    load_checkpoint,
    newest_checkpoint,
    save_checkpoint,
)
from training.tones import small_shape

if TYPE_CHECKING:
    from pathlib import Path

torch.set_num_threads(1)


def stepped(optimizer: ScaledAdam | ClippedAdamW, model: torch.nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        p.grad = torch.randn(p.shape, generator=generator)
    optimizer.step()


@pytest.mark.parametrize("kind", [ScaledAdam, ClippedAdamW])
def test_everything_comes_back_and_goes_on_alike(tmp_path: Path, kind: type[ScaledAdam]) -> None:
    model = CtcModel(small_shape(), 5)
    optimizer, average = kind(model.parameters(), lr=0.01), Average()
    for seed in range(3):
        stepped(optimizer, model, seed)
        average.add(model)
    position = Position(step=3, epoch=1, batch=2, audio_seconds=0.1 + 0.2, train_seconds=4.5)
    path = save_checkpoint(tmp_path, position, model, optimizer, average, keep=2)
    assert newest_checkpoint(tmp_path) == path

    other = CtcModel(small_shape(), 5)
    other_optimizer, other_average = kind(other.parameters(), lr=0.5), Average()
    assert load_checkpoint(path, other, other_optimizer, other_average) == position
    for seed in (3, 4):
        stepped(optimizer, model, seed)
        average.add(model)
        stepped(other_optimizer, other, seed)
        other_average.add(other)
    for (name, a), b in zip(model.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
        assert torch.equal(average.values[name], other_average.values[name]), name


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    model = CtcModel(small_shape(), 5)
    optimizer = ScaledAdam(model.parameters())
    for step in range(5):
        save_checkpoint(tmp_path, Position(step=step), model, optimizer, Average(), keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"step-{step:09d}.{kind}" for step in (3, 4) for kind in ("json", "safetensors")
    ]


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path: Path) -> None:
    model = CtcModel(small_shape(), 5)
    optimizer = ScaledAdam(model.parameters())
    paths = [
        save_checkpoint(tmp_path, Position(step=step), model, optimizer, Average(), keep=2)
        for step in (1, 2)
    ]
    content = bytearray(paths[1].read_bytes())
    content[-1] ^= 1
    paths[1].write_bytes(bytes(content))
    with pytest.warns(UserWarning, match="damaged"):
        assert newest_checkpoint(tmp_path) == paths[0]


def test_a_checkpoint_without_its_checksum_does_not_count(tmp_path: Path) -> None:
    model = CtcModel(small_shape(), 5)
    optimizer = ScaledAdam(model.parameters())
    path = save_checkpoint(tmp_path, Position(step=1), model, optimizer, Average(), keep=2)
    path.with_suffix(".json").unlink()
    assert newest_checkpoint(tmp_path) is None


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    model, other = CtcModel(small_shape(), 5), CtcModel(small_shape(), 6)
    path = save_checkpoint(
        tmp_path, Position(), model, ScaledAdam(model.parameters()), Average(), keep=1
    )
    with pytest.raises(IsoglossError, match="another model"):
        load_checkpoint(path, other, ScaledAdam(other.parameters()), Average())


def test_the_average_is_the_mean_of_what_was_added() -> None:
    layer = torch.nn.Linear(2, 2, bias=False)
    average = Average()
    values = [1.0, 4.0, -2.0, 5.0]
    for value in values:
        torch.nn.init.constant_(layer.weight, value)
        average.add(layer)
    average.apply_to(layer)
    assert layer.weight.flatten().tolist() == [2.0] * 4


def test_an_empty_average_changes_nothing() -> None:
    layer = torch.nn.Linear(2, 2)
    before = layer.weight.detach().clone()
    Average().apply_to(layer)
    assert torch.equal(layer.weight, before)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"sha256": "0"}'])
def test_a_damaged_checksum_gives_way_to_the_one_before(tmp_path: Path, content: str) -> None:
    model = CtcModel(small_shape(), 5)
    optimizer = ScaledAdam(model.parameters())
    paths = [
        save_checkpoint(tmp_path, Position(step=step), model, optimizer, Average(), keep=2)
        for step in (1, 2)
    ]
    paths[1].with_suffix(".json").write_text(content)
    with pytest.warns(UserWarning, match="damaged"):
        assert newest_checkpoint(tmp_path) == paths[0]
