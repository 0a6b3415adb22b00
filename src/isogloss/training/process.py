"""The process that trains: its device and precision, its threads, its way with tiny numbers."""

from __future__ import annotations

import contextlib
import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

import torch

from isogloss.errors import IsoglossError, MissingExtra
from isogloss.speech.augment import seeded

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ProcessSettings", "available_cores", "make_accelerator", "settled_process"]


class ProcessSettings(Protocol):
    """What is read here of a `TrainConfig` or a `TextTrainConfig`."""

    @property
    def device(self) -> str:
        """One of "auto", "cpu", "cuda"."""
        ...

    @property
    def precision(self) -> str:
        """One of "fp32", "bf16"."""
        ...

    @property
    def threads(self) -> int | None:
        """CPU threads, None for one a core."""
        ...

    @property
    def seed(self) -> int:
        """Decides everything random."""
        ...


def make_accelerator(config: ProcessSettings) -> Any:
    """Accelerate's `Accelerator` for the device and precision of `config`.

    Raises:
        MissingExtra: accelerate is not installed.
        IsoglossError: there is no such device.
    """
    try:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState
        from accelerate.utils import InitProcessGroupKwargs
    except ImportError as error:
        raise MissingExtra("speech", "accelerate") from error
    if config.device == "cuda" and not torch.cuda.is_available():
        raise IsoglossError("device cuda is asked for, and torch finds none; use cpu or auto")
    # It keeps device and precision for the life of the process; runs may differ in both.
    AcceleratorState._reset_state(reset_partial_state=not torch.distributed.is_initialized())
    return Accelerator(
        cpu=config.device == "cpu" or not torch.cuda.is_available(),
        mixed_precision="bf16" if config.precision == "bf16" else "no",
        # The others wait while the first process computes the features of a large corpus.
        kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(hours=12))],
    )


def available_cores() -> int:
    """Cores that this process may use, which can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def settled_process(config: ProcessSettings, threads: int | None) -> Iterator[None]:
    """A block with the threads and number handling of a run; put back afterwards.

    `threads` is what the run began with, None for a new run.
    """
    before = torch.get_num_threads()
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    torch.set_num_threads(threads or config.threads or max(1, available_cores() // beside))
    # Adam's second moments pass through numbers so small that a CPU is many times slower on them.
    torch.set_flush_denormal(True)
    try:
        with seeded(config.seed):
            yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(before)
