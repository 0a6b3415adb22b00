"""Recent queries, kept for some minutes in bounded memory: their steps and their sound."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from isogloss.types import FloatArray

__all__ = ["RecentQueries", "RecentQuery"]


@dataclass(frozen=True, slots=True, eq=False)
class RecentQuery:
    """A query: (T, D) steps, WAV of what was heard (None for an item or text)."""

    kind: str
    steps: FloatArray
    step_seconds: float | None
    wav: bytes | None
    item_id: str | None
    kept_at: float

    @property
    def size_bytes(self) -> int:
        """Memory that it takes."""
        return int(self.steps.nbytes) + len(self.wav or b"")


class RecentQueries:
    """The last queries by a name that cannot be guessed; the oldest go when memory is full.

    A query that alone is larger than the memory is not kept. Threads may share it.
    """

    def __init__(self, *, most_bytes: int, seconds: float) -> None:
        self._most_bytes = most_bytes
        self._seconds = seconds
        self._queries: OrderedDict[str, RecentQuery] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def keep(
        self,
        kind: str,
        steps: FloatArray,
        *,
        step_seconds: float | None = None,
        wav: bytes | None = None,
        item_id: str | None = None,
    ) -> str:
        """The name under which `get` finds the query."""
        name = f"q-{secrets.token_urlsafe(18)}"
        query = RecentQuery(kind, steps, step_seconds, wav, item_id, time.monotonic())
        with self._lock:
            self._queries[name] = query
            self._bytes += query.size_bytes
            self._forget()
        return name

    def get(self, name: str) -> RecentQuery | None:
        """The query, or None when it is unknown or too long ago."""
        with self._lock:
            self._forget()
            query = self._queries.get(name)
            return query

    def _forget(self) -> None:
        oldest_kept = time.monotonic() - self._seconds
        while self._queries:
            first = next(iter(self._queries.values()))
            if self._bytes <= self._most_bytes and first.kept_at >= oldest_kept:
                return
            self._queries.popitem(last=False)
            self._bytes -= first.size_bytes
