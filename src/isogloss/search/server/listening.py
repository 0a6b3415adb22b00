"""uvicorn with what it lacks: a time limit for headers, a drain before the stop, SIGHUP."""

from __future__ import annotations

import asyncio
import secrets
import signal
import threading
from typing import TYPE_CHECKING

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from isogloss.search.server.app import reopen
from isogloss.search.server.logs import access_log
from isogloss.search.server.problems import Problem, rendered

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from types import FrameType

    from fastapi import FastAPI

    from isogloss.search.server.settings import ServeSettings
    from isogloss.search.server.state import State

__all__ = ["Server", "protocol_with", "serve_config"]

_BACKLOG = 2048
_HEADER_BYTES = 32 * 1024
_KEEP_ALIVE_SECONDS = 15


def protocol_with(
    header_seconds: float, *, read_seconds: float = 20.0, read_bytes: int = 64 * 1024
) -> type[H11Protocol]:
    """Uvicorn's HTTP/1.1 whose connections end when a client is too slow.

    uvicorn itself waits for ever for the first byte of a connection, for the rest of headers, and
    for a client that does not take its answer.

    Args:
        header_seconds: longest time that headers may take.
        read_seconds: how often an answer that waits for its reader is looked at.
        read_bytes: least of it that the reader must have taken since.
    """

    class Timed(H11Protocol):
        _timer: asyncio.TimerHandle | None = None
        _reader_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop()
            if self._reader_timer is not None:
                self._reader_timer.cancel()
                self._reader_timer = None
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self._at_work():
                self._stop()
            elif self._timer is None:
                self._wait()

        def send_400_response(self, msg: str) -> None:
            """What is no HTTP is answered like all errors, with an id that the log has as well."""
            name = secrets.token_hex(16)
            access_log.info("no http", extra={"fields": {"request_id": name, "status": 400}})
            body = rendered(Problem(400, "bad_request", "this is no valid HTTP request").body)
            for event in (
                h11.Response(
                    status_code=400,
                    headers=[
                        ("content-type", "application/json"),
                        ("content-length", str(len(body))),
                        ("x-request-id", name),
                        ("connection", "close"),
                    ],
                    reason=b"Bad Request",
                ),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
            self.transport.close()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._look_at_reader(None)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._reader_timer is not None:
                self._reader_timer.cancel()
                self._reader_timer = None

        def timeout_keep_alive_handler(self) -> None:
            super().timeout_keep_alive_handler()
            if self.transport.get_write_buffer_size():
                self.transport.abort()  # closing would wait for its reader

        def _look_at_reader(self, left_before: int | None) -> None:
            """Cut a client off that takes less of its answer than `read_bytes` in a while."""
            left = self.transport.get_write_buffer_size()
            if left_before is not None and left > left_before - read_bytes:
                self.transport.abort()
                return
            self._reader_timer = self.loop.call_later(read_seconds, self._look_at_reader, left)

        def _at_work(self) -> bool:
            return self.cycle is not None and not self.cycle.response_complete

        def _wait(self) -> None:
            self._timer = self.loop.call_later(header_seconds, self._give_up)

        def _stop(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _give_up(self) -> None:
            self._timer = None
            if not self._at_work() and not self.transport.is_closing():
                self.transport.close()
                if self.transport.get_write_buffer_size():
                    self.transport.abort()

    return Timed


def serve_config(app: FastAPI, settings: ServeSettings) -> uvicorn.Config:
    """Uvicorn's settings: no other access log, no guessing of who the client is."""
    return uvicorn.Config(
        app,
        http=protocol_with(settings.header_seconds),
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, round(settings.stop_seconds)),
        h11_max_incomplete_event_size=_HEADER_BYTES,
    )


class Server(uvicorn.Server):
    """Stops in two steps, so that a load balancer can look away before connections are refused."""

    def __init__(self, config: uvicorn.Config, state: State) -> None:
        super().__init__(config)
        self._state = state
        self._loop: asyncio.AbstractEventLoop | None = None

    async def serve_on(
        self, listener: socket.socket, listening: Callable[[], None] | None = None
    ) -> None:
        """Serve until told to stop; `listening` is called once connections are accepted."""
        self._loop = asyncio.get_running_loop()
        if threading.current_thread() is threading.main_thread():
            self._loop.add_signal_handler(signal.SIGHUP, self._reopen)
        told = asyncio.create_task(self._tell(listening))
        try:
            await self.serve(sockets=[listener])
        finally:
            told.cancel()
            await asyncio.gather(told, return_exceptions=True)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop after a drain; at once when told twice."""
        if self._state.stopping or self._loop is None:
            self.should_exit = True
            self.force_exit = self.force_exit or self._state.stopping
            return
        self._state.stopping = True
        self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        if self._loop is not None:
            self._loop.call_later(self._state.settings.drain_seconds, self._leave)

    def _leave(self) -> None:
        self.should_exit = True

    def _reopen(self) -> None:
        task = asyncio.ensure_future(reopen(self._state))
        self._reopening = task  # a task that nobody holds may be collected

    async def _tell(self, listening: Callable[[], None] | None) -> None:
        while not self.started:
            await asyncio.sleep(0.01)
        if listening is not None:
            listening()
