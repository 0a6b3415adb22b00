"""Cosines in, cosines less the local density out (CSLS)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from isogloss.scores.cosine import cosine
from isogloss.scores.margin import neighbourhoods

if TYPE_CHECKING:
    from isogloss.types import FloatArray, Vectors

__all__ = ["csls", "csls_scores"]


def csls(a: Vectors, b: Vectors, *, neighbours: int = 10) -> FloatArray:
    """Cosine of every row of `a` with every row of `b`, less the density around both (CSLS).

    Args:
        a: (N, D) vectors; rows need not have length 1, a zero row has cosine 0 with everything.
        b: (M, D) vectors of the same D.
        neighbours: K in the paper; cut to M for rows and to N for columns when larger.

    Returns:
        (N, M) float32 in [-4, 4]; larger is nearer. The densities come from these two sets, so
        compare within one call only.

    Raises:
        ValueError: D differs, N or M is 0, `neighbours` is below 1, or a row is not finite.

    Source: Conneau et al. 2018, sec. 2.3. Neighbours are taken from `a` and `b` only, not from a
    larger dictionary.
    """
    return csls_scores(cosine(a, b), neighbours=neighbours)


def csls_scores(scores: FloatArray, *, neighbours: int = 10) -> FloatArray:
    """CSLS of any table of scores: 2 s(i, j) - r(i) - r(j), (N, M) float32.

    r(i) is the mean of the `neighbours` largest scores of row i, r(j) of column j. With SeqSim
    instead of cosines the idea is the same and the range is [-2, 2].

    Raises:
        ValueError: the table is not (N, M) with N and M at least 1, holds NaN or infinity, or
            `neighbours` is below 1.
    """
    rows, columns = neighbourhoods(scores, neighbours)
    adjusted = 2 * scores.astype(np.float64) - rows[:, np.newaxis] - columns
    return adjusted.astype(np.float32)
