from __future__ import annotations

import numpy as np
import pytest

from isogloss.measures import bootstrap_interval, bootstrap_ratio_interval, two_way_interval


def test_interval_of_a_mean_is_that_of_theory() -> None:
    values = np.random.default_rng(0).normal(3, 2, 400)
    low, high = bootstrap_interval(values, resamples=4000) or (0, 0)
    spread = 1.96 * values.std() / np.sqrt(len(values))
    assert low == pytest.approx(values.mean() - spread, abs=0.03)
    assert high == pytest.approx(values.mean() + spread, abs=0.03)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    inside = 0
    for trial in range(300):
        low, high = bootstrap_interval(rng.normal(0, 1, 60), resamples=300, seed=trial) or (1, 1)
        inside += low <= 0 <= high
    assert 0.9 < inside / 300 < 0.98


def test_same_seed_same_interval() -> None:
    values = np.random.default_rng(2).random(50)
    assert bootstrap_interval(values, seed=3) == bootstrap_interval(values, seed=3)
    assert bootstrap_interval(values, seed=3) != bootstrap_interval(values, seed=4)


def test_a_smaller_level_is_narrower() -> None:
    values = np.random.default_rng(3).random(50)
    wide = bootstrap_interval(values, level=0.99) or (0, 0)
    narrow = bootstrap_interval(values, level=0.5) or (0, 0)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_nothing_to_resample() -> None:
    assert bootstrap_interval(np.array([])) is None
    assert bootstrap_interval(np.array([1.0])) is None
    assert bootstrap_interval(np.ones(5), resamples=0) is None
    assert bootstrap_interval(np.ones(5)) == (1, 1)


def test_ratio_weighs_long_items_more() -> None:
    errors = np.array([0.0, 50.0])
    lengths = np.array([1.0, 99.0])
    low, high = bootstrap_ratio_interval(errors, lengths) or (0, 0)
    assert (low, high) == (0, pytest.approx(50 / 99))
    # Items without reference: resamples of those alone have no rate and are left out.
    assert bootstrap_ratio_interval(np.array([1.0, 1.0]), np.array([0.0, 2.0])) is not None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"per_item": np.zeros((2, 2))}, "one number an item"),
        ({"per_item": np.array([1.0, np.nan])}, "NaN"),
        ({"per_item": np.ones(3), "level": 1.0}, "level"),
        ({"per_item": np.ones(3), "resamples": -1}, "resamples"),
    ],
)
def test_bad_input(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(**arguments)


def table_of_sites(site_effect: float, sentence_effect: float, seed: int = 0) -> dict:
    rng = np.random.default_rng(seed)
    queries = rng.normal(0, site_effect, 8)
    targets = rng.normal(0, site_effect, 8)
    sentences = rng.normal(0, sentence_effect, 40)
    return {
        (f"a{i}", f"b{j}"): queries[i] + targets[j] + sentences + rng.normal(0, 0.1, 40)
        for i in range(8)
        for j in range(8)
    }


def width(interval: tuple[float, float] | None) -> float:
    assert interval is not None
    return interval[1] - interval[0]


def test_two_way_equals_one_way_where_each_group_has_one_site() -> None:
    row = np.random.default_rng(5).random(60)
    alone = two_way_interval({("a", "b"): row}, strata={"a": "A", "b": "B"}, resamples=3000)
    plain = bootstrap_interval(row, resamples=3000)
    np.testing.assert_allclose(alone or 0, plain or 1, atol=0.01)


def test_two_way_sees_that_sites_differ() -> None:
    hits = table_of_sites(site_effect=1.0, sentence_effect=0.0)
    strata = {site: site[0] for pair in hits for site in pair}
    sentences_only = {site: site for site in strata}
    both = width(two_way_interval(hits, strata=strata))
    assert both > 5 * width(two_way_interval(hits, strata=sentences_only))
    # Variance of a mean over 8 query and 8 target sites, from the effects these sites drew.
    means = np.array([row.mean() for row in hits.values()]).reshape(8, 8)
    variance = (means.mean(axis=0).var() + means.mean(axis=1).var()) / 8
    assert both == pytest.approx(2 * 1.96 * np.sqrt(variance), rel=0.1)


def test_two_way_sees_that_all_pairs_share_their_sentences() -> None:
    hits = table_of_sites(site_effect=0.0, sentence_effect=1.0)
    strata = {site: site[0] for pair in hits for site in pair}
    found = width(two_way_interval(hits, strata=strata))
    naive = width(bootstrap_interval(np.concatenate(list(hits.values()))))
    assert found > 5 * naive
    assert found == pytest.approx(2 * 1.96 / np.sqrt(40), rel=0.35)


def test_two_way_with_sentences_missing() -> None:
    full, partial = np.ones(20), np.zeros(20)
    partial[5:] = np.nan
    low, high = two_way_interval(
        {("a", "b"): full, ("b", "a"): partial}, strata={"a": "A", "b": "B"}
    ) or (9, 9)
    # Each pair counts alike, however many sentences it has; a resample without any drops the pair.
    assert low == pytest.approx(0.5) and high in (pytest.approx(0.5), pytest.approx(1))


def test_two_way_within_one_group_never_pairs_a_site_with_itself() -> None:
    names = ["a", "b", "c"]
    hits = {(x, y): np.full(10, 0.25) for x in names for y in names if x != y}
    assert two_way_interval(hits) == (0.25, 0.25)


def test_two_way_nothing_and_bad_input() -> None:
    assert two_way_interval({}) is None
    assert two_way_interval({("a", "b"): np.ones(1)}) is None
    with pytest.raises(ValueError, match="same sentences"):
        two_way_interval({("a", "b"): np.ones(2), ("b", "a"): np.ones(3)})
    with pytest.raises(ValueError, match="has no sentence"):
        two_way_interval({("a", "b"): np.full(3, np.nan)})
    with pytest.raises(ValueError, match="'b' has no stratum"):
        two_way_interval({("a", "b"): np.ones(3)}, strata={"a": "A"})
