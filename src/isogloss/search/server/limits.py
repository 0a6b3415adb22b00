"""What one request may take of the server: a place in the queue, bytes, time."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from isogloss.search.server.problems import Problem, client_gone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starlette.types import Message, Receive

    from isogloss.search.server.metrics import Metrics
    from isogloss.search.server.settings import ServeSettings

__all__ = ["BodyGuard", "Limits"]

# After an early refusal this much of the body is still taken off the wire, so that a client that
# sends before it reads finds the answer and no reset connection.
_LINGER_BYTES = 8 * 1024 * 1024
_LINGER_SECONDS = 1.0


class Limits:
    """Places, slots and bytes that all requests share."""

    def __init__(self, settings: ServeSettings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._slots = asyncio.Semaphore(settings.max_concurrent)
        self._inside = 0
        self._held = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place for one request, given back at its end.

        Raises:
            Problem: 503, when `max_concurrent` are at work and `queue` wait.
        """
        if self._inside >= self._settings.max_concurrent + self._settings.queue:
            raise Problem(
                503,
                "overloaded",
                f"{self._inside} requests are at work or wait; try again in a moment",
                retry_seconds=1,
                close=True,
            )
        self._inside += 1
        self._metrics.inside.set(self._inside)
        try:
            yield
        finally:
            self._inside -= 1
            self._metrics.inside.set(self._inside)

    @asynccontextmanager
    async def slot(self, receive: Receive) -> AsyncIterator[None]:
        """A slot to work in, waited for; everything inside has `timeout_seconds`, waiting included.

        What is inside is cancelled as well when `receive` says that the client has gone.

        Raises:
            Problem: 504, or 499 which nobody reads.
        """
        gone = over = False

        async def watch(deadline: asyncio.Timeout) -> None:
            nonlocal gone
            try:
                while (await receive())["type"] != "http.disconnect":
                    pass
            except Problem:
                return  # a body that nobody reads here is too slow or too long
            # A cancellation that comes together with the message is lost in `wait_for`.
            if not over and not deadline.expired():
                gone = True
                deadline.reschedule(asyncio.get_running_loop().time())

        try:
            async with asyncio.timeout(self._settings.timeout_seconds) as deadline:
                watcher = asyncio.create_task(watch(deadline))
                try:
                    async with self._slot():
                        yield
                finally:
                    over = True
                    watcher.cancel()
        except TimeoutError as error:
            if gone:
                raise client_gone() from error
            raise Problem(
                504,
                "timeout",
                f"no answer within {self._settings.timeout_seconds:g} s; try again, or send less",
                retry_seconds=2,
            ) from error

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        self._metrics.waiting.inc()
        try:
            await self._slots.acquire()
        finally:
            self._metrics.waiting.dec()
        try:
            yield
        finally:
            self._slots.release()

    def hold(self, size_bytes: int) -> None:
        """Count bytes of a body that are kept until its request ends (`let_go`).

        Raises:
            Problem: 503, when all bodies together are more than `held_bytes`.
        """
        if self._held + size_bytes > self._settings.held_bytes:
            raise Problem(
                503,
                "too_many_uploads",
                "too many uploads at once; try again in a moment",
                retry_seconds=2,
                close=True,
            )
        self._held += size_bytes
        self._metrics.held_bytes.set(self._held)

    def let_go(self, size_bytes: int) -> None:
        """Give back what `hold` counted."""
        self._held -= size_bytes
        self._metrics.held_bytes.set(self._held)


class BodyGuard:
    """The `receive` of one request: counts the bytes as they come and does not wait for ever.

    What a Content-Length header says can only make the refusal earlier; it is never relied upon.
    """

    def __init__(
        self, receive: Receive, length: int | None, settings: ServeSettings, limits: Limits
    ) -> None:
        self._receive = receive
        self._promised = length
        self._settings = settings
        self._limits = limits
        self._began: float | None = None
        self._held = 0
        self.total = 0
        self.whole = False
        self.gone = False

    async def __call__(self) -> Message:
        """The next message of the client.

        Raises:
            Problem: 413 for too many bytes, 408 for too slow ones, 503 when others hold too many.
        """
        if self.whole or self.gone:
            return await self._receive()  # waits for the end of the connection
        if self._promised is not None and self._promised > self._settings.max_body_bytes:
            raise self._too_large()
        self._began = self._began or time.monotonic()
        left = self._settings.body_seconds - (time.monotonic() - self._began)
        wait = max(0.0, min(self._settings.body_idle_seconds, left))
        try:
            message = await asyncio.wait_for(self._receive(), wait)
        except TimeoutError as error:
            raise Problem(
                408,
                "body_timeout",
                f"the body came too slowly: at most {self._settings.body_idle_seconds:g} s between "
                f"two pieces and {self._settings.body_seconds:g} s in all",
                close=True,
            ) from error
        if message["type"] == "http.disconnect":
            self.gone = True
            return message
        size = len(message.get("body", b""))
        if self.total + size > self._settings.max_body_bytes:
            raise self._too_large()
        self._limits.hold(size)
        self._held += size
        self.total += size
        self.whole = not message.get("more_body", False)
        return message

    def let_go(self) -> None:
        """The request has ended: its bytes are no longer held."""
        self._limits.let_go(self._held)
        self._held = 0

    async def linger(self) -> None:
        """Throw away some more of the body, for `_LINGER_SECONDS` at most."""
        thrown = 0
        try:
            async with asyncio.timeout(_LINGER_SECONDS):
                while not self.whole and not self.gone and thrown < _LINGER_BYTES:
                    message = await self._receive()
                    self.gone = message["type"] == "http.disconnect"
                    thrown += len(message.get("body", b""))
                    self.whole = not message.get("more_body", False)
        except TimeoutError:
            return

    def _too_large(self) -> Problem:
        return Problem(
            413,
            "too_large",
            f"the body is larger than {self._settings.max_body_bytes} bytes; one recording may "
            f"have {self._settings.max_upload_bytes}",
            param="file",
            close=True,
        )
