"""Files of one request in a private folder, gone when the request is."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Scratch", "ScratchFolder"]


class Scratch:
    """Numbered names in the server's scratch folder, for one request."""

    def __init__(self, folder: Path, numbers: Iterator[int]) -> None:
        self._folder = folder
        self._numbers = numbers
        self._made: list[Path] = []

    def new(self) -> Path:
        """The path of a file that does not exist yet."""
        path = self._folder / f"{next(self._numbers):012d}"
        self._made.append(path)
        return path

    def clear(self) -> None:
        """Remove every file of this request."""
        for path in self._made:
            path.unlink(missing_ok=True)
        self._made.clear()


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
