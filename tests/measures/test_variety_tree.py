from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isogloss.measures import complete_linkage, cut_tree, leaf_order, newick


def _distances(v: int, seed: int) -> np.ndarray:
    places = np.random.default_rng(seed).normal(size=(v, 3))
    return np.linalg.norm(places[:, None] - places, axis=2)


@given(st.integers(2, 14), st.integers(0, 2**31))
def test_equals_the_peer(v: int, seed: int) -> None:
    hierarchy = pytest.importorskip("scipy.cluster.hierarchy")
    spatial = pytest.importorskip("scipy.spatial.distance")
    distances = _distances(v, seed)
    expected = hierarchy.linkage(spatial.squareform(distances, checks=False), "complete")
    found = complete_linkage(distances)
    assert found == pytest.approx(expected)
    for groups in range(1, v + 1):
        theirs = hierarchy.fcluster(expected, groups, "maxclust")
        ours = cut_tree(found, groups)
        pairs = set(zip(ours.tolist(), theirs.tolist(), strict=True))
        assert len(pairs) == len(set(ours)) == len(set(theirs)) == groups


def test_by_hand() -> None:
    distances = np.array([[0, 1, 4, 5], [1, 0, 6, 7], [4, 6, 0, 2], [5, 7, 2, 0]], dtype=float)
    found = complete_linkage(distances)
    assert found.tolist() == [[0, 1, 1, 2], [2, 3, 2, 2], [4, 5, 7, 4]]
    assert cut_tree(found, 2).tolist() == [0, 0, 1, 1]
    assert leaf_order(found) == (0, 1, 2, 3)
    names = ["yue", "hak", "fa-prs", "a b's"]
    assert newick(found, names) == "((yue:0.5,hak:0.5):3,(fa-prs:1,'a b''s':1):2.5);"


def test_one_drawing_has_every_thing_once() -> None:
    found = complete_linkage(_distances(9, 4))
    assert sorted(leaf_order(found)) == list(range(9))


@pytest.mark.parametrize(
    ("distances", "message"),
    [
        (np.zeros((1, 1)), "V at least 2"),
        (np.array([[0, np.nan], [np.nan, 0]]), "NaN"),
        (np.array([[0.0, 1.0], [2.0, 0.0]]), "not symmetric"),
    ],
)
def test_bad_distances(distances: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        complete_linkage(distances)
    with pytest.raises(ValueError, match="1 to 3 groups"):
        cut_tree(complete_linkage(_distances(3, 0)), 4)
    with pytest.raises(ValueError, match="2 names"):
        newick(complete_linkage(_distances(3, 0)), ["a", "b"])
