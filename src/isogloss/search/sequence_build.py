"""Sequences and items in, parts of a segment out; and a folder that gets its name when whole."""

from __future__ import annotations

import itertools
import shutil
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from isogloss.corpora.progress import with_progress
from isogloss.scores.seqsim_blocks import thread_count
from isogloss.search.encoding import encode_segment
from isogloss.search.step_sample import blocks_of
from isogloss.search.store_files import sync_folder
from isogloss.search.store_lock import exclusive

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

    import numpy as np

    from isogloss.search.index_settings import IndexSettings
    from isogloss.search.units import Units
    from isogloss.types import Item, Sequences

__all__ = ["encoded_parts", "new_folder"]

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


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` to build in, which takes its name when the block ends well.

    So `folder` holds a whole index or nothing. What a killed build left beside it is removed.

    Raises:
        FileExistsError: `folder` is not empty.
        IndexLocked: another process is building there.
    """
    folder = folder.resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(
            f"{folder}: not empty; append to the index that is there, or give a new folder"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = folder.with_name(f".{folder.name}.building")
    _remove(building)
    try:
        yield building
        # On POSIX a rename takes the place of an empty folder, in one step.
        building.replace(folder)
    except BaseException:
        _remove(building)
        raise
    sync_folder(folder.parent)


def _items_of(block: Sequences, described: Iterator[Item]) -> list[Item]:
    own = list(itertools.islice(described, len(block)))
    for name, item in itertools.zip_longest(block.ids, own):
        if item is None or item.id != name:
            found = "there is no item left" if item is None else f"the item is '{item.id}'"
            raise ValueError(f"sequence '{name}': {found}; give items in the same order")
    return own


def _remove(building: Path) -> None:
    if building.exists():
        with exclusive(building):
            shutil.rmtree(building)
