"""Sequences that are awkward to compare, for the tests of SeqSim and of exact search."""

from __future__ import annotations

import numpy as np

from isogloss.types import Sequences

KINDS = (
    "noise",
    "duplicates",
    "zero steps",
    "one step",
    "opposite",
    "huge and small",
    "near ties",
    "one dimension stands out",
    "all alike",
)


def awkward_sequences(kind: str, count: int, dimensions: int, seed: int) -> Sequences:
    """`count` sequences of up to 12 steps of one of `KINDS`; ids are not in order of number."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 2 if kind == "one step" else 13, count)
    arrays = [rng.standard_normal((int(n), dimensions)) for n in lengths]
    for number, array in enumerate(arrays):
        if kind == "duplicates":
            arrays[number] = arrays[number % 3].copy()
        elif kind == "zero steps":
            array[rng.random(len(array)) < 0.5] = 0
        elif kind == "opposite":
            arrays[number] = np.abs(array) * (1 if number % 2 else -1)
        elif kind == "huge and small":
            array *= 10.0 ** rng.uniform(-36, 36, (len(array), 1))
        elif kind == "near ties":
            first = arrays[0]
            arrays[number] = first + 10.0 ** -rng.integers(2, 9) * rng.standard_normal(first.shape)
        elif kind == "one dimension stands out":
            array[:, 0] += 50
        elif kind == "all alike":
            arrays[number] = np.ones((int(lengths[number]), dimensions))
    order = rng.permutation(count)
    ids = [f"{kind} {order[number]:03d}" for number in range(count)]
    return Sequences.from_list(ids, [array.astype(np.float32) for array in arrays])
