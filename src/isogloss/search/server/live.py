"""The index that is served: one commit at a time, exchanged when a new one appears."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isogloss.search.server.census import Census, census_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from isogloss.search.sequence_index import SequenceIndex
    from isogloss.search.vector_index import VectorIndex
    from isogloss.types import Item

__all__ = ["Live", "Snapshot"]


@dataclass(frozen=True)
class Snapshot:
    """One commit: requests that began with it end with it."""

    index: SequenceIndex | VectorIndex
    version: int
    count: int
    census: Census

    def item(self, item_id: str) -> Item | None:
        """The item, or None when this commit has no such."""
        place = self.index.store.find(item_id)
        return None if place is None else self.index.store.item(*place)

    def step_count(self, item_id: str) -> int:
        """Steps of an item that is there."""
        return len(self.index.steps(item_id))


class Live:
    """The newest snapshot, and how to get the next.

    `opener` opens the index anew; `mark` changes when a new commit may be there and costs little.
    """

    def __init__(
        self,
        opener: Callable[[], SequenceIndex | VectorIndex],
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
        """
        with self._lock:
            seen = self._mark() if self._mark is not None else None
            index = self._opener()
            self._seen = seen
            version = index.store.version
            if self._snapshot is not None and self._snapshot.version == version:
                return False
            self._snapshot = Snapshot(index, version, index.store.count, census_of(index.store))
            return True
