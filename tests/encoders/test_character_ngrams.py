from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isogloss.encoders.character_ngrams import (
    as_characters,
    check_orders,
    folded,
    ngram_codes,
    window_codes,
)

TEXTS = st.text(alphabet="abÄß 狗é\u0301\n", max_size=12)


@given(TEXTS, st.integers(1, 4))
def test_equal_windows_have_equal_codes_and_others_have_not(text: str, order: int) -> None:
    codes = window_codes(as_characters(text), order)
    windows = [text[i : i + order] for i in range(len(text) - order + 1)]
    assert len(codes) == len(windows)
    for i, first in enumerate(windows):
        for j, second in enumerate(windows):
            assert (codes[i] == codes[j]) == (first == second)


def test_windows_of_different_length_do_not_share_codes() -> None:
    one = window_codes(as_characters("aaaa"), 1)
    two = window_codes(as_characters("aaaa"), 2)
    assert not set(one.tolist()) & set(two.tolist())


@given(TEXTS)
def test_ngrams_are_those_of_the_text_with_single_spaces(text: str) -> None:
    plain = " ".join(folded(text).split())
    expected = max(0, len(plain)) + max(0, len(plain) - 1)
    assert len(ngram_codes(text, 1, 2)) == expected
    assert np.array_equal(ngram_codes(f"  {text}\n", 1, 2), ngram_codes(text, 1, 2))


def test_text_shorter_than_the_least_ngram_is_one_ngram() -> None:
    assert len(ngram_codes("ab", 3, 5)) == 1
    assert len(ngram_codes(" ", 3, 5)) == 0


def test_case_and_composition_do_not_count_and_places_stay() -> None:
    assert folded("U\u0308BER") == "über"
    assert folded("Straße ẞ İ") == "straße ß İ"
    assert folded("ΣΑΣ") == "σασ"
    text = "Ắn Độ ẞß"
    assert len(folded(text)) == len(text)


def test_lone_surrogates_are_characters() -> None:
    assert len(ngram_codes("a\ud800b", 1, 1)) == 3


def test_codes_are_the_same_in_every_process() -> None:
    script = (
        "from isogloss.encoders.character_ngrams import ngram_codes;"
        "print(ngram_codes('Hund 狗', 1, 2).tolist())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1
    # Written down when the codes were introduced: models on disk depend on them.
    assert ngram_codes("ab", 1, 2).tolist() == GOLDEN


GOLDEN = [15789665419729455745, 15565445264529232784, 11149567948365394770]


def test_orders_out_of_range_are_refused() -> None:
    for low, high in ((0, 3), (4, 3), (1, 17)):
        with pytest.raises(ValueError, match=f"low={low} and high={high}"):
            check_orders(low, high)
