"""What is wrong with the rows of an engine index; what lies below them the engine checks itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from isogloss.corpora.progress import with_progress
from isogloss.search.engine_rows import steps_from, unit_counts
from isogloss.search.engine_write import shard_number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from isogloss.search.engine_shard import EngineShard
    from isogloss.search.index_settings import IndexSettings
    from isogloss.search.units import Units

__all__ = ["problems_of_rows"]


def problems_of_rows(
    shards: Sequence[EngineShard], units: Units, settings: IndexSettings
) -> Iterator[str]:
    """A sentence for each row that is damaged or in the wrong shard, and for each wrong count.

    Reads everything. While others write, a count may look wrong that is not.
    """
    for number, shard in enumerate(shards):
        counted = np.zeros(units.count, np.int64)
        for rows in with_progress(shard.blocks(256, None), f"shard {number + 1}"):
            for name, of_steps, steps in rows:
                where = f"{shard.shown}: item '{name}'"
                if shard_number(name, len(shards)) != number:
                    yield f"{where} belongs to another shard"
                held = np.frombuffer(of_steps[: len(of_steps) // 2 * 2], "<u2")
                if not len(held) or len(of_steps) % 2 or held.max() > units.count:
                    yield f"{where} has units that are none"
                    continue
                counted += unit_counts([of_steps], units.count)
                try:
                    steps_from([(of_steps, steps)], units.prototypes, settings.residuals)
                except ValueError as error:
                    yield f"{where}: {error}"
        if not np.array_equal(counted, np.frombuffer(shard.get("counts"), "<i8")):
            yield f"{shard.shown}: the rows have other units than were counted"
