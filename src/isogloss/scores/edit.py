"""Two sets of symbol strings in, the edit similarity of every pair out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from isogloss.scores.edit_bits import distances

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.types import FloatArray

__all__ = ["edit_similarity"]


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
