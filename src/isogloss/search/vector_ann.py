"""Unit vectors in, a navigable graph (HNSW) as one array of bytes out, and candidates from it.

The graph is faiss's, stored as an array of the segment like any other: it has the store's checksum
and is mapped, not read, when the index is opened. It holds vectors in 8 bits a dimension, so what
it finds are candidates; `vector_index` scores them from the float32 vectors.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from isogloss.errors import IsoglossError, MissingExtra

if TYPE_CHECKING:
    from isogloss.types import FloatArray

__all__ = ["Graph", "build_graph", "import_faiss"]

Rows = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]


class Graph:
    """Candidates among the rows of one segment.

    Args:
        stored: what `build_graph` gave, of any origin; it is not copied and must stay alive.

    Raises:
        MissingExtra: faiss is not installed.
        IsoglossError: the bytes are no graph of this version of faiss.
    """

    def __init__(self, stored: Bytes) -> None:
        faiss = import_faiss()
        self._stored = stored
        reader = faiss.ZeroCopyIOReader(faiss.swig_ptr(stored), stored.nbytes)
        try:
            self._index = faiss.read_index(reader)
        except RuntimeError as error:
            raise IsoglossError(
                f"the graph of this index cannot be read by faiss {faiss.__version__} "
                f"({str(error).splitlines()[0]}); isogloss search verify names damaged files, "
                "isogloss search compact builds the graph again"
            ) from error
        self._reader = reader

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def candidates(self, queries: FloatArray, k: int, breadth: int, allowed: Any) -> Rows:
        """Row numbers near each query: (Q, k) int64, -1 where the graph found fewer.

        Args:
            queries: (Q, D) float32 unit rows.
            k: how many.
            breadth: nodes kept while walking (efSearch); at least `k` is used.
            allowed: (rows,) bool, or None for all; rows outside it are walked over, not returned.
        """
        faiss = import_faiss()
        settings = faiss.SearchParametersHNSW()
        settings.efSearch = max(breadth, k)
        if allowed is not None:
            # faiss keeps pointers alone, so both must live until the search is done.
            bits = np.packbits(allowed, bitorder="little")
            settings.sel = faiss.IDSelectorBitmap(len(allowed), faiss.swig_ptr(bits))
        _, found = self._index.search(np.ascontiguousarray(queries), k, params=settings)
        rows: Rows = found.astype(np.int64, copy=False)
        return rows


def build_graph(unit: FloatArray, *, links: int, breadth: int, threads: int | None = None) -> Bytes:
    """The graph over (N, D) float32 unit rows, as (bytes,) uint8.

    With several threads the order of insertion, and so the graph, differs from run to run; with
    one it is repeatable.

    Args:
        unit: N at least 1.
        links: neighbours a node keeps (M).
        breadth: nodes kept while inserting (efConstruction).
        threads: default those that OpenMP would use.

    Raises:
        MissingExtra: faiss is not installed.

    Source: Malkov and Yashunin 2018, as built by faiss.
    """
    faiss = import_faiss()
    before = faiss.omp_get_max_threads()
    if threads is not None:
        faiss.omp_set_num_threads(threads)
    try:
        index = faiss.IndexHNSWSQ(
            unit.shape[1], faiss.ScalarQuantizer.QT_8bit, links, faiss.METRIC_INNER_PRODUCT
        )
        index.hnsw.efConstruction = breadth
        rows = np.ascontiguousarray(unit)
        index.train(rows)
        index.add(rows)
        stored: Bytes = faiss.serialize_index(index)
    finally:
        faiss.omp_set_num_threads(before)
    return stored


def import_faiss() -> Any:
    """The package faiss.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        with warnings.catch_warnings():
            # SWIG's own types lack a module's name, of which Python 3.12 and later complain.
            warnings.filterwarnings("ignore", "builtin type .* has no __module__")
            import faiss
    except ImportError as error:
        raise MissingExtra("search", "faiss-cpu") from error
    return faiss
