from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isogloss.measures import (
    cka_of_grams,
    cka_samples,
    debiased_cka,
    linear_cka,
    random_halves,
)


def _rotation(d: int, rng: np.random.Generator) -> np.ndarray:
    return np.linalg.qr(rng.normal(size=(d, d)))[0]


def _hsic_by_its_terms(k: np.ndarray, m: np.ndarray) -> float:
    """Song et al. 2012, eq. 4: means over tuples of different items."""
    n = len(k)
    total = 0.0
    for i in range(n):
        for j in range(n):
            for q in range(n):
                for r in range(n):
                    if len({i, j, q, r}) == 4:
                        total += k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q])
    return total / (n * (n - 1) * (n - 2) * (n - 3))


@pytest.mark.parametrize("measure", [linear_cka, debiased_cka])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_up_to_rotation_shift_and_scale_is_1(measure: object, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(40, 6))
    assert measure(x, 7 * x @ _rotation(6, rng) + 100) == pytest.approx(1.0)  # type: ignore[operator]


def test_linear_cka_is_the_ratio_of_norms() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(30, 5)), rng.normal(size=(30, 8))
    a, b = x - x.mean(0), y - y.mean(0)
    norm = np.linalg.norm
    expected = norm(b.T @ a) ** 2 / (norm(a.T @ a) * norm(b.T @ b))
    assert linear_cka(x, y) == pytest.approx(expected)


def test_debiased_cka_is_made_of_the_unbiased_hsic() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(7, 3))
    y = x @ rng.normal(size=(3, 4)) + rng.normal(size=(7, 4))
    k, m = x @ x.T, y @ y.T
    expected = _hsic_by_its_terms(k, m) / np.sqrt(
        _hsic_by_its_terms(k, k) * _hsic_by_its_terms(m, m)
    )
    assert debiased_cka(x, y) == pytest.approx(expected)


def test_unrelated_vectors_are_near_0_only_when_debiased() -> None:
    rng = np.random.default_rng(4)
    values = [
        (linear_cka(x, y), debiased_cka(x, y))
        for x, y in ((rng.normal(size=(30, 200)), rng.normal(size=(30, 200))) for _ in range(20))
    ]
    biased, unbiased = np.mean(values, axis=0)
    assert biased > 0.8
    assert abs(unbiased) < 0.03


def test_permuted_rows_are_unrelated() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(300, 10))
    assert abs(debiased_cka(x, rng.permutation(x))) < 0.05


@settings(max_examples=30, deadline=None)
@given(st.integers(8, 20), st.integers(0, 2**31), st.booleans())
def test_samples_equal_the_measure_of_each_set(n: int, seed: int, debiased: bool) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    y = x @ rng.normal(size=(3, 3)) + 0.1 * rng.normal(size=(n, 3))
    members = random_halves(n, resamples=4, seed=seed % 1000)
    found = cka_samples(x, y, members, debiased=debiased)
    measure = debiased_cka if debiased else linear_cka
    assert found == pytest.approx([measure(x[m], y[m]) for m in members], nan_ok=True)


def test_what_does_not_vary_has_no_cka() -> None:
    constant = np.full((10, 3), 1e8)
    assert np.isnan(linear_cka(constant, np.eye(10)))
    assert np.isnan(debiased_cka(constant, np.eye(10)))


def test_any_kernel_will_do() -> None:
    rng = np.random.default_rng(6)
    x = rng.normal(size=(20, 3))
    k = np.exp(-np.square(x[:, None] - x).sum(-1))
    assert cka_of_grams(k, 3 * k + 2) == pytest.approx(1.0)


def test_too_few_items_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 4"):
        debiased_cka(np.eye(3), np.eye(3))
    with pytest.raises(ValueError, match="two"):
        cka_of_grams(np.eye(3), np.eye(4))
