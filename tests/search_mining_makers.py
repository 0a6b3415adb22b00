"""Two sides of vectors or sequences of which it is known who belongs to whom."""

from __future__ import annotations

import numpy as np

from isogloss.types import Item, Sequences, Vectors


def unit_grid(count: int, dimensions: int, seed: int = 0) -> np.ndarray:
    """(count, dimensions) float32 directions drawn at random."""
    return np.random.default_rng(seed).standard_normal((count, dimensions)).astype(np.float32)


def planted_sides(
    seed: int,
    *,
    first: int = 200,
    second: int = 200,
    shared: int = 100,
    noise: float = 0.6,
    clusters: int | None = None,
    dimensions: int = 32,
) -> tuple[Vectors, Vectors, int]:
    """Two sides whose rows 0 to `shared` - 1 say the same, each side with its own noise and offset.

    With `clusters`, meanings gather around topics, so that wrong partners can be near.
    """
    rng = np.random.default_rng(seed)
    total = first + second - shared
    said = rng.standard_normal((total, dimensions))
    if clusters:
        topics = rng.standard_normal((clusters, dimensions))
        said = topics[rng.integers(0, clusters, total)] + 0.6 * said
    heard = []
    for rows, offset in (
        (said[:first], 0.0),
        (np.concatenate([said[:shared], said[first:]]), 0.3),
    ):
        # Some are recorded worse than others.
        loud = noise * rng.gamma(2, 0.5, (len(rows), 1))
        heard.append(rows + loud * rng.standard_normal(rows.shape) + offset)
    a, b = (side.astype(np.float32) for side in heard)
    return (
        Vectors(tuple(f"a{i:04d}" for i in range(first)), a, "planted"),
        Vectors(tuple(f"b{i:04d}" for i in range(second)), b, "planted"),
        shared,
    )


def planted_sequences(seed: int, count: int = 12, alone: int = 4) -> tuple[Sequences, Sequences]:
    """Two sides of `count` + `alone` sequences; the first `count` of each belong together."""
    rng = np.random.default_rng(seed)
    sides: list[list[np.ndarray]] = [[], []]
    for number in range(count + 2 * alone):
        steps = rng.standard_normal((int(rng.integers(5, 12)), 8))
        for side in (0, 1):
            if number < count or (number - count) // alone == side:
                kept = np.sort(rng.permutation(len(steps))[: max(4, len(steps) - 1)])
                noisy = steps[kept] + 0.2 * rng.standard_normal((len(kept), 8))
                sides[side].append(noisy.astype(np.float32))
    return tuple(  # type: ignore[return-value]
        Sequences.from_list(
            [f"{name}{i:02d}" for i in range(len(side))], side, step_seconds=0.04, made_by="planted"
        )
        for name, side in zip("ab", sides, strict=True)
    )


def items_of(ids: tuple[str, ...], variety: str = "cmn", *, meanings: int = 0) -> list[Item]:
    """An item for every id; the first `meanings` have one."""
    return [
        Item(id, variety, meaning=f"m{i}" if i < meanings else None, text=id, speaker=f"s{i % 3}")
        for i, id in enumerate(ids)
    ]
