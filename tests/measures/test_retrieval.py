from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isogloss.measures import (
    chance_level,
    gold_ranks,
    mean_reciprocal_rank,
    recall_at_k,
    xsim_error,
)

SCORES = np.array(
    [
        [0.9, 0.1, 0.2, 0.3],  # right answer 0: rank 1
        [0.5, 0.5, 0.1, 0.2],  # right answer 1 ties with 0: rank 2
        [0.4, 0.3, 0.2, 0.1],  # right answer 2: rank 3
        [0.7, 0.7, 0.7, 0.7],  # all tie: rank 4
    ],
    dtype=np.float32,
)
GOLD = np.arange(4)


def test_ranks_by_hand_ties_counted_against() -> None:
    found = gold_ranks(SCORES, GOLD)
    assert found.ranks.tolist() == [1, 2, 3, 4]
    assert found.ties.tolist() == [0, 1, 0, 3]


def test_recall_by_hand() -> None:
    at_1, at_3, at_9 = (recall_at_k(SCORES, GOLD, k=k) for k in (1, 3, 9))
    assert (at_1.value, at_3.value, at_9.value) == (0.25, 0.75, 1)
    assert (at_1.name, at_1.n, at_1.higher_is_better) == ("R@1", 4, True)
    assert at_1.per_item is not None
    assert at_1.per_item.tolist() == [1, 0, 0, 0]
    assert at_1.low is not None and at_1.high is not None
    assert at_1.low <= 0.25 <= at_1.high
    assert at_1.signature["queries_with_ties"] == 2
    assert at_3.signature["chance"] == 0.75


def test_recall_from_ranks_equals_recall_from_scores() -> None:
    ranks = gold_ranks(SCORES, GOLD)
    from_ranks = recall_at_k(ranks, k=2, targets=4, signature={"encoder": "x"})
    assert from_ranks.value == recall_at_k(SCORES, GOLD, k=2).value
    assert from_ranks.signature["encoder"] == "x"
    assert from_ranks.signature["chance"] == 0.5


def test_mrr_by_hand() -> None:
    found = mean_reciprocal_rank(SCORES, GOLD)
    assert found.value == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)


def test_xsim_by_hand_both_directions() -> None:
    margins = np.array([[1.2, 1.1], [1.0, 0.9]], dtype=np.float32)
    assert xsim_error(margins, np.array([0, 1])).value == 0.5
    assert xsim_error(margins.T, np.array([0, 1])).value == 0.5
    assert not xsim_error(margins, np.array([0, 1])).higher_is_better
    # A tie for the best is an error.
    assert xsim_error(np.ones((2, 2), np.float32), np.array([0, 1])).value == 1


def test_chance() -> None:
    assert chance_level(50) == 0.02
    assert chance_level(3, 5) == 1
    with pytest.raises(ValueError, match="at least 1"):
        chance_level(0)


def test_chance_is_what_random_scores_reach() -> None:
    rng = np.random.default_rng(0)
    values = [
        recall_at_k(rng.random((20, 20), dtype=np.float32), np.arange(20), k=5, resamples=0).value
        for _ in range(200)
    ]
    assert np.mean(values) == pytest.approx(chance_level(20, 5), abs=0.02)


def test_targets_may_be_more_than_queries() -> None:
    scores = np.array([[0.1, 0.2, 0.9]], dtype=np.float32)
    assert recall_at_k(scores, np.array([2])).value == 1
    assert recall_at_k(scores, np.array([2])).low is None


@pytest.mark.parametrize(
    ("scores", "gold", "message"),
    [
        (np.zeros((0, 3)), np.zeros(0, int), "at least 1"),
        (np.zeros((2, 3)), np.array([0]), "2 column numbers"),
        (np.zeros((2, 3)), np.array([0.0, 1.0]), "float64"),
        (np.zeros((2, 3)), np.array([0, 3]), "3 targets"),
        (np.zeros((2, 3)), np.array([-1, 0]), "3 targets"),
        (np.array([[0.0, 1.0], [np.nan, 2.0]]), np.array([0, 1]), "query 1 hold NaN"),
    ],
)
def test_bad_input(scores: np.ndarray, gold: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gold_ranks(scores.astype(np.float32), gold)


def test_bad_options() -> None:
    with pytest.raises(ValueError, match="k must be at least 1"):
        recall_at_k(SCORES, GOLD, k=0)
    with pytest.raises(ValueError, match="gold is needed"):
        recall_at_k(SCORES)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(1, 9))
def test_laws(seed: int, n: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, (n, m)).astype(np.float32)
    gold = rng.integers(0, m, n)
    found = gold_ranks(scores, gold)
    assert (found.ranks >= 1).all() and (found.ranks <= m).all()
    # Order of targets and any rising change of the scores leave ranks as they are.
    order = rng.permutation(m)
    moved = gold_ranks(scores[:, order], np.argsort(order)[gold])
    np.testing.assert_array_equal(moved.ranks, found.ranks)
    np.testing.assert_array_equal(gold_ranks(scores**3 + 5, gold).ranks, found.ranks)
    recalls = [recall_at_k(scores, gold, k=k, resamples=0).value for k in range(1, m + 1)]
    assert recalls == sorted(recalls) and recalls[-1] == 1
    mrr = mean_reciprocal_rank(scores, gold, resamples=0).value
    assert recalls[0] <= mrr + 1e-9 <= 1 + 1e-9
