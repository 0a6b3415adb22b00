"""What a run says while it goes: a JSONL log, TensorBoard, a progress bar on stderr."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, TextIO

from isogloss._files import write_text
from isogloss.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

    from isogloss.training.collective import StepSum
    from isogloss.training.state import Position

__all__ = ["Journal", "Meter"]

_LINE_SECONDS = 30.0


class Journal:
    """Records of a run in `folder/train.jsonl`, one JSON object a line, and a bar on stderr.

    When a run is resumed, records beyond the checkpoint are dropped first, so that the log reads
    as if nothing had happened. Where stderr is no terminal, a line every 30 s stands for the bar.

    Args:
        folder: of the run.
        steps: length of the run.
        step: where it starts.
        tensorboard: also write events to `folder/tensorboard`.
        quiet: no bar and no lines.
        writes: whether this process keeps the log; one of several does.
        unit: what the speed is counted in, "audio" (seconds) or "tokens".

    Raises:
        MissingExtra: tensorboard is asked for and not installed.
    """

    def __init__(
        self,
        folder: Path,
        steps: int,
        step: int,
        *,
        tensorboard: bool,
        quiet: bool,
        writes: bool = True,
        unit: str = "audio",
    ) -> None:
        self.path = folder / "train.jsonl"
        self._events = _event_writer(folder, step) if tensorboard and writes else None
        self._bar = None if quiet else _Bar(steps, step, unit)
        self._handle: TextIO | None = None
        if writes:
            _drop_after(self.path, step)
            self._handle = self.path.open("a", encoding="utf-8")

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        if self._events is not None:
            self._events.close()
        if self._handle is not None:
            self._handle.close()

    def record(self, kind: str, position: Position, values: Mapping[str, Any]) -> None:
        """Append a record; numbers also become TensorBoard curves."""
        if self._handle is None:
            return
        entry = {"kind": kind, "step": position.step, "epoch": position.epoch, **values}
        self._handle.write(json.dumps(entry, ensure_ascii=False, allow_nan=False) + "\n")
        self._handle.flush()
        if self._events is not None:
            for name, value in values.items():
                if isinstance(value, int | float):
                    self._events.add_scalar(f"{kind}/{name}", value, position.step)

    def show(self, position: Position, loss: float, speed: float) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.show(position, loss, speed)

    def say(self, message: str) -> None:
        """Say something above the bar."""
        if self._bar is not None:
            self._bar.say(message)


class Meter:
    """Means over the steps since `take` was called; `loss` is the last mean.

    `unit` is what the speed is counted in: "audio" (seconds) or "tokens".
    """

    def __init__(self, unit: str = "audio") -> None:
        self.unit = unit
        self.loss = 0.0
        self._clear()

    def _clear(self) -> None:
        self._sums: dict[str, float] = {}
        self._steps = 0
        self._amount = self._seconds = 0.0

    def add(self, done: StepSum, seconds: float) -> None:
        """Take in one step and the time it took."""
        for name, value in {"loss": done.total, **done.parts}.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._steps += done.steps
        self._amount += (
            done.audio_seconds if self.unit == "audio" else done.spent.get(self.unit, 0.0)
        )
        self._seconds += seconds
        self.loss = self._sums["loss"] / max(1, self._steps)

    @property
    def speed(self) -> float:
        """Seconds of audio, or tokens, trained on in a second."""
        return self._amount / max(1e-9, self._seconds)

    def take(self) -> dict[str, float]:
        """The means, in nats for each encoder step (text: each batch), and start anew."""
        values = {name: total / max(1, self._steps) for name, total in self._sums.items()}
        values[f"{self.unit}_per_second"] = self.speed
        self._clear()
        return values


class _Bar:
    def __init__(self, steps: int, step: int, unit: str) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self._console = Console(stderr=True)
        self._steps = steps
        self._per_second = "s of audio/s" if unit == "audio" else f"{unit}/s"
        self._began, self._first = time.monotonic(), step
        self._last_line = self._began
        self._progress = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._progress.add_task("", total=steps, completed=step, figures="")
        self._progress.start()

    def show(self, position: Position, loss: float, speed: float) -> None:
        figures = f"loss {loss:.3f}, {speed:.0f} {self._per_second}"
        self._progress.update(self._task, completed=position.step, figures=figures)
        now = time.monotonic()
        if not self._console.is_terminal and now - self._last_line >= _LINE_SECONDS:
            self._last_line = now
            pace = (now - self._began) / max(1, position.step - self._first)
            left = (self._steps - position.step) * pace
            self.say(
                f"step {position.step}/{self._steps}, epoch {position.epoch}, {figures}, "
                f"{left / 60:.1f} min left"
            )

    def say(self, message: str) -> None:
        self._console.print(message, highlight=False, markup=False, soft_wrap=True)

    def close(self) -> None:
        self._progress.stop()


def _drop_after(path: Path, step: int) -> None:
    """Keep the whole records up to `step`."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue  # the line that the kill cut short
        if entry["step"] <= step:
            kept.append(line + "\n")
    write_text(path, "".join(kept))


def _event_writer(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtra("speech", "tensorboard") from error
    return SummaryWriter(folder / "tensorboard", purge_step=step + 1)
