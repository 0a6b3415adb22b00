from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from isogloss.errors import BadRecord, IsoglossError
from isogloss.search.mine_gold import (
    Gold,
    best_threshold,
    cross_fitted,
    gold_from_items,
    gold_from_tsv,
    judged,
    truth_of,
)
from isogloss.search.mine_pairs import PairTable
from search_mining_makers import items_of

if TYPE_CHECKING:
    from pathlib import Path


def table(pairs: list[tuple[int, int, float]]) -> PairTable:
    a, b, margin = (np.array(column) for column in zip(*pairs, strict=True))
    ones = np.ones(len(pairs), np.int64)
    return PairTable(a, b, margin, margin.astype(np.float32), ones, ones, ones == 0)


A, B = tuple("stuvw"), tuple("STUVW")


def test_items_that_share_a_meaning_are_right_and_others_unknown() -> None:
    gold = gold_from_items(items_of(A, meanings=3), items_of(B, meanings=4))
    found = judged(table([(0, 0, 1.3), (1, 2, 1.2), (4, 4, 1.1), (2, 4, 1.0)]), A, B, gold)
    # w-W is unknown on both sides; u has a meaning that W lacks.
    assert found.right.tolist() == [True, False, False]
    assert found.findable.sum() == 3
    complete = Gold(gold.key_a, gold.key_b, complete=True)
    assert len(judged(table([(0, 0, 1.3), (4, 4, 1.1)]), A, B, complete).right) == 2
    with pytest.raises(IsoglossError, match="no meaning is on both sides"):
        gold_from_items(items_of(A, meanings=3), items_of(B))


def test_pairs_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "gold.tsv"
    path.write_text("id_a\tid_b\ns\tS\t1.0\n# note\n\nt\tT\nt\tU\nelsewhere\tS\n", encoding="utf-8")
    gold = gold_from_tsv(path, A, B)
    found = judged(table([(0, 0, 1.3), (1, 2, 1.2), (1, 1, 1.1), (0, 1, 1.0)]), A, B, gold)
    assert found.right.tolist() == [True, True, True, False]
    # t is found once, although both of its pairs are right.
    assert found.found.tolist() == [True, True, False, False]
    assert found.findable.sum() == 2
    path.write_text("s\tS\nalone\n", encoding="utf-8")
    with pytest.raises(BadRecord, match=r"gold\.tsv:2:pair"):
        gold_from_tsv(path, A, B)
    path.write_text("x\ty\n", encoding="utf-8")
    with pytest.raises(IsoglossError, match="such as 's'"):
        gold_from_tsv(path, A, B)


def test_thresholds_by_hand() -> None:
    margin = np.array([1.5, 1.4, 1.3, 1.3, 1.1])
    right = np.array([True, True, False, True, False])
    # Of 4 findable: F1 is .4, .667, 2 * .75 * .75 / 1.5 = .75 at 1.3 (both), .667 at 1.1.
    assert best_threshold(margin, right, right, 4) == 1.3
    assert best_threshold(margin, right, right, 4, 0.9) == 1.4
    assert best_threshold(margin, right, right, 4, 0.75) == 1.3
    wrong = np.zeros(5, np.bool_)
    assert best_threshold(margin, wrong, wrong, 4) is None
    first_wrong = np.array([False, True])
    assert best_threshold(np.array([2.0, 1.0]), first_wrong, first_wrong, 4, 0.9) is None


def test_truth_by_hand() -> None:
    gold = gold_from_items(items_of(A, meanings=4), items_of(B, meanings=4))
    found = judged(table([(0, 0, 1.3), (1, 2, 1.2), (2, 2, 1.1)]), A, B, gold)
    truth = truth_of(found, found.margin >= 1.2)
    assert (truth.judged, truth.findable) == (2, 4)
    assert (truth.precision, truth.recall) == (0.5, 0.25)
    assert truth.f1 == pytest.approx(1 / 3)
    nothing = truth_of(found, found.margin > 9)
    assert (nothing.precision, nothing.recall, nothing.f1) == (None, 0.0, None)


def test_cross_fitting_does_not_flatter() -> None:
    """With labels drawn at random no threshold is any good, though the best fitted one looks so."""
    rng = np.random.default_rng(0)
    fitted, honest = [], []
    for _ in range(40):
        n = 25
        ids = tuple(f"i{rng.integers(1 << 30)}" for _ in range(n))
        right = rng.random(n) < 0.5
        gold = Gold(
            dict.fromkeys(ids, "") | {i: i for i in ids},
            {f"{i}'": i if ok else f"not {i}" for i, ok in zip(ids, right, strict=True)},
        )
        margins = np.sort(rng.random(n))[::-1]
        pairs = table([(i, i, m) for i, m in enumerate(margins)])
        found = judged(pairs, ids, tuple(f"{i}'" for i in ids), gold)
        threshold = best_threshold(found.margin, found.right, found.found, 13, 0.7)
        if threshold is not None:
            fitted.append(truth_of(found, found.margin >= threshold).precision or 0)
        honest.append(cross_fitted(found, 0.7))
    assert np.mean(fitted) > 0.7
    judgements = sum(t.judged for t in honest)
    assert sum((t.precision or 0) * t.judged for t in honest) / judgements < 0.62
