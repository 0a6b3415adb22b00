from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from isogloss.measures import mexa, mexa_of_table, mutual_best


def test_by_hand() -> None:
    table = np.array([[0.9, 0.1, 0.2], [0.1, 0.5, 0.6], [0.0, 0.4, 0.8]])
    # Item 1 loses its row to 0.6; item 2 wins row (0.8) and column (0.8 above 0.6 and 0.2).
    assert mutual_best(table).tolist() == [True, False, True]
    found = mexa_of_table(table)
    assert found.name == "MEXA"
    assert found.value == pytest.approx(2 / 3)
    assert found.signature["chance"] == pytest.approx(1 / 5)


def test_identity_is_1_and_ties_do_not_count() -> None:
    x = np.random.default_rng(0).normal(size=(20, 5))
    assert mexa(x, 3 * x).value == 1.0
    assert mexa(np.ones((6, 4)), np.ones((6, 4))).value == 0.0
    twice = np.concatenate([x[:1], x])
    assert mexa(twice, twice).per_item.tolist() == [0, 0] + [1] * 19  # type: ignore[union-attr]


@given(arrays(np.float64, (5, 5), elements=st.sampled_from([0.0, 0.25, 0.5, 1.0])))
def test_equals_loops(table: np.ndarray) -> None:
    expected = [
        all(table[i, i] > table[i, j] and table[i, i] > table[j, i] for j in range(5) if j != i)
        for i in range(5)
    ]
    assert mutual_best(table).tolist() == expected


def test_interval_and_bad_tables() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(40, 3))
    found = mexa(x, x + rng.normal(size=(40, 3)))
    assert found.low is not None and found.low <= found.value <= found.high
    assert mexa(x, x, resamples=0).low is None
    with pytest.raises(ValueError, match="NaN"):
        mutual_best(np.full((2, 2), np.nan))
    with pytest.raises(ValueError, match="N at least 2"):
        mutual_best(np.ones((1, 1)))
    with pytest.raises(ValueError, match="row 0 holds NaN"):
        mexa(np.full((3, 2), np.inf), np.ones((3, 2)))
