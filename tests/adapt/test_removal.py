"""Variety subspaces, outlier dimensions, shared directions, iterative normalisation."""

from __future__ import annotations

import numpy as np
import pytest

from adapt_makers import Made, made, meant, turned
from isogloss.adapt import make_transform
from isogloss.adapt.isotropy import AllButTheTop, ClusterIsotropy, principal_directions
from isogloss.adapt.judge import variety_probe
from isogloss.adapt.subspace import RemoveSubspace, discriminant_probe
from isogloss.adapt.whiten import ledoit_wolf
from isogloss.types import Vectors


def planted(count: int = 400, dimensions: int = 12) -> Made:
    """Four varieties that differ in three turned directions and nowhere else."""
    draw = np.random.default_rng(0)
    rows = draw.standard_normal((count, dimensions))
    turn = turned(dimensions)
    means = np.zeros((4, dimensions))
    means[:, :3] = 3 * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    return made(
        {
            name: (rows + 0.3 * draw.standard_normal(rows.shape) + mean) @ turn
            for name, mean in zip("abcd", means, strict=True)
        }
    )


def probe(data: Made, values: np.ndarray) -> float:  # type: ignore[type-arg]
    found = variety_probe(values, data.varieties, data.meanings)
    assert found is not None
    return found


@pytest.mark.parametrize("spec", ["subspace", "subspace:how=nullspace", "center"])
def test_the_planted_subspace_is_removed_and_the_probe_falls_to_chance(spec: str) -> None:
    data = planted()
    train, rest = data.part(0, 200), data.part(200, 400)
    assert probe(rest, rest.vectors.values) > 0.9
    one = make_transform(spec).fit(
        train.vectors, varieties=train.varieties, meanings=train.meanings
    )
    found = one.transform(rest.vectors, varieties=rest.varieties).values
    # Chance is 0.25; 800 guesses have a standard error of 0.015.
    assert probe(rest, found) < 0.25 + 0.07


def test_what_is_removed_is_what_was_planted() -> None:
    data = planted()
    one = RemoveSubspace().fit(data.vectors, varieties=data.varieties)
    assert one.directions_.shape == (3, 12)
    expected = turned(12)[:3]
    # Both are orthonormal rows of one space.
    values = np.linalg.svd(one.directions_ @ expected.T, compute_uv=False)
    np.testing.assert_allclose(values, 1, atol=0.02)
    np.testing.assert_allclose(one.maps_["*"].matrix @ one.directions_.T, 0, atol=1e-12)


def test_rank_and_centre_are_heeded() -> None:
    data = planted()
    one = RemoveSubspace(rank=1).fit(data.vectors, varieties=data.varieties)
    assert one.directions_.shape == (1, 12)
    moved = RemoveSubspace(center=True).fit(data.vectors, varieties=data.varieties)
    means = np.mean([data.of(v).mean(axis=0) for v in "abcd"], axis=0)
    np.testing.assert_allclose(moved.maps_["*"].before, means, atol=1e-6)
    many = RemoveSubspace(rank=9).fit(data.vectors, varieties=data.varieties)
    assert "span 3 dimensions" in many.notes_[0]
    few = RemoveSubspace(how="nullspace", rank=2).fit(data.vectors, varieties=data.varieties)
    assert len(few.directions_) == 2
    once = RemoveSubspace(how="nullspace", rounds=1).fit(data.vectors, varieties=data.varieties)
    assert len(once.probes_) == 1
    for options in ({"rounds": 2}, {"rank": 0}, {"how": "x"}):
        with pytest.raises(ValueError):
            RemoveSubspace(**options)  # type: ignore[arg-type]
    alone = made({"a": meant(9, 3)})
    with pytest.raises(ValueError, match="nothing to differ from"):
        RemoveSubspace().fit(alone.vectors, varieties=alone.varieties)


def test_every_variety_counts_the_same_for_the_subspace() -> None:
    rows = meant(90, 5)
    data = made({"a": rows[:80], "b": rows[:5] + 1, "c": rows[:5] - [1, 0, 0, 0, 0]})
    one = RemoveSubspace().fit(data.vectors, varieties=data.varieties)
    means = np.stack([data.of(v).mean(axis=0) for v in "abc"])
    found = means @ one.maps_["*"].matrix
    np.testing.assert_allclose(found, np.tile(found[0], (3, 1)), atol=1e-6)


def test_a_variety_that_was_not_fitted_on_is_projected_too() -> None:
    data = planted()
    one = RemoveSubspace().fit(data.vectors, varieties=data.varieties)
    a = one.transform(data.vectors, varieties=data.varieties).values
    b = one.transform(data.vectors, varieties=["new"] * len(data.vectors)).values
    np.testing.assert_array_equal(a, b)


