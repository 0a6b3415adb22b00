"""Parallel vectors in; how near translations are, how near anything is, and the gap, out.

A high cosine of translations says nothing by itself: where all vectors point one way, unrelated
sentences are as near. The three numbers belong together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isogloss.measures.rows import checked_pair, unit_rows

__all__ = ["Separation", "separation", "separation_of_table", "separation_samples"]

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating]

_NOTHING = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Separation:
    """Similarities of two parallel sides.

    `matched` is the mean over pairs (i, i), `random` over all pairs (i, j) with i other than j,
    `spread` the standard deviation of those, `separation` (matched - random) / spread: how many
    standard deviations a translation stands out; NaN where nothing varies. `matched_items` (N,)
    has each pair, `random_items` (N,) the mean of what is not the pair in its row and column.
    """

    matched: float
    random: float
    spread: float
    separation: float
    matched_items: Doubles
    random_items: Doubles


def separation(x: Floats, y: Floats) -> Separation:
    """How far the cosine of translations stands above that of unrelated pairs.

    Args:
        x: (N, D) vectors, N at least 2.
        y: (N, D) vectors, row i the translation of row i of `x`; a zero row has cosine 0.

    Raises:
        ValueError: shapes do not fit, N is below 2, or a row is not finite.
    """
    a, b = checked_pair(x, y)
    return separation_of_table(unit_rows(a) @ unit_rows(b).T)


def separation_of_table(table: Floats) -> Separation:
    """As `separation`, of any (N, N) table of similarities, the diagonal being the pairs.

    Raises:
        ValueError: not (N, N) with N at least 2, or not finite.
    """
    table = np.array(table, dtype=np.float64)
    if table.ndim != 2 or table.shape[0] != table.shape[1] or len(table) < 2:
        raise ValueError(f"expected an (N, N) table with N at least 2, got {table.shape}")
    if not np.isfinite(table).all():
        raise ValueError("the table of similarities holds NaN or infinity")
    n = len(table)
    matched = np.diagonal(table).copy()
    others = table.sum(axis=1) + table.sum(axis=0) - 2 * matched
    off = table[~np.eye(n, dtype=bool)]
    mean, spread = float(off.mean()), float(off.std())
    level = float(matched.mean())
    # What rounding leaves of a constant table is no spread.
    clear = spread > _NOTHING * max(1.0, abs(mean))
    return Separation(
        level,
        mean,
        spread,
        (level - mean) / spread if clear else float("nan"),
        np.asarray(matched, dtype=np.float64),
        np.asarray(others / (2 * (n - 1)), dtype=np.float64),
    )


def separation_samples(table: Floats, counts: Floats) -> tuple[Doubles, Doubles, Doubles]:
    """`matched`, `random` and `separation` when item i is drawn counts[b, i] times: (B,) each.

    Two copies of one item never make a random pair. NaN where fewer than two items are drawn.

    Args:
        table: (N, N) similarities.
        counts: (B, N) how often each item counts.
    """
    table = np.asarray(table, dtype=np.float64)
    weights = np.asarray(counts, dtype=np.float64)
    total, squares = weights.sum(axis=1), np.square(weights)
    mass = total**2 - squares.sum(axis=1)
    # One item drawn again and again leaves rounding for a mass.
    mass = np.where(mass > 0.5, mass, np.nan)
    diagonal = np.diagonal(table)
    with np.errstate(invalid="ignore", divide="ignore"):
        matched = weights @ diagonal / total
        mean = (((weights @ table) * weights).sum(axis=1) - squares @ diagonal) / mass
        square = ((weights @ np.square(table)) * weights).sum(axis=1)
        square = (square - squares @ np.square(diagonal)) / mass
        spread = np.sqrt(np.maximum(square - mean**2, 0))
        clear = spread > np.sqrt(_NOTHING) * np.maximum(1.0, np.abs(mean))
        gap = np.where(clear, (matched - mean) / spread, np.nan)
    return matched, mean, gap
