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


def steps_against_their_rests(dimensions: int, seed: int) -> tuple[Sequences, Sequences]:
    """Steps that int8 hits as badly as it can, and others that point along what it leaves over.

    Every entry but the largest lies half way between two codes, and the second sequences are the
    rests of the first, so a bound on their cosines by norms alone is reached.
    """
    rng = np.random.default_rng(seed)
    first, second = [], []
    for length in rng.integers(1, 5, 8).tolist():
        codes = rng.integers(-100, 100, (length, dimensions)).astype(np.float64)
        steps = codes + rng.choice([-0.4999, 0.4999], codes.shape)
        largest = (np.arange(length), rng.integers(0, dimensions, length))
        codes[largest] = steps[largest] = 127
        first.append(steps)
        second += [steps - codes, codes - steps + 1e-3 * steps]
    return tuple(
        Sequences.from_list(
            [str(number) for number in range(len(side))], [x.astype(np.float32) for x in side]
        )
        for side in (first, second)
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
