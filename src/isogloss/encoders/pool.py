"""Step vectors in, one vector per item out."""

from __future__ import annotations

import numpy as np

from isogloss.types import Sequences, Vectors

__all__ = ["mean_pool"]


def mean_pool(sequences: Sequences) -> Vectors:
    """The mean of each item's steps: (N, D) float32.

    Means are taken in float64, so thousands of steps do not lose precision. `made_by` gains
    ';pool=mean'.

    Raises:
        ValueError: an item has no steps (its id is named).
    """
    lengths = sequences.lengths
    empty = np.flatnonzero(lengths == 0)
    if len(empty):
        raise ValueError(f"item '{sequences.ids[empty[0]]}' has no steps to pool")
    if not len(sequences):
        return Vectors((), sequences.values[:0], f"{sequences.made_by};pool=mean")
    sums = np.add.reduceat(sequences.values, sequences.offsets[:-1], axis=0, dtype=np.float64)
    means = (sums / lengths[:, np.newaxis]).astype(np.float32)
    return Vectors(sequences.ids, means, f"{sequences.made_by};pool=mean")
