"""Which items hold a unit: made from runs, asked by weights of units; the index's first stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    import numpy.typing as npt

    from isogloss.types import FloatArray

__all__ = ["document_counts", "inverse_frequencies", "postings_of", "query_weights"]


def postings_of(
    parts: Sequence[Mapping[str, np.ndarray[Any, Any]]], units: int
) -> dict[str, np.ndarray[Any, Any]]:
    """The inverted file over the runs of `parts`, whose rows are counted on from part to part.

    `posting_units` (U,) uint16 are the units that occur, ascending; the items that hold unit
    `posting_units[i]` are `posting_rows[posting_offsets[i]:posting_offsets[i + 1]]`, ascending,
    and `posting_counts` says with how many steps, 255 at most.

    Args:
        parts: each with `run_offsets`, `run_units` and `run_lengths`.
        units: K; unit K holds steps of norm 0 and has no postings, for it tells nothing.

    Raises:
        MissingExtra: numba is absent.
    """
    from isogloss.search import index_kernels

    counts = np.zeros(units + 1, dtype=np.int64)
    last_row_of = np.full(units + 1, -1, dtype=np.int64)
    firsts = np.cumsum([0, *(len(part["run_offsets"]) - 1 for part in parts)])
    for part, first in zip(parts, firsts[:-1], strict=True):
        index_kernels.count_postings(
            part["run_offsets"], part["run_units"], int(first), last_row_of, counts
        )
    places = np.cumsum(counts) - counts
    total = int(counts.sum())
    rows = np.empty(total, dtype=np.uint32)
    steps = np.empty(total, dtype=np.uint8)
    last_row_of[:] = -1
    for part, first in zip(parts, firsts[:-1], strict=True):
        index_kernels.fill_postings(
            part["run_offsets"],
            part["run_units"],
            part["run_lengths"],
            int(first),
            last_row_of,
            places,
            rows,
            steps,
        )
    kept = total - int(counts[units])
    counts = counts[:units]
    found = np.flatnonzero(counts)
    offsets = np.zeros(len(found) + 1, dtype=np.int64)
    np.cumsum(counts[found], out=offsets[1:])
    return {
        "posting_units": found.astype(np.uint16),
        "posting_offsets": offsets,
        "posting_rows": rows[:kept],
        "posting_counts": steps[:kept],
    }


def document_counts(
    segments: Sequence[Mapping[str, np.ndarray[Any, Any]]], units: int
) -> npt.NDArray[np.int64]:
    """How many items hold each unit, (K,), deleted items included."""
    counts = np.zeros(units, dtype=np.int64)
    for arrays in segments:
        counts[arrays["posting_units"]] += np.diff(arrays["posting_offsets"])
    return counts


def inverse_frequencies(counts: npt.NDArray[np.int64], items: int) -> FloatArray:
    """log(1 + N / n) of each unit: (K,) float32; what no item holds counts as held by one.

    Source: Sparck Jones 1972, smoothed so that a unit that every item holds still counts.
    """
    return np.log1p(items / np.maximum(counts, 1)).astype(np.float32)


def query_weights(
    nearest: npt.NDArray[np.int64], cosines: FloatArray, inverse: FloatArray
) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """Units that a query asks for, ascending, and the weight of each: its softened tf times idf^2.

    Each step of the query hands out one vote among its nearest units, by the squares of their
    cosines; a unit of cosine 0 or less gets none. One idf belongs to the query's side of the
    product and one to the item's.
    """
    votes = np.maximum(cosines, 0).astype(np.float64) ** 2
    sums = votes.sum(axis=1, keepdims=True)
    np.divide(votes, sums, out=votes, where=sums > 0)
    total = np.bincount(nearest.ravel(), weights=votes.ravel(), minlength=len(inverse))
    units = np.flatnonzero(total)
    return units, (total[units] * inverse[units].astype(np.float64) ** 2).astype(np.float32)
