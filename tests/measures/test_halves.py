from __future__ import annotations

import numpy as np
import pytest

from isogloss.measures import around_value, half_interval, random_halves


def test_halves_come_in_pairs_that_make_a_whole() -> None:
    halves = random_halves(11, resamples=7, seed=3)
    assert halves.shape == (8, 11)
    assert (halves[::2] ^ halves[1::2]).all()
    assert halves[::2].sum(axis=1).tolist() == [5] * 4
    assert np.array_equal(halves, random_halves(11, resamples=7, seed=3))
    assert not np.array_equal(halves, random_halves(11, resamples=7, seed=4))


def test_too_few_items_have_no_halves() -> None:
    assert random_halves(7).shape == (0, 7)
    assert random_halves(8).shape == (200, 8)
    assert random_halves(10, resamples=0).shape == (0, 10)
    assert half_interval(1.0, lambda half: 1.0, 7) is None
    with pytest.raises(ValueError, match="negative"):
        random_halves(5, resamples=-1)


def test_the_interval_of_a_mean_is_as_wide_as_it_should_be() -> None:
    """Of a mean the standard error is known: 1.96 of them reach to each side."""
    x = np.random.default_rng(0).normal(size=400)
    bounds = half_interval(x.mean(), lambda half: float(x[half].mean()), 400, resamples=2000)
    assert bounds is not None
    expected = 2 * 1.96 * x.std(ddof=1) / 20
    assert bounds[1] - bounds[0] == pytest.approx(expected, rel=0.1)


def test_samples_are_moved_around_the_value_and_nan_is_left_out() -> None:
    assert around_value(5.0, np.array([1.0, np.nan, 3.0])).tolist() == [4.0, 6.0]
    assert len(around_value(5.0, np.array([np.nan]))) == 0
