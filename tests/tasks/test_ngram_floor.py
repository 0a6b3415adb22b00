from __future__ import annotations

import numpy as np
import pytest

from isogloss.tasks.ngram_floor import ngram_scores

ITEMS = ["the quick brown fox", "der schnelle fuchs", "敏捷的棕色狐狸", "a lazy dog, a lazy cat"]
QUERIES = ["a quick fox", "schnelle hunde", "棕色的狗", "zzz", "dog dog dog"]


@pytest.mark.parametrize("orders", [(1, 3), (2, 2), (3, 5)])
def test_scores_are_those_of_scikit_learn(orders: tuple[int, int]) -> None:
    text = pytest.importorskip("sklearn.feature_extraction.text")
    peer = text.TfidfVectorizer(analyzer="char", ngram_range=orders, sublinear_tf=True).fit(ITEMS)
    expected = (peer.transform(QUERIES) @ peer.transform(ITEMS).T).toarray()
    found = ngram_scores(QUERIES, ITEMS, low=orders[0], high=orders[1])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_text_is_nearest_to_itself_and_at_most_1() -> None:
    scores = ngram_scores(ITEMS, ITEMS)
    np.testing.assert_allclose(np.diag(scores), 1, atol=1e-6)
    assert scores.max() <= 1
    assert scores.argmax(axis=1).tolist() == [0, 1, 2, 3]


def test_blank_and_foreign_texts_score_0_with_all() -> None:
    scores = ngram_scores([" ", "дом", "fox"], ["fox", "", "box"])
    assert not scores[:2].any()
    assert not scores[:, 1].any()


def test_only_blank_items_score_0() -> None:
    assert ngram_scores(["fox"], ["", " "]).tolist() == [[0, 0]]


def test_blocks_join(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ngram_scores(QUERIES, ITEMS)
    monkeypatch.setattr("isogloss.tasks.ngram_floor._BLOCK", 2)
    np.testing.assert_array_equal(ngram_scores(QUERIES, ITEMS), whole)


def test_no_texts_and_wrong_orders_are_refused() -> None:
    with pytest.raises(ValueError, match="got 0 and 4"):
        ngram_scores([], ITEMS)
    with pytest.raises(ValueError, match="low=3 and high=2"):
        ngram_scores(QUERIES, ITEMS, low=3, high=2)
