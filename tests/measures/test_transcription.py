from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isogloss.measures import cer, edit_counts, wer


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        ("abc", "abc", (0, 0, 0)),
        ("abc", "axc", (1, 0, 0)),
        ("abc", "ac", (0, 1, 0)),
        ("ac", "abc", (0, 0, 1)),
        ("kitten", "sitting", (2, 0, 1)),
        ("", "ab", (0, 0, 2)),
        ("ab", "", (0, 2, 0)),
        ("", "", (0, 0, 0)),
    ],
)
def test_counts_by_hand(reference: str, hypothesis: str, expected: tuple[int, int, int]) -> None:
    found = edit_counts(reference, hypothesis)
    assert (found.substitutions, found.deletions, found.insertions) == expected
    assert found.reference_length == len(reference)


text = st.text(alphabet="ab今", max_size=8)


@settings(max_examples=100, deadline=None)
@given(text, text)
def test_laws(a: str, b: str) -> None:
    there, back = edit_counts(a, b), edit_counts(b, a)
    assert there.errors == back.errors
    assert there.errors >= abs(len(a) - len(b))
    assert there.errors <= max(len(a), len(b))
    assert (there.errors == 0) == (a == b)
    # Deletions and insertions account for the difference in length.
    assert there.insertions - there.deletions == len(b) - len(a)


def test_cer_by_hand() -> None:
    found = cer(["我今日食饭", "好"], ["我今天吃饭", "好啊"])
    assert found.value == pytest.approx(3 / 6)
    assert (found.name, found.n, found.higher_is_better) == ("CER", 2, False)
    assert found.per_item is not None
    assert found.per_item.tolist() == [[2, 0, 0, 5], [0, 0, 1, 1]]
    assert found.signature["substitutions"] == 2
    assert found.signature["insertions"] == 1
    assert found.low is not None and found.high is not None and found.low <= 0.5 <= found.high


def test_spacing_case_width_and_punctuation_do_not_count() -> None:
    assert cer(["你好, OK!"], ["你 好ｏｋ。"]).value == 0
    assert cer(["你好!"], ["你好"], keep_punctuation=True).value == pytest.approx(1 / 3)
    assert "no punctuation" in cer(["a"], ["a"]).signature["normalisation"]


def test_cer_may_exceed_one() -> None:
    assert cer(["a"], ["bcd"]).value == 3


def test_empty_references() -> None:
    # An empty reference adds insertions and no length.
    found = cer(["", "ab"], ["x", "ab"])
    assert found.value == 0.5
    assert found.signature["empty_references"] == 1
    with pytest.raises(ValueError, match="all 2 references are empty"):
        cer(["", "。"], ["x", "y"])


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="1 references for 2 hypotheses"):
        cer(["a"], ["a", "b"])
    with pytest.raises(ValueError, match="no item"):
        cer([], [])


def test_wer_counts_words() -> None:
    found = wer(["the cat sat"], ["the bat sat down"])
    assert found.value == pytest.approx(2 / 3)
    assert found.name == "WER"
