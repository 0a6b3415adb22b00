from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isogloss.measures import holm, paired_bootstrap, paired_two_way


def test_a_planted_difference_is_found_that_separate_intervals_hide() -> None:
    rng = np.random.default_rng(0)
    # Items differ much more than encoders: 200 easy or hard ones, 0.05 between the encoders.
    hard = rng.normal(0, 1, 200)
    first = hard + 0.05 + rng.normal(0, 0.05, 200)
    second = hard + rng.normal(0, 0.05, 200)
    found = paired_bootstrap(first, second)
    assert found is not None
    assert found.difference == pytest.approx(first.mean() - second.mean())
    assert found.low > 0 and found.p_value < 0.001
    assert found.n == 200


def test_no_difference_is_not_found() -> None:
    rng = np.random.default_rng(1)
    found = paired_bootstrap(rng.random(200), rng.random(200))
    assert found is not None
    assert found.low < 0 < found.high and found.p_value > 0.05


def test_equal_statistics_give_p_1_and_no_width() -> None:
    same = np.array([0.0, 1.0, 1.0])
    found = paired_bootstrap(same, same)
    assert found is not None
    assert (found.difference, found.low, found.high, found.p_value) == (0, 0, 0, 1)


def test_two_items_are_worked_by_hand() -> None:
    # Differences 1 and 0: a resample has mean 0, 1/2 or 1 with 1/4, 1/2, 1/4. d is 1/2, so
    # |d* - d| >= |d| in half of them.
    found = paired_bootstrap(np.array([1.0, 0.0]), np.array([0.0, 0.0]), resamples=4000)
    assert found is not None
    assert found.difference == 0.5 and (found.low, found.high) == (0, 1)
    assert found.p_value == pytest.approx(0.5, abs=0.03)


def test_rates_weigh_long_items_more() -> None:
    # Errors and length: 1 of 1 and 0 of 9 is a rate of 0.1, not a mean of 0.5.
    first = np.array([[1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 9.0]])
    second = np.array([[0.0, 0.0, 0.0, 1.0], [0.0, 1.0, 2.0, 9.0]])
    found = paired_bootstrap(first, second)
    assert found is not None and found.difference == pytest.approx(0.1 - 0.3)


def test_the_interval_covers_the_true_difference_as_often_as_it_says() -> None:
    rng = np.random.default_rng(7)
    covered = rejected = 0
    runs = 400
    for seed in range(runs):
        shared = rng.random(80)
        first = (rng.random(80) < shared).astype(float)
        second = (rng.random(80) < np.clip(shared, 0, 1)).astype(float)
        found = paired_bootstrap(first, second, resamples=500, seed=seed)
        assert found is not None
        covered += found.low <= 0 <= found.high
        rejected += found.p_value < 0.05
    # 95 % of 400 with a standard deviation of 1.1 %; percentile intervals run a little short.
    assert 0.92 <= covered / runs <= 0.985
    assert rejected / runs <= 0.075


def test_too_little_to_resample_gives_none() -> None:
    one = np.array([1.0])
    assert paired_bootstrap(one, one) is None
    assert paired_bootstrap(np.ones(3), np.zeros(3), resamples=0) is None
    assert paired_bootstrap(np.zeros((3, 2)), np.ones((3, 2))) is None
    assert paired_two_way({}, {}) is None
    assert paired_two_way({("a", "b"): np.ones(3)}, {("b", "a"): np.ones(3)}) is None


@pytest.mark.parametrize(
    ("first", "second", "more", "match"),
    [
        (np.ones(3), np.ones(4), {}, "one shape"),
        (np.ones((3, 1)), np.ones((3, 1)), {}, "one shape"),
        (np.array([1.0, np.nan]), np.ones(2), {}, "NaN"),
        (np.ones(3), np.ones(3), {"resamples": -1}, "negative"),
        (np.ones(3), np.ones(3), {"level": 1.0}, "level"),
    ],
)
def test_bad_input_is_refused(first, second, more, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        paired_bootstrap(first, second, **more)
    with pytest.raises(ValueError):
        paired_two_way({("a", "b"): np.ones(3)}, {("a", "b"): np.ones(4)})


def sites(rng, effects, sentences: int) -> dict[tuple[str, str], np.ndarray]:
    """Scores of each ordered pair: its two sites' effects plus noise."""
    names = list(effects)
    return {
        (a, b): effects[a] + effects[b] + rng.normal(0, 0.1, sentences)
        for a in names
        for b in names
        if a != b
    }


def test_two_way_finds_what_holds_at_every_site_and_not_what_one_site_makes() -> None:
    rng = np.random.default_rng(3)
    names = [f"s{i}" for i in range(8)]
    base = sites(rng, dict.fromkeys(names, 0.0), 30)
    everywhere = {pair: row + 0.05 for pair, row in base.items()}
    found = paired_two_way(everywhere, base)
    assert found is not None and found.p_value < 0.001
    assert found.difference == pytest.approx(0.05)
    # One site of eight carries the whole gain: items alone are sure of it, sites are not.
    one = {pair: row + (0.4 if "s0" in pair else 0.0) for pair, row in base.items()}
    found = paired_two_way(one, base)
    assert found is not None and found.p_value > 0.05
    flat = paired_bootstrap(np.concatenate(list(one.values())), np.concatenate(list(base.values())))
    assert flat is not None and flat.p_value < 0.001


def test_two_way_compares_shared_cells_alone() -> None:
    first = {("a", "b"): np.array([1.0, 1.0, np.nan]), ("b", "a"): np.array([1.0, 1.0, 1.0])}
    second = {("a", "b"): np.array([0.0, np.nan, 1.0])}
    found = paired_two_way(first, second)
    assert found is not None and (found.difference, found.n) == (1.0, 1)


def test_holm_by_hand() -> None:
    # 3 x 0.01, then 2 x 0.02 (raised to no less), then 0.9; in the order given.
    assert holm([0.9, 0.01, 0.02]) == pytest.approx([0.9, 0.03, 0.04])
    assert holm([0.02, 0.02]) == pytest.approx([0.04, 0.04])
    assert holm([]) == []
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([1.5])


@given(st.lists(st.floats(0, 1), max_size=8))
@settings(max_examples=50, deadline=None)
def test_holm_never_lowers_and_keeps_the_order(values: list[float]) -> None:
    adjusted = holm(values)
    assert all(a >= v for a, v in zip(adjusted, values, strict=True))
    order = np.argsort(values, kind="stable")
    assert np.all(np.diff(np.array(adjusted)[order]) >= 0)
