"""What all routes share: settings, limits, numbers, encoder, index, recent queries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from isogloss.search.server.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from isogloss.search.server.items import ItemSounds
    from isogloss.search.server.limits import Limits
    from isogloss.search.server.live import Live
    from isogloss.search.server.metrics import Metrics
    from isogloss.search.server.page_files import PageFile
    from isogloss.search.server.recent import RecentQueries
    from isogloss.search.server.scratch import ScratchFolder
    from isogloss.search.server.settings import ServeSettings
    from isogloss.search.server.work import Work

__all__ = ["State"]


@dataclass(eq=False)
class State:
    """The parts of one application."""

    name: str
    settings: ServeSettings
    metrics: Metrics
    limits: Limits
    live: Live
    work: Work
    recent: RecentQueries
    sounds: ItemSounds
    scratch: ScratchFolder
    pages: Mapping[str, PageFile]
    ready: bool = False
    stopping: bool = False

    def need_ready(self) -> None:
        """Nothing, once encoder and index have answered for the first time.

        Raises:
            Problem: 503 before.
        """
        if not self.ready:
            raise Problem(503, "not_ready", "the server is still starting", retry_seconds=2)
