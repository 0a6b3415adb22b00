"""Work shared among Ray workers, on this machine or on a cluster; shards of a corpus encoded so.

`work_with_ray` is the one place that starts Ray; `search/distributed.py` uses it too.
"""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.errors import IsoglossError, MissingExtra

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from isogloss.encoders.shards import ShardJob
    from isogloss.types import Item

__all__ = ["encode_with_ray", "work_with_ray"]

_MOST_LOST = 4


def work_with_ray(
    job: Callable[[], Callable[[Any], None]],
    tasks: Sequence[Any],
    *,
    workers: int,
    address: str | None,
    gpus: int = 0,
) -> Iterator[int]:
    """The numbers of tasks as they are done, in any order.

    The task of a worker that is lost goes to the next that is free, and another worker is started.
    A task may therefore be done twice: it must leave its result whole or not at all, and the same
    every time.

    Args:
        job: called once by each worker, in the folder that this process works in; what it gives
            is called with one task at a time. Both job and tasks must pickle.
        tasks: what is to be done.
        workers: how many work at the same time; fewer where the cluster has no room for all.
        address: of a running cluster, such as 'auto'; None uses the Ray of this process, or starts
            it on this machine and stops it afterwards.
        gpus: of each worker.

    Raises:
        MissingExtra: ray is not installed.
        IsoglossError: one task has cost several workers their lives, or as the job and its tasks.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingExtra("ray", "ray") from error
    if not tasks:
        return
    started = not ray.is_initialized()
    if started:
        options: dict[str, Any] = {"address": address}
        if address is None:
            # One slot a worker, whatever the cores: who asks for two workers gets two.
            options = {"num_cpus": workers, "include_dashboard": False}
        ray.init(log_to_driver=False, logging_level="ERROR", **options)
    try:
        yield from _done(job, tasks, min(workers, len(tasks)), gpus)
    finally:
        if started:
            ray.shutdown()


def _done(
    job: Callable[[], Callable[[Any], None]], tasks: Sequence[Any], workers: int, gpus: int
) -> Iterator[int]:
    import ray
    from ray.exceptions import RayActorError, RayTaskError

    of_ray = ray.remote(num_cpus=1, num_gpus=gpus)(_Worker)
    folder = str(Path.cwd())
    waiting = list(range(len(tasks)))[::-1]
    lost = [0] * len(tasks)
    # What was asked -> the worker, and the number of its task; None while it starts.
    asked: dict[Any, tuple[Any, int | None]] = {}

    def start() -> None:
        worker = of_ray.remote()
        asked[worker.start.remote(job, folder)] = worker, None

    starts_lost = 0
    for _ in range(workers):
        start()
    try:
        left = len(tasks)
        while left:
            (ready,), _ = ray.wait(list(asked), num_returns=1)
            worker, number = asked.pop(ready)
            try:
                ray.get(ready)
            except RayActorError as error:
                if number is None:
                    starts_lost += 1
                else:
                    lost[number] += 1
                    waiting.append(number)
                if starts_lost > _MOST_LOST or (number is not None and lost[number] > _MOST_LOST):
                    what = "starting" if number is None else f"task {number + 1} of {len(tasks)}"
                    raise IsoglossError(
                        f"{what} has ended {_MOST_LOST + 1} Ray workers, one after another; most "
                        "often memory is short: take fewer workers"
                    ) from error
                ray.kill(worker)
                start()
                continue
            except RayTaskError as error:
                # What went wrong in the worker, as if it had gone wrong here.
                raise (error.cause if isinstance(error.cause, Exception) else error) from None
            if number is not None:
                left -= 1
                yield number
            if waiting:
                number = waiting.pop()
                asked[worker.do.remote(pickle.dumps(tasks[number]))] = worker, number
            else:
                ray.kill(worker)
    finally:
        if ray.is_initialized():
            for worker, _ in asked.values():
                ray.kill(worker)


class _Worker:
    """One process that does tasks."""

    def start(self, job: Callable[[], Callable[[Any], None]], folder: str) -> None:
        """Begin the job; not in the constructor, whose errors Ray takes for a worker's death."""
        # A running cluster starts its workers in a folder of its own.
        if Path(folder).is_dir():
            os.chdir(folder)
        self._do = job()

    def do(self, task: bytes) -> None:
        """Do a task."""
        self._do(pickle.loads(task))


def encode_with_ray(
    job: ShardJob, shards: Mapping[int, Sequence[Item]], *, workers: int, address: str | None
) -> Iterator[int]:
    """The numbers of shards as they are done, in any order; each worker loads the encoder once.

    Args:
        job: what the workers do.
        shards: items of each shard.
        workers: how many encode at the same time.
        address: as in `work_with_ray`.

    Raises:
        MissingExtra: ray is not installed.
    """
    numbers = list(shards)
    gpus = 1 if job.device.startswith("cuda") else 0
    tasks = [(number, list(items)) for number, items in shards.items()]
    for done in work_with_ray(_Encoding(job), tasks, workers=workers, address=address, gpus=gpus):
        yield numbers[done]


@dataclass(frozen=True, slots=True)
class _Encoding:
    """Loads the encoder of a job, and encodes shards with it."""

    job: ShardJob

    def __call__(self) -> Callable[[tuple[int, list[Item]]], None]:
        encoder = self.job.load()

        def encode(task: tuple[int, list[Item]]) -> None:
            self.job.encode(encoder, *task)

        return encode
