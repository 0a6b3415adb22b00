"""Work shared among Ray workers, on this machine or on a cluster; shards of a corpus encoded so.

`work_with_ray` is the one place that starts Ray; `search/distributed.py` uses it too.
"""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from isogloss.encoders.shards import ShardJob
    from isogloss.types import Item

__all__ = ["encode_with_ray", "work_with_ray"]


def work_with_ray(
    job: Callable[[], Callable[[Any], None]],
    tasks: Sequence[Any],
    *,
    workers: int,
    address: str | None,
    gpus: int = 0,
) -> Iterator[int]:
    """The numbers of tasks as they are done, in any order.

    Ray starts a worker that is lost anew and gives its task to the others. A task may therefore be
    done twice: it must leave its result whole or not at all, and the same every time.

    Args:
        job: called once by each worker, in the folder that this process works in; what it gives
            is called with one task at a time. Both job and tasks must pickle.
        tasks: what is to be done.
        workers: how many work at the same time.
        address: of a running cluster, such as 'auto'; None uses the Ray of this process, or starts
            it on this machine and stops it afterwards.
        gpus: of each worker.

    Raises:
        MissingExtra: ray is not installed.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtra("ray", "ray[data]") from error
    if not tasks:
        return
    started = not ray.is_initialized()
    if started:
        options: dict[str, Any] = {"address": address}
        if address is None:
            # One slot a worker, whatever the cores: who asks for two workers gets two.
            options = {"num_cpus": workers + 1, "include_dashboard": False}
        ray.init(log_to_driver=False, logging_level="ERROR", **options)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    rows = [{"number": i, "task": pickle.dumps(task)} for i, task in enumerate(tasks)]
    # Ray Data restarts lost workers and repeats their tasks without end by itself; to ask for it
    # again is deprecated.
    done = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        _Worker,
        fn_constructor_args=(job, Path.cwd()),
        batch_size=1,
        concurrency=min(workers, len(rows)),
        num_cpus=1,
        num_gpus=gpus,
    )
    try:
        for row in done.iter_rows():
            yield int(row["number"])
    finally:
        if started:
            ray.shutdown()


class _Worker:
    """One process that does tasks."""

    def __init__(self, job: Callable[[], Callable[[Any], None]], started_in: Path) -> None:
        # A running cluster starts its workers in a folder of its own.
        if started_in.is_dir():
            os.chdir(started_in)
        self._do = job()

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        for payload in batch["task"]:
            self._do(pickle.loads(payload))
        return {"number": batch["number"]}


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
