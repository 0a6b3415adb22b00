"""A table of similarities in, the share of mutual strict best matches out (MEXA)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from isogloss.measures.bootstrap import bootstrap_interval
from isogloss.measures.rows import checked_pair, unit_rows
from isogloss.types import Measurement

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["mexa", "mexa_of_table", "mutual_best"]

Floats = npt.NDArray[np.floating]


def mexa(
    x: Floats,
    y: Floats,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    signature: Mapping[str, Any] | None = None,
) -> Measurement:
    """MEXA: share of pairs (i, i) nearer than every other pair in their row and in their column.

    In [0, 1]; chance is about 1 / (2N - 1). Strictly nearer: a tie does not count, so constant
    vectors score 0. Published scores use 100 sentences and the first side as pivot; the value
    falls as N grows.

    Args:
        x: (N, D) vectors, N at least 2; MEXA pools decoders with weights that rise with position.
        y: (N, D) vectors, row i the translation of row i of `x`.
        resamples: of the bootstrap over items; 0 for no interval.
        level: of the interval.
        seed: of the bootstrap.
        signature: what else changes the number.

    Returns:
        'MEXA' with `per_item` (N,) of 0 and 1.

    Raises:
        ValueError: shapes do not fit, N is below 2, or a row is not finite.

    Source: Kargaran et al. 2025, "MEXA: Multilingual Evaluation of English-Centric LLMs via
    Cross-Lingual Alignment".
    """
    a, b = checked_pair(x, y)
    # In single precision, so that equal vectors tie whatever the order of the sums.
    table = (unit_rows(a) @ unit_rows(b).T).astype(np.float32)
    return mexa_of_table(table, resamples=resamples, level=level, seed=seed, signature=signature)


def mexa_of_table(
    table: Floats,
    *,
    name: str = "MEXA",
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    signature: Mapping[str, Any] | None = None,
) -> Measurement:
    """As `mexa`, of any (N, N) similarities; on activations of feed-forward layers `name` differs.

    Raises:
        ValueError: not (N, N) with N at least 2, or NaN.
    """
    hits = mutual_best(table)
    interval = bootstrap_interval(
        hits.astype(np.float64), resamples=resamples, level=level, seed=seed
    )
    return Measurement(
        name,
        float(hits.mean()),
        low=interval[0] if interval else None,
        high=interval[1] if interval else None,
        n=len(hits),
        signature={
            **(signature or {}),
            "ties": "against",
            "chance": 1 / (2 * len(hits) - 1),
            "interval": f"bootstrap over items, {resamples} resamples, level {level}, seed {seed}"
            if interval
            else None,
        },
        per_item=hits.astype(np.float32),
    )


def mutual_best(table: Floats) -> npt.NDArray[np.bool_]:
    """Whether cell (i, i) is above every other cell of row i and of column i: (N,) bool.

    Raises:
        ValueError: not (N, N) with N at least 2, or NaN.
    """
    table = np.asarray(table)
    if table.ndim != 2 or table.shape[0] != table.shape[1] or len(table) < 2:
        raise ValueError(f"expected an (N, N) table with N at least 2, got {table.shape}")
    if np.isnan(table).any():
        raise ValueError("the table of similarities holds NaN")
    others = np.array(table, dtype=np.float64)
    np.fill_diagonal(others, -np.inf)
    right = np.diagonal(table)
    found: npt.NDArray[np.bool_] = (right > others.max(axis=1)) & (right > others.max(axis=0))
    return found
