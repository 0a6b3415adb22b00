from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from isogloss.search.server.batching import Batcher
from isogloss.search.server.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Sequence


def run(work: Any, ask: Any, *, size: int = 8, window: float = 0.02) -> Any:
    async def go() -> Any:
        batcher: Batcher[int, int] = Batcher(
            "test", work, Metrics(), size=size, window_seconds=window
        )
        batcher.start()
        try:
            return await ask(batcher)
        finally:
            await batcher.stop()

    return asyncio.run(go())


def test_jobs_that_come_together_are_done_together_and_answered_in_order() -> None:
    batches: list[list[int]] = []

    def double(jobs: Sequence[int]) -> list[int]:
        batches.append(list(jobs))
        return [2 * job for job in jobs]

    async def ask(batcher: Any) -> Any:
        return await asyncio.gather(*(batcher.submit(job) for job in range(20)))

    answers = run(double, ask)
    assert [answer for answer, _ in answers] == [2 * job for job in range(20)]
    assert [len(batch) for batch in batches] == [8, 8, 4]


def test_a_full_batch_does_not_wait_for_the_window() -> None:
    async def ask(batcher: Any) -> float:
        began = time.monotonic()
        await asyncio.gather(*(batcher.submit(job) for job in range(4)))
        return time.monotonic() - began

    assert run(list, ask, size=4, window=5.0) < 2.0


def test_jobs_gather_while_the_thread_is_busy() -> None:
    batches: list[int] = []
    free = threading.Event()

    def slow(jobs: Sequence[int]) -> list[int]:
        batches.append(len(jobs))
        free.wait(5)
        return list(jobs)

    async def ask(batcher: Any) -> None:
        first = asyncio.create_task(batcher.submit(0))
        await asyncio.sleep(0.1)
        others = [asyncio.create_task(batcher.submit(job)) for job in range(5)]
        await asyncio.sleep(0.1)
        free.set()
        await asyncio.gather(first, *others)

    run(slow, ask, window=0.0)
    assert batches == [1, 5]


def test_one_job_fails_alone_and_a_broken_batch_fails_whole() -> None:
    def work(jobs: Sequence[int]) -> list[int | Exception]:
        if 99 in jobs:
            raise RuntimeError("the whole batch")
        return [ValueError(f"job {job}") if job == 3 else job for job in jobs]

    async def ask(batcher: Any) -> None:
        found = await asyncio.gather(
            *(batcher.submit(job) for job in (1, 3, 5)), return_exceptions=True
        )
        assert found[0][0] == 1
        assert isinstance(found[1], ValueError)
        assert found[2][0] == 5
        both = await asyncio.gather(batcher.submit(1), batcher.submit(99), return_exceptions=True)
        assert [str(error) for error in both] == ["the whole batch"] * 2
        assert (await batcher.submit(7))[0] == 7

    run(work, ask)


def test_a_job_whose_asker_has_gone_is_left_out() -> None:
    done: list[int] = []
    free = threading.Event()

    def work(jobs: Sequence[int]) -> list[int]:
        done.extend(jobs)
        free.wait(5)
        return list(jobs)

    async def ask(batcher: Any) -> None:
        first = asyncio.create_task(batcher.submit(1))
        await asyncio.sleep(0.1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(batcher.submit(2), 0.1)
        third = asyncio.create_task(batcher.submit(3))
        free.set()
        await asyncio.gather(first, third)

    run(work, ask, window=0.0)
    assert done == [1, 3]


def test_stopping_gives_up_what_waits() -> None:
    async def go() -> None:
        batcher: Batcher[int, int] = Batcher("test", list, Metrics(), size=8, window_seconds=30.0)
        batcher.start()
        job = asyncio.create_task(batcher.submit(1))
        await asyncio.sleep(0.05)
        await batcher.stop()
        with pytest.raises(asyncio.CancelledError):
            await job

    asyncio.run(go())
