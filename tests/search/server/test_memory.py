from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from isogloss.search.server import memory

if TYPE_CHECKING:
    import pytest


def test_memory_is_trimmed_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    trimmed: list[int] = []
    monkeypatch.setattr(memory, "_SECONDS", 0.01)
    monkeypatch.setattr(memory, "_malloc_trim", lambda: trimmed.append)

    async def go() -> None:
        task = asyncio.create_task(memory.give_back_memory())
        while len(trimmed) < 3:
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(asyncio.wait_for(go(), 10))
    assert set(trimmed) == {0}


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_malloc_trim", lambda: None)
    asyncio.run(asyncio.wait_for(memory.give_back_memory(), 10))


def test_a_setting_of_the_user_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "7")
    memory.few_shapes_kept()
    assert memory.os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] == "7"
