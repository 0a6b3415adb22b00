from __future__ import annotations

import pytest

from isogloss.measures.sentence_links import block_counts, sentence_alignment_scores

GOLD = [((0,), (0,)), ((1,), (1, 2)), ((2,), ()), ((3, 4), (3,))]
FOUND = [((0,), (0,)), ((1,), (1,)), ((), (2,)), ((2,), ()), ((3,), ()), ((4,), (4,))]


def test_counts_by_hand() -> None:
    # Right: 0-0 and the lonely 2. Laxly also 1-1, which shares 1 and 1 with a gold block; 4-4 does
    # not, since 4 belongs with 3 alone.
    assert block_counts(GOLD, FOUND) == (6, 2, 3)


def test_empty_and_repeated_blocks_do_not_count() -> None:
    assert block_counts(GOLD, [((), ()), ((0,), (0,)), ((0,), (0,))]) == (1, 1, 1)


def test_scores_by_hand() -> None:
    scores = {m.name: m for m in sentence_alignment_scores({"d": (GOLD, FOUND)})}
    assert scores["strict precision"].value == pytest.approx(2 / 6)
    # Three gold blocks have both sides; of these 0-0 is found strictly, 1-(1,2) laxly.
    assert scores["strict recall"].value == pytest.approx(1 / 3)
    assert scores["strict F1"].value == pytest.approx(1 / 3)
    assert scores["lax precision"].value == pytest.approx(3 / 6)
    assert scores["lax recall"].value == pytest.approx(2 / 3)
    assert scores["lax F1"].value == pytest.approx(2 * 0.5 * (2 / 3) / (0.5 + 2 / 3))
    assert scores["strict F1"].n == 3
    assert scores["strict F1"].low is None  # one document cannot be resampled


def test_the_gold_is_perfect_and_nothing_is_nought() -> None:
    whole = {m.name: m.value for m in sentence_alignment_scores({"a": (GOLD, GOLD)})}
    assert set(whole.values()) == {1.0}
    none = {m.name: m.value for m in sentence_alignment_scores({"a": (GOLD, [])})}
    assert set(none.values()) == {0.0}


def test_counts_of_documents_are_added_before_dividing() -> None:
    wrong = [((0,), (1,))]
    both = {"a": (GOLD, GOLD), "b": ([((0,), (0,))], wrong)}
    scores = {m.name: m for m in sentence_alignment_scores(both)}
    assert scores["strict precision"].value == pytest.approx(4 / 5)
    assert scores["strict recall"].value == pytest.approx(3 / 4)
    f1 = scores["strict F1"]
    assert f1.low == 0.0 and f1.high == 1.0
    assert f1.item_keys == ("a", "b")


def test_no_document_is_refused() -> None:
    with pytest.raises(ValueError, match="no document"):
        sentence_alignment_scores({})
