from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isogloss.measures import (
    average_ranks,
    partial_correlation,
    partial_from_matrix,
    pearson,
    percentile_interval,
    resample_counts,
    resampled_table_correlations,
    spearman,
    table_correlation_interval,
    table_correlations,
)

X = np.array([1.0, 2.0, 2.0, 3.0, 5.0, 8.0, 8.0, 9.0])
Y = np.array([2.0, 1.0, 4.0, 3.0, 3.0, 7.0, 9.0, 8.0])
Z = np.array([5.0, 1.0, 3.0, 3.0, 2.0, 6.0, 4.0, 9.0])


def test_by_hand() -> None:
    # x - mean = (-1, 0, 1), y - mean = (-1, 1, 0): 1 / sqrt(2 * 2).
    assert pearson(np.array([1, 2, 3]), np.array([1, 3, 2])) == pytest.approx(0.5)
    assert average_ranks(np.array([10, 20, 20, 5])).tolist() == [2, 3.5, 3.5, 1]
    assert spearman(np.array([1, 10, 100]), np.array([-5, 0, 900])) == pytest.approx(1)
    # Two tied pairs against a strict order: 4 / sqrt(5 * 4).
    tied = spearman(np.array([1, 1, 2, 2]), np.array([1, 2, 3, 4]))
    assert tied == pytest.approx(4 / np.sqrt(5 * 4))


def test_numbers_of_another_program() -> None:
    # scipy 1.17.1: pearsonr(X, Y), spearmanr(X, Y), rankdata(X).
    assert pearson(X, Y) == pytest.approx(0.9058294253333102, abs=1e-12)
    assert spearman(X, Y) == pytest.approx(0.8121361275222275, abs=1e-12)
    assert average_ranks(X).tolist() == [1, 2.5, 2.5, 4, 5, 6.5, 6.5, 8]


def test_partial_is_the_closed_form_and_the_residuals() -> None:
    xy, xz, yz = (pearson(a, b) or 0 for a, b in ((X, Y), (X, Z), (Y, Z)))
    closed = (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))
    assert partial_correlation(X, Y, [Z]) == pytest.approx(closed)
    two = np.stack([Z, Z**2], axis=1)
    design = np.column_stack([np.ones(len(X)), two])

    def rest(column: np.ndarray) -> np.ndarray:
        return column - design @ np.linalg.lstsq(design, column, rcond=None)[0]

    assert partial_correlation(X, Y, list(two.T)) == pytest.approx(pearson(rest(X), rest(Y)))
    ranks = [average_ranks(column) for column in (X, Y, Z)]
    assert partial_correlation(X, Y, [Z], kind="spearman") == pytest.approx(
        partial_correlation(ranks[0], ranks[1], [ranks[2]])
    )
    assert partial_correlation(X, Y, []) == pytest.approx(xy)


def test_what_is_undefined_is_none() -> None:
    constant = np.full(8, 7e9)
    assert pearson(X, constant) is None
    assert spearman(X, constant) is None
    assert pearson(X[:1], Y[:1]) is None
    assert pearson(X[:0], Y[:0]) is None
    assert partial_correlation(X, Y, [X]) is None
    assert partial_correlation(X, Y, [3 - 2 * Y]) is None
    # A control that says nothing, and one that says the same twice, change nothing.
    assert partial_correlation(X, Y, [constant]) == pytest.approx(pearson(X, Y))
    assert partial_correlation(X, Y, [Z, Z]) == pytest.approx(partial_correlation(X, Y, [Z]))


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X, Y[:3], "differ in length"),
        (X[None], Y, "expected"),
        (np.array([1, np.nan]), np.array([1.0, 2.0]), "NaN"),
        (np.array([1, np.inf]), np.array([1.0, 2.0]), "NaN or infinity"),
    ],
)
def test_bad_columns(x: np.ndarray, y: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pearson(x, y)


def test_other_kinds_and_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="kind must be"):
        partial_correlation(X, Y, [Z], kind="kendall")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="square tables"):
        table_correlations([np.ones((2, 3)), np.ones((2, 3))])
    with pytest.raises(ValueError, match="kind must be"):
        table_correlations([np.eye(3)], kind="kendall")  # type: ignore[arg-type]


