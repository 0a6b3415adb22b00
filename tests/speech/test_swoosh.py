"""Swoosh in value and gradient, and the fused network against its plain form."""

import math

import pytest
import torch
from torch.nn import functional as F

from isogloss.speech.scaling import Balancer
from isogloss.speech.swoosh import SwooshL, SwooshR, pointwise_network, swoosh_l, swoosh_r

torch.set_num_threads(1)


def test_values_by_hand() -> None:
    x = torch.tensor([0.0, 4.0, 1.0, -50.0, 200.0])
    left = [math.log1p(math.exp(-4.0)) - 0.035, math.log(2) - 0.355]
    assert swoosh_l(x)[:2].tolist() == pytest.approx(left, abs=1e-6)
    right = [0.0, None, math.log(2) - 0.08 - 0.313261687, 4.0 - 0.313261687, 199 - 16 - 0.313261687]
    for value, expected in zip(swoosh_r(x).tolist(), right, strict=True):
        assert expected is None or value == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("module", [SwooshL(), SwooshR()])
# 70,001 elements take the path in blocks, the transposed input the plain one.
@pytest.mark.parametrize("shape", [(3, 5), (70001,), (300, 301)])
@pytest.mark.parametrize("turned", [False, True])
def test_equals_the_formula(module: torch.nn.Module, shape: tuple[int, ...], turned: bool) -> None:
    offset, constant = (4.0, 0.035) if isinstance(module, SwooshL) else (1.0, 0.313261687)
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(shape, generator=generator) * 5
    data = data.t() if turned and data.dim() == 2 else data
    pull = torch.randn(data.shape, generator=generator)
    x, y = data.clone().requires_grad_(), data.double().requires_grad_()
    out = module(x)
    expected = torch.logaddexp(torch.zeros_like(y), y - offset) - 0.08 * y - constant
    torch.testing.assert_close(out.double(), expected, atol=1e-5, rtol=1e-5)
    out.backward(pull)
    expected.backward(pull.double())
    torch.testing.assert_close(x.grad.double(), y.grad, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("rows", [1, 1023, 2500])
@pytest.mark.parametrize("bias", [True, False])
def test_pointwise_network_equals_its_plain_form(rows: int, bias: bool) -> None:
    generator = torch.Generator().manual_seed(rows)
    shapes = [(rows, 6), (9, 6), (9,), (5, 9), (5,)]
    data = [torch.randn(shape, generator=generator) for shape in shapes]
    pull = torch.randn(rows, 5, generator=generator)
    results = []
    for fused in (True, False):
        x, w1, b1, w2, b2 = (t.clone().requires_grad_() for t in data)
        biases = (b1, b2) if bias else (None, None)
        if fused:
            out = pointwise_network(x, w1, biases[0], w2, biases[1])
        else:
            out = F.linear(swoosh_l(F.linear(x, w1, biases[0])), w2, biases[1])
        out.backward(pull)
        used = [x, w1, w2] + ([b1, b2] if bias else [])
        results.append([out.detach(), *(t.grad for t in used)])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-4)


def test_pointwise_network_follows_autocast() -> None:
    generator = torch.Generator().manual_seed(0)
    data = [torch.randn(s, generator=generator) for s in [(50, 6), (9, 6), (9,), (5, 9), (5,)]]
    parts = [t.clone().requires_grad_() for t in data]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = pointwise_network(*parts)
        out.float().sum().backward()
    assert out.dtype == torch.bfloat16
    assert all(part.grad.dtype == torch.float32 for part in parts)
    torch.testing.assert_close(out.float(), pointwise_network(*data), atol=0.2, rtol=0.05)


@pytest.mark.parametrize("rows", [300, 1500])
def test_pointwise_network_balances_its_hidden_layer(rows: int) -> None:
    generator = torch.Generator().manual_seed(rows)
    shapes = [(rows, 6), (9, 6), (9,), (5, 9), (5,)]
    data = [torch.randn(shape, generator=generator) for shape in shapes]
    # Hidden channels far above, far below and within the limits.
    data[2] += torch.tensor([9.0, -9.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 3.0])
    data[1][3:5] *= 0.01
    data[1][5:7] *= 100.0
    pull = torch.randn(rows, 5, generator=generator)
    balancer = Balancer(positive=(0.3, 0.7), absolute=(0.75, 5.0))
    results = []
    for fused in (True, False):
        x, w1, b1, w2, b2 = (t.clone().requires_grad_() for t in data)
        if fused:
            out = pointwise_network(x, w1, b1, w2, b2, push=balancer.rule().push)
        else:
            out = F.linear(swoosh_l(balancer.balance(F.linear(x, w1, b1))), w2, b2)
        out.backward(pull)
        results.append([out.detach(), *(t.grad for t in (x, w1, b1, w2, b2))])
    plain = [t.clone().requires_grad_() for t in data]
    pointwise_network(*plain).backward(pull)
    assert not torch.allclose(results[0][1], plain[0].grad, rtol=1e-3)
    for found, expected in zip(*results, strict=True):
        scale = float(expected.abs().max())
        torch.testing.assert_close(found, expected, atol=2e-4 * scale, rtol=1e-3)


def test_pointwise_network_leaves_a_constant_channel_nearly_alone() -> None:
    torch.manual_seed(0)
    x, weight2 = torch.randn(500, 4), torch.randn(3, 2)
    balancer = Balancer(positive=(0.3, 0.7), absolute=(0.75, 5.0))
    gradients = []
    for push in (None, balancer.rule().push):
        weight1 = torch.zeros(2, 4, requires_grad=True)
        bias1 = torch.tensor([3.0, -0.1], requires_grad=True)
        pointwise_network(x, weight1, bias1, weight2, None, push=push).sum().backward()
        gradients.append(torch.stack([bias1.grad, weight1.grad.sum(dim=1)]))
    torch.testing.assert_close(*gradients, rtol=0.15, atol=0.15 * float(gradients[0].abs().max()))
