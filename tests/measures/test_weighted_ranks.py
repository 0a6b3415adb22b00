from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isogloss.measures.correlation import spearman
from isogloss.measures.weighted_ranks import weighted_spearman

ROWS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=12
)


@given(ROWS)
def test_it_is_the_correlation_of_the_repeated_pairs(rows: list[tuple[int, int, int]]) -> None:
    x, y, weights = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    (found,) = weighted_spearman(x, y, weights[np.newaxis])
    times = weights.astype(int)
    expected = spearman(np.repeat(x, times), np.repeat(y, times))
    assert np.isnan(found) if expected is None else found == pytest.approx(expected)


def test_many_weightings_at_once() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random(30), rng.integers(0, 5, size=30).astype(float)
    weights = rng.integers(0, 3, size=(7, 30)).astype(float)
    one_by_one = [weighted_spearman(x, y, row[np.newaxis])[0] for row in weights]
    assert weighted_spearman(x, y, weights) == pytest.approx(one_by_one)


def test_bad_input_is_told() -> None:
    with pytest.raises(ValueError, match="weights"):
        weighted_spearman(np.zeros(3), np.zeros(3), np.zeros((2, 4)))
    with pytest.raises(ValueError, match="NaN"):
        weighted_spearman(np.array([np.nan, 1.0]), np.zeros(2), np.ones((1, 2)))
    assert np.isnan(weighted_spearman(np.zeros(0), np.zeros(0), np.ones((2, 0)))).all()
