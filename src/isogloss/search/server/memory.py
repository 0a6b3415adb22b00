"""Memory that the process no longer uses goes back to the system; called by the running server.

Batches have every shape there is, so the allocator's heaps of several threads fill with holes, and
resident memory would grow for hours though nothing is kept.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["few_shapes_kept", "give_back_memory"]

_SECONDS = 5.0
# Compiled primitives that oneDNN keeps, one for each shape of a batch; its default of 1,024 takes
# hundreds of megabytes before it is full.
_PRIMITIVES = "64"


def few_shapes_kept() -> None:
    """Bound oneDNN's memory of shapes, and one thread for a product of numpy.

    Of effect before torch and numpy are imported. The index searches with threads of its own,
    a query in each; threads of OpenBLAS below them only wait for one another.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", _PRIMITIVES)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


async def give_back_memory() -> None:
    """Trim the heap every few seconds, for ever; returns at once where the C library cannot."""
    trim = _malloc_trim()
    if trim is None:
        return
    while True:
        await asyncio.sleep(_SECONDS)
        await asyncio.to_thread(trim, 0)


def _malloc_trim() -> Callable[[int], int] | None:
    """`malloc_trim` of glibc; None with another C library."""
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return None
    return found
