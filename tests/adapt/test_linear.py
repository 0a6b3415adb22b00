from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapt_makers import Made, made, meant, turned
from isogloss.adapt import make_transform, orthogonality_deviation
from isogloss.adapt.linear import Ridge, ridge_map, rotation
from isogloss.errors import UnknownName


def fitted(spec: str, data: Made):  # type: ignore[no-untyped-def]
    return make_transform(spec).fit(data.vectors, varieties=data.varieties, meanings=data.meanings)


def test_procrustes_finds_the_planted_rotation_and_applies_it_to_others() -> None:
    rows, turn = meant(80), turned()
    data = made({"b": rows @ turn + 3, "a": rows})
    one = fitted("procrustes:target=a", data.part(0, 40))
    np.testing.assert_allclose(one.maps_["b"].matrix, turn.T, atol=1e-5)
    assert one.deviations_["b"] < 1e-6
    assert one.pairs_ == {"b": 40}
    judged = data.part(40, 80)
    found = one.transform(judged.vectors, varieties=judged.varieties)
    np.testing.assert_allclose(found.values[:40], judged.of("a"), atol=1e-4)
    np.testing.assert_array_equal(found.values[40:], judged.vectors.values[40:])


def test_procrustes_without_centre_turns_about_zero() -> None:
    rows, turn = meant(50, 4), turned(4)
    one = fitted("procrustes:target=a,center=false", made({"b": rows @ turn, "a": rows}))
    assert one.maps_["b"].before is None
    np.testing.assert_allclose(one.maps_["b"].matrix, turn.T, atol=1e-5)


def test_the_scale_is_found_where_asked_for() -> None:
    rows, turn = meant(50, 4), turned(4)
    data = made({"b": rows @ turn / 3, "a": rows})
    one = fitted("procrustes:target=a,scale=true", data)
    np.testing.assert_allclose(one.maps_["b"].matrix, 3 * turn.T, atol=1e-4)
    plain = fitted("procrustes:target=a", data)
    np.testing.assert_allclose(plain.maps_["b"].matrix, turn.T, atol=1e-4)


def test_directions_that_no_pair_spans_are_not_turned() -> None:
    rows = meant(3, 8)
    rows[:, 2:] = 0
    turn = np.eye(8)
    turn[:2, :2] = [[0, 1], [-1, 0]]
    one = fitted("procrustes:target=a,center=false", made({"b": rows @ turn, "a": rows}))
    np.testing.assert_allclose(one.maps_["b"].matrix, turn.T, atol=1e-6)
    assert "3 pairs of 8 dimensions" in one.notes_[0]


