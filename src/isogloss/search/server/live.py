"""The index that is served: one commit at a time, exchanged when a new one appears."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isogloss.errors import IsoglossError
from isogloss.search.server.census import Census, census_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from isogloss.search.index_protocol import SearchIndex
    from isogloss.types import Item

__all__ = ["Live", "Snapshot"]


@dataclass(frozen=True)
class Snapshot:
    """One commit: requests that began with it end with it.

    What others write to an engine is seen at once; version, count and census follow at `refresh`.
    """

    index: SearchIndex
    version: int
    stamp: str
    count: int
    census: Census

    def item(self, item_id: str) -> Item | None:
        """The item, or None when this commit has no such."""
        return self.index.items([item_id]).get(item_id)

    def step_count(self, item_id: str) -> int | None:
        """Steps of an item, or None when somebody has just deleted it."""
        try:
            return self.index.step_count(item_id)
        except ValueError:
            return None


class Live:
    """The newest snapshot, and how to get the next.

    `opener` opens the index anew; `mark` changes when a new commit may be there and costs little.
    """

    def __init__(
        self,
        opener: Callable[[], SearchIndex],
        mark: Callable[[], object] | None = None,
    ) -> None:
        self._opener = opener
        self._mark = mark
        self._seen: object = None
        self._snapshot: Snapshot | None = None
        self._lock = threading.Lock()

    @property
    def now(self) -> Snapshot:
        """The snapshot that new requests get."""
        if self._snapshot is None:
            raise RuntimeError("the index has not been opened yet")
        return self._snapshot

    def changed(self) -> bool:
        """Whether a commit may be there that has not been opened."""
        return self._mark is not None and self._mark() != self._seen

    def refresh(self) -> bool:
        """Open the newest commit; True when it is another one than before.

        Raises:
            OSError, ValueError: it cannot be opened; the old snapshot stays.
            IsoglossError: it is of another encoder now; the old snapshot stays.
        """
        with self._lock:
            seen = self._mark() if self._mark is not None else None
            index = self._opener()
            self._seen = seen
            before = self._snapshot
            if before is not None and before.index.made_by != index.made_by:
                raise IsoglossError(
                    f"the index was rebuilt by {index.made_by}, the encoder here is "
                    f"{before.index.made_by}; start the server anew"
                )
            # Not the version: an index built anew at the same place may have the same number.
            if before is not None and before.stamp == index.stamp:
                return False
            self._snapshot = Snapshot(
                index, index.version, index.stamp, len(index), census_of(index)
            )
            return True