columns = st.lists(
    st.tuples(*[st.floats(-100, 100, allow_subnormal=False).map(lambda v: round(v, 3))] * 2),
    min_size=3,
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(columns, st.floats(0.5, 20), st.floats(-50, 50))
def test_laws(pairs: list[tuple[float, float]], scale: float, shift: float) -> None:
    x, y = np.array(pairs).T
    found = pearson(x, y)
    if found is None:
        assert min(np.ptp(x), np.ptp(y)) < 1e-6
        return
    assert -1 <= found <= 1
    assert pearson(y, x) == pytest.approx(found, abs=1e-9)
    assert pearson(scale * x + shift, y) == pytest.approx(found, abs=1e-6)
    assert pearson(-x, y) == pytest.approx(-found, abs=1e-9)
    ranked = spearman(x, y)
    assert ranked is not None
    assert spearman(x, np.exp(y / 50)) == pytest.approx(ranked, abs=1e-9)


def test_tables_are_their_cells() -> None:
    rng = np.random.default_rng(0)
    tables = [rng.standard_normal((6, 6)).round(1) for _ in range(3)]
    apart = ~np.eye(6, dtype=bool)
    for kind, measure in (("pearson", pearson), ("spearman", spearman)):
        whole = table_correlations(tables, kind=kind)  # type: ignore[arg-type]
        assert whole[0, 1] == pytest.approx(measure(tables[0].ravel(), tables[1].ravel()))
        off = table_correlations(tables, kind=kind, diagonal=False)  # type: ignore[arg-type]
        assert off[0, 2] == pytest.approx(measure(tables[0][apart], tables[2][apart]))
        partial = partial_correlation(
            *[t.ravel() for t in tables[:2]], [tables[2].ravel()], kind=kind
        )  # type: ignore[arg-type]
        assert partial_from_matrix(whole[None])[0] == pytest.approx(partial)


def test_resampled_tables_are_repeated_rows_without_the_meetings_of_copies() -> None:
    rng = np.random.default_rng(1)
    tables = [rng.standard_normal((4, 4)) for _ in range(2)]
    counts = np.array([2, 0, 1, 1])
    drawn = np.repeat(np.arange(4), counts)
    cells = [(a, b) for i, a in enumerate(drawn) for j, b in enumerate(drawn) if a != b or i == j]
    x, y = (np.array([table[cell] for cell in cells]) for table in tables)
    found = resampled_table_correlations(tables, counts[None].astype(float))
    assert found[0, 0, 1] == pytest.approx(pearson(x, y))
    once = resampled_table_correlations(tables, np.ones((1, 4)))[0]
    np.testing.assert_allclose(once, table_correlations(tables))


def test_a_constant_table_is_unknown_and_warns_nobody() -> None:
    tables = [np.ones((3, 3)), np.arange(9.0).reshape(3, 3)]
    found = table_correlations(tables)
    assert np.isnan(found[0]).all() and found[1, 1] == 1
    assert np.isnan(partial_from_matrix(found[None])[0])
    assert table_correlation_interval(tables, resamples=20) is None
    # A control that does not vary leaves the plain correlation.
    three = [tables[1], tables[1] ** 2, tables[0]]
    assert partial_from_matrix(table_correlations(three)[None])[0] == pytest.approx(
        table_correlations(three)[0, 1]
    )


def test_the_interval_covers_the_truth() -> None:
    # Rows and columns of a table share their meaning, so cells are far from independent.
    truth = 0.5
    covered = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        a, b = rng.standard_normal((2, 25, 3))
        x = a @ a.T
        noise = b @ b.T
        y = truth * x + np.sqrt(1 - truth**2) * noise
        bounds = table_correlation_interval([x, y], diagonal=False, resamples=200, seed=seed)
        assert bounds is not None
        covered += bounds[0] <= truth <= bounds[1]
    assert covered >= 48
    assert table_correlation_interval([x, y], resamples=0) is None


def test_counts_of_crossed_units() -> None:
    blocks = list(resample_counts(4, resamples=50, seed=3))
    assert np.concatenate(blocks).shape == (50, 4)
    assert (np.concatenate(blocks).sum(axis=1) == 4).all()
    speaker, meaning = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    crossed = np.concatenate(
        list(resample_counts(2, 2, resamples=2000, seed=0, of_item=[speaker, meaning]))
    )
    assert crossed.mean() == pytest.approx(1, abs=0.1)
    # Both of a speaker's items fall out together.
    assert ((crossed[:, 0] == 0) | (crossed[:, 2] == 0) | (crossed[:, 1] > 0)).any()
    np.testing.assert_array_equal(crossed[:, 0] * crossed[:, 3], crossed[:, 1] * crossed[:, 2])
    assert list(resample_counts(1, resamples=5)) == []
    assert list(resample_counts(5, resamples=0)) == []
    with pytest.raises(ValueError, match="kinds of units"):
        list(resample_counts(2, 2, of_item=[speaker]))
    assert percentile_interval(np.array([np.nan, 1.0, 1.0])) == (1, 1)
    assert percentile_interval(np.array([np.nan])) is None
