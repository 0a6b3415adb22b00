"""What changes the rows of an engine index, in transactions that the caller holds."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from isogloss.corpora.progress import with_progress
from isogloss.search.encoding import check_sequences
from isogloss.search.engine_rows import rows_of, unit_counts
from isogloss.search.step_sample import blocks_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from isogloss.search.engine_shard import EngineRow, EngineShard
    from isogloss.search.index_settings import IndexSettings
    from isogloss.search.units import Units
    from isogloss.types import Item, Sequences

__all__ = ["check_steps", "insert_rows", "remove_rows", "shard_number"]

_BLOCK_STEPS = 1 << 16


def shard_number(name: str, shards: int) -> int:
    """Which of so many shards an item belongs to: by a hash of its id, for ever."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % shards


def check_steps(sequences: Sequences, dimensions: int, made_by: str) -> None:
    """Refuse steps that an index cannot compare with its own.

    Raises:
        ValueError: D or `made_by` differ, a sequence has no steps, or one is not finite.
    """
    check_sequences(sequences, dimensions)
    if sequences.made_by != made_by and len(sequences):
        raise ValueError(
            f"steps were made by '{sequences.made_by}', the index by '{made_by}'; cosines between "
            "two encoders mean nothing"
        )


def insert_rows(
    shards: Sequence[EngineShard],
    units: Units,
    settings: IndexSettings,
    made_by: str,
    pieces: Iterable[Sequences],
    items: Iterable[Item],
    *,
    replace: bool,
) -> int:
    """Write rows and return how many; other writers wait until the transactions end.

    Raises:
        ValueError: items and sequences differ, or as `check_steps` and `rows_of`.
    """
    # In the order of shards, as all writers do, so that no two wait for each other.
    counts = [np.frombuffer(shard.locked("counts"), "<i8").copy() for shard in shards]
    described = iter(items)
    blocks = (block for piece in pieces for block in blocks_of(piece, _BLOCK_STEPS))
    added = 0
    for block in with_progress(blocks, "storing"):
        check_steps(block, units.prototypes.shape[1], made_by)
        mine: list[list[EngineRow]] = [[] for _ in shards]
        for row in rows_of(block, described, units, settings):
            mine[shard_number(row.id, len(shards))].append(row)
        for number, (shard, rows) in enumerate(zip(shards, mine, strict=True)):
            if replace:
                gone = shard.remove([row.id for row in rows])
                counts[number] -= unit_counts(gone, units.count)
            shard.insert(rows, units.count)
            counts[number] += unit_counts((row.units for row in rows), units.count)
            added += len(rows)
    surplus = next(described, None)
    if surplus is not None:
        raise ValueError(f"item '{surplus.id}' and those behind it have no sequence")
    for shard, held in zip(shards, counts, strict=True):
        shard.put("counts", held.astype("<i8").tobytes())
        _count_a_write(shard)
    return added


def remove_rows(shards: Sequence[EngineShard], units: Units, ids: Iterable[str]) -> int:
    """Delete items; how many were here."""
    mine: list[list[str]] = [[] for _ in shards]
    for name in ids:
        mine[shard_number(name, len(shards))].append(name)
    removed = 0
    for shard, names in zip(shards, mine, strict=True):
        if not names:
            continue
        counts = np.frombuffer(shard.locked("counts"), "<i8").copy()
        gone = shard.remove(names)
        if gone:
            counts -= unit_counts(gone, units.count)
            shard.put("counts", counts.astype("<i8").tobytes())
            _count_a_write(shard)
        removed += len(gone)
    return removed


def _count_a_write(shard: EngineShard) -> None:
    # Behind the lock on the counts: no two writers add one to the same number.
    shard.put("version", str(int(shard.locked("version")) + 1).encode())
