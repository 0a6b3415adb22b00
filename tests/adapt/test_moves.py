"""Centring, mean shift, transport by dimension, discriminants: what moves rows without mixing."""

from __future__ import annotations

import numpy as np
import pytest

from adapt_makers import made, meant, turned
from isogloss.adapt import make_transform
from isogloss.adapt.lda import LDAShift, discriminants
from isogloss.adapt.rows import Rows
from isogloss.adapt.transport import Transport, moments_map, quantiles_map
from isogloss.errors import UnknownName
from isogloss.types import Vectors


def test_centring_removes_a_planted_shift_from_items_it_was_not_fitted_on() -> None:
    rows = meant(2000, 4)
    moved = rows + np.array([3, -2, 1, 0])
    data = made({"a": rows, "b": moved})
    one = make_transform("center").fit(
        data.part(0, 1000).vectors, varieties=data.part(0, 1000).varieties
    )
    rest = data.part(1000, 2000)
    found = one.transform(rest.vectors, varieties=rest.varieties).values
    np.testing.assert_allclose(found[:1000], found[1000:], atol=1e-5)


def test_a_variety_with_one_item_is_centred_on_it_with_a_note() -> None:
    data = made({"a": meant(5, 2), "b": np.array([[7.0, 8.0]])})
    one = make_transform("center").fit(data.vectors, varieties=data.varieties)
    assert one.notes_ == ("variety 'b' has one row, whose place becomes the origin",)
    found = one.transform(data.vectors, varieties=data.varieties).values
    np.testing.assert_array_equal(found[5], [0, 0])


def test_the_mean_shift_is_the_planted_one() -> None:
    rows = meant(50, 3)
    data = made({"a": rows, "b": rows + np.array([1, 2, 3]), "c": rows - 1})
    one = make_transform("shift:target=b").fit(data.vectors, varieties=data.varieties)
    np.testing.assert_allclose(one.vector("a", "b"), [1, 2, 3], atol=1e-5)
    found = one.transform(data.vectors, varieties=data.varieties).values
    for part in (found[:50], found[50:100], found[100:]):
        np.testing.assert_allclose(part, rows + np.array([1, 2, 3]), atol=1e-5)
    only = make_transform("shift:source=a,target=b").fit(data.vectors, varieties=data.varieties)
    found = only.transform(data.vectors, varieties=data.varieties).values
    np.testing.assert_array_equal(found[100:], data.vectors.values[100:])
    with pytest.raises(UnknownName):
        one.vector("a", "d")
    with pytest.raises(UnknownName):
        make_transform("shift:target=d").fit(data.vectors, varieties=data.varieties)
    with pytest.raises(ValueError, match="to itself"):
        make_transform("shift:target=a,source=a")


def test_unit_length_leaves_zero_alone() -> None:
    data = made({"a": np.array([[3.0, 4.0], [0, 0]])})
    found = make_transform("unit").fit(data.vectors, varieties=data.varieties)
    values = found.transform(data.vectors, varieties=data.varieties).values
    np.testing.assert_allclose(values, [[0.6, 0.8], [0, 0]], rtol=1e-6)


def test_moments_by_hand() -> None:
    # Spread 1 about 1 to spread 3 about 10; the second dimension is constant and only moves.
    scale, after = moments_map(np.array([[0.0, 5], [2, 5]]), np.array([[7.0, 1], [13, 3]]))
    np.testing.assert_allclose(scale, [3, 1])
    np.testing.assert_allclose(after, [7, -3])


