"""An index on disk, whatever it holds: arrays in segments, items, deletes; versions that last.

The payload (unit postings, residuals, pooled vectors) is named arrays and means nothing here. A
directory holds them; `commit.json` names everything that counts and is replaced in one step. See
`docs/index-files.md` for the layout.

    store = Store.create(folder, kind="vectors", settings={}, shared={})
    with Writer(folder) as writer:
        writer.append(items, {"vectors": values}, per_item=["vectors"])
        writer.commit()
    store = Store.open(folder)
"""

from __future__ import annotations

from isogloss.search.store_filter import Filter, seconds_of
from isogloss.search.store_lock import IndexLocked
from isogloss.search.store_segment import Segment
from isogloss.search.store_snapshot import Store
from isogloss.search.store_verify import verify
from isogloss.search.store_writer import Batch, Writer

__all__ = [
    "Batch",
    "Filter",
    "IndexLocked",
    "Segment",
    "Store",
    "Writer",
    "seconds_of",
    "verify",
]
