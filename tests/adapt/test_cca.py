from __future__ import annotations

import numpy as np
import pytest

from adapt_makers import made, meant, turned
from isogloss.adapt import make_transform
from isogloss.adapt.cca import canonical_directions


def test_the_correlations_are_the_cosines_of_principal_angles() -> None:
    from scipy.linalg import subspace_angles

    draw = np.random.default_rng(0)
    x = draw.standard_normal((50, 4))
    y = x @ draw.standard_normal((4, 6)) + 2 * draw.standard_normal((50, 6))
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    a, b, found = canonical_directions(x, y)
    np.testing.assert_allclose(found, np.sort(np.cos(subspace_angles(x, y)))[::-1], atol=1e-9)
    np.testing.assert_allclose(np.cov((x @ a).T), np.eye(4), atol=1e-9)
    np.testing.assert_allclose((x @ a).T @ (y @ b) / 49, np.diag(found), atol=1e-9)


def test_the_first_variables_are_those_of_scikit_learn() -> None:
    from sklearn.cross_decomposition import CCA as Peer

    draw = np.random.default_rng(1)
    shared = draw.standard_normal((200, 2)) * [2, 1]
    x = np.hstack([shared, draw.standard_normal((200, 2))]) @ turned(4)
    y = np.hstack([shared + 0.3 * draw.standard_normal((200, 2)), draw.standard_normal((200, 2))])
    one, other = Peer(n_components=2, max_iter=2000, tol=1e-12).fit_transform(x, y)
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    a, b, _ = canonical_directions(x, y)
    for k in range(2):
        assert abs(np.corrcoef(x @ a[:, k], one[:, k])[0, 1]) == pytest.approx(1, abs=1e-4)
        assert abs(np.corrcoef(y @ b[:, k], other[:, k])[0, 1]) == pytest.approx(1, abs=1e-4)


def test_a_linear_change_of_the_source_is_undone() -> None:
    draw = np.random.default_rng(2)
    rows = meant(80, 4)
    data = made({"b": rows @ draw.standard_normal((4, 4)) + 7, "a": rows})
    one = make_transform("cca:target=a").fit(
        data.part(0, 40).vectors,
        varieties=data.part(0, 40).varieties,
        meanings=data.part(0, 40).meanings,
    )
    rest = data.part(40, 80)
    found = one.transform(rest.vectors, varieties=rest.varieties).values[:40]
    np.testing.assert_allclose(found, rest.of("a"), atol=1e-3)
    np.testing.assert_allclose(one.correlations_["b"], 1, atol=1e-6)


def test_a_lower_rank_keeps_what_is_shared() -> None:
    draw = np.random.default_rng(3)
    shared = draw.standard_normal((300, 1))
    noise = draw.standard_normal((2, 300, 3))
    data = made({"b": np.hstack([shared, noise[0]]), "a": np.hstack([shared, noise[1]])})
    one = make_transform("cca:target=a,rank=1").fit(
        data.vectors, varieties=data.varieties, meanings=data.meanings
    )
    found = one.transform(data.vectors, varieties=data.varieties).values[:300]
    assert abs(np.corrcoef(found[:, 0], shared[:, 0])[0, 1]) > 0.999
    assert np.linalg.matrix_rank(found - found.mean(axis=0), tol=1e-3) == 1


def test_canonical_space_gives_both_sides_the_same_few_dimensions() -> None:
    rows = meant(60, 5)
    data = made({"b": rows @ turned(5), "a": rows})
    one = make_transform("cca:space=canonical,rank=2").fit(
        data.vectors, varieties=data.varieties, meanings=data.meanings
    )
    found = one.transform(data.vectors, varieties=data.varieties).values
    assert found.shape == (120, 2)
    np.testing.assert_allclose(found[:60], found[60:], atol=1e-3)
    three = made({"a": rows, "b": rows, "c": rows})
    with pytest.raises(ValueError, match="two varieties, got 3"):
        make_transform("cca:space=canonical").fit(
            three.vectors, varieties=three.varieties, meanings=three.meanings
        )


def test_constant_pairs_are_an_error() -> None:
    data = made({"a": np.ones((5, 2)), "b": np.ones((5, 2))})
    with pytest.raises(ValueError, match="do not vary"):
        make_transform("cca").fit(data.vectors, varieties=data.varieties, meanings=data.meanings)
