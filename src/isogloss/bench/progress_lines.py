"""Tasks as they are done in, lines with the time left out. Called by `run.py`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from isogloss.bench.summary import labels_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from isogloss.bench.store import RunResult
    from isogloss.bench.suite import Suite, TaskSpec

__all__ = ["Progress"]


class Progress:
    """Says what is done and how long the rest may take, from how long the same tasks took before.

    A suite of several tasks gets a line for each of them; one of a single experiment, with its
    layers and CER, a line for each encoder.
    """

    def __init__(
        self, suite: Suite, encoders: Sequence[str], say: Callable[[str], None] | None
    ) -> None:
        self._say = say or (lambda _line: None)
        self._tasks = [task.name for task in suite.tasks]
        self._each = not suite.settings
        self._labels = labels_of(encoders)
        self._encoders = len(encoders)
        self._begun = 0
        self._done = 0
        self._took: dict[str, list[float]] = {}

    def of(self, encoder: str) -> Callable[[TaskSpec, str, float], None]:
        """What is to be called after each task of `encoder`."""
        self._begun += 1
        label = self._labels[encoder]
        waiting = list(self._tasks)

        def tell(task: TaskSpec, state: str, seconds: float) -> None:
            waiting.remove(task.name)
            self._done += 1
            if state != "stored":
                self._took.setdefault(task.name, []).append(seconds)
            if self._each:
                total = self._encoders * len(self._tasks)
                took = "already there" if state == "stored" else f"{state}, {_spoken(seconds)}"
                self._say(
                    f"[{self._done}/{total}] {label}, {task.name}: {took}{self._left(waiting)}"
                )

        return tell

    def failed(self, encoder: str, error: Exception) -> None:
        """Say that `encoder` cannot be used."""
        self._begun += 1
        self._done += len(self._tasks)
        self._say(f"{encoder}: cannot be used: {error}")

    def finished(self, result: RunResult) -> None:
        """Say what `result` comes to."""
        self._say(_headline(self._labels[result.encoder], result))

    def _left(self, waiting: list[str]) -> str:
        rest = waiting + self._tasks * (self._encoders - self._begun)
        known = [seconds for taken in self._took.values() for seconds in taken]
        if not rest or not known:
            return ""
        mean = sum(known) / len(known)
        seconds = sum(
            sum(self._took[name]) / len(self._took[name]) if name in self._took else mean
            for name in rest
        )
        return f"; about {_spoken(seconds)} left"


def _spoken(seconds: float) -> str:
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def _headline(label: str, result: RunResult) -> str:
    mean = result.measure("R@1")
    if mean is None:
        return f"{label}: {len(result.tasks)} tasks are stored"
    interval = (
        "" if mean["low"] is None else f" [{100 * mean['low']:.1f}, {100 * mean['high']:.1f}]"
    )
    return f"{label}: R@1 {100 * mean['value']:.1f} %{interval}"
