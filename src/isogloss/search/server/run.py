"""An index folder and an encoder's name in; serves until SIGTERM or Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import socket
from importlib.util import find_spec
from typing import TYPE_CHECKING

from isogloss.errors import MissingExtra
from isogloss.search.server.memory import few_shapes_kept
from isogloss.search.server.settings import ServeSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["serve"]

_BACKLOG = 2048
_PACKAGES = {
    "fastapi": "fastapi",
    "uvicorn": "uvicorn",
    "python_multipart": "python-multipart",
    "prometheus_client": "prometheus-client",
}


def serve(
    place: Path | str,
    encoder: str | None = None,
    *,
    layer: int | None = None,
    device: str = "cpu",
    settings: ServeSettings | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    threads: int | None = None,
    listening: Callable[[str], None] | None = None,
) -> int:
    """Serve the index at `place` until the process is told to stop; requests served.

    SIGTERM and SIGINT: `/readyz` says 503 for `drain_seconds`, then no connection is accepted and
    those at work have `stop_seconds`; a second signal ends at once. SIGHUP: the newest commit of
    the index is opened.

    Args:
        place: folder of an index, or `postgresql://...`.
        encoder: a name for `load_encoder`; None takes the one noted in the index.
        layer: of the encoder.
        device: of the encoder.
        settings: limits; None for the defaults.
        host: address to listen at; 127.0.0.1 is reached from this machine alone.
        port: 0 takes a free one.
        threads: of torch; None half of the processors, since the index works beside it.
        listening: called with the address once connections are accepted.

    Raises:
        IsoglossError: no encoder is named or it is not that of the index.
        OSError: the port is taken, or the index cannot be read.
        MissingExtra: fastapi, uvicorn, python-multipart or prometheus-client is not installed.
    """
    _need_packages()
    few_shapes_kept()
    from isogloss.search.encoder_note import load_for, read_note
    from isogloss.search.open import open_index
    from isogloss.search.server.app import create_app
    from isogloss.search.server.listening import Server, serve_config
    from isogloss.search.server.live import Live
    from isogloss.search.server.logs import set_up_logs

    settings = settings or ServeSettings()
    with _bound(host, port) as listener:
        _raise_open_files()
        index = open_index(place)
        loaded = load_for(index, place, encoder, layer=layer, device=device)
        _set_threads(threads)
        live = Live(index.newest, index.mark)
        note = None if encoder else read_note(place)
        name = encoder or (note.encoder if note else None)
        app = create_app(loaded, live, settings, name=name)
        set_up_logs()
        server = Server(serve_config(app, settings), app.state.isogloss)
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{listener.getsockname()[1]}"
        asyncio.run(server.serve_on(listener, (lambda: listening(address)) if listening else None))
    return server.server_state.total_requests


def _need_packages() -> None:
    for module, package in _PACKAGES.items():
        if find_spec(module) is None:
            raise MissingExtra("serve", package)


def _bound(host: str, port: int) -> socket.socket:
    """A listening socket, before hours are spent on loading for a port that is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise OSError(
            f"cannot listen at {host} port {port}: {error.strerror}; choose another with --port"
        ) from error


def _raise_open_files() -> None:
    """Every connection is an open file, and many systems begin with 1,024 of them."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(65536, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _set_threads(threads: int | None) -> None:
    import torch

    available = len(os.sched_getaffinity(0))
    torch.set_num_threads(threads or max(1, available // 2))
