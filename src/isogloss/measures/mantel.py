"""Two matrices of distances in, their correlation and how often chance reaches it (Mantel) out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from isogloss.measures.correlation import average_ranks, pearson
from isogloss.measures.variety_tree import checked_distances

__all__ = ["MantelTest", "mantel"]

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating]

_LEAST = 4


@dataclass(frozen=True, slots=True)
class MantelTest:
    """`correlation` over pairs of things, and `p`, how often permuted things reach it.

    `p` is one-sided (at least as large), with the observed order counted, so it is never 0;
    `permutations` is how many were drawn. With V things there are V! orders at most: at V = 4, p
    cannot fall below 1/24.
    """

    correlation: float
    p: float
    n: int
    permutations: int


def mantel(
    a: Floats,
    b: Floats,
    *,
    kind: Literal["pearson", "spearman"] = "spearman",
    permutations: int = 999,
    seed: int = 0,
) -> MantelTest | None:
    """Whether two matrices of distances among the same V things go together.

    Distances that share a thing are not independent, so an ordinary test of their correlation is
    wrong; instead the things of one matrix are permuted, rows and columns together.

    Args:
        a: (V, V) distances, V at least 4.
        b: (V, V) distances of the same things.
        kind: correlation of the pairs above the diagonal, 'spearman' on average ranks.
        permutations: drawn orders.
        seed: of the draw.

    Returns:
        None where a matrix does not vary.

    Raises:
        ValueError: the shapes differ, V is below 4, values are not finite or not symmetric, or
            `permutations` is below 1.

    Source: Mantel 1967; p with the observed order counted as in Phipson and Smyth 2010.
    """
    if permutations < 1:
        raise ValueError(f"permutations must be at least 1, got {permutations}")
    if kind not in ("pearson", "spearman"):
        raise ValueError(f"kind must be 'pearson' or 'spearman', got '{kind}'")
    first, second = checked_distances(a, least=_LEAST), checked_distances(b, least=_LEAST)
    if first.shape != second.shape:
        raise ValueError(f"matrices of {len(first)} and {len(second)} things")
    v = len(first)
    above = np.triu_indices(v, 1)
    x, y = first[above], second[above]
    if kind == "spearman":
        x, y = average_ranks(x), average_ranks(y)
    observed = pearson(x, y)
    if observed is None:
        return None
    square = np.zeros((v, v))
    square[above] = y - y.mean()
    square += square.T
    centred = x - x.mean()
    # The norms do not change with the order, so sums of products rank like correlations.
    reached = float(centred @ square[above])
    rng = np.random.default_rng(seed)
    hits = 0
    for _ in range(permutations):
        order = rng.permutation(v)
        hits += float(centred @ square[np.ix_(order, order)][above]) >= reached - 1e-9 * abs(
            reached
        )
    return MantelTest(observed, (hits + 1) / (permutations + 1), v, permutations)
