from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isogloss.scores import seqsim, seqsim_pair, similarity_map
from isogloss.types import Sequences


def random_sequences(seed: int, lengths: list[int], dimensions: int = 8) -> Sequences:
    rng = np.random.default_rng(seed)
    arrays = [rng.standard_normal((n, dimensions)).astype(np.float32) for n in lengths]
    return Sequences.from_list([f"s{i}" for i in range(len(arrays))], arrays)


def slow_pair(x: np.ndarray, y: np.ndarray) -> float:
    """The definition, step by step, in float64."""
    best_x = [max(cosine(a, b) for b in y) for a in x]
    best_y = [max(cosine(a, b) for a in x) for b in y]
    p, r = float(np.mean(best_x)), float(np.mean(best_y))
    return 0.0 if p <= 0 or r <= 0 else 2 * p * r / (p + r)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / norms) if norms else 0.0


def test_by_hand() -> None:
    # Steps at 0 and 90 degrees against one at 0: P = (1 + 0) / 2, R = 1, F1 = 2 (.5) / 1.5.
    x = np.array([[1, 0], [0, 1]], dtype=np.float32)
    y = np.array([[3, 0]], dtype=np.float32)
    assert seqsim_pair(x, y) == pytest.approx(2 / 3)
    # 45 degrees: both means are cos 45.
    z = np.array([[1, 1]], dtype=np.float32)
    assert seqsim_pair(y, z) == pytest.approx(np.sqrt(0.5))
    np.testing.assert_allclose(similarity_map(x, z), np.full((2, 1), np.sqrt(0.5)), rtol=1e-6)


@pytest.mark.parametrize("budget", [256, 0.01, 0.0001])
def test_equals_the_definition_whatever_the_blocks(budget: float) -> None:
    a = random_sequences(1, [1, 7, 30, 2, 11])
    b = random_sequences(2, [4, 1, 19, 3])
    expected = [[slow_pair(a[i], b[j]) for j in range(len(b))] for i in range(len(a))]
    scores = seqsim(a, b, memory_budget_mb=budget)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, atol=1e-6)


@pytest.mark.parametrize("budget", [256, 0.001])
def test_set_with_itself_equals_the_general_case(budget: float) -> None:
    a = random_sequences(3, [5, 9, 1, 14])
    copy = a.select(range(len(a)))
    itself = seqsim(a, a, memory_budget_mb=budget)
    np.testing.assert_allclose(itself, seqsim(a, copy), atol=1e-6)
    np.testing.assert_array_equal(itself, itself.T)
    np.testing.assert_allclose(np.diag(itself), 1, atol=1e-6)


def test_zero_when_precision_or_recall_is_not_positive() -> None:
    # The plain formula 2PR / (P + R) gives -1.8 for P = .10 and R = -.09, and worse elsewhere.
    x = np.array([[1, 0]], dtype=np.float32)
    assert seqsim_pair(x, -x) == 0
    assert seqsim_pair(x, np.array([[0, 1]], dtype=np.float32)) == 0
    x = np.array([[1, 0], [0.1, -1]], dtype=np.float32)
    y = np.array([[-1, 0], [-1, 0.1], [-1, -0.2]], dtype=np.float32)
    cosines = similarity_map(x, y)
    assert cosines.max(axis=1).mean() < 0 < 1 + cosines.max(axis=0).mean()
    assert seqsim_pair(x, y) == 0


def test_steps_of_norm_zero_have_cosine_zero() -> None:
    silence = np.zeros((3, 2), dtype=np.float32)
    sound = np.array([[1, 0]], dtype=np.float32)
    assert seqsim_pair(silence, sound) == 0
    assert seqsim_pair(silence, silence) == 0
    half = np.array([[1, 0], [0, 0]], dtype=np.float32)
    assert seqsim_pair(half, sound) == pytest.approx(2 / 3)


@pytest.mark.parametrize("scale", [1e-38, 1e-25, 1e25, 1e38])
def test_very_large_and_small_steps(scale: float) -> None:
    a = random_sequences(4, [3])[0]
    a /= np.abs(a).max()
    assert seqsim_pair((a * scale).astype(np.float32), a) == pytest.approx(1, abs=1e-3)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 12), st.integers(1, 6))
def test_laws(seed: int, t: int, u: int, dimensions: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((t, dimensions)).astype(np.float32)
    y = rng.standard_normal((u, dimensions)).astype(np.float32)
    score = seqsim_pair(x, y)
    assert 0 <= score <= 1
    assert seqsim_pair(x, x) == pytest.approx(1, abs=1e-5)
    assert seqsim_pair(y, x) == pytest.approx(score, abs=1e-6)
    scales = rng.uniform(0.1, 10, (t, 1)).astype(np.float32)
    assert seqsim_pair(x * scales, y) == pytest.approx(score, abs=1e-5)
    assert seqsim_pair(rng.permutation(x), rng.permutation(y)) == pytest.approx(score, abs=1e-5)
    rotation = np.linalg.qr(rng.standard_normal((dimensions, dimensions)))[0].astype(np.float32)
    assert seqsim_pair(x @ rotation, y @ rotation) == pytest.approx(score, abs=1e-5)


def test_company_changes_nothing() -> None:
    a = random_sequences(5, [6, 2, 40, 3])
    b = random_sequences(6, [5, 33])
    together = seqsim(a, b)
    for i in range(len(a)):
        for j in range(len(b)):
            assert seqsim_pair(a[i], b[j]) == pytest.approx(together[i, j], abs=1e-6)


def test_a_shared_mean_squeezes_scores_together() -> None:
    a, b = random_sequences(7, [60] * 4, 256), random_sequences(8, [60] * 4, 256)
    moved_a = Sequences(a.ids, a.values + np.float32(3), a.offsets)
    moved_b = Sequences(b.ids, b.values + np.float32(3), b.offsets)
    assert seqsim(a, b).max() < 0.25
    assert seqsim(moved_a, moved_b).min() > 0.85


def test_empty_sets_are_fine_and_empty_sequences_are_not() -> None:
    a = random_sequences(9, [3, 2])
    none = a.select([])
    assert seqsim(none, a).shape == (0, 2)
    assert seqsim(a, none).shape == (2, 0)
    assert seqsim(none, none).shape == (0, 0)
    broken = Sequences(("full", "hollow"), a[0], np.array([0, 3, 3]))
    with pytest.raises(ValueError, match="'hollow' has no steps"):
        seqsim(a, broken)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_steps_are_refused_by_id(value: float) -> None:
    a = random_sequences(10, [3, 4, 2])
    a.values[5, 1] = value
    with pytest.raises(ValueError, match="'s1' holds NaN or infinity at step 2"):
        seqsim(random_sequences(10, [3]), a)
    with pytest.raises(ValueError, match="'y' holds NaN"):
        similarity_map(a[0], a[1])


def test_other_bad_input() -> None:
    a, b = random_sequences(0, [2], 3), random_sequences(0, [2], 4)
    with pytest.raises(ValueError, match="3 and 4 dimensions"):
        seqsim(a, b)
    with pytest.raises(ValueError, match="memory_budget_mb"):
        seqsim(a, a, memory_budget_mb=0)
    with pytest.raises(ValueError, match=r"steps, dimensions.*\(3,\)"):
        seqsim_pair(np.ones(3, np.float32), a[0])
    with pytest.raises(ValueError, match="x has 3 dimensions and y has 4"):
        similarity_map(a[0], b[0])
