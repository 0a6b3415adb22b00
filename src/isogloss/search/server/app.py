"""Encoder, index and settings in, the ASGI application out."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from http import HTTPStatus
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from isogloss import __version__
from isogloss.errors import IsoglossError
from isogloss.search.server.documents import finished
from isogloss.search.server.front import Front
from isogloss.search.server.items import ItemSounds
from isogloss.search.server.limits import Limits
from isogloss.search.server.logs import access_log
from isogloss.search.server.memory import give_back_memory
from isogloss.search.server.metrics import Metrics
from isogloss.search.server.page_files import page_files
from isogloss.search.server.problems import Problem, problem_response
from isogloss.search.server.recent import RecentQueries
from isogloss.search.server.routes_items import items_router
from isogloss.search.server.routes_openai import openai_router
from isogloss.search.server.routes_search import search_router
from isogloss.search.server.routes_status import status_router
from isogloss.search.server.scratch import ScratchFolder
from isogloss.search.server.settings import ServeSettings
from isogloss.search.server.state import State
from isogloss.search.server.work import Ask, Work, reads_speech, takes_audio
from isogloss.types import Item

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response

    from isogloss.search.server.live import Live
    from isogloss.types import Encoder

__all__ = ["create_app", "shown_name"]


def create_app(
    encoder: Encoder,
    live: Live,
    settings: ServeSettings | None = None,
    *,
    name: str | None = None,
) -> FastAPI:
    """The application; `app.state.isogloss` holds its parts.

    Args:
        encoder: whose steps the index holds.
        live: the index; it is opened here if it is not yet.
        settings: None for the defaults.
        name: of the encoder as it was loaded; what clients see of it is `shown_name`. None takes
            the encoder's `made_by`.

    Raises:
        OSError, ValueError: the index cannot be opened.
    """
    settings = settings or ServeSettings()
    metrics = Metrics()
    live.refresh()
    state = State(
        name=shown_name(name or encoder.made_by),
        settings=settings,
        metrics=metrics,
        limits=Limits(settings, metrics),
        live=live,
        work=Work(encoder, live, settings, metrics),
        recent=RecentQueries(most_bytes=settings.recent_bytes, seconds=settings.recent_seconds),
        sounds=ItemSounds(settings.audio_roots),
        scratch=ScratchFolder(settings.scratch),
        pages=page_files(),
    )

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with _running(state):
            yield

    app = FastAPI(
        title="Isogloss search",
        version=__version__,
        description="Finds the same sentence in other varieties.",
        lifespan=lifespan,
        # These pages load scripts from other hosts.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.isogloss = state
    for router in (status_router, search_router, items_router, openai_router):
        app.include_router(router(state))
    _document_itself(app, needs_token=settings.token is not None)
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(RequestValidationError, _invalid)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-Request-ID"],
            expose_headers=["X-Request-ID", "Retry-After"],
        )
    app.add_middleware(Front, state=state)
    return app


def shown_name(encoder: str) -> str:
    """What clients see of an encoder's name: no folder of this machine but the last one.

    >>> shown_name("own:/srv/models/micro-40min")
    'own:micro-40min'
    >>> shown_name("own:1e34c04ad1fad2cf;layer=final")
    'own:1e34c04ad1fad2cf'
    >>> shown_name("own:/srv/runs/micro/model"), shown_name("hf:owner/name")
    ('own:micro', 'hf:owner/name')
    """
    kind, colon, rest = encoder.partition(";")[0].partition(":")
    path = PurePath(rest)
    public = kind == "hf" and not path.is_absolute() and len(path.parts) == 2
    named = path.parent if path.name == "model" and path.parent.name else path
    return f"{kind}{colon}{rest if public else named.name}"


def _document_itself(app: FastAPI, *, needs_token: bool) -> None:
    """Let `/openapi.json` be what `finished` makes of FastAPI's document."""
    made_by_fastapi = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = finished(made_by_fastapi(), needs_token=needs_token)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


