"""Jobs that arrive together, done in one call: a small window, one thread, no lost answer."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from isogloss.search.server.metrics import Metrics

__all__ = ["Batcher"]

Job = TypeVar("Job")
Result = TypeVar("Result")


class Batcher(Generic[Job, Result]):
    """Gathers jobs for `window_seconds`, or while the thread is busy, and does them in one call.

    `run` gets the jobs of a batch and gives, in order, a result or an exception for each. It is
    called in one thread (`thread`, when several batchers share one), never twice at a time. A job
    whose asker has gone (a time-out) is left out of the batch when it has not begun.
    """

    def __init__(
        self,
        name: str,
        run: Callable[[Sequence[Job]], Sequence[Result | Exception]],
        metrics: Metrics,
        *,
        size: int,
        window_seconds: float,
        thread: ThreadPoolExecutor | None = None,
    ) -> None:
        self._name = name
        self._run = run
        self._metrics = metrics
        self._size = size
        self._window = window_seconds
        self._waiting: list[tuple[Job, asyncio.Future[tuple[Result, float]]]] = []
        self._arrived = asyncio.Event()
        self._full = asyncio.Event()
        self._thread = thread or ThreadPoolExecutor(1, thread_name_prefix=f"isogloss-{name}")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to work; needs a running event loop."""
        self._task = asyncio.create_task(self._work(), name=f"isogloss-{self._name}")

    async def stop(self) -> None:
        """Stop after the batch at hand; jobs that wait are given up."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for _, future in self._waiting:
            future.cancel()
        self._waiting.clear()
        await asyncio.to_thread(self._thread.shutdown, wait=True)

    async def submit(self, job: Job) -> tuple[Result, float]:
        """The result of `job`, and the seconds that its batch took.

        Raises:
            Exception: what `run` gave for this job, or raised for its batch.
        """
        future: asyncio.Future[tuple[Result, float]] = asyncio.get_running_loop().create_future()
        self._waiting.append((job, future))
        self._metrics.queue_length.labels(self._name).set(len(self._waiting))
        self._arrived.set()
        if len(self._waiting) >= self._size:
            self._full.set()
        return await future

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            if self._window and not self._full.is_set():
                try:
                    await asyncio.wait_for(self._full.wait(), self._window)
                except TimeoutError:
                    pass
            batch = self._taken()
            if not batch:
                continue
            began = time.perf_counter()
            try:
                work = loop.run_in_executor(self._thread, self._run, [job for job, _ in batch])
                # What a batch raises goes to its askers; the next batch must still be done.
                [done] = await asyncio.gather(work, return_exceptions=True)
            except asyncio.CancelledError:
                for _, future in batch:
                    future.cancel()
                raise
            results = [done] * len(batch) if isinstance(done, BaseException) else done
            took = time.perf_counter() - began
            self._metrics.stage_seconds.labels(self._name).observe(took)
            self._metrics.batch_size.labels(self._name).observe(len(batch))
            for (_, future), result in zip(batch, results, strict=True):
                if future.done():
                    continue
                if isinstance(result, BaseException):
                    future.set_exception(result)
                else:
                    future.set_result((result, took))

    def _taken(self) -> list[tuple[Job, asyncio.Future[tuple[Result, float]]]]:
        """The next batch, oldest first."""
        alive = [(job, future) for job, future in self._waiting if not future.done()]
        batch, self._waiting = alive[: self._size], alive[self._size :]
        self._metrics.queue_length.labels(self._name).set(len(self._waiting))
        if not self._waiting:
            self._arrived.clear()
        if len(self._waiting) < self._size:
            self._full.clear()
        return batch
