from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isogloss.scores.sentence_path import block_shapes, monotone_path, windows_around

SHAPES = block_shapes(3)


def table_costs(table):  # (N, M) costs of single pairs; a block costs the sum of its cells
    def costs(m, n, i, low, high):
        return np.array(
            [table[i - m : i, j - n : j].sum() for j in range(low, high + 1)], dtype=float
        )

    return costs


def price(table, path, skip):
    total = 0.0
    for left, right in path:
        if left and right:
            total += table[np.ix_(left, right)].sum()
        else:
            total += skip * (len(left) + len(right))
    return total


def cheapest(table, skip, i=0, j=0):
    """The least price from (i, j) to the end, by trying everything."""
    rows, columns = table.shape
    if i == rows and j == columns:
        return 0.0
    found = []
    if i < rows:
        found.append(skip + cheapest(table, skip, i + 1, j))
    if j < columns:
        found.append(skip + cheapest(table, skip, i, j + 1))
    for m, n in SHAPES:
        if i + m <= rows and j + n <= columns:
            own = table[i : i + m, j : j + n].sum()
            found.append(own + cheapest(table, skip, i + m, j + n))
    return min(found)


def assert_covers(path, rows, columns):
    assert [i for left, _ in path for i in left] == list(range(rows))
    assert [j for _, right in path for j in right] == list(range(columns))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 4), st.integers(0, 4), st.floats(0.05, 1.0))
def test_the_path_is_the_cheapest_of_all(seed: int, rows: int, columns: int, skip: float) -> None:
    table = np.random.default_rng(seed).random((rows, columns))
    path = monotone_path(table_costs(table), rows, columns, shapes=SHAPES, skip=skip)
    assert_covers(path, rows, columns)
    assert price(table, path, skip) == pytest.approx(cheapest(table, skip))


def test_a_planted_alignment_is_found() -> None:
    blocks = [((0,), (0,)), ((1,), (1, 2)), ((2, 3), (3,)), ((4,), ()), ((), (4,)), ((5,), (5,))]
    table = np.full((6, 6), 1.0)
    for left, right in blocks:
        table[np.ix_(left, right)] = 0.01
    # Which of two lonely neighbours comes first says nothing.
    path = monotone_path(table_costs(table), 6, 6, shapes=SHAPES, skip=0.3)
    assert sorted(path) == sorted(blocks)


def test_windows_keep_the_path_inside_and_change_nothing_where_they_hold_it() -> None:
    rng = np.random.default_rng(3)
    table = 1.0 - 0.9 * np.eye(40) + 0.05 * rng.random((40, 40))
    whole = monotone_path(table_costs(table), 40, 40, shapes=SHAPES, skip=0.4)
    windows = windows_around(whole, 40, 40, width=2)
    assert windows[0, 0] == 0 and windows[-1, 1] == 40
    assert (windows[:, 1] - windows[:, 0]).max() < 10
    narrow = monotone_path(table_costs(table), 40, 40, shapes=SHAPES, skip=0.4, windows=windows)
    assert narrow == whole


def test_an_empty_side_leaves_all_alone() -> None:
    costs = table_costs(np.zeros((2, 0)))
    assert monotone_path(costs, 2, 0, shapes=SHAPES, skip=1.0) == [((0,), ()), ((1,), ())]
    assert monotone_path(table_costs(np.zeros((0, 0))), 0, 0, shapes=SHAPES, skip=1.0) == []


def test_shapes_by_size() -> None:
    assert block_shapes(4) == ((1, 1), (1, 2), (2, 1), (1, 3), (2, 2), (3, 1))
    with pytest.raises(ValueError, match="at least 2"):
        block_shapes(1)


def test_a_cost_that_is_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN at row 1"):
        monotone_path(table_costs(np.full((1, 1), np.nan)), 1, 1, shapes=SHAPES, skip=1.0)


def test_windows_without_a_path_are_refused() -> None:
    closed = np.array([[0, 0], [0, 0]])
    with pytest.raises(ValueError, match="no path"):
        monotone_path(table_costs(np.ones((1, 2))), 1, 2, shapes=SHAPES, skip=9.0, windows=closed)
