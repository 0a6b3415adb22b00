from __future__ import annotations

import numpy as np
import pytest

from isogloss.errors import UnknownName
from isogloss.scores import edit_similarity
from isogloss.tasks.ngram_floor import ngram_scores
from isogloss.tasks.sentences import centred, drawn, place_of, rate_over_meanings
from isogloss.tasks.text_floors import NgramFloor, check_floors, edit_floor, plain
from isogloss.types import Vectors


def test_ngrams_are_weighed_by_the_whole_pool() -> None:
    texts = {"a": "the cat", "b": "the dog", "c": "die katze", "d": "a cat sat"}
    floor = NgramFloor(texts)
    whole = floor.similarity(list(texts), list(texts))
    np.testing.assert_allclose(np.diagonal(whole), 1, atol=1e-6)
    np.testing.assert_allclose(whole, whole.T, atol=1e-6)
    assert whole[0, 3] > whole[0, 2]
    # Fitted on the candidates, it is the floor of the measures.
    peer = ngram_scores([texts["a"]], list(texts.values()))
    np.testing.assert_allclose(whole[:1], peer, atol=1e-6)
    one = NgramFloor(texts, fit_on=["a", "b"]).similarity(["a"], ["d"])
    assert not np.allclose(one, whole[0, 3])


def test_long_lines_cost_no_more_than_their_beginning() -> None:
    """A line of 100,000 characters neither fills the memory nor takes minutes."""
    long = "ab" * 50_000
    found = edit_floor([long, "ab"], [long, "ab" * 150, "xyz"])
    assert found[0].tolist()[:2] == [1, 1] and found[0, 2] == 0
    np.testing.assert_allclose(found[1:], edit_similarity(["ab"], ["ab" * 150, "ab" * 150, "xyz"]))
    texts = {"long": plain(long), "short": "ab"}
    assert 0 < NgramFloor(texts).similarity(["long"], ["short"])[0, 0] <= 1


def test_plain_text() -> None:
    assert plain("  Ｈｅｌｌｏ\tWORLD\n") == "hello world"
    assert plain("漢語", "Hans") == "汉语"


def test_unknown_floors() -> None:
    with pytest.raises(UnknownName, match="tfidf"):
        check_floors(("tfdif",))


def test_draws_depend_on_the_key_alone() -> None:
    keys = [f"m{i}" for i in range(200)]
    some = drawn(keys, 50, 0)
    assert len(some) == 50 and some == sorted(some, key=keys.index)
    assert set(drawn(keys[:100], 200, 0)) == set(keys[:100])
    assert set(some) & set(keys[:100]) <= set(drawn(keys[:100], 50, 0))
    assert drawn(keys, 50, 1) != some
    # Two purposes draw independently: a checksum that is linear would tie them together.
    both = [(place_of(k, "a", 0) < 0.5, place_of(k, "b", 0) < 0.5) for k in keys]
    counts = [both.count((x, y)) for x in (True, False) for y in (True, False)]
    assert min(counts) > 30


def test_rate_over_meanings_by_hand() -> None:
    values = np.array([1.0, 0.0, 1.0, 1.0])
    options = {"resamples": 200, "level": 0.95, "seed": 0, "signature": {"encoder": "x"}}
    found = rate_over_meanings("hits", values, ["b", "a", "b", "c"], **options)
    assert found.value == 0.75 and found.n == 4
    assert found.item_keys == ("a", "b", "c")
    assert found.per_item.tolist() == [[0, 1], [2, 2], [1, 1]]
    assert found.low <= 0.75 <= found.high
    one = rate_over_meanings("hits", values, ["a"] * 4, **options)
    assert one.low is None and one.signature["interval"] is None


def test_centred_takes_each_sets_mean() -> None:
    vectors = Vectors(("a", "b", "c"), np.array([[1, 0], [3, 0], [0, 5]], np.float32), "x")
    found = centred(vectors, ["s", "s", "t"])
    assert found.values.tolist() == [[-1, 0], [1, 0], [0, 0]]
    assert found.made_by.endswith("centered") and vectors.values[0, 0] == 1
