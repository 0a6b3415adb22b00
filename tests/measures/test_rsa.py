from __future__ import annotations

import numpy as np
import pytest

from isogloss.measures import rsa, rsa_samples


def _by_peer(x: np.ndarray, y: np.ndarray, kind: str) -> float:
    stats = pytest.importorskip("scipy.stats")
    distance = pytest.importorskip("scipy.spatial.distance")
    a, b = distance.pdist(x, "cosine"), distance.pdist(y, "cosine")
    function = stats.spearmanr if kind == "spearman" else stats.pearsonr
    return float(function(a, b)[0])


@pytest.mark.parametrize("kind", ["pearson", "spearman"])
def test_equals_the_peer(kind: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(15, 4))
    y = x[:, :3] + rng.normal(size=(15, 3))
    assert rsa(x, y, kind=kind) == pytest.approx(_by_peer(x, y, kind))  # type: ignore[arg-type]


def test_rotation_keeps_it_at_1_and_permutation_near_0() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(100, 6))
    assert rsa(x, 2 * x @ np.linalg.qr(rng.normal(size=(6, 6)))[0]) == pytest.approx(1.0)
    assert abs(rsa(x, rng.permutation(x))) < 0.1


def test_no_structure_has_no_correlation() -> None:
    assert np.isnan(rsa(np.eye(5), np.random.default_rng(2).normal(size=(5, 5))))


def test_samples() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(12, 4))
    y = x + rng.normal(size=(12, 4))
    counts = np.ones((2, 12))
    counts[1, 6:] = 0
    found = rsa_samples(x, y, counts, kind="pearson")
    assert found[0] == pytest.approx(rsa(x, y, kind="pearson"))
    assert found[1] == pytest.approx(rsa(x[:6], y[:6], kind="pearson"))
