"""A progress bar on stderr for work that turns out to be long."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["with_progress"]

T = TypeVar("T")
_QUIET_SECONDS = 2.0


def with_progress(items: Iterable[T], label: str, *, total: int | None = None) -> Iterator[T]:
    """`items` unchanged; after 2 s a bar appears on stderr, when that is a terminal."""
    began = time.monotonic()
    iterator = iter(items)
    done = 0
    for item in iterator:
        yield item
        done += 1
        if time.monotonic() - began > _QUIET_SECONDS:
            break
    else:
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    console = Console(stderr=True)
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    disable = not console.is_terminal
    with Progress(*columns, console=console, disable=disable, transient=True) as progress:
        task = progress.add_task(label, total=total, completed=done)
        for item in iterator:
            yield item
            progress.advance(task)