@contextlib.asynccontextmanager
async def _running(state: State) -> AsyncIterator[None]:
    """Threads and tasks of the application, ended in order."""
    state.work.start()
    _show_index(state)
    tasks = [
        asyncio.create_task(_warm_up(state), name="isogloss-warm-up"),
        asyncio.create_task(give_back_memory(), name="isogloss-memory"),
    ]
    if state.settings.reload_seconds:
        tasks.append(asyncio.create_task(_watch(state), name="isogloss-watch"))
    try:
        yield
    finally:
        state.ready = False
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await state.work.stop()
        state.scratch.remove()


# Letters that every tokenizer knows.
_WARM_UP_TEXT = "isogloss"


async def _warm_up(state: State) -> None:
    """One query through encoder and index; then the server is ready."""
    try:
        await _first_query(state)
    except (IsoglossError, ValueError, RuntimeError, OSError):
        # It stays not ready, and says why; a load balancer then sends nobody.
        access_log.exception("warm-up failed")
        return
    # What is there by now stays: looking through it for garbage again and again is in vain.
    gc.collect()
    gc.freeze()
    state.ready = True
    state.metrics.ready.set(1)
    access_log.info("ready", extra={"fields": {"items": state.live.now.count}})


async def _first_query(state: State) -> None:
    with state.scratch.request() as scratch:
        if takes_audio(state.work.encoder):
            path = scratch.new()
            await asyncio.to_thread(_write_noise, path)
            item = Item(id="warm-up", variety="und", audio=str(path))
        else:
            item = Item(id="warm-up", variety="und", text=_WARM_UP_TEXT)
        encoded, _ = await state.work.encoding.submit(item)
        if reads_speech(state.work.encoder):
            await state.work.transcribing.submit(item)
    await state.work.searching.submit(Ask(encoded.steps, 1))


def _write_noise(path: Any) -> None:
    from isogloss.search.server.audio_upload import RATE_HZ, wav_bytes

    noise = np.random.default_rng(0).standard_normal(RATE_HZ).astype(np.float32)
    path.write_bytes(wav_bytes(noise * np.float32(0.05)))


async def _watch(state: State) -> None:
    """Open a new commit soon after it was made."""
    said = ""
    while True:
        await asyncio.sleep(state.settings.reload_seconds)
        try:
            changed = await asyncio.to_thread(state.live.changed)
        except (IsoglossError, ValueError, OSError) as error:
            # A folder or a server may be away for a while; the next look finds it again.
            if str(error) != said:
                said = str(error)
                access_log.warning("index cannot be looked at", exc_info=True)
            continue
        said = ""
        if changed:
            await reopen(state)


async def reopen(state: State) -> None:
    """Open the newest commit; when that fails the old one is served on, and the log says so."""
    try:
        changed = await asyncio.to_thread(state.live.refresh)
    except (IsoglossError, ValueError, OSError):
        access_log.exception("index could not be reopened")
        state.metrics.reloads.labels("failed").inc()
        return
    if changed:
        state.metrics.reloads.labels("opened").inc()
        _show_index(state)
        now = state.live.now
        access_log.info(
            "index reopened", extra={"fields": {"index_version": now.version, "items": now.count}}
        )


def _show_index(state: State) -> None:
    state.metrics.index_items.set(state.live.now.count)
    state.metrics.index_version.set(state.live.now.version)


async def _problem(request: Request, error: Exception) -> Response:
    if not isinstance(error, Problem):
        raise error
    request.scope["state"]["problem"] = error.code
    return problem_response(error)


async def _http_exception(request: Request, error: Exception) -> Response:
    """Unknown paths and methods, in the shape of all errors."""
    if not isinstance(error, HTTPException):
        raise error
    phrase = HTTPStatus(error.status_code).phrase
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http_error")
    request.scope["state"]["problem"] = code
    message = f"{phrase}: {request.method[:16]} is not for this path; see /openapi.json"
    if error.status_code == 404:
        message = "there is nothing under this path; see /openapi.json"
    return problem_response(
        Problem(error.status_code, code, message, headers=dict(error.headers or {}))
    )


async def _invalid(request: Request, error: Exception) -> Response:
    """Parameters that FastAPI itself refuses."""
    if not isinstance(error, RequestValidationError):
        raise error
    request.scope["state"]["problem"] = "bad_request"
    first = error.errors()[0]
    return problem_response(Problem(400, "bad_request", str(first.get("msg", "bad request"))))
