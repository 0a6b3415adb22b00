from __future__ import annotations

import numpy as np
import pytest

from adapt_makers import made, meant, turned
from isogloss.adapt import make_transform
from isogloss.adapt.whiten import ZCA, ledoit_wolf, shrunk_covariance


def test_the_covariance_becomes_the_identity() -> None:
    data = made({"a": meant() @ turned(), "b": meant(seed=3) + 4})
    one = ZCA(eps=0).fit(data.vectors, varieties=data.varieties)
    found = one.transform(data.vectors, varieties=data.varieties).values
    np.testing.assert_allclose(np.cov(found.T), np.eye(10), atol=1e-5)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-5)


def test_the_map_is_the_formula() -> None:
    data = made({"a": meant() @ turned()})
    values, vectors = np.linalg.eigh(np.cov(data.of("a").T))
    expected = vectors @ np.diag(1 / np.sqrt(values + 0.1)) @ vectors.T
    one = ZCA(eps=0.1).fit(data.vectors, varieties=data.varieties)
    np.testing.assert_allclose(one.maps_["*"].matrix, expected, atol=1e-9)


def test_each_variety_by_itself() -> None:
    data = made({"a": meant() @ turned(), "b": meant(seed=3) + 4})
    one = ZCA(eps=0, per="variety").fit(data.vectors, varieties=data.varieties)
    found = one.transform(data.vectors, varieties=data.varieties).values
    for half in (found[:60], found[60:]):
        np.testing.assert_allclose(np.cov(half.T), np.eye(10), atol=1e-5)
        np.testing.assert_allclose(half.mean(axis=0), 0, atol=1e-5)


@pytest.mark.parametrize("shape", [(8, 30), (40, 5), (200, 3)])
def test_the_shrinkage_is_that_of_scikit_learn(shape: tuple[int, int]) -> None:
    from sklearn.covariance import ledoit_wolf_shrinkage

    rows = np.random.default_rng(0).standard_normal(shape) * np.linspace(1, 3, shape[1])
    centred = rows - rows.mean(axis=0)
    assert ledoit_wolf(centred) == pytest.approx(ledoit_wolf_shrinkage(centred), rel=1e-9)


def test_few_rows_are_shrunk_with_a_note() -> None:
    data = made({"a": meant(8, 30)})
    one = ZCA().fit(data.vectors, varieties=data.varieties)
    assert "8 rows of 30 dimensions; the covariance is shrunk" in one.notes_[0]
    assert 0 < one.shrinkage_["*"] < 1
    found = one.transform(data.vectors, varieties=data.varieties)
    assert np.abs(found.values).max() < 100


def test_full_shrinkage_only_scales() -> None:
    found = shrunk_covariance(meant(), 1.0)
    np.testing.assert_allclose(found.matrix, np.eye(10) * found.matrix[0, 0])
    assert ledoit_wolf(np.zeros((4, 3))) == 1


def test_a_direction_that_does_not_vary_becomes_zero() -> None:
    rows = meant()
    rows[:, 3] = 5
    data = made({"a": rows})
    one = make_transform("zca").fit(data.vectors, varieties=data.varieties)
    moved = rows.astype(np.float32)
    moved[:, 3] += 1
    from isogloss.types import Vectors

    found = one.transform(Vectors(data.vectors.ids, moved), varieties=data.varieties).values
    np.testing.assert_allclose(found[:, 3], 0, atol=1e-6)
    assert "1 directions do not vary" in one.notes_[0]


def test_what_cannot_be_whitened_is_named() -> None:
    data = made({"a": meant(5, 2), "b": meant(1, 2)})
    with pytest.raises(ValueError, match=r"variety 'b': 1 row has no covariance"):
        make_transform("zca:per=variety").fit(data.vectors, varieties=data.varieties)
    same = made({"a": np.ones((5, 2))})
    with pytest.raises(ValueError, match="all 5 rows of all varieties are the same"):
        ZCA().fit(same.vectors, varieties=same.varieties)
    with pytest.raises(ValueError, match=r"between 0 and 1 or be auto, got 2"):
        ZCA(shrinkage=2)
    with pytest.raises(ValueError, match="eps must be 0 or more"):
        ZCA(eps=-1)
