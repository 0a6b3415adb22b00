from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from isogloss.errors import UnknownName
from isogloss.scores.margin import margin
from isogloss.search.mine_pairs import Neighbours, densities, pairs_of


def neighbours_of(scores: np.ndarray, k: int) -> tuple[Neighbours, Neighbours]:
    """Lists of both sides of a whole table."""

    def lists(table: np.ndarray) -> Neighbours:
        columns = np.argsort(-table, axis=1, kind="stable")[:, :k].astype(np.int64)
        return Neighbours(columns, np.take_along_axis(table, columns, 1).astype(np.float32))

    return lists(scores), lists(scores.T)


TABLE = np.array(
    [
        [0.9, 0.2, 0.1],
        [0.6, 0.8, 0.1],
        [0.85, 0.1, 0.2],
    ],
    np.float32,
)


def listed(scores: np.ndarray, k: int, **options: object) -> list[tuple[int, int]]:
    pairs = pairs_of(*neighbours_of(scores, k), neighbours=k, **options)  # type: ignore[arg-type]
    return list(zip(pairs.a.tolist(), pairs.b.tolist(), strict=True))


def test_four_ways_to_take_pairs_by_hand() -> None:
    # With one neighbour and absolute scores: rows prefer 0, 1, 0; columns prefer 0, 1, 2.
    options = {"kind": "absolute"}
    assert listed(TABLE, 1, retrieval="forward", **options) == [(0, 0), (2, 0), (1, 1)]
    assert listed(TABLE, 1, retrieval="backward", **options) == [(0, 0), (1, 1), (2, 2)]
    assert listed(TABLE, 1, retrieval="intersection", **options) == [(0, 0), (1, 1)]
    # 2-0 comes before 1-1, and finds 0 taken.
    assert listed(TABLE, 1, retrieval="max", **options) == [(0, 0), (1, 1), (2, 2)]


def test_margins_scores_and_ranks_by_hand() -> None:
    pairs = pairs_of(*neighbours_of(TABLE, 2), neighbours=2, retrieval="forward")
    # Row 1: (.8 + .6) / 2 = .7, column 1: (.8 + .2) / 2 = .5; .8 / .6 = 1.333.
    place = pairs.a.tolist().index(1)
    assert pairs.b[place] == 1
    assert pairs.margin[place] == pytest.approx(0.8 / 0.6)
    assert pairs.score[place] == pytest.approx(0.8)
    assert (pairs.rank_forward[place], pairs.rank_backward[place]) == (1, 1)
    # Row 2 is best with column 2 by margin: .2 / ((.525 + .15) / 2), not with 0 (.85 / .7).
    place = pairs.a.tolist().index(2)
    assert pairs.b[place] == 0
    assert pairs.margin[place] == pytest.approx(0.85 / ((0.525 + 0.875) / 2))
    assert pairs.rank_backward[place] == 2


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 6), st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_lists_as_long_as_the_sides_give_the_margins_of_the_whole_table(
    n: int, m: int, k: int, seed: int
) -> None:
    scores = np.random.default_rng(seed).uniform(0.05, 1, (n, m)).astype(np.float32)
    forward, backward = neighbours_of(scores, max(n, m))
    whole = {kind: margin(scores, neighbours=k, kind=kind) for kind in ("ratio", "distance")}  # type: ignore[arg-type]
    for kind, table in whole.items():
        # Only the k nearest are candidates, as in LASER.
        near = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        best = np.take_along_axis(table, near, 1).max(axis=1)
        pairs = pairs_of(forward, backward, neighbours=k, kind=kind, retrieval="forward")  # type: ignore[arg-type]
        assert np.allclose(pairs.margin, np.sort(best)[::-1], atol=1e-5)
        assert np.allclose(pairs.margin, table[pairs.a, pairs.b], atol=1e-5)
        assert np.array_equal(pairs.score, scores[pairs.a, pairs.b])


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 4), st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_mutual_pairs_are_the_same_from_both_sides(n: int, m: int, k: int, seed: int) -> None:
    scores = np.random.default_rng(seed).uniform(0.05, 1, (n, m)).astype(np.float32)
    forward, backward = neighbours_of(scores, k)
    there = pairs_of(forward, backward, neighbours=k)
    back = pairs_of(backward, forward, neighbours=k)
    assert set(zip(there.a, there.b, strict=True)) == set(zip(back.b, back.a, strict=True))
    assert len(set(there.a)) == len(set(there.b)) == len(there)
    assert (np.diff(there.margin) <= 0).all()
    most = pairs_of(forward, backward, neighbours=k, retrieval="max")
    assert len(set(most.a)) == len(set(most.b)) == len(most) >= len(there)


def test_equal_margins_are_told() -> None:
    scores = np.array([[0.5, 0.5], [0.1, 0.1]], np.float32)
    pairs = pairs_of(*neighbours_of(scores, 2), neighbours=2, retrieval="forward")
    assert pairs.b.tolist() == [0, 0]
    assert pairs.tied.tolist() == [True, True]
    clear = pairs_of(*neighbours_of(TABLE, 2), neighbours=2)
    assert not clear.tied.any()


def test_places_without_a_neighbour_count_for_nothing() -> None:
    lists = Neighbours(
        np.array([[1, -1, -1], [-1, -1, -1]]), np.array([[0.4, 0, 0], [0, 0, 0]], np.float32)
    )
    assert densities(lists, 3).tolist() == pytest.approx([0.4, 0.0])
    back = Neighbours(
        np.array([[-1, -1, -1], [0, -1, -1]]), np.array([[0, 0, 0], [0.4, 0, 0]], np.float32)
    )
    pairs = pairs_of(lists, back)
    assert (pairs.a.tolist(), pairs.b.tolist()) == ([0], [1])


def test_a_threshold_keeps_what_is_at_least_as_good() -> None:
    pairs = pairs_of(*neighbours_of(TABLE, 2), neighbours=2, retrieval="forward")
    middle = float(pairs.margin[1])
    assert len(pairs.above(middle)) == 2
    assert len(pairs.above(np.nextafter(middle, np.inf))) == 1
    assert len(pairs.above(-np.inf)) == 3
    assert len(pairs.above(np.inf)) == 0


def test_wrong_choices_are_refused() -> None:
    forward, backward = neighbours_of(TABLE, 2)
    with pytest.raises(UnknownName, match="intersection"):
        pairs_of(forward, backward, retrieval="intersect")  # type: ignore[arg-type]
    with pytest.raises(UnknownName, match="ratio"):
        pairs_of(forward, backward, kind="ration")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 1"):
        pairs_of(forward, backward, neighbours=0)
    negative = neighbours_of(TABLE - 1, 2)
    with pytest.raises(ValueError, match="use the distance margin"):
        pairs_of(*negative)
    assert len(pairs_of(*negative, kind="distance")) >= 1
    with pytest.raises(ValueError, match="must be one"):
        Neighbours(np.zeros((2, 2), np.int64), np.zeros((2, 1), np.float32))
