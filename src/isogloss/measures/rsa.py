"""Parallel vectors in, the likeness of their similarity structures (RSA) out."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from isogloss.measures.correlation import resampled_table_correlations, table_correlations
from isogloss.measures.rows import checked_pair, unit_rows

__all__ = ["rsa", "rsa_samples"]

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating]


def rsa(x: Floats, y: Floats, *, kind: Literal["pearson", "spearman"] = "spearman") -> float:
    """Correlation of the cosines among the items of `x` with those among the items of `y`.

    Only pairs of different items count, each once. In [-1, 1]; NaN where all cosines of a side
    are equal. Rotation and one common scale of a side change nothing; a shift does, because it
    changes cosines.

    Args:
        x: (N, D) vectors, N at least 3 for more than one pair.
        y: (N, E) vectors of the same items.
        kind: 'spearman' of ranks, or 'pearson'.

    Raises:
        ValueError: shapes do not fit, N is below 2, a row is not finite, or another `kind`.

    Source: Kriegeskorte et al. 2008, with cosines and Spearman's correlation.
    """
    a, b = checked_pair(x, y, same_width=False)
    return float(table_correlations(_tables(a, b), kind=kind, diagonal=False)[0, 1])


def rsa_samples(
    x: Floats, y: Floats, counts: Floats, *, kind: Literal["pearson", "spearman"] = "spearman"
) -> Doubles:
    """`rsa` when item i is drawn counts[b, i] times, (B,); two copies of an item are no pair.

    NaN where it is undefined. Ranks are those among all items.
    """
    a, b = checked_pair(x, y, same_width=False)
    weights = np.asarray(counts, dtype=np.float64)
    found = resampled_table_correlations(_tables(a, b), weights, kind=kind, diagonal=False)
    return np.asarray(found[:, 0, 1], dtype=np.float64)


def _tables(a: Doubles, b: Doubles) -> list[Doubles]:
    tables = []
    for side in (a, b):
        unit = unit_rows(side)
        table = unit @ unit.T
        # Symmetric to the last bit, so that ties are ties.
        tables.append((table + table.T) / 2)
    return tables
