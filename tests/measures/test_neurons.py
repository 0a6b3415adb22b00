from __future__ import annotations

import numpy as np
import pytest

from isogloss.measures import (
    average_neuron_correlation,
    linear_cka,
    neuron_correlation_samples,
    neuron_correlations,
)


def test_equals_numpy_by_dimension() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 4))
    y = x + rng.normal(size=(30, 4))
    expected = [np.corrcoef(x[:, d], y[:, d])[0, 1] for d in range(4)]
    assert neuron_correlations(x, y) == pytest.approx(expected)
    assert average_neuron_correlation(x, y) == pytest.approx(np.mean(expected))


def test_a_rotation_leaves_cka_at_1_and_brings_anc_down() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(500, 30))
    turned = x @ np.linalg.qr(rng.normal(size=(30, 30)))[0]
    assert linear_cka(x, turned) == pytest.approx(1.0)
    assert abs(average_neuron_correlation(x, turned)) < 0.2


def test_shift_and_scale_of_each_dimension_change_nothing() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(20, 3))
    assert average_neuron_correlation(x, x * [2, 0.1, 7] + [1e6, 0, -5]) == pytest.approx(1.0)
    assert average_neuron_correlation(x, x * [1, 1, -1]) == pytest.approx(1 / 3)


def test_constant_dimensions_are_left_out() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(20, 2))
    y = np.stack([x[:, 0], np.full(20, 1e9)], axis=1)
    assert np.isnan(neuron_correlations(x, y)[1])
    assert average_neuron_correlation(x, y) == pytest.approx(1.0)
    assert np.isnan(average_neuron_correlation(np.ones((5, 2)), np.ones((5, 2))))


def test_samples_are_those_of_repeated_items() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(10, 3))
    y = x + rng.normal(size=(10, 3))
    drawn = rng.integers(0, 10, 10)
    counts = np.stack([np.ones(10), np.bincount(drawn, minlength=10)])
    found = neuron_correlation_samples(x, y, counts)
    assert found[0] == pytest.approx(average_neuron_correlation(x, y))
    assert found[1] == pytest.approx(average_neuron_correlation(x[drawn], y[drawn]))
