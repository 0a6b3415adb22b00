"""A million vectors as a side of mining: neighbours are looked for in a few cells of the space.

Exact search compares every row with every row, which for a million rows takes hours. Here each
side is divided into cells (an inverted file, faiss); a question visits the cells nearest to it, and
what it finds there is scored anew from the float32 vectors. What lies in other cells is missed:
measure how much on a part of your data, as `benchmarks/mining_million.py` does.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from isogloss.search.mine_pairs import Neighbours
from isogloss.search.mine_sides import VectorSide
from isogloss.search.vector_ann import import_faiss

if TYPE_CHECKING:
    from isogloss.types import Vectors

__all__ = ["CellSide", "cells_for"]

# Rows that k-means looks at for each cell, and its rounds: more move recall by less than 0.001.
_ROWS_A_CELL = 64
_ROUNDS = 10
_FEWEST_ROWS_A_CELL = 39
# Beyond the wanted neighbours, so that those of equal score can be told apart.
_SPARE = 4


class CellSide(VectorSide):
    """Vectors in memory, compared by cosine with the rows of the nearest cells.

    Memory holds a second copy of the rows, besides what the caller holds.

    Args:
        vectors: N rows, finite.
        center: as for `VectorSide`.
        probes: cells that a question visits; more find more and take longer in proportion. All of
            them find everything.
        cells: how many there are; by default `cells_for(N)`.
        seed: of k-means.

    Raises:
        ValueError: no row, NaN or infinity, or `probes` or `cells` is below 1, or there are more
            cells than rows.
        MissingExtra: faiss is not installed.

    Source: Sivic and Zisserman 2003 for inverted files of vectors, as built by faiss.
    """

    def __init__(
        self,
        vectors: Vectors,
        *,
        center: bool = False,
        probes: int = 16,
        cells: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(vectors, center=center)
        self._cells = cells_for(len(vectors)) if cells is None else cells
        if probes < 1 or not 1 <= self._cells <= len(vectors):
            raise ValueError(
                f"probes must be at least 1 and cells from 1 to {len(vectors)}, got {probes} and "
                f"{self._cells}"
            )
        self._probes, self._seed = probes, seed
        import_faiss()

    @cached_property
    def described(self) -> dict[str, Any]:
        """As of a `VectorSide`, with cells, probes and seed."""
        settings = {"cells": self._cells, "probes": self._probes, "cell_seed": self._seed}
        return {**super().described, **settings}

    def nearest(self, questions: Vectors, k: int) -> Neighbours:
        """The `k` rows of largest cosine in the visited cells; of equal ones the smaller ids.

        Where the cells hold fewer than `k` rows the rest is -1 with score 0.
        """
        faiss = import_faiss()
        asked = np.ascontiguousarray(questions.values, dtype=np.float32)
        wanted = min(k + _SPARE, len(self.ids))
        parameters = faiss.SearchParametersIVF(nprobe=min(self._probes, self._cells))
        _, found = self._lists.search(asked, wanted, params=parameters)
        there = found >= 0
        rows = self._unit[np.where(there, found, 0)].astype(np.float64)
        # Each pair is summed by itself, so a score does not depend on what was asked beside it.
        scores = np.clip((rows * asked[:, np.newaxis].astype(np.float64)).sum(axis=2), -1, 1)
        scores = scores.astype(np.float32)
        place = np.where(there, self._order[np.where(there, found, 0)], len(self.ids))
        best = np.lexsort((place, np.where(there, -scores, np.inf)), axis=1)[:, :k]
        columns = np.take_along_axis(found, best, axis=1).astype(np.int64)
        kept = np.where(columns >= 0, np.take_along_axis(scores, best, axis=1), 0)
        missing = ((0, 0), (0, k - columns.shape[1]))
        return Neighbours(
            np.pad(columns, missing, constant_values=-1),
            np.pad(kept.astype(np.float32), missing),
        )

    @cached_property
    def _lists(self) -> Any:
        faiss = import_faiss()
        rows = np.ascontiguousarray(self._unit)
        coarse = faiss.IndexFlatIP(rows.shape[1])
        lists = faiss.IndexIVFFlat(coarse, rows.shape[1], self._cells, faiss.METRIC_INNER_PRODUCT)
        lists.cp.spherical = True
        lists.cp.seed = self._seed
        lists.cp.niter = _ROUNDS
        lists.cp.max_points_per_centroid = _ROWS_A_CELL
        lists.cp.min_points_per_centroid = 1
        lists.train(_sample(rows, self._cells * _ROWS_A_CELL, self._seed))
        lists.add(rows)
        return lists


def cells_for(rows: int) -> int:
    """How many cells divide `rows` rows: 4 sqrt(rows), and at least 39 rows in each."""
    return max(1, min(round(4 * math.sqrt(rows)), rows // _FEWEST_ROWS_A_CELL))


def _sample(rows: npt.NDArray[np.float32], count: int, seed: int) -> npt.NDArray[np.float32]:
    if len(rows) <= count:
        return rows
    chosen = np.random.default_rng(seed).choice(len(rows), count, replace=False)
    return rows[np.sort(chosen)]
