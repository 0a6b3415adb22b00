from __future__ import annotations

import numpy as np
import pytest

from isogloss.measures import (
    neighbour_ratios,
    participation_ratio,
    participation_samples,
    random_halves,
    two_nn,
    two_nn_of_ratios,
)


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_planted_manifold(dimension: int) -> None:
    """Points spread evenly in a cube of that dimension, turned and bent into 20."""
    rng = np.random.default_rng(dimension)
    inside = rng.random((1500, dimension))
    turned = np.linalg.qr(rng.normal(size=(20, 20)))[0][:dimension]
    flat = inside @ turned
    bent = flat + 0.1 * np.square(flat)
    assert two_nn(flat) == pytest.approx(dimension, rel=0.1)
    assert two_nn(bent) == pytest.approx(dimension, rel=0.15)


def test_ratios_by_brute_force() -> None:
    x = np.random.default_rng(0).normal(size=(60, 4)) + 1e4
    expected = []
    for i, row in enumerate(x):
        apart = sorted(np.linalg.norm(row - other) for j, other in enumerate(x) if j != i)
        expected.append(apart[1] / apart[0])
    assert sorted(neighbour_ratios(x)) == pytest.approx(sorted(expected), rel=1e-6)


def test_exact_law_gives_back_its_dimension() -> None:
    """With ratios at the quantiles of P(ratio > m) = m^-d the fit is a line through the points."""
    shares = np.arange(1, 200) / 200
    ratios = np.concatenate([(1 - shares) ** (-1 / 7.0), [50.0]])
    assert two_nn_of_ratios(ratios) == pytest.approx(7.0)


def test_copies_and_few_items() -> None:
    x = np.random.default_rng(1).random((300, 2))
    assert two_nn(np.concatenate([x, x])) == pytest.approx(two_nn(x))
    assert np.isnan(two_nn(np.ones((9, 3))))
    assert np.isnan(two_nn(x[:2]))
    with pytest.raises(ValueError, match="discard"):
        two_nn(x, discard=1.0)


def test_participation_ratio() -> None:
    ends = np.concatenate([np.eye(6), -np.eye(6)])
    assert participation_ratio(ends + 10) == pytest.approx(6.0)
    assert participation_ratio(ends * [1, 0, 0, 0, 0, 0]) == pytest.approx(1.0)
    assert np.isnan(participation_ratio(np.ones((4, 3))))


@pytest.mark.parametrize("shape", [(40, 5), (20, 60)])
def test_participation_of_sets(shape: tuple[int, int]) -> None:
    x = np.random.default_rng(2).normal(size=shape) * np.arange(1, shape[1] + 1)
    halves = random_halves(len(x), resamples=6)
    expected = [participation_ratio(x[h]) for h in halves]
    assert participation_samples(x, halves) == pytest.approx(expected)
