"""Queries and items in, the exactly best items of every query out; called by the index and the CLI.

Both methods give the same answer to the last bit. "float32" scores every pair. "int8" scores every
pair from quantised steps, several times as fast, which bounds what the pair's float32 score can be;
the likeliest k of a query are scored in float32, and then whatever could still beat the k-th.

    queries, items -> tables of (some queries, M) scores or bounds -> best k of each -> Ranking
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from isogloss.corpora.progress import with_progress
from isogloss.errors import UnknownName
from isogloss.scores.seqsim import seqsim
from isogloss.scores.seqsim_blocks import (
    check_dimensions,
    compiled_loops,
    thread_count,
)
from isogloss.search.ranking import Ranking
from isogloss.types import Hits, Sequences

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from isogloss.types import FloatArray

__all__ = ["METHODS", "fast_int8", "nearest"]

METHODS = ("int8", "float32")
"""Ways to the same answer."""

_LOG = logging.getLogger(__name__)
_FLOAT_BYTES = 4
# Bounding costs about .28 of scoring, and a pair scored alone 1.15 of one in a block: beyond this
# share of the pairs, float32 at once is faster. Looking at a few queries first tells, and pays from
# so many queries on.
_MOST_RESCORED = 0.6
_PROBES, _QUERIES_WORTH_A_PROBE = 8, 128
# Half of a unit in the last place of float32, relative.
_ROUNDING = 2.0**-24


def fast_int8(dimensions: int = 1) -> bool:
    """Whether `nearest` has a fast int8 way here: numba, and a processor with VNNI instructions.

    Steps of more than 65,536 dimensions are left to float32, as sums would leave 32 bits.
    """
    if not compiled_loops():
        return False
    from isogloss.scores.seqsim_kernels import FAST_INT8
    from isogloss.scores.seqsim_preparation import MOST_INT8_DIMENSIONS

    return FAST_INT8 and dimensions <= MOST_INT8_DIMENSIONS


def nearest(
    queries: Sequences,
    items: Sequences,
    k: int,
    *,
    method: str = "int8",
    memory_budget_mb: float = 256,
    threads: int | None = None,
    device: str = "cpu",
) -> Ranking:
    """The k items of highest SeqSim for every query, best first; equal scores in order of id.

    Args:
        queries: Q sequences of (T, D) steps, each T at least 1; Q may be 0.
        items: M sequences of the same D; M may be 0, and then no query has hits.
        k: hits a query, at least 1; all M where M is smaller.
        method: "int8" or "float32": the same ids, order, scores and ties. Where int8 is not fast
            (`fast_int8`), and on another device, "int8" is done as "float32", and the logger of
            this module says so.
        memory_budget_mb: bound, in MiB, on scores and maxima held at one time, of which the scores
            of one query with all M are the least possible. Beside them stand normalised copies of
            `queries` and `items` (one, where they are the same object), packed ones of `items`
            (float32, or a quarter as int8), and as in `seqsim` up to 2 MiB a thread.
        threads: as in `seqsim`.
        device: as in `seqsim`.

    Returns:
        `Ranking` with `exact` true; a hit is `tied` when the next or the one before it, the one
        behind the last included, has the same float32 score. `scored` says how many items of each
        query were scored in float32: all where the bounds of int8 would part too little (many
        queries whose scores are all alike, such as noise), since float32 at once is faster then.

    Raises:
        UnknownName: no such method.
        ValueError: `k` is below 1, or as `seqsim`.
        MissingExtra: another device than "cpu", and torch is not installed.

    Source: the bound is derived in docs/exact.md (Cauchy-Schwarz on the rests of quantisation).
    """
    if method not in METHODS:
        raise UnknownName("method", method, METHODS)
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    check_dimensions(queries, items, memory_budget_mb)
    threads = thread_count(threads)
    order = _id_order(items.ids)
    if method == "int8" and (device != "cpu" or not fast_int8(queries.values.shape[1])):
        _LOG.warning(
            "int8 is not fast %s, so float32 is used: same answer, more time",
            "here (it needs numba and a processor with VNNI)" if device == "cpu" else "there",
        )
        method = "float32"
    if method == "int8":
        found = _int8(queries, items, k, order, memory_budget_mb, threads)
    else:
        found = _float32(queries, items, k, order, memory_budget_mb, threads, device)
    return _ranking(queries.ids, items.ids, list(found), k)


Found = tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], int]
"""Up to k + 1 items of one query, best first, their scores, and how many were scored."""


def _id_order(ids: tuple[str, ...]) -> npt.NDArray[np.uint64]:
    """Place of each item when all are sorted by id."""
    order = np.empty(len(ids), dtype=np.uint64)
    order[sorted(range(len(ids)), key=ids.__getitem__)] = np.arange(len(ids), dtype=np.uint64)
    return order


def _best(
    items: npt.NDArray[np.int64], scores: FloatArray, order: npt.NDArray[np.uint64], count: int
) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """The `count` best of some items, with their scores: highest first, then by id."""
    # Floats that are not negative are ordered as their bits are; -0.0 does not occur.
    bits = np.ascontiguousarray(scores).view(np.uint32).astype(np.uint64)
    keys = (bits << np.uint64(32)) | (np.uint64(2**32 - 1) - order[items])
    if len(keys) > count:
        chosen = np.argpartition(keys, len(keys) - count)[len(keys) - count :]
    else:
        chosen = np.arange(len(keys))
    chosen = chosen[np.argsort(keys[chosen])[::-1]]
    return items[chosen], scores[chosen]


def _groups(queries: int, items: int, memory_budget_mb: float) -> Iterator[tuple[int, int]]:
    """Ranges of queries whose scores with all items take half of the budget, at least one query."""
    cells = int(memory_budget_mb * 2**20 / 2 / _FLOAT_BYTES)
    size = max(1, cells // max(1, items))
    for first in range(0, queries, size):
        yield first, min(first + size, queries)


def _float32(
    queries: Sequences,
    items: Sequences,
    k: int,
    order: npt.NDArray[np.uint64],
    memory_budget_mb: float,
    threads: int,
    device: str,
) -> Iterator[Found]:
    """The best k + 1 of every query, all pairs scored."""
    every = np.arange(len(items))
    if device == "cpu" and compiled_loops():
        tables = _tables_float32(queries, items, memory_budget_mb, threads)
    else:
        tables = _tables_elsewhere(queries, items, memory_budget_mb, threads, device)
    for table in tables:
        for scores in table:
            yield *_best(every, scores, order, k + 1), len(items)


def _tables_elsewhere(
    queries: Sequences, items: Sequences, memory_budget_mb: float, threads: int, device: str
) -> Iterator[FloatArray]:
    """Scores of some queries at a time, (q, M), through torch or numpy."""
    groups = list(_groups(len(queries), len(items), memory_budget_mb))
    half = memory_budget_mb / 2
    if device == "cpu":
        for first, last in with_progress(groups, "scoring", total=len(groups)):
            some = queries.select(range(first, last))
            yield seqsim(some, items, memory_budget_mb=half, threads=threads)
        return
    from isogloss.scores import seqsim_torch

    left = seqsim_torch.prepared(queries, device)
    right = seqsim_torch.prepared(items, device)
    for first, last in with_progress(groups, "scoring", total=len(groups)):
        yield seqsim_torch.prepared_pairs(
            left, right, memory_budget_mb=half, first=first, last=last
        )


def _filled(
    sides: _Sides,
    columns: list[tuple[int, int]],
    fill: Callable[[tuple[int, int], int, FloatArray], None],
    label: str,
) -> Iterator[tuple[int, FloatArray]]:
    """First query and table (q, M) of some queries at a time, filled by `fill` in threads.

    `fill` gets a range of queries, the number of a block of items and its part of the table.
    """
    from isogloss.scores import seqsim_tiles as tiles

    count = len(sides.items) - 1
    for first, last in _groups(len(sides.queries) - 1, count, sides.memory_budget_mb):
        table = np.empty((last - first, count), dtype=np.float32)
        own = sides.queries[first : last + 1]
        parts = tiles.block_tasks(own, sides.items, columns, sides.half, sides.threads)

        def one(
            task: tuple[tuple[int, int], int], *, at: int = first, table: FloatArray = table
        ) -> None:
            (top, bottom), block = task
            left, right = columns[block]
            fill((at + top, at + bottom), block, table[top:bottom, left:right])

        done = tiles.in_threads(one, parts, sides.threads)
        for _ in with_progress(done, label, total=len(parts)):
            pass
        yield first, table


class _Sides:
    """Queries and items made ready for the compiled loops: offsets and steps of length 1 or 0."""

    def __init__(
        self, queries: Sequences, items: Sequences, memory_budget_mb: float, threads: int
    ) -> None:
        from isogloss.scores import seqsim_tiles as tiles

        self.memory_budget_mb, self.threads = memory_budget_mb, threads
        self.query_steps = tiles.unit(queries, threads)
        self.item_steps = self.query_steps if queries is items else tiles.unit(items, threads)
        self.queries, self.items = tiles.own_offsets(queries), tiles.own_offsets(items)
        # Of the budget; the other half is for tables of scores.
        self.half = memory_budget_mb / 2


def _tables_float32(
    queries: Sequences, items: Sequences, memory_budget_mb: float, threads: int
) -> Iterator[FloatArray]:
    """Scores of some queries at a time, (q, M), by the compiled loops."""
    from isogloss.scores import seqsim_kernels as kernels
    from isogloss.scores import seqsim_tiles as tiles

    sides = _Sides(queries, items, memory_budget_mb, threads)
    columns = tiles.column_ranges(sides.items, sides.half, threads)
    packed = tiles.pack(sides.item_steps, sides.items, columns, threads)
    del sides.item_steps  # large, and from here on only its packed copy is read

    def fill(some: tuple[int, int], block: int, table: FloatArray) -> None:
        pairs = tiles.score_block(sides.query_steps, sides.queries, some, packed, block)
        kernels.f1_scores(*pairs, table)

    for _, table in _filled(sides, columns, fill, "scoring"):
        yield table


def _int8(
    queries: Sequences,
    items: Sequences,
    k: int,
    order: npt.NDArray[np.uint64],
    memory_budget_mb: float,
    threads: int,
) -> Iterator[Found]:
    """The best k of every query, and who ties with the last."""
    from isogloss.scores import seqsim_tiles as tiles

    quantised = _Quantised(_Sides(queries, items, memory_budget_mb, threads))
    if len(queries) >= _QUERIES_WORTH_A_PROBE and not quantised.parts(k):
        _LOG.info("all scores are so close together that float32 at once is faster than int8")
        del quantised
        yield from _float32(queries, items, k, order, memory_budget_mb, threads, "cpu")
        return
    tables = _filled(quantised.sides, quantised.columns, quantised.bound, "bounding")
    for first, table in tables:

        def rescore(row: int, *, at: int = first, table: FloatArray = table) -> Found:
            return quantised.best(at + row, table[row], order, k)

        numbers = range(len(table))
        yield from with_progress(
            tiles.in_threads(rescore, numbers, threads), "rescoring", total=len(table)
        )


class _Quantised:
    """Queries and items as float32 and int8: bounds on scores, and scores where these decide."""

    def __init__(self, sides: _Sides) -> None:
        from isogloss.scores import seqsim_kernels as kernels
        from isogloss.scores import seqsim_tiles as tiles

        self._kernels, self._tiles, self.sides = kernels, tiles, sides
        self._codes = tiles.quantised(sides.query_steps, sides.queries, sides.threads)
        others = self._codes
        if sides.item_steps is not sides.query_steps:
            others = tiles.quantised(sides.item_steps, sides.items, sides.threads)
        self.columns = tiles.column_ranges(sides.items, sides.half, sides.threads)
        self._packed = tiles.pack_codes(others, self.columns, sides.threads)
        self._slack = _slack(sides.query_steps.shape[1])

    def bound(self, rows: tuple[int, int], block: int, table: FloatArray) -> None:
        """The most that scores of some queries with a block of items can be, into `table`."""
        self._kernels.highest_scores(
            *self._tiles.score_block_codes(self._codes, rows, self._packed, block),
            self._slack,
            table,
        )

    def parts(self, k: int) -> bool:
        """Whether bounds leave few enough items for most of a few queries."""
        count = len(self.sides.items) - 1
        table = np.empty((1, count), dtype=np.float32)
        left = 0
        for query in np.linspace(0, len(self.sides.queries) - 2, _PROBES).astype(int).tolist():
            for block, (first, last) in enumerate(self.columns):
                self.bound((query, query + 1), block, table[:, first:last])
            left += len(self._open(query, table[0], k)[2])
        return left <= _MOST_RESCORED * _PROBES * count

    def best(self, query: int, highest: FloatArray, order: npt.NDArray[np.uint64], k: int) -> Found:
        """The best k + 1 of one query, of whose scores with all items `highest` are the bounds."""
        likely, scores, others = self._open(query, highest, k)
        known = np.zeros_like(highest)
        known[likely] = scores
        rest = others[highest[others] > 0]  # a score that cannot be above 0 is 0
        known[rest] = self._score(query, rest)
        candidates = np.concatenate([likely, others])
        return *_best(candidates, known[candidates], order, k + 1), len(likely) + len(rest)

    def _open(
        self, query: int, highest: FloatArray, k: int
    ) -> tuple[npt.NDArray[np.int64], FloatArray, npt.NDArray[np.int64]]:
        """The k likeliest items of a query, their scores, and all others that can still matter."""
        likely = np.arange(len(highest))
        if len(highest) > k:
            likely = np.sort(np.argpartition(highest, len(highest) - k)[len(highest) - k :])
        scores = self._score(query, likely)
        # There are k items at or above this bar, so an item that stays below it is not among the
        # best k, and does not tie with the last of them.
        able = highest >= scores.min(initial=np.inf)
        able[likely] = False
        return likely, scores, np.flatnonzero(able)

    def _score(self, query: int, chosen: npt.NDArray[np.int64]) -> FloatArray:
        steps = self.sides.query_steps[self.sides.queries[query] : self.sides.queries[query + 1]]
        return self._tiles.score_chosen(steps, self.sides.item_steps, self.sides.items, chosen)


def _slack(dimensions: int) -> float:
    """What rounding can do to a cosine of float32, and to its int8 bound.

    The float32 sum of D products of unit steps is off by little more than D units of rounding (one
    more where a multiply-add rounds twice). The bound is made of the int8 sum, two scales and two
    errors by seven roundings of values up to 4, and takes norms to be 1 that float32 has rounded:
    less than 32 units in all. Both count at least double here.
    """
    return 2 * (2 * dimensions + 32) * _ROUNDING


def _ranking(
    query_ids: tuple[str, ...], item_ids: tuple[str, ...], found: list[Found], k: int
) -> Ranking:
    ids, scores, tied, scored = [], [], [], []
    for numbers, values, count in found:
        same = np.concatenate([[False], values[1:] == values[:-1], [False]])
        ids.append(tuple(item_ids[number] for number in numbers[:k]))
        scores.append(tuple(float(value) for value in values[:k]))
        tied.append(tuple(bool(flag) for flag in (same[1:] | same[:-1])[: len(numbers[:k])]))
        scored.append(count)
    hits = Hits(query_ids, tuple(ids), tuple(scores))
    return Ranking(hits, tuple(tied), True, tuple(scored))
