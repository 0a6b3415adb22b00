"""Two sets of symbol strings in, the edit similarity of every pair, or of pair i, out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from isogloss.scores.edit_bits import distances

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.types import FloatArray

__all__ = ["edit_similarity", "paired_edit_similarity"]

# Cells of the dynamic programme's rows that advance together.
_CELLS_AT_ONCE = 65_536


def edit_similarity(a: Sequence[Sequence[str]], b: Sequence[Sequence[str]]) -> FloatArray:
    """1 - Levenshtein distance / length of the longer, of every pair: (N, M) float32 in [0, 1].

    Each string is a sequence of symbols: `list(text)` or a `str` for characters, `phones.split()`
    for phones. Substitution, deletion and insertion cost 1 each. Symmetric; 1 exactly when two
    strings are equal, so also for two empty ones; 0 for an empty and a non-empty one.

    Memory holds a number for each symbol of either side, all strings as long as the longest.

    Args:
        a: N strings.
        b: M strings.

    Returns:
        (N, M) float32; N or M may be 0.

    Source: Levenshtein 1966; normalised by the longer string, so that the range is [0, 1].
    """
    code: dict[str, int] | None = {}
    if all(isinstance(string, str) for side in (a, b) for string in side):
        # Characters have numbers already.
        code = None
    codes_a, lengths_a = _encoded(a, code)
    codes_b, lengths_b = _encoded(b, code)
    found = distances(codes_a, lengths_a, codes_b, lengths_b)
    longest = np.maximum(lengths_a[:, np.newaxis], lengths_b)
    return (1 - found / np.maximum(longest, 1)).astype(np.float32)


def paired_edit_similarity(
    a: Sequence[Sequence[str]], b: Sequence[Sequence[str]]
) -> npt.NDArray[np.float32]:
    """`edit_similarity` of string i of both sides: (N,) float32 in [0, 1].

    Many pairs advance together, one symbol of `a` at a time, so thousands of pairs cost little more
    than one. N may be 0.

    Args:
        a: N strings.
        b: N strings.

    Raises:
        ValueError: the sides have different numbers of strings.

    Source: Wagner and Fischer 1974; a row's insertions are one running minimum.
    """
    if len(a) != len(b):
        raise ValueError(f"pairs need as many strings on both sides, got {len(a)} and {len(b)}")
    code: dict[str, int] | None = {}
    if all(isinstance(string, str) for side in (a, b) for string in side):
        code = None
    # Pairs of like length share a block; encoded by block, so one long string widens no other.
    order = sorted(range(len(a)), key=lambda n: (len(a[n]), len(b[n])), reverse=True)
    found = np.zeros(len(a), dtype=np.float32)
    first = 0
    while first < len(order):
        width, last = 0, first
        while last < len(order):
            width = max(width, len(b[order[last]]) + 1)
            if last > first and width * (last + 1 - first) > _CELLS_AT_ONCE:
                break
            last += 1
        block = order[first:last]
        codes_a, lengths_a = _encoded([a[n] for n in block], code)
        codes_b, lengths_b = _encoded([b[n] for n in block], code)
        cost = _paired_distances(codes_a, lengths_a, codes_b, lengths_b)
        found[block] = 1 - cost / np.maximum(np.maximum(lengths_a, lengths_b), 1)
        first = last
    return found


def _paired_distances(
    codes_a: npt.NDArray[np.int32],
    lengths_a: npt.NDArray[np.int64],
    codes_b: npt.NDArray[np.int32],
    lengths_b: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """Levenshtein distances (P,) of pairs sorted by `lengths_a`, longest first."""
    ramp = np.arange(codes_b.shape[1] + 1, dtype=np.int32)
    row = np.tile(ramp, (len(codes_a), 1))
    found = np.zeros(len(codes_a), dtype=np.int64)
    for i in range(codes_a.shape[1] + 1):
        ended = np.flatnonzero(lengths_a[: len(row)] == i)
        found[ended] = row[ended, lengths_b[ended]]
        row = row[: int((lengths_a > i).sum())]
        if not len(row):
            break
        unlike = codes_a[: len(row), i, np.newaxis] != codes_b[: len(row)]
        following = np.empty_like(row)
        following[:, 0] = i + 1
        np.minimum(row[:, :-1] + unlike, row[:, 1:] + 1, out=following[:, 1:])
        row = np.minimum.accumulate(following - ramp, axis=1) + ramp
    return found


def _encoded(
    strings: Sequence[Sequence[str]], code: dict[str, int] | None
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Symbols as numbers, (N, longest) padded with -1, and lengths (N,).

    `code` grows; without one, strings are text and a character's number is its code point.
    """
    lengths = np.array([len(string) for string in strings], dtype=np.int64)
    table = np.full((len(strings), int(lengths.max(initial=0))), -1, dtype=np.int32)
    for row, string in zip(table, strings, strict=True):
        if code is None:
            points = "".join(string).encode("utf-32-le", "surrogatepass")
            row[: len(string)] = np.frombuffer(points, "<i4")
        else:
            row[: len(string)] = [code.setdefault(symbol, len(code)) for symbol in string]
    return table, lengths