@given(st.integers(2, 12), st.integers(2, 20), st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_a_rotation_is_one_whatever_the_pairs(dimensions: int, pairs: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    source = draw.standard_normal((pairs, dimensions))
    target = draw.standard_normal((pairs, dimensions))
    found, _ = rotation(source, target)
    np.testing.assert_allclose(found @ found.T, np.eye(dimensions), atol=1e-9)
    least = np.square(source @ found - target).sum()
    for _ in range(5):
        other = np.linalg.qr(draw.standard_normal((dimensions, dimensions)))[0]
        assert least <= np.square(source @ other - target).sum() + 1e-9


def test_least_squares_is_that_of_numpy() -> None:
    draw = np.random.default_rng(3)
    rows = meant(40, 5)
    other = rows @ draw.standard_normal((5, 5)) + draw.standard_normal((40, 5))
    one = fitted("lstsq:target=a,intercept=false", made({"b": rows, "a": other}))
    expected = np.linalg.lstsq(rows, other, rcond=None)[0]
    np.testing.assert_allclose(one.maps_["b"].matrix, expected, atol=1e-5)
    few = ridge_map(rows[:3], other[:3], 0.0)
    np.testing.assert_allclose(few, np.linalg.pinv(rows[:3]) @ other[:3], atol=1e-9)


@pytest.mark.parametrize("penalty", [0.5, 20.0])
@pytest.mark.parametrize("intercept", [True, False])
def test_ridge_is_that_of_scikit_learn(penalty: float, intercept: bool) -> None:
    from sklearn.linear_model import Ridge as Peer

    draw = np.random.default_rng(4)
    rows = meant(30, 6).astype(np.float32).astype(float)
    other = rows @ draw.standard_normal((6, 6)) + draw.standard_normal((30, 6)) + 2
    data = made({"b": rows, "a": other})
    one = fitted(f"ridge:target=a,penalty={penalty},intercept={str(intercept).lower()}", data)
    peer = Peer(alpha=penalty, fit_intercept=intercept).fit(data.of("b"), data.of("a"))
    found = one.transform(data.vectors, varieties=data.varieties).values[:30]
    np.testing.assert_allclose(found, peer.predict(data.of("b")), atol=1e-4)


def test_the_penalty_is_the_one_with_the_least_error_left_out_one_by_one() -> None:
    draw = np.random.default_rng(5)
    rows = meant(14, 5)
    other = rows @ draw.standard_normal((5, 5)) + 2 * draw.standard_normal((14, 5))
    data = made({"b": rows, "a": other})
    one = fitted("ridge:target=a", data)
    x, y = data.of("b"), data.of("a")
    largest = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)[0] ** 2

    def left_out(penalty: float) -> float:
        error = 0.0
        for i in range(len(x)):
            kept = np.arange(len(x)) != i
            before, after = x[kept].mean(axis=0), y[kept].mean(axis=0)
            matrix = ridge_map(x[kept] - before, y[kept] - after, penalty)
            error += float(np.square((x[i] - before) @ matrix + after - y[i]).sum())
        return error

    # The closed form keeps the mean of all rows, as usual, so only neighbours on the grid differ.
    grid = largest * np.logspace(-4, 2, 13)
    best = int(np.argmin([left_out(p) for p in grid]))
    chosen = int(np.argmin(np.abs(np.log(grid) - np.log(one.penalty_["b"]))))
    assert abs(best - chosen) <= 1


def test_a_low_rank_map_has_that_rank_and_the_least_error() -> None:
    draw = np.random.default_rng(6)
    rows = meant(60, 6)
    planted = draw.standard_normal((6, 2)) @ draw.standard_normal((2, 6))
    data = made({"b": rows, "a": rows @ planted})
    one = fitted("lowrank:target=a,rank=2", data)
    matrix = one.maps_["b"].matrix
    assert np.linalg.matrix_rank(matrix, tol=1e-6) == 2
    np.testing.assert_allclose(matrix, planted, atol=1e-4)
    # sqrt(1 - r / D) is the least that rank 2 of 6 can have.
    assert one.deviations_["b"] >= np.sqrt(1 - 2 / 6) - 1e-9
    noisy = rows @ planted + draw.standard_normal((60, 6))
    x, y = rows - rows.mean(axis=0), noisy - noisy.mean(axis=0)
    best = fitted("lowrank:target=a,rank=2", made({"b": rows, "a": noisy})).maps_["b"].matrix
    error = np.square(x @ best - y).sum()
    for _ in range(20):
        near = best + 0.05 * draw.standard_normal((6, 6))
        left, values, right = np.linalg.svd(near)
        other = left[:, :2] * values[:2] @ right[:2]
        assert error <= np.square(x @ other - y).sum() + 1e-9


def test_a_full_rank_map_is_ridge() -> None:
    data = made({"b": meant(40, 4), "a": meant(40, 4, 9)})
    ridge = fitted("ridge:target=a,penalty=2", data).maps_["b"].matrix
    full = fitted("lowrank:target=a,rank=4,penalty=2", data).maps_["b"].matrix
    np.testing.assert_allclose(full, ridge, atol=1e-9)


def test_the_deviation_by_hand() -> None:
    assert orthogonality_deviation(5 * turned(4)) == pytest.approx(0, abs=1e-7)
    # W'W = diag(4, 0): c = 2, so the deviation is |(2, -2)| / |(4, 0)|.
    assert orthogonality_deviation(np.diag([2.0, 0.0])) == pytest.approx(np.sqrt(8) / 4)
    assert orthogonality_deviation(np.zeros((3, 3))) == 1
    with pytest.raises(ValueError, match="two axes"):
        orthogonality_deviation(np.zeros(3))


def test_items_of_one_meaning_are_paired_by_their_mean() -> None:
    data = made({"b": np.array([[0.0], [2], [4], [6]]), "a": np.array([[1.0], [5], [1], [5]])})
    meanings = ["x", "x", "y", "y", "x", "y", "z", None]
    one = make_transform("lstsq:target=a").fit(
        data.vectors, varieties=data.varieties, meanings=meanings
    )
    # x: 1 to 1, y: 5 to 5.
    assert one.maps_["b"].matrix == pytest.approx(np.array([[1.0]]))
    assert one.pairs_ == {"b": 2}


def test_the_target_is_the_variety_with_most_meanings_unless_named() -> None:
    data = made({"c": meant(9, 2), "b": meant(12, 2), "a": meant(12, 2)})
    assert fitted("lstsq", data).target_ == "a"
    assert fitted("lstsq:target=c", data).target_ == "c"
    with pytest.raises(UnknownName, match="target variety"):
        fitted("lstsq:target=d", data)


def test_too_few_pairs_are_an_exact_error() -> None:
    data = made({"a": meant(5, 2), "b": meant(1, 2)})
    with pytest.raises(ValueError, match=r"variety 'b' shares 1 meanings with 'a'"):
        fitted("procrustes:target=a", data)
    with pytest.raises(ValueError, match=r"variety 'b' shares 0 meanings with 'a'"):
        make_transform("procrustes:target=a").fit(data.vectors, varieties=data.varieties)
    with pytest.raises(ValueError, match="no variety but the target"):
        fitted("procrustes", made({"a": meant(5, 2)}))
    with pytest.raises(ValueError, match="penalty must be 0 or more"):
        Ridge(penalty=-1)


def test_the_pooled_map_serves_a_variety_that_was_not_fitted_on() -> None:
    rows, turn = meant(40, 4), turned(4)
    data = made({"a": rows, "b": rows @ turn, "c": rows @ turn})
    one = fitted("procrustes:target=a,unseen=pooled", data)
    new = data.vectors
    found = one.transform(new, varieties=["d"] * len(new)).values[40:80]
    np.testing.assert_allclose(found, data.of("a"), atol=1e-4)
