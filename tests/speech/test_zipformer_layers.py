"""Modules of a layer against loops and plain torch."""

import math

import pytest
import torch
from torch import nn

from isogloss.speech.zipformer_layers import (
    AttentionWeights,
    Bypass,
    Convolution,
    LayerShape,
    RelativePosition,
    StepMask,
    Switches,
)

torch.set_num_threads(1)

SHAPE = LayerShape(dim=8, feedforward=16, heads=2, kernel=5, query_head=3, position=6)


def test_relative_position_by_hand() -> None:
    encoding = RelativePosition(6)(4, torch.device("cpu"))
    assert encoding.shape == (7, 6)
    assert encoding[3].tolist() == pytest.approx([1, 0, 1, 0, 1, 1])
    length = math.sqrt(6)
    angle = math.atan(2 * math.pi / 6 * length * (math.log(2 + length) - math.log(length)))
    expected = [math.cos(angle), math.sin(angle), math.cos(2 * angle), math.sin(2 * angle)]
    assert encoding[5, :4].tolist() == pytest.approx(expected, abs=1e-6)
    assert encoding[1, 0].item() == pytest.approx(expected[0], abs=1e-6)
    assert encoding[1, 1].item() == pytest.approx(-expected[1], abs=1e-6)


def test_relative_position_grows_and_keeps_its_values() -> None:
    position = RelativePosition(6)
    short = position(3, torch.device("cpu")).clone()
    long = position(900, torch.device("cpu"))
    assert long.shape == (1799, 6)
    torch.testing.assert_close(long[899 - 2 : 899 + 3], short)


def test_attention_weights_equal_a_loop() -> None:
    torch.manual_seed(0)
    module = AttentionWeights(SHAPE, Switches()).eval()
    x = torch.randn(2, 5, 8)
    position = torch.randn(9, 6)
    projected = module.in_proj(x)
    offsets = module.linear_pos(position)
    scores = torch.empty(2, 2, 5, 5)
    for n in range(2):
        for h in range(2):
            for i in range(5):
                for j in range(5):
                    query = projected[n, i, 3 * h : 3 * h + 3]
                    key = projected[n, j, 6 + 3 * h : 9 + 3 * h]
                    where = projected[n, i, 12 + 4 * h : 16 + 4 * h]
                    offset = offsets[j - i + 4, 4 * h : 4 * h + 4]
                    scores[n, h, i, j] = query @ key + where @ offset
    torch.testing.assert_close(module(x, position, None), scores.softmax(-1))
    mask = StepMask(torch.tensor([3, 5]), 5)
    scores[0, :, :, 3:] = -math.inf
    masked = module(x, position, mask)
    torch.testing.assert_close(masked, scores.softmax(-1))
    assert masked[0, :, :, 3:].abs().max() == 0


def test_attention_gradient_equals_finite_differences() -> None:
    torch.manual_seed(0)
    module = AttentionWeights(SHAPE, Switches()).eval().double()
    x = torch.randn(2, 4, 8, dtype=torch.float64, requires_grad=True)
    position = torch.randn(7, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b: module(a, b, None), (x, position))


@pytest.mark.parametrize("steps", [1, 2, 7, 40])
def test_convolution_equals_conv1d_in_value_and_gradient(steps: int) -> None:
    torch.manual_seed(0)
    module = Convolution(8, 5).eval()
    x = torch.randn(3, steps, 8, requires_grad=True)
    pull = torch.randn(3, steps, 8)
    grads = []
    for over_time in (module._over_time, lambda t: module.depthwise_conv(t.mT).mT):
        leaves = [x, module.depthwise_conv.weight, module.depthwise_conv.bias]
        out = over_time(x)
        grads.append([out, *torch.autograd.grad((out * pull).sum(), leaves)])
    for found, expected in zip(*grads, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_bypass_mixes_and_skips_whole_utterances() -> None:
    torch.manual_seed(0)
    bypass = Bypass(4, Switches(), skip_rate=0.5)
    before, after = torch.zeros(50, 3, 4), torch.ones(50, 3, 4)
    assert torch.equal(bypass.eval()(before, after), torch.full((50, 3, 4), 0.5))
    values = bypass.train()(before, after)
    assert torch.equal(values, values[:, :1, :1].expand_as(values))
    assert 10 <= (values[:, 0, 0] == 0).sum() <= 40


def test_bypass_limit_turns_gradients_that_lower_the_scale() -> None:
    torch.manual_seed(0)
    limited, free = Bypass(4, Switches()), Bypass(4, Switches(limit_bypass=False))
    before, after = torch.zeros(1, 3, 4), torch.ones(1, 3, 4)
    signs = set()
    for bypass in [*[limited] * 30, free]:
        nn.Module.zero_grad(bypass)
        bypass.batch_count = 0.0
        bypass.train()(before, after).sum().backward()
        signs.add((bypass is limited, bypass.bypass_scale.grad[0].sign().item()))
    assert signs == {(True, 1.0), (True, -1.0), (False, 1.0)}


def test_mask_of_a_lower_rate() -> None:
    mask = StepMask(torch.tensor([1, 4, 5, 9]), 9).downsampled(4)
    assert mask.steps == 3
    assert mask.lengths.tolist() == [1, 1, 2, 3]
    assert mask.is_real.sum(1).tolist() == [1, 1, 2, 3]
