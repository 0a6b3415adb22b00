"""Windows by hand, and spans of tokenizers in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isogloss.encoders.hf_text_tokens import Pieces, pieces_of, windows_of

pytest.importorskip("transformers")

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def pieces(count: int, *, prompt: int = 0) -> Pieces:
    ids = tuple(range(100, 100 + prompt)) + tuple(range(count))
    return Pieces((901,), ids, (902,), prompt, ((0, 1),) * count, (True,) * count)


def test_a_text_that_fits_is_one_window() -> None:
    (window,) = windows_of(pieces(4, prompt=1), 7)
    assert window.ids == (901, 100, 0, 1, 2, 3, 902)
    assert (window.first, window.start, window.keep_from, window.keep_to) == (2, 0, 0, 4)


def test_windows_by_hand() -> None:
    """Room for 8, of which 2 are shared: borders in the middle of what is shared."""
    first, second, third = windows_of(pieces(18), 10)
    assert first.ids == (901, *range(8), 902)
    assert second.ids == (901, *range(6, 14), 902)
    assert third.ids == (901, *range(10, 18), 902)  # the last is as long as the others
    kept = [(one.keep_from, one.keep_to) for one in (first, second, third)]
    assert kept == [(0, 7), (7, 12), (12, 18)]


@given(st.integers(1, 200), st.integers(6, 40), st.integers(0, 3))
def test_every_token_is_kept_once_from_a_window_that_has_it(
    count: int, longest: int, prompt: int
) -> None:
    if longest - prompt - 2 < 4:
        return
    found = windows_of(pieces(count, prompt=prompt), longest)
    kept = []
    for window in found:
        assert len(window.ids) <= longest
        assert window.ids[: 1 + prompt] == (901, *range(100, 100 + prompt))
        assert window.ids[-1] == 902
        for token in range(window.keep_from, window.keep_to):
            assert window.ids[window.first + token - window.start] == token
            kept.append(token)
    assert kept == list(range(count))


def test_no_room_is_said() -> None:
    with pytest.raises(ValueError, match="max_tokens is 8, of which special tokens and prompt"):
        windows_of(pieces(20, prompt=3), 8)


@pytest.mark.parametrize("architecture", ["byt5", "m2m100", "bert", "llama", "mluke"])
def test_numbers_are_the_tokenizers_and_spans_hold_their_text(
    architecture: str, text_folder: Callable[[str], Path]
) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(text_folder(architecture))
    text = "The fox  springt über\n狐狸 đ ﬁn"
    (found,) = pieces_of(tokenizer, [text])
    assert list(found.before + found.ids + found.behind) == tokenizer(text)["input_ids"]
    covered = {place for first, last in found.spans for place in range(first, last)}
    letters = {place for place, character in enumerate(text) if not character.isspace()}
    assert letters <= covered
    firsts = [first for first, last in found.spans if first < last]
    assert firsts == sorted(firsts)
    if architecture == "byt5":  # two bytes of one letter
        assert found.spans[17:21] == ((17, 18), (17, 18), (18, 19), (19, 20))
