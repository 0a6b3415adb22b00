from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isogloss.measures import (
    iso_score,
    mean_random_cosine,
    outlier_dimensions,
    partition_isotropy,
    random_cosine_samples,
    random_halves,
    spectrum,
    top_component_share,
    top_share_samples,
)


def _axes(sizes: list[float]) -> np.ndarray:
    """Points on both ends of each axis: variances in the ratio of the squared sizes, mean 0."""
    return np.concatenate([np.diag(sizes), -np.diag(sizes)])


def _iso_score_by_its_steps(x: np.ndarray) -> float:
    """The published chain: principal variances, scaled to length sqrt(n), defect, share, score."""
    n = x.shape[1]
    variances = np.linalg.eigvalsh(np.cov(x.T))
    scaled = np.sqrt(n) * variances / np.linalg.norm(variances)
    defect = np.linalg.norm(scaled - np.ones(n)) / np.sqrt(2 * (n - np.sqrt(n)))
    share = (n - defect**2 * (n - np.sqrt(n))) ** 2 / n**2
    return float((n * share - 1) / (n - 1))


@given(st.integers(2, 10), st.integers(0, 2**31))
def test_iso_score_equals_its_published_steps(d: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(40, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d)
    assert iso_score(x) == pytest.approx(_iso_score_by_its_steps(x), abs=1e-9)


def test_iso_score_counts_the_directions_in_use() -> None:
    assert iso_score(_axes([1, 1, 1, 1])) == pytest.approx(1.0)
    assert iso_score(_axes([1, 0, 0, 0])) == pytest.approx(0.0)
    assert iso_score(_axes([1, 1, 0, 0]) + 100) == pytest.approx(1 / 3)
    assert np.isnan(iso_score(np.ones((5, 3))))
    assert np.isnan(iso_score(np.ones((5, 1))))


def test_random_cosine_sees_the_offset_that_iso_score_does_not() -> None:
    x = _axes([1, 1, 1, 1])
    assert mean_random_cosine(x) == pytest.approx(-1 / 7)
    assert mean_random_cosine(x + 50) > 0.99
    assert iso_score(x + 50) == pytest.approx(1.0)


@given(st.integers(2, 9), st.integers(0, 2**31))
def test_random_cosine_equals_loops(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    drawn = rng.integers(0, n, n)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    pairs = [unit[i] @ unit[j] for i in range(n) for j in range(n) if i != j]
    assert mean_random_cosine(x) == pytest.approx(np.mean(pairs))
    found = random_cosine_samples(x, np.bincount(drawn, minlength=n)[np.newaxis])[0]
    again = [unit[i] @ unit[j] for i in drawn for j in drawn if i != j]
    assert found == pytest.approx(np.mean(again), nan_ok=True) if again else np.isnan(found)


def test_spectrum_and_its_top() -> None:
    x = _axes([3, 2, 1])
    assert spectrum(x) == pytest.approx(np.array([9, 4, 1]) / 3)
    assert top_component_share(x + 7) == pytest.approx(9 / 14)
    wide = np.random.default_rng(0).normal(size=(5, 40))
    assert spectrum(wide).sum() == pytest.approx(wide.var(axis=0).sum())
    assert np.isnan(top_component_share(np.full((4, 2), 1e9)))


def test_top_share_of_sets() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(60, 8)) * np.arange(1, 9)
    halves = random_halves(60, resamples=6)
    assert top_share_samples(x, halves) == pytest.approx(
        [top_component_share(x[h]) for h in halves]
    )
    many = rng.normal(size=(80, 50)) + 20 * rng.normal(size=(80, 1)) * rng.normal(size=50)
    halves = random_halves(80, resamples=6)
    expected = [top_component_share(many[h]) for h in halves]
    assert top_share_samples(many, halves) == pytest.approx(expected, rel=1e-3)


def test_partition() -> None:
    assert partition_isotropy(_axes([1, 1, 1])) == pytest.approx(1.0)
    assert partition_isotropy(_axes([1, 1, 1]) + np.array([0, 0, 9])) < 0.01
    assert 0 <= partition_isotropy(np.full((4, 3), 1e3)) <= 1


def test_outlier_dimensions_are_named_with_their_z() -> None:
    x = np.zeros((5, 100))
    x[:, 17], x[:, 42] = 50.0, -20.0
    found = outlier_dimensions(x + np.random.default_rng(2).normal(size=(5, 100)) * 1e-3)
    assert [one.dimension for one in found] == [17, 42]
    means = np.where(np.arange(100) == 17, 50.0, np.where(np.arange(100) == 42, -20.0, 0.0))
    z = (means - means.mean()) / means.std()
    assert [one.z for one in found] == pytest.approx([z[17], z[42]], abs=1e-2)
    assert outlier_dimensions(np.ones((3, 4))) == ()
    with pytest.raises(ValueError, match="z must be"):
        outlier_dimensions(x, z=0)
