"""Schedules, BiasNorm and the rules that change gradients only."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from isogloss.speech.scaling import (
    Balancer,
    BiasNorm,
    Schedule,
    SharedDropout,
    Whiten,
    chance,
    keep_within,
    load_regulariser_state,
    penalise_beyond,
    regulariser_state,
    set_batch_count,
)

torch.set_num_threads(1)


def always(module: nn.Module) -> nn.Module:
    """`module` with every random decision made for the rule."""
    for part in module.modules():
        if isinstance(part, Balancer | Whiten):
            part.rate = 1.0
    return module.train()


def test_schedule_by_hand() -> None:
    schedule = Schedule(((10.0, 1.0), (20.0, 0.0), (40.0, 0.5)), default=7.0)
    counts = [0, 10, 15, 20, 30, 40, 1e9]
    assert [schedule.at(count) for count in counts] == [1.0, 1.0, 0.5, 0.0, 0.25, 0.5, 0.5]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=6, unique=True), st.floats(-2e6, 2e6))
def test_schedule_stays_between_its_values(counts: list[float], count: float) -> None:
    points = tuple((c, float(i % 3)) for i, c in enumerate(sorted(counts)))
    assert 0.0 <= Schedule(points).at(count) <= 2.0


def test_schedule_refuses_falling_counts() -> None:
    with pytest.raises(ValueError, match="must rise"):
        Schedule(((1.0, 0.0), (1.0, 1.0)))
    with pytest.raises(ValueError, match="must rise"):
        Schedule(())


def test_set_batch_count_reaches_nested_parts_and_only_training_sees_it() -> None:
    dropout = SharedDropout(Schedule(((0.0, 0.8), (100.0, 0.2)), default=0.1))
    module = nn.Sequential(nn.Sequential(dropout))
    assert dropout.now(dropout.rate) == 0.1
    set_batch_count(module, 50)
    assert dropout.now(dropout.rate) == pytest.approx(0.5)
    module.eval()
    assert dropout.now(dropout.rate) == 0.1


def test_shared_dropout_drops_whole_channels_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    out = SharedDropout(0.25).train()(torch.ones(50, 4, 200))
    assert torch.equal(out, out[:, :1].expand_as(out))
    assert out.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert out.mean().item() == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(
    ("probability", "low", "high"), [(0, 0, 0), (1, 999, 1000), (0.3, 240, 360)]
)
def test_chance(probability: float, low: int, high: int) -> None:
    torch.manual_seed(0)
    assert low <= sum(chance(probability) for _ in range(1000)) <= high


def test_bias_norm_equals_the_formula_in_value_and_gradient() -> None:
    torch.manual_seed(1)
    norm = BiasNorm(6).eval()
    with torch.no_grad():
        norm.bias.normal_()
    x = torch.randn(3, 4, 6, requires_grad=True)
    pull = torch.randn(3, 4, 6)
    norm(x).backward(pull)
    y = x.detach().double().requires_grad_()
    bias = norm.bias.detach().double().requires_grad_()
    log_scale = norm.log_scale.detach().double().requires_grad_()
    expected = y * (y - bias).square().mean(-1, keepdim=True).pow(-0.5) * log_scale.exp()
    expected.backward(pull.double())
    torch.testing.assert_close(norm(x).double(), expected, atol=1e-5, rtol=1e-5)
    pairs = [(x, y), (norm.bias, bias), (norm.log_scale, log_scale)]
    for found, wanted in pairs:
        torch.testing.assert_close(found.grad.double(), wanted.grad, atol=1e-4, rtol=1e-4)


def test_bias_norm_of_zeros_is_zero() -> None:
    norm = BiasNorm(4)
    with torch.no_grad():
        norm.bias.zero_()
    assert torch.equal(norm(torch.zeros(2, 4)), torch.zeros(2, 4))


def test_keep_within_turns_only_gradients_that_lead_out() -> None:
    torch.manual_seed(0)
    values = torch.tensor([-1.0, -1.0, 0.5, 2.0, 2.0])
    pulls = torch.tensor([3.0, -3.0, 3.0, 3.0, -3.0])
    seen = set()
    for _ in range(40):
        x = values.clone().requires_grad_()
        out = keep_within(x, 0.0, 1.0)
        assert torch.equal(out, values)
        out.backward(pulls)
        seen.add(tuple(x.grad.tolist()))
    assert seen == {(3.0, -3.0, 3.0, 3.0, -3.0), (-3.0, -3.0, 3.0, 3.0, 3.0)}


def test_penalise_beyond_by_hand() -> None:
    x = torch.tensor([-30.0, 0.0, 25.0, 26.0], requires_grad=True)
    out = penalise_beyond(x, 25.0, 0.5)
    assert torch.equal(out, x)
    out.backward(torch.ones(4))
    assert x.grad.tolist() == [0.5, 1.0, 1.0, 1.5]


def test_balancer_leaves_good_channels_alone() -> None:
    torch.manual_seed(0)
    x = torch.randn(5000, 3, requires_grad=True)
    pull = torch.randn(5000, 3)
    always(Balancer(absolute=(0.2, 2.0)))(x).backward(pull)
    assert torch.equal(x.grad, pull)


def test_balancer_pushes_the_statistics_back() -> None:
    torch.manual_seed(0)
    # Channels: too rarely positive, too often positive, too small, too large, fine.
    data = torch.randn(4000, 5) * torch.tensor([1.0, 1.0, 0.01, 50.0, 1.0])
    data += torch.tensor([-3.0, 3.0, 0.0, 0.0, 0.0])
    rule = always(Balancer(positive=(0.3, 0.7), absolute=(0.2, 8.0)))
    pull = torch.randn(4000, 5)
    x = data.clone().requires_grad_()
    out = rule(x)
    assert torch.equal(out, data)
    out.backward(pull)
    change = x.grad - pull
    # The step is against the gradient, 0.04 of its size.
    moved = data - change
    assert moved[:, 0].mean() > data[:, 0].mean()
    assert moved[:, 1].mean() < data[:, 1].mean()
    assert moved[:, 2].std() > data[:, 2].std()
    assert moved[:, 3].std() < data[:, 3].std()
    assert change[:, 4].abs().max() == 0
    sizes = change.square().mean(0).sqrt() / pull.square().mean(0).sqrt()
    assert sizes[:4].tolist() == pytest.approx([0.04] * 4, rel=0.1)


def test_balancer_gradient_equals_that_of_its_penalty() -> None:
    torch.manual_seed(0)
    data = torch.randn(300, 4) * 3 + torch.tensor([2.0, -4.0, 0.1, 9.0])
    x = data.clone().requires_grad_()
    rule = always(Balancer(positive=(0.4, 0.6), absolute=(0.2, 1.0)))
    rule(x).backward(torch.ones(300, 4))
    y = data.double().requires_grad_()
    square, mean = y.square().mean(0), y.mean(0)
    ratio = mean / (square - mean**2).sqrt()
    bound = 0.8139535143 * 0.5 * torch.log(torch.tensor(0.6 / 0.4, dtype=torch.float64))
    rms = square.sqrt()
    top = 1.2533141373
    loss = (ratio - ratio.clamp(-bound, bound)).abs()
    loss = loss + (rms.clamp(0.2 * top, top) / rms).log().abs()
    loss.sum().backward()
    expected = 0.04 * y.grad / y.grad.square().mean(0).sqrt()
    torch.testing.assert_close((x.grad - 1).double(), expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("value", [0.0, 1.0, 1e-12, 1e6])
def test_rules_survive_constant_input(value: float) -> None:
    for rule in (Balancer(), Whiten(1.0)):
        x = torch.full((8, 4), value, requires_grad=True)
        always(rule)(x).backward(torch.randn(8, 4))
        assert torch.isfinite(x.grad).all()
        assert x.grad.abs().max() < 10


def test_whiten_leaves_white_data_alone_and_then_looks_rarely() -> None:
    torch.manual_seed(0)
    rule = always(Whiten(2.0))
    x = torch.randn(2000, 8, requires_grad=True)
    pull = torch.randn(2000, 8)
    rule(x).backward(pull)
    assert torch.equal(x.grad, pull)
    assert rule.rate == 0.025


@pytest.mark.parametrize("groups", [1, 2])
def test_whiten_lowers_the_measure(groups: int) -> None:
    torch.manual_seed(0)

    def measure(x: torch.Tensor) -> torch.Tensor:
        parts = x.reshape(len(x), groups, -1).transpose(0, 1)
        parts = parts - parts.mean(1, keepdim=True)
        covariance = parts.transpose(1, 2) @ parts
        trace = covariance.diagonal(dim1=1, dim2=2).mean()
        return covariance.square().sum() / x.shape[1] / trace**2

    data = torch.randn(500, 8) + 4 * torch.randn(500, 1) * torch.randn(8)
    rule = always(Whiten(2.0, strength=0.5, groups=groups))
    pull = torch.randn(500, 8)
    x = data.clone().requires_grad_()
    rule(x).backward(pull)
    change = x.grad - pull
    assert rule.rate == 0.25
    assert (change.norm() / pull.norm()).item() == pytest.approx(0.5, rel=1e-4)
    y = data.clone().requires_grad_()
    measure(y).backward()
    cosine = nn.functional.cosine_similarity(change.flatten(), y.grad.flatten(), dim=0)
    assert cosine.item() == pytest.approx(1.0, abs=1e-5)


def test_disabled_and_evaluating_rules_do_nothing_and_draw_nothing() -> None:
    x = torch.full((50, 4), 9.0, requires_grad=True)
    before = torch.get_rng_state()
    for rule in (Balancer(rate=1.0), Whiten(1.0)):
        assert rule.eval()(x) is x
        rule.enabled = False
        assert rule.train()(x) is x
    assert torch.equal(before, torch.get_rng_state())


def test_regulariser_state_travels() -> None:
    first = nn.Sequential(Whiten(1.0), nn.Linear(2, 2), Whiten(1.0))
    first[0].rate = 0.025
    second = nn.Sequential(Whiten(1.0), nn.Linear(2, 2), Whiten(1.0))
    load_regulariser_state(second, regulariser_state(first))
    assert regulariser_state(second) == {"0": 0.025, "2": 0.25}
    with pytest.raises(ValueError, match="another model"):
        load_regulariser_state(second, {"0": 0.25})
