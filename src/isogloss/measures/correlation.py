"""Two or three columns of numbers in, their correlation out, plain or freed from a third column.

Called by `isogloss.tasks.controlled`. Columns that do not vary have no correlation: the answer is
None, never NaN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from isogloss.measures.bootstrap import percentile_interval, resample_counts

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "average_ranks",
    "partial_correlation",
    "partial_from_matrix",
    "pearson",
    "resampled_table_correlations",
    "spearman",
    "table_correlation_interval",
    "table_correlations",
]

Floats = npt.NDArray[np.floating]
Doubles = npt.NDArray[np.float64]
Kind = Literal["pearson", "spearman"]

# A share of a column's variance below this is rounding error, not variance.
_NOTHING = 1e-12


def pearson(x: Floats, y: Floats) -> float | None:
    """Pearson's correlation of `x` and `y`, in [-1, 1].

    Args:
        x: (N,) numbers.
        y: (N,) numbers.

    Returns:
        The correlation; None where it is undefined: N below 2, or a column that does not vary.

    Raises:
        ValueError: the two are not (N,) of one N, or hold NaN or infinity.
    """
    return _entry(_correlations([_column(x), _column(y)]), 0, 1)


def spearman(x: Floats, y: Floats) -> float | None:
    """Spearman's rank correlation of `x` and `y`, in [-1, 1]; ties share their average rank.

    Arguments, None and errors as `pearson`.

    Source: Spearman 1904; with ties it is Pearson's correlation of average ranks.
    """
    return pearson(average_ranks(x), average_ranks(y))


def average_ranks(x: Floats) -> Doubles:
    """Rank of each number from 1, equal numbers sharing the mean of their ranks: (N,) float64.

    Raises:
        ValueError: `x` is not (N,), or holds NaN or infinity, which have no rank.
    """
    column = _column(x)
    _, inverse, counts = np.unique(column, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse], dtype=np.float64)


def partial_correlation(
    x: Floats, y: Floats, controls: Sequence[Floats], *, kind: Kind = "pearson"
) -> float | None:
    """Correlation of what is left of `x` and `y` when all that `controls` tell is taken away.

    It equals the correlation of the residuals of two linear regressions on the controls; with one
    control z it is (r_xy - r_xz r_yz) / sqrt((1 - r_xz^2) (1 - r_yz^2)).

    Args:
        x: (N,) numbers.
        y: (N,) numbers.
        controls: columns of (N,) numbers; without any the plain correlation. A control that does
            not vary tells nothing and is passed over.
        kind: 'pearson', or 'spearman' for the same on average ranks of every column.

    Returns:
        In [-1, 1]; None where it is undefined: a column that does not vary, or that the controls
        tell completely.

    Raises:
        ValueError: the columns are not (N,) of one N, or hold NaN or infinity; another `kind`.

    Source: Fisher 1924 for the coefficient; Kendall 1942 for partial rank correlation (here on
    Spearman's ranks).
    """
    if kind not in ("pearson", "spearman"):
        raise ValueError(f"kind must be 'pearson' or 'spearman', got '{kind}'")
    columns = [_column(column) for column in (x, y, *controls)]
    if kind == "spearman":
        columns = [average_ranks(column) for column in columns]
    found = partial_from_matrix(_correlations(columns)[np.newaxis])[0]
    return None if np.isnan(found) else float(found)


def partial_from_matrix(correlations: Doubles) -> Doubles:
    """Correlation of the first two of V variables, freed from the others: (B,), NaN if undefined.

    Args:
        correlations: (B, V, V) correlation matrices with V at least 2; a variable that does not
            vary has NaN in its row and column.
    """
    left = np.array(correlations, dtype=np.float64)
    for control in range(left.shape[1] - 1, 1, -1):
        with_control = left[:, :, control]
        # A control that does not vary, or that later ones tell completely, tells nothing more.
        useful = left[:, control, control] > _NOTHING
        divisor = np.where(useful, left[:, control, control], 1.0)[:, np.newaxis, np.newaxis]
        taken = with_control[:, :, np.newaxis] * with_control[:, np.newaxis, :] / divisor
        left = np.where(useful[:, np.newaxis, np.newaxis], left - taken, left)
    own = np.stack([left[:, 0, 0], left[:, 1, 1]])
    defined = (own > _NOTHING).all(axis=0)
    scale = np.sqrt(np.where(defined, own[0] * own[1], 1.0))
    found: Doubles = np.where(defined, np.clip(left[:, 0, 1] / scale, -1, 1), np.nan)
    return found


def table_correlations(
    tables: Sequence[Floats], *, kind: Kind = "pearson", diagonal: bool = True
) -> Doubles:
    """Correlation of every two of V tables over their cells: (V, V), NaN for a constant table.

    Args:
        tables: V tables of (N, N): row i and column i belong to one meaning.
        kind: 'spearman' puts average ranks over all cells in place of the numbers.
        diagonal: False leaves out the cells (i, i).

    Raises:
        ValueError: the tables are not square of one N, or hold NaN or infinity.
    """
    prepared = _prepared(tables, kind, diagonal)
    found: Doubles = _weighted(prepared, np.ones((1, prepared.shape[1])), diagonal)[0]
    return found


def resampled_table_correlations(
    tables: Sequence[Floats], counts: Doubles, *, kind: Kind = "pearson", diagonal: bool = True
) -> Doubles:
    """As `table_correlations`, for resampled meanings: (B, V, V).

    A meaning that was drawn c times brings its row c times and its column c times. Where two
    copies of one meaning meet, the cell is left out, or the right answers would multiply; so a
    cell (i, j) counts c_i c_j times and a cell (i, i) c_i times.

    Args:
        tables: V tables of (N, N).
        counts: (B, N) how often each meaning was drawn.
        kind: with 'spearman' the ranks are those of the whole table, not ranked again in each
            resample.
        diagonal: as `table_correlations`.

    Source: the bootstrap over conditions of representational similarity analysis (Nili et al.
    2014), which leaves out the same cells.
    """
    return _weighted(_prepared(tables, kind, diagonal), counts, diagonal)


def table_correlation_interval(
    tables: Sequence[Floats],
    *,
    kind: Kind = "pearson",
    diagonal: bool = True,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float] | None:
    """Interval of the first two tables' correlation, freed from the others, over meanings.

    Arguments as `table_correlations` and `bootstrap_interval`. Resamples in which the correlation
    is undefined are left out; None where all are, or N is below 2, or `resamples` is 0.
    """
    values = [
        partial_from_matrix(
            resampled_table_correlations(tables, counts, kind=kind, diagonal=diagonal)
        )
        for counts in resample_counts(len(tables[0]), resamples=resamples, seed=seed)
    ]
    return percentile_interval(np.concatenate(values), level) if values else None


def _column(x: Floats) -> Doubles:
    column = np.asarray(x, dtype=np.float64)
    if column.ndim != 1:
        raise ValueError(f"expected (N,) numbers, got shape {column.shape}")
    if not np.isfinite(column).all():
        raise ValueError("a column holds NaN or infinity")
    return column


def _entry(matrix: Doubles, i: int, j: int) -> float | None:
    return None if np.isnan(matrix[i, j]) else float(matrix[i, j])


def _correlations(columns: list[Doubles]) -> Doubles:
    lengths = [len(column) for column in columns]
    if len(set(lengths)) > 1:
        raise ValueError(f"columns differ in length: {', '.join(map(str, lengths))}")
    if lengths[0] < 2:
        return np.full((len(columns), len(columns)), np.nan)
    unit = np.stack([_standardised(column) for column in columns])
    sums, products = unit.sum(axis=1)[np.newaxis], (unit @ unit.T)[np.newaxis]
    found: Doubles = _of_moments(np.array([unit.shape[1]]), sums, products)[0]
    return found


def _standardised(values: Doubles) -> Doubles:
    """Mean 0 and variance 1, so that moments lose no precision; 0 for values that do not vary."""
    centred = values - values.mean()
    spread = np.sqrt(np.mean(np.square(centred)))
    # Rounding leaves a constant column of large numbers with a spread of its own.
    negligible = spread <= 1e-9 * np.abs(values).max(initial=0)
    found: Doubles = np.zeros_like(centred) if negligible or not spread else centred / spread
    return found


def _prepared(tables: Sequence[Floats], kind: Kind, diagonal: bool) -> Doubles:
    """(V, N, N) standardised tables."""
    if kind not in ("pearson", "spearman"):
        raise ValueError(f"kind must be 'pearson' or 'spearman', got '{kind}'")
    shapes = {np.shape(table) for table in tables}
    shape = next(iter(shapes), ())
    if len(shapes) != 1 or len(shape) != 2 or shape[0] != shape[1]:
        raise ValueError(f"expected square tables of one size, got {sorted(shapes)}")
    used = np.ones(shape, dtype=bool) if diagonal else ~np.eye(shape[0], dtype=bool)
    prepared = np.zeros((len(tables), *shape))
    for place, table in zip(prepared, tables, strict=True):
        cells = _column(np.asarray(table, dtype=np.float64)[used])
        if len(cells):
            place[used] = _standardised(average_ranks(cells) if kind == "spearman" else cells)
    return prepared


def _weighted(tables: Doubles, counts: Doubles, diagonal: bool) -> Doubles:
    """Correlations (B, V, V) of standardised tables (V, N, N), weighted by `counts` (B, N)."""
    v = len(tables)
    total = counts.sum(axis=1)
    mass = total**2 - np.square(counts).sum(axis=1) + (total if diagonal else 0)
    sums = np.stack([_total(table, counts, diagonal) for table in tables], axis=1)
    products = np.empty((len(counts), v, v))
    for i in range(v):
        for j in range(i, v):
            products[:, i, j] = _total(tables[i] * tables[j], counts, diagonal)
            products[:, j, i] = products[:, i, j]
    return _of_moments(mass, sums, products)


def _total(table: Doubles, counts: Doubles, diagonal: bool) -> Doubles:
    """Sum of a table's cells, (B,): c_i c_j times off the diagonal, c_i times on it."""
    on = np.diagonal(table)
    cells = ((counts @ table) * counts).sum(axis=1) - np.square(counts) @ on
    return np.asarray(cells + counts @ on if diagonal else cells, dtype=np.float64)


def _of_moments(mass: Floats, sums: Doubles, products: Doubles) -> Doubles:
    """Correlations (B, V, V) from weights' sums (B,), weighted sums (B, V), products (B, V, V)."""
    known = mass > 0
    divisor = np.where(known, mass, 1)
    means = sums / divisor[:, np.newaxis]
    covariances = products / divisor[:, np.newaxis, np.newaxis]
    covariances = covariances - means[:, :, np.newaxis] * means[:, np.newaxis, :]
    variances = np.diagonal(covariances, axis1=1, axis2=2)
    varies = (variances > _NOTHING) & known[:, np.newaxis]
    spread = np.sqrt(np.where(varies, variances, 1))
    found = covariances / (spread[:, :, np.newaxis] * spread[:, np.newaxis, :])
    defined = varies[:, :, np.newaxis] & varies[:, np.newaxis, :]
    return np.where(defined, np.clip(found, -1, 1), np.nan)
