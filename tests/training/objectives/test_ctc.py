from __future__ import annotations

import pytest
import torch

from isogloss.speech.ctc import CtcModel, ctc_loss
from isogloss.training.batches import Batch
from isogloss.training.objectives import CtcObjective
from training.tones import small_shape

torch.set_num_threads(1)


def batch(heads: int = 1) -> Batch:
    features = torch.randn(3, 90, 80, generator=torch.Generator().manual_seed(0))
    targets = ((1, 2), (3,), (2, 2, 4))
    return Batch(
        ("a", "b", "c"), features, torch.tensor([90, 60, 81]), (targets, targets[::-1])[:heads], 2.3
    )


def model(heads: int = 1) -> CtcModel:
    torch.manual_seed(0)
    return CtcModel(small_shape(), 5, dialect_head=heads == 2).eval()


def test_without_augmentation_it_is_the_plain_loss() -> None:
    objective, net, data = CtcObjective(augment=None), model(), batch()
    loss = objective(net, data, seed=(0, 0, 0), step=0)
    log_probs, lengths = net(data.features, data.lengths)
    torch.testing.assert_close(loss.total, ctc_loss(log_probs, lengths, data.targets[0]))
    assert loss.steps == int(lengths.sum())
    assert loss.parts["ctc"].item() == pytest.approx(loss.total.item())
    assert loss.total.requires_grad


def test_the_seed_alone_decides_the_augmentation() -> None:
    objective, net = CtcObjective(), model()
    values = [
        objective(net, batch(), seed=seed, step=0).total.item()
        for seed in ((0, 0, 0), (0, 0, 0), (0, 0, 1))
    ]
    assert values[0] == values[1] != values[2]


def test_two_heads_share_a_pass_and_give_the_mean() -> None:
    loss = CtcObjective(augment=None)(model(2), batch(2), seed=(0,), step=0)
    mean = (loss.parts["ctc"] + loss.parts["ctc_dialect"]) / 2
    assert loss.total.item() == pytest.approx(mean.item())


def test_agreement_of_two_views_warms_up() -> None:
    objective = CtcObjective("cr-ctc", cr_scale=0.2, cr_warmup=100)
    net, data = model(), batch()
    losses = [objective(net, data, seed=(0,), step=step) for step in (0, 50, 500)]
    agreement = losses[0].parts["cr"].item()
    assert agreement > 0
    for loss, factor in zip(losses, (0.0, 0.5, 1.0), strict=True):
        wanted = loss.parts["ctc"].item() + 0.2 * factor * agreement
        assert loss.total.item() == pytest.approx(wanted, rel=1e-5)
    assert losses[0].steps == CtcObjective(augment=None)(net, data, seed=(0,), step=0).steps


def test_views_without_augmentation_agree_in_evaluation() -> None:
    loss = CtcObjective("cr-ctc", augment=None)(model(), batch(), seed=(0,), step=500)
    assert loss.parts["cr"].item() == pytest.approx(0.0, abs=1e-5)
