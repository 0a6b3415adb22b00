"""Strings of symbol numbers in, all Levenshtein distances out, 64 cells of the table a word.

Columns of the dynamic programme differ by -1, 0 or 1 from their neighbours, so a column of 64 cells
is two words of bits. All pairs of a block advance together, one query symbol at a time. Called by
`edit.py` alone.

Source: Myers 1999 and, for blocks of words, Hyyro 2003.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["distances"]

Words = npt.NDArray[np.uint64]
Counts = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int32]

_BITS = 64
# Pairs that advance together: a handful of arrays of this many words fit into a core's cache.
_PAIRS_AT_ONCE = 32_768
_TARGETS_AT_ONCE = 512
_ONE = np.uint64(1)
_HIGH = np.uint64(_BITS - 1)


def distances(
    queries: Codes, query_lengths: Counts, targets: Codes, target_lengths: Counts
) -> npt.NDArray[np.int32]:
    """Levenshtein distance of every query to every target: (N, M) int32.

    Args:
        queries: (N, longest) symbol numbers from 0, anything behind a string's end.
        query_lengths: (N,).
        targets: (M, longest) symbol numbers from 0.
        target_lengths: (M,).
    """
    result = np.empty((len(queries), len(targets)), dtype=np.int32)
    # Strings of like length share a block: none waits long for the others to end.
    by_length = np.argsort(-target_lengths, kind="stable")
    order = np.argsort(query_lengths, kind="stable")
    for first in range(0, len(by_length), _TARGETS_AT_ONCE):
        of_block = by_length[first : first + _TARGETS_AT_ONCE]
        block = _Targets(targets[of_block], target_lengths[of_block])
        at_once = max(1, _PAIRS_AT_ONCE // len(of_block))
        for start in range(0, len(order), at_once):
            chosen = order[start : start + at_once]
            found = block.distances(queries[chosen], query_lengths[chosen])
            result[chosen[:, np.newaxis], of_block] = found
    return result


class _Targets:
    """Some targets, longest first, as bits: where in each target each symbol stands."""

    def __init__(self, codes: Codes, lengths: Counts) -> None:
        self.lengths = lengths
        words = -(-lengths // _BITS)
        # Targets that reach into word w are the first reach[w].
        self.reach = [int((words > w).sum()) for w in range(int(words.max(initial=0)))]
        self.last_bit = ((lengths - 1) % _BITS).astype(np.uint64)
        self.last_word = words - 1
        inside = np.arange(codes.shape[1]) < lengths[:, np.newaxis]
        self.symbols, numbers = np.unique(codes[inside], return_inverse=True)
        where, place = np.nonzero(inside)
        # The last row stays empty, for symbols that no target has.
        self.bits = np.zeros((len(self.reach), len(self.symbols) + 1, len(lengths)), np.uint64)
        np.bitwise_or.at(
            self.bits,
            (place // _BITS, numbers, where),
            _ONE << (place % _BITS).astype(np.uint64),
        )

    def distances(self, queries: Codes, lengths: Counts) -> npt.NDArray[np.int32]:
        """(n, m) distances of some queries to these targets."""
        rows = np.searchsorted(self.symbols, queries)
        rows[rows == len(self.symbols)] = 0
        known = self.symbols[rows] == queries if len(self.symbols) else np.zeros_like(rows, bool)
        rows = np.where(known, rows, len(self.symbols))
        shape = (len(queries), len(self.lengths))
        cost = np.broadcast_to(self.lengths, shape).astype(np.int32)
        up = [np.full((shape[0], count), ~np.uint64(0)) for count in self.reach]
        down = [np.zeros((shape[0], count), np.uint64) for count in self.reach]
        result = np.empty(shape, np.int32)
        for step in range(int(lengths.max(initial=0)) + 1):
            ended = np.flatnonzero(lengths == step)
            result[ended] = cost[ended]
            if step == queries.shape[1]:
                break
            self._advance(rows[:, step], cost, up, down)
        # Against an empty target every symbol of the query is deleted.
        result[:, self.lengths == 0] = lengths[:, np.newaxis]
        return result

    def _advance(
        self,
        symbols: npt.NDArray[np.intp],
        cost: npt.NDArray[np.int32],
        up: list[Words],
        down: list[Words],
    ) -> None:
        """One more query symbol; `cost` is that of the whole target and the query so far."""
        # The cost of an empty target rises by one with each symbol, so the first carry is +1.
        rises: Words | np.uint64 = _ONE
        falls: Words | np.uint64 = np.uint64(0)
        for word, count in enumerate(self.reach):
            if not isinstance(rises, np.uint64) and not isinstance(falls, np.uint64):
                rises, falls = rises[:, :count], falls[:, :count]
            same = self.bits[word, symbols, :count]
            plus, minus = up[word], down[word]
            vertical = same | minus
            same |= falls
            horizontal = same & plus
            horizontal += plus
            horizontal ^= plus
            horizontal |= same
            higher = horizontal | plus
            np.invert(higher, out=higher)
            higher |= minus
            lower = plus & horizontal
            ends = slice(self.reach[word + 1] if word + 1 < len(self.reach) else 0, count)
            bit = self.last_bit[ends]
            cost[:, ends] += ((higher[:, ends] >> bit) & _ONE).astype(np.int32)
            cost[:, ends] -= ((lower[:, ends] >> bit) & _ONE).astype(np.int32)
            rises_next, falls_next = higher >> _HIGH, lower >> _HIGH
            higher <<= _ONE
            higher |= rises
            lower <<= _ONE
            lower |= falls
            rises, falls = rises_next, falls_next
            np.bitwise_and(higher, vertical, out=minus)
            vertical |= higher
            np.invert(vertical, out=vertical)
            np.bitwise_or(lower, vertical, out=plus)
