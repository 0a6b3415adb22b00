"""The processes of one run: which batches are whose, sums over all of them, and a lost one.

A step is made of `micro_batches` batches. They are dealt to the processes in turn, each is seeded
by its own number, and gradients are summed, so that the number of processes decides how fast a run
is and not what it learns: two processes give the weights of one.

Gradients are summed here and not by DistributedDataParallel, which leaves the sum undone for a
parameter that happens to be unused in the last of several micro-batches (layers are skipped at
random).
"""

from __future__ import annotations

import contextlib
import math
import signal
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, distributed

from isogloss.errors import IsoglossError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from isogloss.training.batches import Batch
    from isogloss.training.objectives import Loss

__all__ = ["Collective", "LostProcess", "StepSum"]

_BUCKET_ELEMENTS = 1 << 23


class LostProcess(IsoglossError):
    """Another process of the run has ended, so that no step can be completed."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"another process of this run has ended ({reason}); repeat the command to go on from "
            "the last checkpoint"
        )


@dataclass(slots=True)
class StepSum:
    """What the batches of one step gave together, over all processes.

    `total` and `parts` are sums of losses over `steps` encoder steps; `ids` are its items and
    `broken` those of batches whose loss was not finite; `spent` is work done, by kind; `due` asks
    for a checkpoint.
    """

    total: float = 0.0
    steps: int = 0
    audio_seconds: float = 0.0
    parts: dict[str, float] = field(default_factory=dict)
    ids: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    due: bool = False
    spent: dict[str, float] = field(default_factory=dict)

    def take(self, loss: Loss, batch: Batch) -> None:
        """Add the loss of one batch."""
        total = float(loss.total.detach())
        parts = {name: float(value) for name, value in loss.parts.items()}
        broken = () if math.isfinite(total) else batch.ids
        self.join(StepSum(total, loss.steps, batch.seconds, parts, batch.ids, broken))

    def join(self, other: StepSum) -> None:
        """Add the sums of `other`."""
        self.total += other.total
        self.steps += other.steps
        self.audio_seconds += other.audio_seconds
        self.ids += other.ids
        self.broken += other.broken
        for name, value in other.parts.items():
            self.parts[name] = self.parts.get(name, 0.0) + value
        for name, value in other.spent.items():
            self.spent[name] = self.spent.get(name, 0.0) + value


class Collective:
    """What the processes of a run do together; with one process nothing is exchanged.

    Args:
        rank: number of this process.
        world_size: number of processes.
        device: where gradients are.
    """

    def __init__(self, rank: int, world_size: int, device: torch.device) -> None:
        self.rank = rank
        self.world_size = world_size
        self.device = device

    def slots(self, micro_batches: int) -> tuple[int, ...]:
        """The micro-batches of a step that are this process's.

        Raises:
            IsoglossError: they cannot be shared evenly.
        """
        if micro_batches % self.world_size:
            raise IsoglossError(
                f"a step of this run has {micro_batches} micro-batches, which {self.world_size} "
                "processes cannot share evenly; use a number of processes that divides it, or "
                f"begin a run with --set micro_batches={self.world_size}"
            )
        return tuple(range(self.rank, micro_batches, self.world_size))

    def gather(self, value: Any) -> list[Any]:
        """`value` of every process, by rank; small things only."""
        if self.world_size == 1:
            return [value]
        found: list[Any] = [None] * self.world_size
        with _told():
            distributed.all_gather_object(found, value)
        return found

    def sum_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Replace each gradient by its sum over processes; None stays where nobody has one."""
        if self.world_size == 1:
            return
        with _told():
            holders = torch.tensor(
                [float(p.grad is not None) for p in parameters], device=self.device
            )
            distributed.all_reduce(holders)
            held = [p for p, n in zip(parameters, holders.tolist(), strict=True) if n]
            for parameter in held:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
            for bucket in _buckets(held):
                gradients = [p.grad for p in bucket if p.grad is not None]
                flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
                distributed.all_reduce(flat)
                sizes = [gradient.numel() for gradient in gradients]
                for gradient, part in zip(gradients, torch.split(flat, sizes), strict=True):
                    gradient.copy_(part.view_as(gradient))

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """A block in which the launcher's order to stop is an error with a message.

        A launcher that loses one process tells the others to terminate.
        """
        if self.world_size == 1 or threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(number: int, frame: Any) -> None:
            raise LostProcess("the launcher told this one to stop")

        before = signal.signal(signal.SIGTERM, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise LostProcess(str(error).splitlines()[0]) from error


def _buckets(parameters: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Groups of like type, each of some 8 million numbers: few exchanges, little memory."""
    bucket: list[Tensor] = []
    size = 0
    for parameter in sorted(parameters, key=lambda p: str(p.dtype)):
        full = size + parameter.numel() > _BUCKET_ELEMENTS
        if bucket and (full or bucket[0].dtype != parameter.dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(parameter)
        size += parameter.numel()
    if bucket:
        yield bucket
