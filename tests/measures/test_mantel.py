from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from isogloss.measures import mantel


def _distances(v: int, seed: int) -> np.ndarray:
    places = np.random.default_rng(seed).normal(size=(v, 2))
    return np.linalg.norm(places[:, None] - places, axis=2)


@pytest.mark.parametrize("kind", ["pearson", "spearman"])
def test_correlation_equals_the_peer(kind: str) -> None:
    stats = pytest.importorskip("scipy.stats")
    a, b = _distances(7, 0), _distances(7, 1)
    above = np.triu_indices(7, 1)
    function = stats.spearmanr if kind == "spearman" else stats.pearsonr
    found = mantel(a, b, kind=kind, permutations=9)  # type: ignore[arg-type]
    assert found is not None
    assert found.correlation == pytest.approx(function(a[above], b[above])[0])
    assert (found.n, found.permutations) == (7, 9)


def test_p_comes_near_that_of_every_order() -> None:
    a, b = _distances(5, 2), _distances(5, 3)
    above = np.triu_indices(5, 1)

    def value(order: tuple[int, ...]) -> float:
        return float(np.corrcoef(a[above], b[np.ix_(order, order)][above])[0, 1])

    observed = value((0, 1, 2, 3, 4))
    exact = np.mean([value(order) >= observed - 1e-12 for order in permutations(range(5))])
    found = mantel(a, b, kind="pearson", permutations=4000)
    assert found is not None
    assert found.p == pytest.approx(exact, abs=0.03)


def test_equal_matrices_are_significant_and_unrelated_ones_are_not() -> None:
    a = _distances(10, 4)
    same = mantel(a, 3 * a + 0.0)
    assert same is not None
    assert same.correlation == pytest.approx(1.0)
    assert same.p == pytest.approx(1 / 1000)
    values = [
        mantel(_distances(8, 2 * s), _distances(8, 2 * s + 1), permutations=99) for s in range(40)
    ]
    assert np.mean([one.p < 0.05 for one in values if one is not None]) < 0.2


def test_seeds_and_bad_input() -> None:
    a, b = _distances(6, 5), _distances(6, 6)
    assert mantel(a, b, seed=1) == mantel(a, b, seed=1)
    assert mantel(np.ones((4, 4)) - np.eye(4), _distances(4, 0)) is None
    with pytest.raises(ValueError, match="V at least 4"):
        mantel(_distances(3, 0), _distances(3, 1))
    with pytest.raises(ValueError, match="6 and 5"):
        mantel(a, _distances(5, 0))
    with pytest.raises(ValueError, match="permutations"):
        mantel(a, b, permutations=0)
    with pytest.raises(ValueError, match="kind"):
        mantel(a, b, kind="kendall")  # type: ignore[arg-type]
