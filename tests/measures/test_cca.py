from __future__ import annotations

import numpy as np
import pytest

from isogloss.measures import cca_correlations, cca_samples, leading_directions, pwcca, svcca


def _planted(correlations: list[float], n: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Two sides whose canonical correlations are exactly these, hidden by any linear maps."""
    d = len(correlations)
    basis = np.linalg.qr(rng.normal(size=(n, 2 * d)) - 0)[0]
    centred = basis - basis.mean(axis=0)
    basis = np.linalg.qr(centred)[0]
    a, rest = basis[:, :d], basis[:, d:]
    r = np.array(correlations)
    b = a * r + rest * np.sqrt(1 - r**2)
    return a @ rng.normal(size=(d, d)) + 5, b @ rng.normal(size=(d, d)) - 3


def test_planted_correlations_are_found_through_any_linear_map() -> None:
    rng = np.random.default_rng(0)
    x, y = _planted([0.9, 0.5, 0.1], 60, rng)
    assert cca_correlations(x, y) == pytest.approx([0.9, 0.5, 0.1])
    assert svcca(x, y, share=1.0) == pytest.approx(0.5)


def test_equals_the_peer() -> None:
    cross = pytest.importorskip("sklearn.cross_decomposition")
    rng = np.random.default_rng(1)
    x = rng.normal(size=(80, 4))
    y = x[:, :3] @ rng.normal(size=(3, 3)) + rng.normal(size=(80, 3))
    u, v = cross.CCA(n_components=1, max_iter=2000, tol=1e-9).fit_transform(x, y)
    first = abs(np.corrcoef(u[:, 0], v[:, 0])[0, 1])
    assert cca_correlations(x, y)[0] == pytest.approx(first, abs=1e-5)


@pytest.mark.parametrize("measure", [svcca, pwcca])
def test_a_rotation_changes_nothing(measure: object) -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(50, 5)) * [5, 4, 3, 2, 1]
    turned = 3 * x @ np.linalg.qr(rng.normal(size=(5, 5)))[0] + 1
    assert measure(x, turned) == pytest.approx(1.0)  # type: ignore[operator]
    other = rng.normal(size=(50, 5))
    assert svcca(x, other) == pytest.approx(svcca(turned, other))
    assert measure(other, x) == pytest.approx(measure(other, turned))  # type: ignore[operator]


def test_pwcca_weighs_what_the_first_side_is_made_of() -> None:
    """One strong direction that is shared, many weak ones that are not."""
    rng = np.random.default_rng(3)
    x, y = _planted([1.0 - 1e-9, 0.3, 0.2, 0.1], 200, rng)
    basis = np.linalg.qr(x - x.mean(0))[0]
    canonical = basis @ np.linalg.svd(basis.T @ np.linalg.qr(y - y.mean(0))[0])[0]
    strong = canonical * [100, 1, 1, 1]
    assert svcca(strong, y, share=1.0) == pytest.approx(0.4, abs=1e-4)
    assert pwcca(strong, y, share=1.0) == pytest.approx(100.6 / 103, abs=1e-4)


def test_items_no_more_than_dimensions_are_refused() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(10, 10)), rng.normal(size=(10, 10))
    with pytest.raises(ValueError, match="10 items of 10 dimensions"):
        cca_correlations(x, y)
    # Nine directions of ten items still tell everything; with fewer there is something to measure.
    with pytest.raises(ValueError, match="10 items of 9 dimensions"):
        pwcca(rng.normal(size=(10, 20)), rng.normal(size=(10, 20)), keep=10)
    with pytest.raises(ValueError, match="every correlation would be 1"):
        cca_correlations(x[:, :9], y[:, :2])
    assert 0 <= svcca(x, y, keep=3) <= 1


def test_shares_and_numbers_of_directions() -> None:
    rng = np.random.default_rng(5)
    x = np.linalg.qr(rng.normal(size=(40, 3)) - 0)[0]
    x = np.linalg.qr(x - x.mean(axis=0))[0] * [3, 2, 1]
    assert leading_directions(x, share=9 / 14).values.shape == (40, 1)
    assert leading_directions(x, share=0.9).values.shape == (40, 2)
    assert leading_directions(x).values.shape == (40, 3)
    assert leading_directions(x, keep=99).values.shape == (40, 3)
    assert leading_directions(x, keep=2).share == pytest.approx(13 / 14)
    for wrong in ({"keep": 0}, {"share": 0.0}, {"keep": 1, "share": 0.5}):
        with pytest.raises(ValueError, match=r"keep|share"):
            leading_directions(x, **wrong)
    with pytest.raises(ValueError, match="do not vary"):
        leading_directions(np.ones((5, 2)))


@pytest.mark.parametrize("weighted", [False, True])
def test_samples_are_those_of_each_set(weighted: bool) -> None:
    rng = np.random.default_rng(6)
    x = rng.normal(size=(40, 4))
    y = x + rng.normal(size=(40, 4))
    members = rng.random((5, 40)) < 0.6
    members[4] = False
    members[4, :4] = True
    found = cca_samples(x, y, members, weighted=weighted)
    measure = pwcca if weighted else svcca
    expected = [measure(x[m], y[m], share=1.0) for m in members[:4]]
    assert found[:4] == pytest.approx(expected)
    assert np.isnan(found[4])