def test_the_probe_is_that_of_scikit_learn() -> None:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis as Peer

    draw = np.random.default_rng(1)
    labels = np.repeat([0, 1, 2], [10, 20, 30])
    rows = draw.standard_normal((60, 4)) + draw.standard_normal((3, 4))[labels] + 5
    weights, bias = discriminant_probe(rows, labels, 3, shrinkage=0.1)
    peer = Peer(solver="lsqr", shrinkage=0.1, priors=[1 / 3] * 3).fit(rows, labels)
    outputs, expected = rows @ weights + bias, peer.decision_function(rows)
    np.testing.assert_allclose(
        outputs - outputs.mean(axis=1, keepdims=True),
        expected - expected.mean(axis=1, keepdims=True),
        atol=1e-9,
    )


def test_the_probe_is_the_same_in_the_span_of_few_rows() -> None:
    draw = np.random.default_rng(3)
    labels = np.repeat([0, 1], [6, 7])
    rows = draw.standard_normal((13, 40)) + labels[:, None]
    weights, bias = discriminant_probe(rows, labels, 2)
    inside = rows - np.stack([rows[labels == k].mean(axis=0) for k in (0, 1)])[labels]
    share = ledoit_wolf(inside)
    matrix = sum(np.cov(rows[labels == k].T, bias=True) / 2 for k in (0, 1))
    matrix = (1 - share) * matrix + share * np.trace(matrix) / 40 * np.eye(40)
    gap = rows[labels == 1].mean(axis=0) - rows[labels == 0].mean(axis=0)
    np.testing.assert_allclose(
        weights[:, 1] - weights[:, 0], np.linalg.solve(matrix, gap), atol=1e-8
    )
    assert bias.shape == (2,)


def test_a_variety_in_the_middle_of_two_others_is_told_too() -> None:
    draw = np.random.default_rng(2)
    rows = {
        v: draw.standard_normal((100, 3)) + np.array([8 * k, 0, 0]) for k, v in enumerate("abc")
    }
    data = made(rows)
    assert probe(data, data.vectors.values) > 0.99


def test_the_probe_of_nothing_is_at_chance() -> None:
    data = planted()
    assert probe(data, np.zeros((1600, 3))) == pytest.approx(0.25, abs=0.05)
    assert variety_probe(np.zeros((4, 2)), ["a", "a", "b", "b"], ["x", "x", "x", "x"]) is None


def test_outlier_dimensions_become_zero() -> None:
    rows = np.random.default_rng(0).standard_normal((50, 40))
    rows[:, 7] += 30
    rows[:, 2] -= 20
    data = made({"a": rows})
    one = make_transform("outliers").fit(data.vectors, varieties=data.varieties)
    # Means: 30, -20 and 38 near 0, with a spread of 5.6: both stand out by more than 3.
    assert one.dimensions_out_ == {"*": (2, 7)}
    found = one.transform(data.vectors, varieties=data.varieties).values
    np.testing.assert_array_equal(found[:, [2, 7]], 0)
    np.testing.assert_array_equal(found[:, :2], data.vectors.values[:, :2])
    most = make_transform("outliers:largest=1").fit(data.vectors, varieties=data.varieties)
    assert most.dimensions_out_ == {"*": (7,)}
    wide = make_transform("outliers:sigma=4").fit(data.vectors, varieties=data.varieties)
    assert wide.dimensions_out_ == {"*": (7,)}
    with pytest.raises(ValueError, match="leave nothing"):
        make_transform("outliers:largest=40").fit(data.vectors, varieties=data.varieties)
    with pytest.raises(ValueError, match="name one of them"):
        make_transform("outliers:largest=4,sigma=2")


def test_no_outlier_is_noted() -> None:
    data = made({"a": np.ones((4, 6))})
    one = make_transform("outliers").fit(data.vectors, varieties=data.varieties)
    assert one.notes_ == ("outliers: *: no dimension stands out",)


@pytest.mark.parametrize("shape", [(50, 6), (5, 20)])
def test_principal_directions_are_those_of_scikit_learn(shape: tuple[int, int]) -> None:
    from sklearn.decomposition import PCA

    rows = np.random.default_rng(2).standard_normal(shape) * np.linspace(3, 1, shape[1])
    found = principal_directions(rows - rows.mean(axis=0), 3)
    peer = PCA(3, svd_solver="full").fit(rows).components_
    np.testing.assert_allclose(np.abs(np.sum(found * peer, axis=1)), 1, atol=1e-9)


