from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isogloss.scores import edit_similarity, paired_edit_similarity

strings = st.lists(st.text(alphabet="ab今", max_size=7), max_size=6)


def slow_distance(a: str, b: str) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[-1]


def test_by_hand() -> None:
    found = edit_similarity(["kitten", "", "ab"], ["sitting", ""])
    np.testing.assert_allclose(found, [[1 - 3 / 7, 0], [0, 1], [0, 0]], atol=1e-6)
    assert found.dtype == np.float32


def test_symbols_of_several_characters() -> None:
    found = edit_similarity([["ts", "a", "u"]], [["t", "s", "a"], ["ts", "a"]])
    np.testing.assert_allclose(found, [[0, 2 / 3]], atol=1e-6)


def test_no_strings() -> None:
    assert edit_similarity([], ["a"]).shape == (0, 1)
    assert edit_similarity(["a"], []).shape == (1, 0)


@settings(max_examples=100, deadline=None)
@given(strings, strings)
def test_equals_the_textbook(a: list[str], b: list[str]) -> None:
    found = edit_similarity(a, b)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            longest = max(len(x), len(y), 1)
            assert abs(found[i, j] - (1 - slow_distance(x, y) / longest)) < 1e-6
    np.testing.assert_array_equal(found, edit_similarity(b, a).T)


def test_blocks_change_nothing(monkeypatch) -> None:
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("abcd"), rng.integers(0, 20))) for _ in range(15)]
    whole = edit_similarity(texts, texts)
    monkeypatch.setattr("isogloss.scores.edit_bits._PAIRS_AT_ONCE", 8)
    monkeypatch.setattr("isogloss.scores.edit_bits._TARGETS_AT_ONCE", 4)
    np.testing.assert_array_equal(whole, edit_similarity(texts, texts))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(alphabet="abc", max_size=150), min_size=1, max_size=4))
def test_strings_of_several_words_of_bits(texts: list[str]) -> None:
    """Around 64 and 128 symbols a carry passes from word to word."""
    others = ["", "a" * 63, "ab" * 32, "abc" * 22, "ba" * 64, "c" * 129]
    found = edit_similarity(texts, others)
    for i, a in enumerate(texts):
        for j, b in enumerate(others):
            right = 1 - slow_distance(a, b) / max(len(a), len(b), 1)
            np.testing.assert_allclose(found[i, j], right, atol=1e-6)


def test_strings_beyond_the_range_of_small_integers() -> None:
    found = edit_similarity(["a", "b"], ["a" * 40_000])
    np.testing.assert_allclose(found, [[1 / 40_000], [0]], atol=1e-7)


@settings(max_examples=40, deadline=None)
@given(strings, strings)
def test_text_and_lists_of_its_characters_are_alike(a: list[str], b: list[str]) -> None:
    as_lists = edit_similarity([list(x) for x in a], [list(x) for x in b])
    np.testing.assert_array_equal(edit_similarity(a, b), as_lists)
    np.testing.assert_array_equal(edit_similarity(a, [list(x) for x in b]), as_lists)


@given(st.lists(st.tuples(st.text("abß好", max_size=9), st.text("abß好", max_size=9)), max_size=12))
def test_pairs_are_the_diagonal_of_the_table(pairs: list[tuple[str, str]]) -> None:
    a, b = [x for x, _ in pairs], [y for _, y in pairs]
    found = paired_edit_similarity(a, b)
    assert found.tolist() == np.diagonal(edit_similarity(a, b)).tolist()
    assert paired_edit_similarity([list(x) for x in a], [list(x) for x in b]).tolist() == (
        found.tolist()
    )


def test_pairs_of_any_length_and_of_other_numbers() -> None:
    long = "x" * 4_000
    assert paired_edit_similarity(["ab", "", long], ["a", "x" * 3, "x"]) == pytest.approx(
        [0.5, 0.0, 1 / 4_000], abs=1e-6
    )
    with pytest.raises(ValueError, match="got 2 and 1"):
        paired_edit_similarity(["a", "b"], ["a"])
