from __future__ import annotations

import copy
import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isogloss.training.optim import (
    ClippedAdamW,
    Cosine,
    Eden,
    Linear,
    NonFiniteGradient,
    ScaledAdam,
    clip_factor,
)

torch.set_num_threads(1)


def parameter(values: object) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.tensor(values))


def test_first_step_worked_by_hand() -> None:
    vector, scalar = parameter([3.0, 4.0]), parameter(0.7)
    optimizer = ScaledAdam([vector, scalar], lr=0.045, clip=None)
    vector.grad, scalar.grad = torch.tensor([2.0, -0.01]), torch.tensor(5.0)
    optimizer.step()
    # Mean square and its correction cancel at the first step, so only the sign of the gradient is
    # left; the momentum takes a tenth, and the vector's root mean square is sqrt((9 + 16) / 2).
    move = 0.1 * 0.045 * math.sqrt(12.5)
    assert vector.tolist() == pytest.approx([3.0 - move, 4.0 + move], abs=1e-6)
    assert scalar.item() == pytest.approx(0.7 - 0.1 * 0.045 * 0.1, abs=1e-7)


def test_equals_icefall_over_many_steps_with_clipping() -> None:
    # zipformer 0.1.3 (pkufool/zipformer, modules/optim.py), ScaledAdam(lr=0.045,
    # clipping_scale=2.0) with these parameters and gradients, torch 2.13.
    parameters = [
        parameter([[0.1, -0.2, 0.3], [0.4, 0.5, -0.6]]),
        parameter([[1.0, 0.0, -1.0], [0.5, 0.25, 2.0]]),
        parameter(0.7),
    ]
    expected = {
        8: [
            [0.0728311837, -0.1994381099, 0.3159009218, 0.3920309544, 0.4740450084, -0.5839276910],
            [0.9246433377, 0.0182282142, -0.9294238091, 0.4609580040, 0.2212917209, 1.8903894424],
            [0.6962651014],
        ],
        129: [
            [0.0307172183, -0.1027512401, 0.1546226740, 0.1943908185, 0.2231370807, -0.2868546844],
            [0.2086002082, 0.0019442039, -0.2094939650, 0.1049371362, 0.0353510790, 0.4977727532],
            [0.5572900176],
        ],
    }
    optimizer = ScaledAdam(parameters, lr=0.045)
    for step in range(130):
        factor = 50.0 if step == 125 else 1.0
        for k, p in enumerate(parameters):
            place = torch.arange(p.numel(), dtype=torch.float32).reshape(p.shape)
            p.grad = factor * (torch.sin(place * 1.7 + step * 0.9 + k) + 0.3 * p.detach())
        optimizer.step()
        if step in expected:
            for p, values in zip(parameters, expected[step], strict=True):
                assert p.detach().flatten().tolist() == pytest.approx(values, abs=2e-5)
    assert optimizer.param_groups[0]["clip_record"]["clipped"] >= 1


def test_a_tensor_moves_alike_alone_and_among_others_of_its_shape() -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(5, 3, 4, generator=generator)
    together = [torch.nn.Parameter(values.clone()) for values in start]
    alone = [torch.nn.Parameter(values.clone()) for values in start]
    optimizers = [ScaledAdam(together, clip=None)] + [ScaledAdam([p], clip=None) for p in alone]
    for _ in range(9):
        for a, b in zip(together, alone, strict=True):
            a.grad = torch.randn(3, 4, generator=generator)
            b.grad = a.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


def test_step_is_in_proportion_to_the_size_of_the_tensor() -> None:
    small, large = parameter([0.01, -0.02]), parameter([1.0, -2.0])
    for p in (small, large):
        optimizer = ScaledAdam([p], clip=None)
        for _ in range(3):
            p.grad = torch.tensor([1.0, 0.5])
            optimizer.step()
    torch.testing.assert_close(small * 100, large, rtol=1e-5, atol=0)


def test_sizes_and_scalars_keep_their_limits() -> None:
    tensor, scalar = parameter([2.9, -2.9, 2.9]), parameter(9.99)
    optimizer = ScaledAdam([tensor, scalar], lr=0.05, clip=None)
    for _ in range(100):
        tensor.grad, scalar.grad = -tensor.detach().sign(), torch.tensor(-1.0)
        optimizer.step()
    assert 2.5 < tensor.square().mean().sqrt() < 4.0
    assert scalar.item() == 10.0


def test_a_parameter_without_gradient_counts_as_zero() -> None:
    used, unused = parameter([1.0, 2.0]), parameter([3.0, 4.0])
    optimizer = ScaledAdam([used, unused])
    used.grad = torch.ones(2)
    optimizer.step()
    assert unused.tolist() == [3.0, 4.0]
    assert used.tolist() != [1.0, 2.0]


