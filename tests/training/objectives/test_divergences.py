"""Divergences of sets: zero at identity, planted shifts with known values, gradients, a peer."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isogloss.errors import UnknownName
from isogloss.training.objectives.divergences import (
    SCALES,
    gaussian_w2,
    mmd,
    sinkhorn,
    squared_distances,
)

torch.set_num_threads(1)

ALL = {
    "imq": mmd,
    "rbf": lambda x, y: mmd(x, y, kernel="rbf"),
    "w2": gaussian_w2,
    "w2-full": lambda x, y: gaussian_w2(x, y, covariance="full"),
    "sinkhorn": sinkhorn,
}
every = pytest.mark.parametrize("measure", ALL.values(), ids=ALL)


def cloud(rows: int, seed: int, dims: int = 4, shift: float = 0.0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(rows, dims, generator=draw, dtype=torch.float64) + shift


@every
def test_equal_sets_are_at_distance_zero(measure):
    x = cloud(12, 0)
    assert float(measure(x, x)) == pytest.approx(0, abs=1e-9)
    assert float(measure(x, x[torch.randperm(12)])) == pytest.approx(0, abs=1e-9)


@every
def test_symmetric_and_growing_with_the_shift(measure):
    x, y = cloud(10, 1), cloud(8, 2)
    assert float(measure(x, y)) == pytest.approx(float(measure(y, x)), rel=1e-4)
    near, far = (float(measure(x, y + shift)) for shift in (1.0, 3.0))
    assert 0 <= float(measure(x, y)) < near < far


@every
def test_a_step_against_the_gradient_brings_sets_together(measure):
    x, y = cloud(10, 1), cloud(10, 2, shift=2.0).requires_grad_()
    before = measure(x, y)
    before.backward()
    assert torch.isfinite(y.grad).all()
    # The mean of y moves down, towards x.
    assert float((-y.grad).mean(0).max()) < 0
    with torch.no_grad():
        after = measure(x, y - 0.5 * y.grad / y.grad.norm())
    assert float(after) < float(before.detach())


@every
@pytest.mark.parametrize("rows", [1, 5])
def test_sets_without_spread_give_no_nan(measure, rows):
    x = torch.ones(rows, 3, requires_grad=True)
    value = measure(x, torch.ones(2, 3))
    value.backward()
    assert float(value.detach()) == 0
    assert torch.isfinite(x.grad).all() and float(x.grad.abs().max()) == 0


@every
def test_what_is_no_pair_of_sets_is_refused(measure):
    with pytest.raises(ValueError, match="expected"):
        measure(torch.zeros(0, 3), torch.zeros(2, 3))
    with pytest.raises(ValueError, match="expected"):
        measure(torch.zeros(2, 3), torch.zeros(2, 4))


def test_mmd_of_two_points_by_hand():
    x, y = torch.zeros(1, 1), torch.full((1, 1), 2.0)
    # k(x, x) = k(y, y) = 1; |x - y|² = 4.
    assert float(mmd(x, y, scales=(1.0,), width=4.0)) == pytest.approx(2 - 2 * 0.5)
    assert float(mmd(x, y, kernel="rbf", scales=(1.0,), width=4.0)) == pytest.approx(
        2 - 2 * math.exp(-1)
    )
    mixed = np.mean([s / (s + 1) for s in SCALES])
    assert float(mmd(x, y)) == pytest.approx(2 - 2 * mixed)


def test_mmd_equals_the_double_loop():
    x, y = cloud(5, 3), cloud(7, 4, shift=1)

    def kernel(a: torch.Tensor, b: torch.Tensor) -> float:
        squared = float((a - b).square().sum())
        return float(np.mean([s * 2.0 / (s * 2.0 + squared) for s in SCALES]))

    def mean(a: torch.Tensor, b: torch.Tensor) -> float:
        return float(np.mean([[kernel(i, j) for j in b] for i in a]))

    wanted = mean(x, x) + mean(y, y) - 2 * mean(x, y)
    assert float(mmd(x, y, width=2.0)) == pytest.approx(wanted)


def test_mmd_does_not_depend_on_the_unit():
    x, y = cloud(6, 3), cloud(7, 4, shift=1)
    assert float(mmd(1000 * x, 1000 * y)) == pytest.approx(float(mmd(x, y)))


def test_mmd_sees_what_mean_and_variance_do_not():
    """Two values against four with the same mean and variance: W2 of Gaussians is 0, MMD is not."""
    x = torch.tensor([[-1.0], [1.0]] * 8, dtype=torch.float64)
    y = torch.tensor([[-math.sqrt(1.8)], [-math.sqrt(0.2)], [math.sqrt(0.2)], [math.sqrt(1.8)]] * 4)
    assert float(gaussian_w2(x, y)) == pytest.approx(0, abs=1e-9)
    assert float(mmd(x, y)) > 0.01
    assert float(sinkhorn(x, y)) > 0.01


def test_w2_of_a_shift_is_its_square():
    x = cloud(9, 5)
    shift = torch.tensor([3.0, 0.0, 4.0, 0.0])
    for kind in ("diagonal", "full"):
        assert float(gaussian_w2(x, x + shift, covariance=kind)) == pytest.approx(25)


def test_w2_of_a_scale_by_hand():
    """Standard deviations 1 and 3, equal means: (3 - 1)²."""
    x = torch.tensor([[-1.0], [1.0]])
    for kind in ("diagonal", "full"):
        assert float(gaussian_w2(x, 3 * x, covariance=kind)) == pytest.approx(4)


def test_only_the_full_covariance_sees_a_turn():
    x = cloud(50, 6, dims=2) * torch.tensor([3.0, 1.0])
    x = x - x.mean(0)
    flipped = torch.stack([x[:, 0] + x[:, 1], x[:, 0] - x[:, 1]], dim=1)
    turned = torch.stack([flipped[:, 0], -flipped[:, 1]], dim=1)
    assert float(gaussian_w2(flipped, turned)) == pytest.approx(0, abs=1e-9)
    assert float(gaussian_w2(flipped, turned, covariance="full")) > 1


def test_full_w2_equals_pot():
    ot = pytest.importorskip("ot")
    x, y = cloud(30, 7).numpy(), (cloud(20, 8) * 2 + 1).numpy()
    wanted = ot.gaussian.bures_wasserstein_distance(
        x.mean(0), y.mean(0), np.cov(x.T, bias=True), np.cov(y.T, bias=True)
    )
    found = gaussian_w2(torch.from_numpy(x), torch.from_numpy(y), covariance="full")
    assert float(found) == pytest.approx(float(wanted) ** 2, rel=1e-8)


def test_sinkhorn_equals_pot():
    ot = pytest.importorskip("ot")
    x, y = cloud(12, 9), cloud(9, 10, shift=0.5)
    rows, columns = np.full(12, 1 / 12), np.full(9, 1 / 9)

    def cost(a: torch.Tensor, b: torch.Tensor, p: np.ndarray, q: np.ndarray) -> float:
        squares = squared_distances(a, b).numpy()
        plan = ot.bregman.sinkhorn_log(p, q, squares, 1.5, numItermax=5000, stopThr=1e-12)
        return float((plan * squares).sum() + 1.5 * (plan * np.log(plan / np.outer(p, q))).sum())

    options = {"regularisation": 1.5, "relative": False, "iterations": 500}
    found = sinkhorn(x, y, debiased=False, **options)
    assert float(found) == pytest.approx(cost(x, y, rows, columns), rel=1e-7)
    wanted = cost(x, y, rows, columns) - 0.5 * (
        cost(x, x, rows, rows) + cost(y, y, columns, columns)
    )
    assert float(sinkhorn(x, y, **options)) == pytest.approx(wanted, rel=1e-6)


def test_sinkhorn_with_little_regularisation_is_the_exact_assignment():
    """Four points on a line and a copy moved by 0.1: the cheapest plan moves each to its own."""
    x = torch.tensor([[0.0], [1.0], [2.0], [3.0]], dtype=torch.float64)
    found = sinkhorn(
        x, x + 0.1, regularisation=0.002, relative=False, debiased=False, iterations=2000
    )
    # ε KL is at most ε log 4 beyond the transport itself.
    assert float(found) == pytest.approx(0.01, abs=0.002 * math.log(4) + 1e-6)


def test_the_gradient_of_sinkhorn_is_that_of_the_optimum():
    """A finite difference of the converged value."""
    x, y = cloud(5, 11), cloud(6, 12, shift=1)
    options = {"regularisation": 1.0, "relative": False, "iterations": 300}
    moved = x.clone().requires_grad_()
    sinkhorn(moved, y, **options).backward()
    step = torch.zeros_like(x)
    step[2, 1] = 1e-5
    slope = (sinkhorn(x + step, y, **options) - sinkhorn(x - step, y, **options)) / 2e-5
    assert float(moved.grad[2, 1]) == pytest.approx(float(slope), rel=1e-4)


def test_wrong_options_are_named():
    x = torch.zeros(2, 2)
    with pytest.raises(UnknownName, match="kernel"):
        mmd(x, x, kernel="cosine")
    with pytest.raises(UnknownName, match="covariance"):
        gaussian_w2(x, x, covariance="none")
    with pytest.raises(ValueError, match="positive"):
        sinkhorn(x, x, regularisation=0)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 100), st.floats(-5, 5))
def test_never_negative(n, m, seed, shift):
    x, y = cloud(n, seed), cloud(m, seed + 1, shift=shift)
    for measure in ALL.values():
        assert float(measure(x, y)) >= -1e-6
