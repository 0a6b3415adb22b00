"""The front end: how many steps, which frames each step sees, what the fast layout must equal."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from isogloss.speech.scaling import set_batch_count
from isogloss.speech.subsampling import (
    MINIMUM_FRAMES,
    Conv2dSubsampling,
    ConvNeXt,
    embedding_steps,
)
from isogloss.speech.zipformer_layers import StepMask

torch.set_num_threads(1)


def small_front() -> Conv2dSubsampling:
    torch.manual_seed(0)
    front = Conv2dSubsampling(20, 12, channels=(2, 3, 4), dropout=0.0)
    with torch.no_grad():
        for parameter in front.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return front.eval()


@pytest.mark.parametrize("frames", [9, 10, 11, 12, 50, 51])
def test_steps(frames: int) -> None:
    steps = embedding_steps(torch.tensor(frames)).item()
    assert steps == (frames - 7) // 2
    assert small_front()(torch.randn(2, frames, 20), None).shape == (2, steps, 12)


def test_minimum_frames_give_the_first_step() -> None:
    assert embedding_steps(torch.tensor([MINIMUM_FRAMES - 1, MINIMUM_FRAMES])).tolist() == [0, 1]


def test_a_step_sees_the_documented_frames() -> None:
    front = small_front()
    features = torch.randn(1, 60, 20)
    before = front(features, None)
    for frame in (12, 25, 26, 40):
        changed = features.clone()
        changed[:, frame] += 1.0
        moved = (front(changed, None) - before).abs().sum(dim=(0, 2)) > 1e-7
        seen = [2 * t - 6 <= frame <= 2 * t + 14 for t in range(before.shape[1])]
        assert moved.tolist() == seen


def test_equals_plain_convolutions() -> None:
    front = small_front()
    features = torch.randn(2, 33, 20)

    def swoosh(x: torch.Tensor, offset: float, constant: float) -> torch.Tensor:
        return torch.logaddexp(torch.zeros(()), x - offset) - 0.08 * x - constant

    x = features[:, None]
    convolutions = [part for part in front.conv if isinstance(part, nn.Conv2d)]
    for part, stride in zip(convolutions, (1, 2, (1, 2)), strict=True):
        x = F.conv2d(x, part.weight, part.bias, stride=stride, padding=part.padding)
        x = swoosh(x, 1.0, 0.313261687)
    block = front.convnext
    y = block.pointwise_conv1(block.depthwise_conv(x))
    x = x + block.pointwise_conv2(swoosh(y, 4.0, 0.035))
    x = front.out(x.transpose(1, 2).flatten(2))
    expected = front.out_norm(x)
    torch.testing.assert_close(front(features, None), expected, atol=1e-5, rtol=1e-5)


def test_balanced_and_fused_networks_agree_and_balancing_changes_gradients() -> None:
    torch.manual_seed(0)
    block = ConvNeXt(4, skip_rate=0.0).train()
    block.out_balancer.enabled = block.out_whiten.enabled = False
    x, pull = torch.randn(2, 2, 9, 5, 4)
    results = []
    for rate in (0.0, 1.0):
        block.hidden_balancer.rate = rate
        block.zero_grad()
        out = block(x.clone().requires_grad_(), None)
        (out * pull).sum().backward()
        results.append((out.detach(), block.pointwise_conv1.weight.grad.flatten()))
    torch.testing.assert_close(results[0][0], results[1][0])
    change = (results[0][1] - results[1][1]).norm() / results[0][1].norm()
    assert 0.005 < change < 0.2


def test_skipping_leaves_whole_utterances_as_they_came() -> None:
    torch.manual_seed(0)
    block = ConvNeXt(4, skip_rate=0.5).train()
    set_batch_count(block, 0)
    x = torch.randn(40, 9, 5, 4)
    skipped = (block(x, None) == x).flatten(1).all(dim=1)
    assert 8 <= skipped.sum() <= 32
    assert not (block.eval()(x, None) == x).flatten(1).all(dim=1).any()


def test_masked_steps_reach_nothing() -> None:
    block = ConvNeXt(4, skip_rate=0.0).eval()
    x = torch.randn(2, 9, 5, 4)
    mask = StepMask(torch.tensor([4, 9]), 9)
    other = x.clone()
    other[0, 4:] = 1e6
    assert torch.equal(block(x, mask)[0, :4], block(other, mask)[0, :4])
    torch.testing.assert_close(block(x, mask)[:1, :4], block(x[:1, :4], None))