@pytest.mark.parametrize("kind", [ScaledAdam, ClippedAdamW])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_non_finite_gradient_changes_nothing(kind: type[ScaledAdam], bad: float) -> None:
    a, b = parameter([[1.0, 2.0]]), parameter(0.5)
    optimizer = kind([a, b], lr=0.01)
    for value in (1.0, bad):
        a.grad, b.grad = torch.full((1, 2), 0.5), torch.tensor(value)
        before = (a.detach().clone(), copy.deepcopy(optimizer.state_dict()))
        if math.isfinite(value):
            optimizer.step()
            continue
        with pytest.raises(NonFiniteGradient, match="norm"):
            optimizer.step()
    assert torch.equal(a, before[0])
    after = optimizer.state_dict()
    assert after["param_groups"] == before[1]["param_groups"]
    for index, entries in before[1]["state"].items():
        assert all(torch.equal(value, after["state"][index][k]) for k, value in entries.items())


@pytest.mark.parametrize("kind", [ScaledAdam, ClippedAdamW])
def test_saved_and_loaded_goes_on_bit_for_bit(kind: type[ScaledAdam]) -> None:
    def steps(parameters: list[torch.nn.Parameter], optimizer: ScaledAdam, span: range) -> None:
        for step in span:
            for k, p in enumerate(parameters):
                p.grad = torch.cos(p.detach() * (step + 1) + k) * (30 if step % 7 == 0 else 1)
            optimizer.step()

    def fresh() -> list[torch.nn.Parameter]:
        generator = torch.Generator().manual_seed(3)
        shapes = [(3, 2), (3, 2), (4,), (), (1,)]
        return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]

    whole = fresh()
    steps(whole, kind(whole, lr=0.02), range(60))
    first = fresh()
    before = kind(first, lr=0.02)
    steps(first, before, range(23))
    second = [torch.nn.Parameter(p.detach().clone()) for p in first]
    after = kind(second, lr=0.5)
    after.load_state_dict(copy.deepcopy(before.state_dict()))
    steps(second, after, range(23, 60))
    assert all(torch.equal(a, b) for a, b in zip(whole, second, strict=True))


def test_clipping_waits_then_follows_the_median() -> None:
    record: dict[str, object] = {}
    # Step 0 sets nothing; at step 10 the limit is 2 * 2 * the median of steps 1 to 10.
    assert [clip_factor(record, 1000.0, scale=2.0) for _ in range(1)] == [1.0]
    assert [clip_factor(record, 3.0, scale=2.0) for _ in range(10)] == [1.0] * 10
    assert clip_factor(record, 12.0, scale=2.0) == 1.0
    assert clip_factor(record, 24.0, scale=2.0) == pytest.approx(0.5)


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=300))
def test_clip_factor_lies_between_0_and_1_and_reaches_the_limit(norms: list[float]) -> None:
    record: dict[str, float] = {}
    for norm in norms:
        factor = clip_factor(record, norm, scale=2.0)
        assert 0.0 < factor <= 1.0
        if factor < 1.0:
            assert factor * norm == pytest.approx(record["limit"])


@pytest.mark.parametrize(
    ("batch", "epoch", "rate"),
    [
        # icefall's Eden(lr_batches=7500, lr_epochs=3.5, warmup_batches=500, warmup_start=0.1) on
        # base_lr 0.045, from zipformer 0.1.3.
        (0, 0, 0.0045),
        (100, 0, 0.012599440062213927),
        (500, 0, 0.04495013842759144),
        (7500, 3, 0.03297230461601293),
        (20000, 9, 0.016053296909991112),
    ],
)
def test_eden_equals_icefall(batch: int, epoch: int, rate: float) -> None:
    assert Eden(0.045)(batch, epoch) == pytest.approx(rate, rel=1e-12)


@pytest.mark.parametrize("kind", [Cosine, Linear])
def test_schedules_rise_to_the_peak_and_end_at_zero(kind: type[Cosine]) -> None:
    schedule = kind(0.04, steps=100, warmup=10)
    rates = [schedule(step, 0) for step in range(101)]
    assert rates[0] == pytest.approx(0.004)
    assert max(rates) == rates[10] == pytest.approx(0.04)
    assert rates[100] == pytest.approx(0.0, abs=1e-12)
    assert rates[55] == pytest.approx(0.02)
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))
    assert kind(0.04, steps=1, warmup=0)(0, 0) == pytest.approx(0.04)


@pytest.mark.parametrize("kwargs", [{"lr": -1.0}, {"betas": (1.0, 0.9)}, {"size_update_period": 0}])
def test_bad_options_are_refused(kwargs: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(kwargs.values())))[:3].strip("(")):
        ScaledAdam([parameter([1.0])], **kwargs)  # type: ignore[arg-type]
