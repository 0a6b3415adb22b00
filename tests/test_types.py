"""The nouns: what they refuse, and how ragged sequences are cut."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isogloss import types
from isogloss.types import Corpus, Item, Measurement, Sequences, Vectors

LENGTHS = (2, 0, 3)
ARRAYS = [np.full((length, 4), index, dtype=np.float32) for index, length in enumerate(LENGTHS)]


@pytest.fixture
def three() -> Sequences:
    """Three items of 2, 0 and 3 steps whose values are the item's number."""
    return Sequences.from_list("abc", ARRAYS, step_seconds=0.04, made_by="test")


def test_from_list_joins_and_getitem_cuts(three: Sequences) -> None:
    assert three.ids == ("a", "b", "c")
    assert three.offsets.tolist() == [0, 2, 2, 5]
    assert three.lengths.tolist() == list(LENGTHS)
    assert len(three) == 3
    for index, array in enumerate(ARRAYS):
        np.testing.assert_array_equal(three[index], array)
    np.testing.assert_array_equal(three[-1], ARRAYS[2])


@pytest.mark.parametrize("index", [3, -4])
def test_an_index_outside_is_refused(index: int, three: Sequences) -> None:
    with pytest.raises(IndexError):
        three[index]


def test_iteration_ends(three: Sequences) -> None:
    assert [len(steps) for steps in three] == list(LENGTHS)


def test_select_reorders_and_keeps_what_it_was_made_by(three: Sequences) -> None:
    chosen = three.select([2, 0, 2])
    assert chosen.ids == ("c", "a", "c")
    assert chosen.lengths.tolist() == [3, 2, 3]
    assert (chosen.step_seconds, chosen.made_by) == (0.04, "test")
    assert not np.shares_memory(chosen.values, three.values)


def test_an_empty_selection_keeps_the_dimension(three: Sequences) -> None:
    empty = three.select([])
    assert len(empty) == 0
    assert empty.values.shape == (0, 4)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8))
def test_from_list_loses_nothing(lengths: list[int]) -> None:
    rng = np.random.default_rng(sum(lengths))
    arrays = [rng.standard_normal((length, 3)).astype(np.float32) for length in lengths]
    sequences = Sequences.from_list([str(i) for i in range(len(arrays))], arrays)
    assert all(np.array_equal(sequences[i], array) for i, array in enumerate(arrays))


def test_words_are_cut_and_chosen_with_their_steps() -> None:
    words = [np.array([0, 1]), np.array([], dtype=np.int64), np.array([-1, 0, 0])]
    found = Sequences.from_list("abc", ARRAYS, words=words)
    assert found.item_words(-1).tolist() == [-1, 0, 0]  # type: ignore[union-attr]
    chosen = found.select([2, 0])
    assert chosen.words is not None
    assert chosen.words.tolist() == [-1, 0, 0, 0, 1]
    empty = found.select([])
    assert empty.words is not None
    assert empty.words.dtype == np.int64
    with pytest.raises(IndexError):
        found.item_words(3)


def test_words_not_known_stay_unknown(three: Sequences) -> None:
    assert three.words is None
    assert three.item_words(0) is None
    assert three.select([0]).words is None


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (np.zeros(4, np.int64), "one a step"),
        (np.zeros(5, np.int32), "int64"),
        (np.full(5, -2), "-1 or more"),
    ],
)
def test_words_that_do_not_fit_are_refused(words: np.ndarray, problem: str) -> None:
    values = np.zeros((5, 2), np.float32)
    with pytest.raises(ValueError, match=problem):
        Sequences(("a",), values, np.array([0, 5]), words=words)
    with pytest.raises(ValueError, match="one array an item"):
        Sequences.from_list(["a"], [values], words=[words[:3]])


def test_from_list_needs_an_array() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Sequences.from_list([], [])


@pytest.mark.parametrize(
    ("values", "offsets", "problem"),
    [
        (np.zeros((5, 2)), [0, 5], "float32"),
        (np.zeros(5, np.float32), [0, 5], "float32"),
        (np.zeros((5, 2), np.float32), [0, 2, 5], "for 1 ids"),
        (np.zeros((5, 2), np.float32), [1, 5], "from 0 to 5"),
        (np.zeros((5, 2), np.float32), [0, 4], "from 0 to 5"),
    ],
)
def test_sequences_that_do_not_fit_are_refused(
    values: np.ndarray, offsets: list[int], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        Sequences(("a",), values, np.array(offsets, np.int64))


def test_offsets_that_fall_are_refused() -> None:
    with pytest.raises(ValueError, match="fall"):
        Sequences(("a", "b"), np.zeros((5, 2), np.float32), np.array([0, 7, 5], np.int64))


@pytest.mark.parametrize(
    ("ids", "values"),
    [(("a",), np.zeros((1, 2))), (("a",), np.zeros((2, 2), np.float32))],
)
def test_vectors_that_do_not_fit_are_refused(ids: tuple[str, ...], values: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"float32|1 ids for 2 rows"):
        Vectors(ids, values)


def test_vectors_have_one_row_an_item() -> None:
    assert len(Vectors(("a", "b"), np.zeros((2, 3), np.float32))) == 2


def test_a_corpus_is_as_long_as_its_items() -> None:
    assert len(Corpus("c", (Item("a", "cmn"), Item("b", "yue")))) == 2


@pytest.mark.parametrize("name", types.__all__)
def test_nouns_are_frozen_data(name: str) -> None:
    noun = getattr(types, name)
    if dataclasses.is_dataclass(noun):
        assert noun.__dataclass_params__.frozen


def test_items_are_equal_by_value_and_measurements_by_identity() -> None:
    assert Item("a", "cmn", words=("x",)) == Item("a", "cmn", words=("x",))
    # Arrays inside have no single truth value, so == must not compare them.
    rows = np.zeros(2, np.float32)
    assert Measurement("R@1", 1.0, per_item=rows) != Measurement("R@1", 1.0, per_item=rows)
