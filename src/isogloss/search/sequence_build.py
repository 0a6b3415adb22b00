"""Sequences and items in, parts of a segment out: the work of building and appending."""

from __future__ import annotations

import itertools
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from isogloss.corpora.progress import with_progress
from isogloss.scores.seqsim_blocks import thread_count
from isogloss.search.encoding import encode_segment
from isogloss.search.step_sample import blocks_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from concurrent.futures import Future

    import numpy as np

    from isogloss.search.index_settings import IndexSettings
    from isogloss.search.units import Units
    from isogloss.types import Item, Sequences

__all__ = ["encoded_parts"]

# Steps encoded at a time by each thread: 32 MB as float32 of 128 dimensions.
_PART_STEPS = 1 << 16

Arrays = dict[str, "np.ndarray[Any, Any]"]


def encoded_parts(
    pieces: Iterable[Sequences],
    items: Iterable[Item],
    units: Units,
    settings: IndexSettings,
    *,
    threads: int | None = None,
) -> Iterator[tuple[list[Item], Arrays]]:
    """Items with their arrays of `encode_segment`, in order, some thousand steps at a time.

    Each thread encodes a part of its own; memory holds one part more than there are threads.

    Raises:
        ValueError: ids of items and sequences differ, there are more of one than of the other, or
            as `encode_segment`.
    """
    workers = thread_count(threads)
    described = iter(items)
    blocks = (block for piece in pieces for block in blocks_of(piece, _PART_STEPS))
    waiting: deque[tuple[list[Item], Future[Arrays]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for block in with_progress(blocks, "indexing"):
            own = _items_of(block, described)
            # The pool's own threads do the sharing.
            waiting.append((own, pool.submit(encode_segment, block, units, settings, threads=1)))
            if len(waiting) > workers:
                first, arrays = waiting.popleft()
                yield first, arrays.result()
        for first, arrays in waiting:
            yield first, arrays.result()
    surplus = next(described, None)
    if surplus is not None:
        raise ValueError(f"item '{surplus.id}' and those behind it have no sequence")


def _items_of(block: Sequences, described: Iterator[Item]) -> list[Item]:
    own = list(itertools.islice(described, len(block)))
    for name, item in itertools.zip_longest(block.ids, own):
        if item is None or item.id != name:
            found = "there is no item left" if item is None else f"the item is '{item.id}'"
            raise ValueError(f"sequence '{name}': {found}; give items in the same order")
    return own
