"""Files of one request in a private folder, gone when the request is."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Scratch", "ScratchFolder"]


R = TypeVar("R")


class Scratch:
    """Numbered names in the server's scratch folder, for one request."""

    def __init__(self, folder: Path, numbers: Iterator[int]) -> None:
        self._folder = folder
        self._numbers = numbers
        self._made: list[Path] = []
        self._cleared = False

    def new(self) -> Path:
        """The path of a file that does not exist yet."""
        path = self._folder / f"{next(self._numbers):012d}"
        self._made.append(path)
        return path

    async def in_thread(self, work: Callable[[], R]) -> R:
        """What `work` gives, done in a thread.

        A thread cannot be stopped: what it writes after its request has ended is removed as well.
        """

        def done() -> R:
            try:
                return work()
            finally:
                if self._cleared:
                    self.clear()

        return await asyncio.to_thread(done)

    def clear(self) -> None:
        """Remove every file of this request."""
        self._cleared = True
        for path in self._made:
            path.unlink(missing_ok=True)


class ScratchFolder:
    """A folder that only this user can read, removed at the end."""

    def __init__(self, parent: Path | None = None) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="isogloss-serve-", dir=parent))
        self._numbers = itertools.count(1)

    @contextmanager
    def request(self) -> Iterator[Scratch]:
        """Scratch files that are gone when the block ends, however it ends."""
        scratch = Scratch(self.path, self._numbers)
        try:
            yield scratch
        finally:
            scratch.clear()

    def remove(self) -> None:
        """Remove the folder and what is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
