"""Step vectors in, one vector per item, or one step per word, out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from isogloss.errors import UnknownName
from isogloss.types import Sequences, Vectors

if TYPE_CHECKING:
    import numpy.typing as npt

    from isogloss.types import FloatArray

__all__ = ["POOLINGS", "mean_pool", "pool", "words_pool"]

POOLINGS = ("mean", "first", "last", "weighted", "weighted-down", "max")
"""Names of `pool`."""
_WORD_POOLINGS = ("mean", "first", "last")


def pool(sequences: Sequences, how: str = "mean") -> Vectors:
    """One vector of each item's T steps: (N, D) float32. `made_by` gains ';pool=HOW'.

    Sums are taken in float64, so thousands of steps do not lose precision. An item of one step is
    that step, however it is pooled. Whatever an encoder gives as steps takes part; ours give no
    padding and no special tokens.

    Args:
        sequences: of at least one step each.
        how: 'mean' of the steps; the 'first' or 'last' step; 'weighted', their mean with weights 1,
            2, ... T, so that late steps count most, as those of a decoder have read more;
            'weighted-down', with weights T, ... 2, 1, so that early steps count most; 'max', the
            largest value of each dimension.

    Raises:
        UnknownName: no such pooling.
        ValueError: an item has no steps (its id is named).

    Source: 'weighted' is the position-weighted mean of SGPT (Muennighoff 2022), which MEXA
        (Kargaran et al. 2024) takes for decoders; the code of mPLM-Sim (Lin et al. 2024) weighs
        the other way.
    """
    if how not in POOLINGS:
        raise UnknownName("pooling", how, POOLINGS)
    made_by = f"{sequences.made_by};pool={how}"
    lengths = sequences.lengths
    empty = np.flatnonzero(lengths == 0)
    if len(empty):
        raise ValueError(f"item '{sequences.ids[empty[0]]}' has no steps to pool")
    if not len(sequences):
        return Vectors((), sequences.values[:0], made_by)
    starts, ends = sequences.offsets[:-1], sequences.offsets[1:]
    if how == "first":
        return Vectors(sequences.ids, sequences.values[starts], made_by)
    if how == "last":
        return Vectors(sequences.ids, sequences.values[ends - 1], made_by)
    if how == "max":
        largest = np.maximum.reduceat(sequences.values, starts, axis=0)
        return Vectors(sequences.ids, largest, made_by)
    if how == "mean":
        sums = np.add.reduceat(sequences.values, starts, axis=0, dtype=np.float64)
        return Vectors(sequences.ids, (sums / lengths[:, None]).astype(np.float32), made_by)
    rows = np.empty((len(sequences), sequences.values.shape[1]), dtype=np.float32)
    for row, (start, end) in enumerate(zip(starts, ends, strict=True)):
        weights = np.arange(1, end - start + 1, dtype=np.float64)
        if how == "weighted-down":
            weights = weights[::-1]
        rows[row] = weights @ sequences.values[start:end].astype(np.float64) / weights.sum()
    return Vectors(sequences.ids, rows, made_by)


def mean_pool(sequences: Sequences) -> Vectors:
    """The mean of each item's steps: (N, D) float32; `pool` by its default.

    Raises:
        ValueError: an item has no steps (its id is named).
    """
    return pool(sequences, "mean")


def words_pool(sequences: Sequences, how: str = "mean") -> Sequences:
    """One step for each word that has steps, in the order of the words' numbers.

    `words` of the result says which word a step is: a word of which the tokenizer left nothing is
    absent and moves no other. Steps that belong to no word are left out, so an item may have no
    steps. `made_by` gains ';words=HOW'.

    Args:
        sequences: with `words`.
        how: 'mean' of a word's steps, or its 'first' or 'last'.

    Raises:
        UnknownName: no such pooling.
        ValueError: the words of the steps are not known.
    """
    if how not in _WORD_POOLINGS:
        raise UnknownName("pooling of words", how, _WORD_POOLINGS)
    if sequences.words is None:
        raise ValueError(
            f"the steps of {sequences.made_by or 'this encoder'} do not say which word they belong "
            "to; encode with a text encoder"
        )
    arrays: list[FloatArray] = []
    numbers: list[npt.NDArray[np.int64]] = []
    offsets = np.zeros(len(sequences) + 1, dtype=np.int64)
    for index in range(len(sequences)):
        steps = sequences[index]
        words = sequences.words[sequences.offsets[index] : sequences.offsets[index + 1]]
        own, pooled = _of_words(steps, words, how)
        numbers.append(own)
        arrays.append(pooled)
        offsets[index + 1] = offsets[index] + len(own)
    width = sequences.values.shape[1]
    return Sequences(
        sequences.ids,
        np.concatenate([np.zeros((0, width), np.float32), *arrays]),
        offsets,
        None,
        f"{sequences.made_by};words={how}",
        np.concatenate([np.zeros(0, np.int64), *numbers]),
    )


def _of_words(
    steps: FloatArray, words: npt.NDArray[np.int64], how: str
) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """Numbers of the words there are, rising, and (W, D) one row for each."""
    kept = np.flatnonzero(words >= 0)
    # Stable: the steps of a word stay in their order, also where words interleave.
    order = kept[np.argsort(words[kept], kind="stable")]
    numbers, firsts, counts = np.unique(words[order], return_index=True, return_counts=True)
    if not len(numbers):
        return numbers, steps[:0]
    if how == "first":
        return numbers, steps[order[firsts]]
    if how == "last":
        return numbers, steps[order[firsts + counts - 1]]
    sums = np.add.reduceat(steps[order], firsts, axis=0, dtype=np.float64)
    return numbers, (sums / counts[:, None]).astype(np.float32)
