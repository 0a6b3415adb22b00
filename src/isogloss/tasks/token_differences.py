"""Which words of a sentence have no counterpart in the other? A score for every word.

Used by `divergence`. A word is as different as its best cosine with any word of the other sentence
is low; nothing is trained.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from isogloss.encoders import encode_cached
from isogloss.encoders.pool import words_pool
from isogloss.encoders.words import words_of
from isogloss.tasks.sentence_pairs import plain_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from isogloss.types import Encoder, FloatArray, Item, Sequences

__all__ = ["best_cosines", "item_tokens", "spelling_differences", "token_vectors", "unit_rows"]

Floats = npt.NDArray[np.float64]


def item_tokens(item: Item) -> tuple[str, ...]:
    """The words of an item: those that it names, else what `encoders.words` finds in its text."""
    if item.words:
        return item.words
    text = item.text or item.transcript or ""
    return tuple(text[start:end] for start, end in words_of(text))


def token_vectors(
    items: Sequence[Item],
    encoder: Encoder,
    *,
    cache_dir: Path | None = None,
    progress: bool = False,
) -> list[FloatArray]:
    """(W, D) of each item, a row for each of its words.

    Steps are joined to the words that the encoder says they belong to; a word without steps is a
    row of zeros. An encoder that tells no words reads each word by itself.

    Args:
        items: those with the same text and words are encoded once.
        encoder: of text.
        cache_dir: where encoded items are kept; None keeps nothing.
        progress: a bar on stderr.

    Raises:
        ValueError: an item has no words, or a step of it holds NaN or infinity (it is named).
    """
    for item in items:
        if not item_tokens(item):
            raise ValueError(f"item '{item.id}' has no words")
    sequences = encode_cached(encoder, items, cache_dir, progress=progress)
    broken = np.flatnonzero(~np.isfinite(sequences.values).all(axis=1))
    if len(broken):
        row = int(np.searchsorted(sequences.offsets, broken[0], side="right")) - 1
        raise ValueError(
            f"item '{sequences.ids[row]}' holds NaN or infinity; check its text and the encoder"
        )
    if sequences.words is not None and bool((sequences.words >= 0).any()):
        pooled = words_pool(sequences)
        return [_rows(pooled, n, len(item_tokens(item))) for n, item in enumerate(items)]
    words = sorted({word for item in items for word in item_tokens(item)})
    alone = [
        replace(items[0], id=f"word {number}", text=word, transcript=None, words=())
        for number, word in enumerate(words)
    ]
    vectors = encode_cached(encoder, alone, cache_dir, progress=progress)
    place = {word: vectors[number].mean(axis=0) for number, word in enumerate(words)}
    return [np.stack([place[word] for word in item_tokens(item)]) for item in items]


def best_cosines(first: FloatArray, second: FloatArray) -> tuple[Floats, Floats]:
    """The best cosine of every row of `first` (V, D) among `second` (W, D), and the converse.

    A row of zeros has cosine 0 with everything.

    Source: the score of RSD's diff_align is one minus this (Vamvas and Sennrich 2023).
    """
    table = unit_rows(first) @ unit_rows(second).T
    return table.max(axis=1).astype(np.float64), table.max(axis=0).astype(np.float64)


def spelling_differences(first: Sequence[str], second: Sequence[str]) -> tuple[Floats, Floats]:
    """One minus the best Dice coefficient of character bigrams, for the words of both sides."""
    sets = [[_bigrams(word) for word in side] for side in (first, second)]
    table = np.array(
        [[2 * len(a & b) / (len(a) + len(b)) for b in sets[1]] for a in sets[0]], dtype=np.float64
    ).reshape(len(first), len(second))
    return 1.0 - table.max(axis=1), 1.0 - table.max(axis=0)


def _rows(pooled: Sequences, number: int, count: int) -> FloatArray:
    found = np.zeros((count, pooled.values.shape[1]), dtype=np.float32)
    if pooled.words is None:
        raise ValueError("pooled words have lost their numbers")
    places = pooled.words[pooled.offsets[number] : pooled.offsets[number + 1]]
    inside = places < count
    found[places[inside]] = pooled[number][inside]
    return found


def unit_rows(rows: FloatArray) -> FloatArray:
    """(N, D) rows of length 1; a row of zeros stays."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    found: FloatArray = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
    return found


def _bigrams(word: str) -> set[str]:
    padded = f" {plain_text(word)} "
    return {padded[i : i + 2] for i in range(len(padded) - 1)}