def test_all_but_the_top_leaves_no_variance_there() -> None:
    data = made({"a": meant(80, 10) @ turned()})
    one = AllButTheTop(remove=2).fit(data.vectors, varieties=data.varieties)
    found = one.transform(data.vectors, varieties=data.varieties).values
    values = np.linalg.eigvalsh(np.cov(found.T))
    expected = np.linalg.eigvalsh(np.cov(data.of("a").T))
    np.testing.assert_allclose(values[:2], 0, atol=1e-6)
    np.testing.assert_allclose(values[2:], expected[:8], rtol=1e-4)
    assert len(AllButTheTop().fit(data.vectors, varieties=data.varieties).notes_) == 0
    flat = made({"a": np.outer(np.arange(9), [1, 2, 3])})
    noted = AllButTheTop(remove=2).fit(flat.vectors, varieties=flat.varieties)
    assert "only 1 of 2 components vary" in noted.notes_[0]


def test_one_cluster_is_all_but_the_top() -> None:
    data = made({"a": meant(40, 8), "b": meant(40, 8, 4) + 1})
    told = {"varieties": data.varieties}
    one = ClusterIsotropy(clusters=1, remove=2).fit(data.vectors, **told)
    other = AllButTheTop(remove=2).fit(data.vectors, **told)
    np.testing.assert_allclose(
        one.transform(data.vectors, **told).values,
        other.transform(data.vectors, **told).values,
        atol=1e-6,
    )


def test_planted_clusters_lose_their_own_directions() -> None:
    draw = np.random.default_rng(5)
    first = draw.standard_normal((60, 1)) * [[5, 0, 0, 0]] + draw.standard_normal((60, 4)) * 0.1
    second = draw.standard_normal((60, 1)) * [[0, 5, 0, 0]] + draw.standard_normal((60, 4)) * 0.1
    away = np.array([0, 0, 50, 0])
    data = made({"a": np.concatenate([first + away, second - away])})
    one = ClusterIsotropy(clusters=2, remove=1).fit(data.vectors, varieties=data.varieties)
    found = one.transform(data.vectors, varieties=data.varieties).values
    assert np.abs(found).max() < 1
    # A new row belongs to the nearest centre.
    new = Vectors(("n",), np.array([[3, 1, 49, 0]], np.float32))
    changed = one.transform(new, varieties=["a"]).values[0]
    assert abs(changed[0]) < 0.5
    assert changed[1] == pytest.approx(1, abs=0.2)


def test_more_clusters_than_rows_and_equal_rows_are_no_harm() -> None:
    data = made({"a": np.repeat([[1.0, 2.0], [3.0, 4.0]], 5, axis=0)})
    one = ClusterIsotropy(clusters=7).fit(data.vectors, varieties=data.varieties)
    assert "2 different rows make 2 clusters" in one.notes_[0]
    found = one.transform(data.vectors, varieties=data.varieties).values
    np.testing.assert_allclose(found, 0, atol=1e-6)


def test_iterative_normalisation_reaches_both_conditions() -> None:
    data = made({"a": meant() + 4, "b": meant(seed=3) * 5 - 2})
    one = make_transform("iterative").fit(data.vectors, varieties=data.varieties)
    found = one.transform(data.vectors, varieties=data.varieties).values
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    for part in (found[:60], found[60:]):
        assert np.linalg.norm(part.mean(axis=0)) < 1e-4
    assert one.notes_ == ()
    short = make_transform("iterative:rounds=1").fit(data.vectors, varieties=data.varieties)
    assert "after 1 rounds the mean is" in short.notes_[0]
    lone = made({"a": meant(), "b": meant(1)})
    with pytest.raises(ValueError, match=r"variety 'b' has one row"):
        make_transform("iterative").fit(lone.vectors, varieties=lone.varieties)
    everyone = make_transform("iterative:per=all").fit(lone.vectors, varieties=lone.varieties)
    assert list(everyone.means_) == ["*"]


def test_iterative_normalisation_makes_a_turned_space_exactly_alignable() -> None:
    rows = meant(200, 6)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    data = made({"a": rows + 0.5, "b": (rows @ turned(6)) * 3 - 0.7})
    told = {"varieties": data.varieties, "meanings": data.meanings}
    plain = make_transform("procrustes:target=a").fit(data.vectors, **told)
    both = make_transform("iterative+procrustes:target=a").fit(data.vectors, **told)

    def error(one) -> float:  # type: ignore[no-untyped-def]
        found = one.transform(data.vectors, varieties=data.varieties).values
        return float(np.linalg.norm(found[:200] - found[200:]) / np.linalg.norm(found[:200]))

    assert error(both) < 0.3 * error(plain)