def test_transport_between_gaussians_matches_mean_and_spread() -> None:
    draw = np.random.default_rng(0)
    data = made({"a": draw.normal(2, 3, (4000, 2)), "b": draw.normal([-1, 5], [1, 0.5], (4000, 2))})
    one = Transport(target="a").fit(data.vectors, varieties=data.varieties)
    found = one.transform(data.vectors, varieties=data.varieties).values[4000:]
    np.testing.assert_allclose(found.mean(axis=0), data.of("a").mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(found.std(axis=0), data.of("a").std(axis=0), rtol=1e-4)


def test_quantiles_of_an_affine_image_give_the_map_back_whatever_the_shape_and_order() -> None:
    draw = np.random.default_rng(1)
    rows = draw.exponential(size=(300, 3))
    image = draw.permutation(rows * [2, 0.5, 1] + [1, -1, 0])
    scale, after = quantiles_map(rows, image)
    np.testing.assert_allclose(scale, [2, 0.5, 1], atol=1e-12)
    np.testing.assert_allclose(after, [1, -1, 0], atol=1e-12)


def test_the_line_through_quantiles_is_the_best_line() -> None:
    draw = np.random.default_rng(2)
    one, other = draw.exponential(size=(200, 1)), draw.standard_normal((200, 1))
    scale, after = quantiles_map(one, other)
    expected = np.polyfit(np.sort(one[:, 0]), np.sort(other[:, 0]), 1)
    np.testing.assert_allclose([scale[0], after[0]], expected, atol=1e-9)


def test_quantiles_of_different_numbers_of_rows_agree_on_a_uniform_spread() -> None:
    one, other = np.linspace(0, 1, 101)[:, None], np.linspace(10, 30, 41)[:, None]
    scale, after = quantiles_map(one, other)
    assert scale[0] == pytest.approx(20, rel=0.02)
    assert after[0] == pytest.approx(10, rel=0.02)


def test_half_the_strength_goes_half_the_way() -> None:
    data = made({"a": meant(20, 3), "b": meant(20, 3, 5) * 2 + 4})
    told = {"varieties": data.varieties}
    whole = Transport(target="a").fit(data.vectors, **told).transform(data.vectors, **told)
    half = Transport(target="a", strength=0.5).fit(data.vectors, **told)
    found = half.transform(data.vectors, **told)
    middle = (whole.values + data.vectors.values) / 2
    np.testing.assert_allclose(found.values, middle, atol=1e-5)


def test_without_a_target_all_come_to_the_spread_of_all() -> None:
    data = made({"a": meant(50, 3), "b": meant(50, 3, 5) * 2 + 4})
    one = Transport().fit(data.vectors, varieties=data.varieties)
    found = one.transform(data.vectors, varieties=data.varieties).values
    for part in (found[:50], found[50:]):
        np.testing.assert_allclose(part.mean(axis=0), data.vectors.values.mean(axis=0), atol=1e-4)
        np.testing.assert_allclose(part.std(axis=0), data.vectors.values.std(axis=0), rtol=1e-4)


def test_one_row_is_only_moved() -> None:
    data = made({"a": meant(9, 2), "b": np.array([[5.0, 5.0]])})
    one = Transport(target="a").fit(data.vectors, varieties=data.varieties)
    assert "has one row" in one.notes_[0]
    np.testing.assert_array_equal(one.maps_["b"].scale, [1, 1])


def test_transport_refuses_what_means_nothing() -> None:
    for options in ({"strength": 1.5}, {"how": "magic"}, {"unseen": "pooled"}):
        with pytest.raises(ValueError):
            Transport(**options)  # type: ignore[arg-type]


def _three() -> Rows:
    draw = np.random.default_rng(3)
    rows = [
        draw.standard_normal((n, 6)) @ turned(6) * 2 + draw.standard_normal(6) * 3
        for n in (50, 70, 90)
    ]
    names = ("a",) * 50 + ("b",) * 70 + ("c",) * 90
    return Rows(np.concatenate(rows), names, (None,) * 210)


def test_the_discriminants_are_those_of_scikit_learn() -> None:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis as Peer

    rows = _three()
    found, values, note = discriminants(rows, shrinkage=0.0)
    peer = Peer(solver="eigen").fit(rows.values, rows.varieties)
    expected = peer.scalings_[:, :2]
    for k in range(2):
        cosine = found[:, k] @ expected[:, k] / np.linalg.norm(found[:, k])
        assert abs(cosine / np.linalg.norm(expected[:, k])) == pytest.approx(1, abs=1e-9)
    np.testing.assert_allclose(values / values.sum(), peer.explained_variance_ratio_, atol=1e-9)
    assert note == ""


def test_the_move_takes_each_mean_to_the_target_along_the_discriminants_only() -> None:
    rows = _three()
    vectors = Vectors(tuple(str(i) for i in range(210)), rows.values.astype(np.float32), "made")
    one = LDAShift(target="a").fit(vectors, varieties=rows.varieties)
    found = one.transform(vectors, varieties=rows.varieties).values
    means = {v: found[np.array(rows.varieties) == v].mean(axis=0) for v in "abc"}
    # Means of three varieties differ in two directions, and the discriminants see both.
    for v in "bc":
        np.testing.assert_allclose((means[v] - means["a"]) @ one.directions_, 0, atol=1e-3)
        gone = one.vector(v, "a")
        along = one.directions_ @ np.linalg.pinv(one.directions_)
        np.testing.assert_allclose(gone @ along, gone, atol=1e-9)
    np.testing.assert_array_equal(found[:50], vectors.values[:50])
    half = LDAShift(target="a", strength=0.5).fit(vectors, varieties=rows.varieties)
    np.testing.assert_allclose(half.maps_["b"].after, one.maps_["b"].after / 2)


def test_discriminants_need_several_varieties_that_vary() -> None:
    one = made({"a": meant(9, 2)})
    with pytest.raises(ValueError, match="nothing to differ from"):
        LDAShift().fit(one.vectors, varieties=one.varieties)
    two = made({"a": meant(1, 2), "b": meant(1, 2) + 1})
    with pytest.raises(ValueError, match="do not vary within"):
        LDAShift().fit(two.vectors, varieties=two.varieties)
    same = made({"a": meant(9, 2), "b": meant(9, 2)})
    with pytest.raises(ValueError, match="do not differ"):
        LDAShift().fit(same.vectors, varieties=same.varieties)
    with pytest.raises(ValueError, match="no place to move from"):
        LDAShift(unseen="pooled")
