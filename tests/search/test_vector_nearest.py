from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from isogloss.search.vector_nearest import (
    centred_unit_rows,
    check_finite,
    nearest_rows,
    rows_from,
)
from isogloss.types import Vectors
from search_mining_makers import unit_grid


def by_sorting(queries: np.ndarray, rows: np.ndarray, k: int) -> np.ndarray:
    scores = queries.astype(np.float64) @ rows.astype(np.float64).T
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


@given(
    rows=st.integers(1, 60),
    k=st.integers(1, 70),
    seed=st.integers(0, 10_000),
    tile=st.sampled_from([1, 7, 64]),
)
@settings(max_examples=40, deadline=None)
def test_nearest_rows_are_those_of_sorting_all(rows: int, k: int, seed: int, tile: int) -> None:
    from unittest.mock import patch

    kept, _ = centred_unit_rows(unit_grid(rows, 9, seed), None)
    queries, _ = centred_unit_rows(unit_grid(4, 9, seed + 1), None)
    with patch("isogloss.search.vector_nearest._TILE_ROWS", tile):
        found, scores = nearest_rows(queries, kept, k)
    assert found.shape == (4, min(k, rows))
    assert np.array_equal(found, by_sorting(queries, kept, k))
    assert (np.diff(scores, axis=1) <= 0).all()


def test_a_score_does_not_depend_on_what_else_is_there() -> None:
    rows, _ = centred_unit_rows(unit_grid(500, 33), None)
    queries, _ = centred_unit_rows(unit_grid(20, 33, 1), None)
    together, scores = nearest_rows(queries, rows, 5)
    for query in range(len(queries)):
        alone, single = nearest_rows(queries[query : query + 1], rows[together[query]], 5)
        assert np.array_equal(single[0], scores[query])
        assert np.array_equal(alone[0], np.arange(5))


def test_rows_that_are_not_chosen_take_no_place() -> None:
    rows, _ = centred_unit_rows(unit_grid(100, 6), None)
    chosen = np.array([3, 50, 99])
    found, _ = nearest_rows(rows[:2], rows, 10, chosen=chosen)
    assert found.shape == (2, 3)
    assert set(found.ravel().tolist()) == {3, 50, 99}


def test_equal_scores_stand_in_the_given_order() -> None:
    rows = np.tile(np.array([[1, 0]], np.float32), (4, 1))
    found, scores = nearest_rows(rows[:1], rows, 3, order=np.array([2, 0, 3, 1]))
    assert found[0].tolist() == [1, 3, 0]
    assert scores[0].tolist() == [1, 1, 1]
    numbers, values = rows_from(rows[0], rows, 1.0)
    assert numbers.tolist() == [0, 1, 2, 3]
    assert values.tolist() == [1, 1, 1, 1]


def test_the_mean_goes_before_the_length() -> None:
    values = np.array([[3, 1], [1, 1], [1e30, 1], [1e-30, 1]], np.float32)
    unit, length = centred_unit_rows(values, np.array([1, 1], np.float32))
    assert np.allclose(unit, [[1, 0], [0, 0], [1, 0], [-1, 0]])
    assert np.allclose(length, [2, 0, 1e30, 1])


def test_a_row_without_a_number_is_named() -> None:
    broken = Vectors(("a", "b"), np.array([[1, 0], [np.nan, 1]], np.float32))
    with pytest.raises(ValueError, match="item 'b' holds NaN"):
        check_finite(broken)
