"""A progress bar on stderr for work that turns out to be long."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["progress_bar", "with_progress"]

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


@contextmanager
def progress_bar(label: str, total: float) -> Iterator[Callable[[float], None]]:
    """A function to call with the work done since its last call; `total` is all of it.

    After 2 s a bar with the time left appears on stderr, when that is a terminal.
    """
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    bar = Progress(console=console, disable=not console.is_terminal, transient=True)
    task = bar.add_task(label, total=max(total, 1e-9))
    began = time.monotonic()
    started = False

    def advance(amount: float) -> None:
        nonlocal started
        bar.advance(task, amount)
        if not started and time.monotonic() - began > _QUIET_SECONDS:
            started = True
            bar.start()

    try:
        yield advance
    finally:
        if started:
            bar.stop()
