"""Shards of a corpus encoded as a Ray Data job, on this machine or on a cluster."""

from __future__ import annotations

import os
import pickle
from typing import TYPE_CHECKING, Any

from isogloss.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from isogloss.encoders.shards import ShardJob
    from isogloss.types import Item

__all__ = ["encode_with_ray"]


def encode_with_ray(
    job: ShardJob, shards: Mapping[int, Sequence[Item]], *, workers: int, address: str | None
) -> Iterator[int]:
    """The numbers of shards as they are done, in any order.

    Each worker loads the encoder once. Ray starts a worker that is lost anew and gives its shard
    to the others.

    Args:
        job: what the workers do.
        shards: items of each shard.
        workers: how many encode at the same time.
        address: of a running cluster, such as 'auto'; None uses the Ray of this process, or starts
            it on this machine and stops it afterwards.

    Raises:
        MissingExtra: ray is not installed.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtra("ray", "ray[data]") from error
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
    rows = [{"shard": shard, "items": pickle.dumps(list(s))} for shard, s in shards.items()]
    # Ray Data restarts lost workers and repeats their tasks without end by itself; to ask for it
    # again is deprecated.
    done = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        _Worker,
        fn_constructor_args=(job,),
        batch_size=1,
        concurrency=min(workers, len(rows)),
        num_cpus=1,
        num_gpus=1 if job.device.startswith("cuda") else 0,
    )
    try:
        for row in done.iter_rows():
            yield int(row["shard"])
    finally:
        if started:
            ray.shutdown()


class _Worker:
    """One process that encodes shards."""

    def __init__(self, job: ShardJob) -> None:
        # A running cluster starts its workers in a folder of its own.
        if job.started_in is not None and job.started_in.is_dir():
            os.chdir(job.started_in)
        self._job = job
        self._encoder = job.load()

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        for shard, payload in zip(batch["shard"], batch["items"], strict=True):
            self._job.encode(self._encoder, int(shard), pickle.loads(payload))
        return {"shard": batch["shard"]}
