"""Two sets of symbol strings in, the edit similarity of every pair out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.types import FloatArray

__all__ = ["edit_similarity"]

# Cells of the three tables held at one time, about 50 MB; more is no faster.
_CELLS_AT_ONCE = 4_000_000


def edit_similarity(a: Sequence[Sequence[str]], b: Sequence[Sequence[str]]) -> FloatArray:
    """1 - Levenshtein distance / length of the longer, of every pair: (N, M) float32 in [0, 1].

    Each string is a sequence of symbols: `list(text)` or a `str` for characters, `phones.split()`
    for phones. Substitution, deletion and insertion cost 1 each. Symmetric; 1 exactly when two
    strings are equal, so also for two empty ones; 0 for an empty and a non-empty one.

    All targets and a block of queries advance together, one query symbol at a time, so the cost in
    Python is one step for each symbol of the longest query.

    Args:
        a: N strings.
        b: M strings.

    Returns:
        (N, M) float32; N or M may be 0.

    Source: Levenshtein 1966; normalised by the longer string, so that the range is [0, 1].
    """
    code: dict[str, int] = {}
    codes_a, lengths_a = _encoded(a, code)
    codes_b, lengths_b = _encoded(b, code)
    distances = np.zeros((len(a), len(b)), dtype=np.int32)
    if len(a) and len(b):
        # Queries of like length share a block: none waits long for the others to end.
        order = np.argsort(lengths_a, kind="stable")
        at_once = max(1, _CELLS_AT_ONCE // (len(b) * (codes_b.shape[1] + 1)))
        for first in range(0, len(order), at_once):
            block = order[first : first + at_once]
            distances[block] = _distances(codes_a[block], lengths_a[block], codes_b, lengths_b)
    longest = np.maximum(lengths_a[:, np.newaxis], lengths_b)
    return (1 - distances / np.maximum(longest, 1)).astype(np.float32)


def _encoded(
    strings: Sequence[Sequence[str]], code: dict[str, int]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Symbols as numbers, (N, longest) padded with -1, and lengths (N,); `code` grows."""
    lengths = np.array([len(string) for string in strings], dtype=np.int64)
    table = np.full((len(strings), int(lengths.max(initial=0))), -1, dtype=np.int32)
    for row, string in zip(table, strings, strict=True):
        row[: len(string)] = [code.setdefault(symbol, len(code)) for symbol in string]
    return table, lengths


def _distances(
    queries: npt.NDArray[np.int32],
    query_lengths: npt.NDArray[np.int64],
    targets: npt.NDArray[np.int32],
    target_lengths: npt.NDArray[np.int64],
) -> npt.NDArray[np.int32]:
    """Levenshtein distances (n, M), one row of the dynamic programme at a time for all pairs.

    Columns of the programme are the first axis, so that each operation runs over all pairs.
    """
    n, (m, width) = len(queries), targets.shape
    longest = max(int(query_lengths.max(initial=0)), width)
    # Twice the range of a distance, because columns are subtracted from it.
    dtype = np.int16 if longest < np.iinfo(np.int16).max // 2 else np.int32
    columns = np.arange(width + 1, dtype=dtype)[:, np.newaxis, np.newaxis]
    row = np.broadcast_to(columns, (width + 1, n, m)).copy()
    result = np.empty((n, m), dtype=np.int32)
    symbols = targets.T[:, np.newaxis, :]
    for step in range(int(query_lengths.max(initial=0)) + 1):
        ended = np.flatnonzero(query_lengths == step)
        result[ended] = row[target_lengths, ended[:, np.newaxis], np.arange(m)]
        if step == queries.shape[1]:
            break
        following = row + dtype(1)
        substituted = row[:-1] + (symbols != queries[:, step, np.newaxis])
        np.minimum(following[1:], substituted, out=following[1:])
        # An insertion chain costs 1 a column: subtract the column, take the running minimum.
        following -= columns
        # Ten times faster than `np.minimum.accumulate`, whose inner loop is the first axis.
        for column in range(width):
            np.minimum(following[column + 1], following[column], out=following[column + 1])
        following += columns
        row = following
    return result
