"""What a block of neighbouring sentences costs: by vectors, by spelling, by length.

Each class gives `similarity(m, n, i, low, high)` in the order that `scores.sentence_path` asks for
costs; `align_documents` makes costs of it and finds the path. Used by `sentence_alignment`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from isogloss.errors import MissingExtra
from isogloss.scores import edit_similarity
from isogloss.scores.sentence_path import block_shapes, monotone_path, windows_around
from isogloss.tasks.text_floors import LONGEST, plain
from isogloss.tasks.token_differences import unit_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.measures.sentence_links import Block
    from isogloss.types import FloatArray

__all__ = ["Blocks", "EditBlocks", "LengthBlocks", "VectorBlocks", "align_documents"]

Costs = npt.NDArray[np.float64]

# Below this many sentences a coarser copy of a document would say nothing.
_COARSEST = 32
_ROWS_AT_ONCE = 64
# Gale and Church (1993), section 3: variance of the length of a translation, a character.
_LENGTH_VARIANCE = 6.8
_PRIORS = {(1, 1): 0.89, (1, 2): 0.0445, (2, 1): 0.0445, (2, 2): 0.011}
_RARE_PRIOR = 0.002
_ALONE_PRIOR = 0.00495


class Blocks(Protocol):
    """Two documents whose blocks have costs."""

    @property
    def shape(self) -> tuple[int, int]:
        """Sentences of both sides."""
        ...

    def costs(self, m: int, n: int, i: int, low: int, high: int) -> Costs:
        """As `monotone_path` wants them."""
        ...

    def skip_cost(self, share: float) -> float:
        """The price of a sentence left alone."""
        ...

    def coarser(self) -> Blocks | None:
        """The same documents with neighbours joined two by two; None where that says nothing."""
        ...


def align_documents(
    blocks: Blocks,
    *,
    skip: float,
    most: int,
    width: int,
    dense: int,
    near: Sequence[Block] | None = None,
) -> list[Block]:
    """The blocks of the cheapest path through two documents.

    Where the table of both documents has more than `dense` cells, the path of a copy with half as
    many sentences comes first, and only `width` columns to both sides of it are searched.

    Args:
        blocks: costs.
        skip: share of random pairs that are cheaper than leaving a sentence alone.
        most: sentences of a block, both sides together.
        width: of the search around a first path.
        dense: cells that are all searched.
        near: a first path that is at hand.
    """
    rows, columns = blocks.shape
    windows = None
    if near is not None:
        windows = windows_around(near, rows, columns, width)
    elif rows * columns > dense and (coarse := blocks.coarser()) is not None:
        path = align_documents(coarse, skip=skip, most=2, width=width, dense=dense)
        windows = windows_around(_doubled(path, rows, columns), rows, columns, width)
    return monotone_path(
        blocks.costs,
        rows,
        columns,
        shapes=block_shapes(most),
        skip=blocks.skip_cost(skip),
        windows=windows,
    )


class VectorBlocks:
    """Cosines of blocks, set against what they are with sentences drawn from the other side.

    Args:
        first: for each size m (from 1), the vectors (N - m + 1, D) of the blocks of m sentences.
        second: the same of the other side.
        sampled: sentences drawn from each side; 0 divides by nothing.
        seed: of the draw.

    A zero vector has cosine 0 with everything.
    """

    def __init__(
        self,
        first: Sequence[FloatArray],
        second: Sequence[FloatArray],
        *,
        sampled: int = 100,
        seed: int = 0,
    ) -> None:
        self._first = [unit_rows(table) for table in first]
        self._second = [unit_rows(table) for table in second]
        self._sampled, self._seed = sampled, seed
        rng = np.random.default_rng(seed)
        drawn_first = _drawn(self._first[0], sampled, rng)
        drawn_second = _drawn(self._second[0], sampled, rng)
        self._norms_first = [_mean_distance(table, drawn_second) for table in self._first]
        self._norms_second = [_mean_distance(table, drawn_first) for table in self._second]
        pairs = 1.0 - drawn_first @ drawn_second.T if sampled else 1.0 - self._some_pairs(rng)
        places_first = _mean_distance(drawn_first, drawn_second)
        places_second = _mean_distance(drawn_second, drawn_first)
        if sampled:
            pairs = pairs / _positive(places_first[:, None] + places_second)
        self._random = np.sort(pairs.ravel().astype(np.float64))

    @property
    def shape(self) -> tuple[int, int]:
        """Sentences of both sides."""
        return len(self._first[0]), len(self._second[0])

    def costs(self, m: int, n: int, i: int, low: int, high: int) -> Costs:
        """Of blocks of m sentences that end before row i, and n that end before low to high."""
        x = self._first[m - 1][i - m]
        ys = self._second[n - 1][low - n : high - n + 1]
        found: Costs = np.asarray(1.0 - ys @ x, dtype=np.float64) * (m * n)
        if self._sampled:
            found /= _positive(
                self._norms_first[m - 1][i - m] + self._norms_second[n - 1][low - n : high - n + 1]
            )
        return found

    def skip_cost(self, share: float) -> float:
        """The quantile `share` of the costs of random pairs."""
        return float(np.quantile(self._random, share)) if len(self._random) else 1.0

    def coarser(self) -> VectorBlocks | None:
        """Sums of neighbouring sentences, two by two."""
        if min(self.shape) < _COARSEST:
            return None
        halves = [_paired_sums(table[0]) for table in (self._first, self._second)]
        return VectorBlocks([halves[0]], [halves[1]], sampled=self._sampled, seed=self._seed)

    def _some_pairs(self, rng: np.random.Generator) -> FloatArray:
        first, second = (_drawn(side[0], 100, rng) for side in (self._first, self._second))
        return first @ second.T


class EditBlocks:
    """Edit similarity of the joined texts, set against what it is with drawn sentences.

    Args:
        first: sentences, compared as `text_floors.plain` gives them, the first 300 characters each.
        second: of the other side.
        sampled: sentences drawn from each side, at least one.
        seed: of the draw.
    """

    def __init__(
        self, first: Sequence[str], second: Sequence[str], *, sampled: int = 20, seed: int = 0
    ) -> None:
        self._texts = tuple([plain(text)[:LONGEST] for text in side] for side in (first, second))
        rng = np.random.default_rng(seed)
        places = [np.sort(rng.permutation(len(side))[: max(sampled, 1)]) for side in self._texts]
        drawn = [[side[k] for k in own] for side, own in zip(self._texts, places, strict=True)]
        self._norms = tuple(
            (1.0 - edit_similarity(side, other)).mean(axis=1, dtype=np.float64)
            for side, other in zip(self._texts, reversed(drawn), strict=True)
        )
        random = 1.0 - edit_similarity(*drawn).astype(np.float64)
        self._random = (
            random / _positive(self._norms[0][places[0]][:, None] + self._norms[1][places[1]])
        ).ravel()
        self._tables: dict[tuple[int, int], tuple[int, int, FloatArray]] = {}

    @property
    def shape(self) -> tuple[int, int]:
        """Sentences of both sides."""
        return len(self._texts[0]), len(self._texts[1])

    def costs(self, m: int, n: int, i: int, low: int, high: int) -> Costs:
        """As `VectorBlocks.costs`, with edit similarity for cosine."""
        found = (1.0 - self._similarities(m, n, i, low, high)).astype(np.float64) * (m * n)
        left = self._norms[0][i - m : i].mean()
        right = np.array([self._norms[1][j - n : j].mean() for j in range(low, high + 1)])
        return np.asarray(found / _positive(left + right))

    def _similarities(self, m: int, n: int, i: int, low: int, high: int) -> FloatArray:
        """Of one row; many rows are compared in one go, which costs little more than one."""
        first, start, table = self._tables.get((m, n), (0, 0, np.zeros((0, 0), np.float32)))
        inside = first <= i < first + len(table)
        if not inside or low < start or high >= start + table.shape[1]:
            rows = range(i, min(i + _ROWS_AT_ONCE, self.shape[0] + 1))
            columns = range(low, min(high + _ROWS_AT_ONCE, self.shape[1]) + 1)
            table = edit_similarity(
                [" ".join(self._texts[0][row - m : row]) for row in rows],
                [" ".join(self._texts[1][column - n : column]) for column in columns],
            )
            first, start = i, low
            self._tables[m, n] = (first, start, table)
        return np.asarray(table[i - first, low - start : high - start + 1])

    def skip_cost(self, share: float) -> float:
        """The quantile `share` of the costs of random pairs."""
        return float(np.quantile(self._random, share))

    def coarser(self) -> None:
        """Nothing: joined texts are no cheaper to compare."""
        return None


class LengthBlocks:
    """Minus the logarithm of how likely two blocks of such lengths are translations.

    Source: Gale and Church (1993), equations 1 to 4, with the prior of longer blocks shared out
    among them; lengths in characters, the second side scaled to the first.
    """

    def __init__(self, first: Sequence[str], second: Sequence[str]) -> None:
        lengths = [
            np.array([len(text) for text in side], dtype=np.float64) for side in (first, second)
        ]
        self._ends = [np.concatenate([[0.0], np.cumsum(side)]) for side in lengths]
        self._ratio = self._ends[0][-1] / max(1.0, self._ends[1][-1])

    @property
    def shape(self) -> tuple[int, int]:
        """Sentences of both sides."""
        return len(self._ends[0]) - 1, len(self._ends[1]) - 1

    def costs(self, m: int, n: int, i: int, low: int, high: int) -> Costs:
        """Minus log of prior and of the two-sided tail of the difference in length."""
        try:
            from scipy.special import log_ndtr
        except ImportError as error:
            raise MissingExtra("text", "scipy") from error
        left = self._ends[0][i] - self._ends[0][i - m]
        right = self._ratio * (
            self._ends[1][low : high + 1] - self._ends[1][low - n : high - n + 1]
        )
        spread = np.sqrt(_LENGTH_VARIANCE * np.maximum(1.0, (left + right) / 2))
        tail = np.log(2.0) + log_ndtr(-np.abs(left - right) / spread)
        prior = _PRIORS.get((m, n), _RARE_PRIOR)
        return np.asarray(-tail - np.log(prior), dtype=np.float64)

    def skip_cost(self, share: float) -> float:
        """Minus log of the prior of a sentence without translation; `share` plays no part."""
        del share
        return float(-np.log(_ALONE_PRIOR))

    def coarser(self) -> None:
        """Nothing: lengths of joined sentences tell less."""
        return None


def _doubled(path: Sequence[Block], rows: int, columns: int) -> list[Block]:
    """A path through halved documents as one through the whole ones."""
    ends = (rows, columns)
    return [
        (
            tuple(k for i in left for k in (2 * i, 2 * i + 1) if k < ends[0]),
            tuple(k for j in right for k in (2 * j, 2 * j + 1) if k < ends[1]),
        )
        for left, right in path
    ]


def _paired_sums(table: FloatArray) -> FloatArray:
    found: FloatArray = np.add.reduceat(table, np.arange(0, len(table), 2), axis=0)
    return found


def _drawn(table: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    return table[np.sort(rng.permutation(len(table))[:count])]


def _mean_distance(table: FloatArray, drawn: FloatArray) -> Costs:
    """Mean of 1 - cosine with the drawn rows, (N,); 1 where nothing is drawn."""
    if not len(drawn):
        return np.ones(len(table))
    return np.asarray(1.0 - table @ drawn.mean(axis=0), dtype=np.float64)


def _positive(values: Costs) -> Costs:
    """A document of equal sentences has distances of 0, by which nothing can be divided."""
    found: Costs = np.maximum(values, 1e-6)
    return found
