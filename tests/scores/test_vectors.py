from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isogloss.errors import UnknownName
from isogloss.scores import cosine, csls, csls_scores, margin
from isogloss.types import Vectors


def vectors(rows: list[list[float]]) -> Vectors:
    return Vectors(tuple(f"v{i}" for i in range(len(rows))), np.array(rows, dtype=np.float32))


def test_cosine_by_hand() -> None:
    scores = cosine(vectors([[2, 0], [0, 0], [1e30, 1e30]]), vectors([[1, 0], [0, -5]]))
    np.testing.assert_allclose(scores, [[1, 0], [0, 0], [0.5**0.5, -(0.5**0.5)]], atol=1e-6)
    assert scores.dtype == np.float32


def test_cosine_refuses() -> None:
    with pytest.raises(ValueError, match="2 and 1 dimensions"):
        cosine(vectors([[1, 2]]), vectors([[1]]))
    with pytest.raises(ValueError, match="'v1' holds NaN"):
        cosine(vectors([[1], [np.nan]]), vectors([[1]]))


def test_csls_by_hand() -> None:
    # With one neighbour: rows' best 0.9, 0.8; columns' best 0.9, 0.5.
    scores = np.array([[0.9, 0.5], [0.8, 0.1]], dtype=np.float32)
    expected = [[1.8 - 0.9 - 0.9, 1.0 - 0.9 - 0.5], [1.6 - 0.8 - 0.9, 0.2 - 0.8 - 0.5]]
    np.testing.assert_allclose(csls_scores(scores, neighbours=1), expected, atol=1e-6)
    # More neighbours than there are: all of them.
    rows, columns = scores.mean(axis=1), scores.mean(axis=0)
    expected = 2 * scores - rows[:, None] - columns
    np.testing.assert_allclose(csls_scores(scores, neighbours=99), expected, atol=1e-6)


def test_csls_takes_from_a_hub_what_it_gains_by_being_one() -> None:
    # Target 0 is near everything; target 1 is right for query 1, whose cosine with 0 is larger.
    scores = np.array([[0.95, 0.2], [0.9, 0.85], [0.93, 0.1]], dtype=np.float32)
    assert scores[1].argmax() == 0
    assert csls_scores(scores, neighbours=2)[1].argmax() == 1


@pytest.mark.parametrize("kind", ["ratio", "distance", "absolute"])
def test_margin_by_hand(kind: str) -> None:
    scores = np.array([[0.8, 0.4], [0.2, 0.6]], dtype=np.float32)
    density = np.array([[0.8, 0.7], [0.7, 0.6]])
    expected = {"ratio": scores / density, "distance": scores - density, "absolute": scores}
    found = margin(scores, neighbours=1, kind=kind)  # type: ignore[arg-type]
    np.testing.assert_allclose(found, expected[kind], atol=1e-6)


def test_margin_of_zeros_is_zero_and_of_negative_density_is_refused() -> None:
    assert not margin(np.zeros((2, 3), np.float32)).any()
    negative = np.array([[-0.5, -0.4], [-0.3, 0.9]], dtype=np.float32)
    with pytest.raises(ValueError, match=r"row 0, column 0.*kind='distance'"):
        margin(negative, neighbours=1)
    assert np.isfinite(margin(negative, neighbours=1, kind="distance")).all()


def test_margin_and_csls_refuse() -> None:
    scores = np.ones((2, 2), np.float32)
    with pytest.raises(UnknownName, match="did you mean ratio"):
        margin(scores, kind="ratios")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 1, got 0"):
        csls(vectors([[1]]), vectors([[1]]), neighbours=0)
    with pytest.raises(ValueError, match=r"\(0, 2\)"):
        margin(np.zeros((0, 2), np.float32))
    scores[1, 0] = np.nan
    with pytest.raises(ValueError, match="nan at row 1, column 0"):
        csls_scores(scores)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 999), st.integers(1, 8), st.integers(1, 8), st.integers(1, 12))
def test_laws(seed: int, n: int, m: int, neighbours: int) -> None:
    rng = np.random.default_rng(seed)
    a = vectors(rng.standard_normal((n, 5)).tolist())
    b = vectors(rng.standard_normal((m, 5)).tolist())
    scores = cosine(a, b)
    assert np.abs(scores).max() <= 1
    found = csls(a, b, neighbours=neighbours)
    assert np.abs(found).max() <= 4 + 1e-5
    np.testing.assert_allclose(found, csls(b, a, neighbours=neighbours).T, atol=1e-5)
    positive = np.abs(scores) + np.float32(0.1)
    ratio = margin(positive, neighbours=neighbours)
    np.testing.assert_allclose(ratio, margin(positive.T, neighbours=neighbours).T, atol=1e-5)
    np.testing.assert_allclose(ratio, margin(positive * 7, neighbours=neighbours), rtol=1e-4)
