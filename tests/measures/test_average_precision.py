from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isogloss.measures.average_precision import average_precision


def test_by_hand() -> None:
    scores = np.array([[0.9, 0.8, 0.7, 0.6]], np.float32)
    found = average_precision(scores, np.array([[True, False, True, False]]))
    assert found == pytest.approx([(1 / 1 + 2 / 3) / 2])
    # What is not to be ranked comes last and changes nothing.
    with_self = np.array([[-np.inf, 0.9, 0.8, 0.7, 0.6]], np.float32)
    right = np.array([[False, True, False, True, False]])
    assert average_precision(with_self, right) == pytest.approx(found)


def test_equal_scores_are_reached_together() -> None:
    right = np.array([[True, False, False, False]])
    assert average_precision(np.zeros((1, 4), np.float32), right) == pytest.approx([0.25])


tables = st.tuples(st.integers(1, 4), st.integers(1, 8)).flatmap(
    lambda shape: st.tuples(
        st.lists(
            st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.9]), min_size=shape[1], max_size=shape[1]),
            min_size=shape[0],
            max_size=shape[0],
        ),
        st.lists(
            st.lists(st.booleans(), min_size=shape[1], max_size=shape[1]),
            min_size=shape[0],
            max_size=shape[0],
        ),
    )
)


@settings(max_examples=100, deadline=None)
@given(tables)
def test_as_scikit_learn_has_it(drawn) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    scores, right = np.array(drawn[0], np.float32), np.array(drawn[1])
    right[:, 0] |= ~right.any(axis=1)
    found = average_precision(scores, right)
    wanted = [sklearn.average_precision_score(r, s) for r, s in zip(right, scores, strict=True)]
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    order = np.random.default_rng(0).permutation(scores.shape[1])
    np.testing.assert_allclose(average_precision(scores[:, order], right[:, order]), found)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="query 1 has no right answer"):
        average_precision(np.zeros((2, 2), np.float32), np.array([[True, False], [False, False]]))
    with pytest.raises(ValueError, match="query 0 hold NaN"):
        average_precision(np.full((1, 2), np.nan, np.float32), np.ones((1, 2), bool))
    with pytest.raises(ValueError, match="must be one"):
        average_precision(np.zeros((1, 2), np.float32), np.ones((2, 2), bool))
