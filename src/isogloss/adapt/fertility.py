"""Texts and a tokenizer in, how finely it cuts them out; and how large a vocabulary is enough."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Fertility", "SizeStep", "average_log_probability", "choose_size", "fertility"]


@dataclass(frozen=True, slots=True)
class Fertility:
    """How a tokenizer cuts texts.

    Attributes:
        tokens_per_word: words are what stands between white space; 1 is the least.
        tokens_per_character: for scripts without spaces.
        whole_words: share of words that are one token.
        unknown: share of tokens that are the unknown token.
        words: how many words were counted.
    """

    tokens_per_word: float
    tokens_per_character: float
    whole_words: float
    unknown: float
    words: int


@dataclass(frozen=True, slots=True)
class SizeStep:
    """One vocabulary size: its ALP (nats a line) and the change from the size before, if any."""

    size: int
    alp: float
    change: float | None
    fertility: float


def fertility(tokenizer: Any, texts: Sequence[str]) -> Fertility:
    """How `tokenizer` cuts the words of `texts`; special tokens do not count.

    Raises:
        ValueError: there is no word.
    """
    counted = Counter(word for text in texts for word in text.split())
    words = sum(counted.values())
    if not words:
        raise ValueError(f"{len(texts)} texts hold no word to cut")
    unknown_id = getattr(tokenizer, "unk_token_id", None)
    tokens = whole = unknown = characters = 0
    for word, count in counted.items():
        # Behind a space, as a word stands in a text.
        ids = tokenizer(" " + word, add_special_tokens=False, verbose=False)["input_ids"]
        tokens += count * len(ids)
        whole += count * (len(ids) == 1 and ids[0] != unknown_id)
        unknown += count * (ids.count(unknown_id) if unknown_id is not None else 0)
        characters += count * len(word)
    return Fertility(
        tokens / words, tokens / characters, whole / words, unknown / max(tokens, 1), words
    )


def average_log_probability(tokenizer: Any, texts: Sequence[str]) -> float:
    """ALP: mean over lines of the sum of log unigram probabilities of their tokens, in nats.

    Probabilities are the tokens' shares in these very texts. It is negative, grows towards 0 with
    the vocabulary, and depends on how long lines are. Lines without a token are left out.

    Raises:
        ValueError: no line has a token.

    Source: Zheng et al. 2021 (VoCap), as UniBridge uses it.
    """
    lines = [
        tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"] for text in texts
    ]
    lines = [ids for ids in lines if ids]
    counted = Counter(token for ids in lines for token in ids)
    total = sum(counted.values())
    if not total:
        raise ValueError(f"{len(texts)} texts hold no token")
    return sum(count * math.log(count / total) for count in counted.values()) / len(lines)


def choose_size(
    texts: Sequence[str],
    train: Callable[[Sequence[str], int], Any],
    *,
    start: int = 1000,
    step: int = 1000,
    most: int = 100_000,
    stop: float = 5.0,
    relative: bool = False,
) -> tuple[int, list[SizeStep]]:
    """The vocabulary size from which a larger one gains little, and the curve that led there.

    Sizes grow by `step` from `start` until ALP changes by less than `stop`. UniBridge says 5,
    which is in nats a line: right for lines as long as theirs, too coarse for short ones. With
    `relative`, `stop` is a share of the ALP before, such as 0.01, and does not depend on the
    length of lines.

    Args:
        texts: to train on and to judge on.
        train: texts and size to a tokenizer.
        start: first size.
        step: between sizes.
        most: no larger size is tried.
        stop: least change that goes on.
        relative: see above.

    Returns:
        The last size tried, and every step. Training may give fewer tokens than asked for; then
        texts are used up, and the curve ends there.

    Raises:
        ValueError: sizes or `stop` are not positive, or as `average_log_probability`.
    """
    if start < 1 or step < 1 or most < start or stop <= 0:
        raise ValueError(
            f"start, step and stop must be positive and most at least start, got {start}, {step}, "
            f"{stop}, {most}"
        )
    curve: list[SizeStep] = []
    for size in range(start, most + 1, step):
        tokenizer = train(texts, size)
        alp = average_log_probability(tokenizer, texts)
        change = alp - curve[-1].alp if curve else None
        got = len(tokenizer)
        if curve and got == curve[-1].size:
            break
        curve.append(SizeStep(got, alp, change, fertility(tokenizer, texts).tokens_per_word))
        scale = abs(curve[-2].alp) if relative and change is not None else 1.0
        if change is not None and abs(change) < stop * scale:
            break
    return curve[-1].size, curve
