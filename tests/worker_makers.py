"""Jobs for Ray workers: ones that die, one that cannot begin, and sides to mine between."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from isogloss.encoders.shards import read_folder
from isogloss.search.mine_sides import SequenceSide

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class Deadly:
    """A job that ends one of its workers by SIGKILL, in the middle of its first task.

    Which one is decided by who makes the file `died` first.
    """

    job: Callable[[], Callable[[Any], None]]
    died: Path

    def __call__(self) -> Callable[[Any], None]:
        do = self.job()

        def until_death(task: Any) -> None:
            try:
                self.died.touch(exist_ok=False)
            except FileExistsError:
                do(task)
            else:
                os.kill(os.getpid(), signal.SIGKILL)

        return until_death


@dataclass(frozen=True)
class AlwaysDeadly:
    """A job whose task number 1 ends every worker."""

    def __call__(self) -> Callable[[int], None]:
        return lambda task: os.kill(os.getpid(), signal.SIGKILL) if task == 1 else None


@dataclass(frozen=True)
class Refusing:
    """A job that cannot begin."""

    def __call__(self) -> Callable[[int], None]:
        raise ValueError("there is nothing to begin with")


def sides_of(a: Path, b: Path) -> tuple[SequenceSide, SequenceSide]:
    """Both sides, from folders of steps; a path may be relative to where the job was started."""
    return SequenceSide(read_folder(a)), SequenceSide(read_folder(b))
