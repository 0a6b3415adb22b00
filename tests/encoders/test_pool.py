"""Pooling against loops written out, and its words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isogloss.encoders import mean_pool
from isogloss.encoders.pool import POOLINGS, pool, words_pool
from isogloss.errors import UnknownName
from isogloss.types import Sequences


def sequences(lengths: list[int], seed: int = 0) -> Sequences:
    rng = np.random.default_rng(seed)
    arrays = [rng.standard_normal((length, 3)).astype(np.float32) for length in lengths]
    words = [rng.integers(-1, 3, length) for length in lengths]
    ids = [f"i{n}" for n in range(len(lengths))]
    return Sequences.from_list(ids, arrays, made_by="m", words=words)


def by_hand(steps: np.ndarray, how: str) -> np.ndarray:
    count = len(steps)
    weights = {
        "mean": [1.0] * count,
        "weighted": [float(place + 1) for place in range(count)],
        "weighted-down": [float(count - place) for place in range(count)],
        "first": [1.0] + [0.0] * (count - 1),
        "last": [0.0] * (count - 1) + [1.0],
    }
    if how == "max":
        return np.array([max(column) for column in steps.T])
    total = sum(weights[how])
    return sum(w * step.astype(float) for w, step in zip(weights[how], steps, strict=True)) / total


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.sampled_from(POOLINGS))
def test_every_pooling_is_the_loop(lengths: list[int], how: str) -> None:
    found = sequences(lengths)
    pooled = pool(found, how)
    assert pooled.made_by == f"m;pool={how}"
    assert pooled.ids == found.ids
    for index in range(len(lengths)):
        np.testing.assert_allclose(pooled.values[index], by_hand(found[index], how), atol=1e-6)


def test_the_directions_of_weights_by_hand() -> None:
    found = Sequences.from_list(["a"], [np.array([[0.0], [3.0], [6.0]], np.float32)])
    assert pool(found, "weighted").values.tolist() == [[4.0]]  # (1 * 0 + 2 * 3 + 3 * 6) / 6
    assert pool(found, "weighted-down").values.tolist() == [[2.0]]
    assert pool(found, "mean").values.tolist() == mean_pool(found).values.tolist() == [[3.0]]


def test_one_step_is_itself_however_pooled() -> None:
    found = sequences([1, 1])
    for how in POOLINGS:
        np.testing.assert_allclose(pool(found, how).values, found.values, atol=1e-7)


def test_nothing_to_pool_and_unknown_names() -> None:
    with pytest.raises(ValueError, match="item 'i1' has no steps"):
        pool(sequences([2, 0]), "weighted")
    assert pool(sequences([2]).select([]), "last").values.shape == (0, 3)
    with pytest.raises(UnknownName, match="unknown pooling 'weihted'; did you mean weighted"):
        pool(sequences([2]), "weihted")
    with pytest.raises(UnknownName, match="unknown pooling of words 'max'"):
        words_pool(sequences([2]), "max")


@given(st.lists(st.integers(0, 8), min_size=1, max_size=4), st.integers(0, 99))
def test_words_are_pooled_one_by_one(lengths: list[int], seed: int) -> None:
    found = sequences(lengths, seed)
    for how in ("mean", "first", "last"):
        pooled = words_pool(found, how)
        assert pooled.made_by == f"m;words={how}"
        for index in range(len(found)):
            words, own = found.item_words(index), pooled.item_words(index)
            assert words is not None
            assert own is not None
            assert own.tolist() == sorted({int(w) for w in words} - {-1})
            for step, word in zip(pooled[index], own, strict=True):
                expected = by_hand(found[index][words == word], how)
                np.testing.assert_allclose(step, expected, atol=1e-6)


def test_a_word_without_steps_is_absent() -> None:
    values = np.array([[1.0], [2.0], [4.0], [9.0]], np.float32)
    found = Sequences.from_list(["a"], [values], words=[np.array([0, 2, 2, -1])])
    pooled = words_pool(found)
    assert pooled.item_words(0).tolist() == [0, 2]  # type: ignore[union-attr]
    assert pooled.values.tolist() == [[1.0], [3.0]]


def test_steps_without_words_are_refused() -> None:
    found = Sequences.from_list(["a"], [np.zeros((2, 1), np.float32)], made_by="mel:")
    with pytest.raises(ValueError, match="steps of mel: do not say which word"):
        words_pool(found)
