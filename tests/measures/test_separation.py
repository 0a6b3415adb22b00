from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isogloss.measures import separation, separation_of_table, separation_samples, unit_rows


def test_by_hand() -> None:
    found = separation_of_table(np.array([[0.9, 0.1], [0.3, 0.7]]))
    assert found.matched == pytest.approx(0.8)
    assert found.random == pytest.approx(0.2)
    assert found.spread == pytest.approx(0.1)
    assert found.separation == pytest.approx(6.0)
    assert found.matched_items.tolist() == [0.9, 0.7]
    assert found.random_items.tolist() == pytest.approx([0.2, 0.2])


def test_orthogonal_items_match_themselves_and_nothing_else() -> None:
    found = separation(np.eye(5), 3 * np.eye(5))
    assert (found.matched, found.random, found.spread) == (1.0, 0.0, 0.0)
    assert np.isnan(found.separation)


def test_one_shared_direction_raises_both_and_not_their_gap() -> None:
    """The point of showing them together: a cone looks aligned until random pairs are shown."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 8)), rng.normal(size=(50, 8))
    cone = separation(x + 30, y + 30)
    assert cone.matched > 0.98
    assert cone.random > 0.98
    assert abs(cone.separation) < 0.5
    assert abs(separation(x, y).matched) < 0.15


@given(st.integers(2, 12), st.integers(0, 2**31))
def test_equals_loops(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, 3)), rng.normal(size=(n, 3))
    cosines = [[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in y] for a in x]
    off = [cosines[i][j] for i in range(n) for j in range(n) if i != j]
    found = separation(x, y)
    assert found.matched == pytest.approx(np.mean([cosines[i][i] for i in range(n)]))
    assert found.random == pytest.approx(np.mean(off))
    assert found.spread == pytest.approx(np.std(off), abs=1e-12)


def test_samples_are_those_of_the_drawn_items_without_pairs_of_copies() -> None:
    rng = np.random.default_rng(1)
    table = rng.normal(size=(6, 6))
    counts = np.array([[1, 1, 1, 1, 1, 1], [2, 0, 1, 0, 3, 0], [6, 0, 0, 0, 0, 0]], dtype=float)
    matched, unrelated, gap = separation_samples(table, counts)
    whole = separation_of_table(table)
    assert (matched[0], unrelated[0], gap[0]) == pytest.approx(
        (whole.matched, whole.random, whole.separation)
    )
    drawn = [0, 0, 2, 4, 4, 4]
    cells = [table[i, j] for i in drawn for j in drawn if i != j]
    assert unrelated[1] == pytest.approx(np.mean(cells))
    assert gap[1] == pytest.approx((matched[1] - np.mean(cells)) / np.std(cells))
    assert np.isnan(unrelated[2])


def test_nan_names_its_row() -> None:
    x = np.ones((3, 2))
    x[1, 0] = np.nan
    with pytest.raises(ValueError, match="row 1 holds NaN"):
        separation(x, np.ones((3, 2)))


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.ones((1, 2)), np.ones((1, 2)), "at least 2"),
        (np.ones((3, 2)), np.ones((2, 2)), "3 and 2 rows"),
        (np.ones((3, 2)), np.ones((3, 4)), "2 and 4 dimensions"),
        (np.ones(3), np.ones(3), r"\(N, D\)"),
    ],
)
def test_shapes_that_do_not_fit(x: np.ndarray, y: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        separation(x, y)


def test_unit_rows_neither_overflow_nor_vanish() -> None:
    rows = unit_rows(np.array([[3e300, 4e300], [3e-300, 4e-300], [0, 0]]))
    assert rows.tolist() == [[0.6, 0.8], [0.6, 0.8], [0, 0]]
