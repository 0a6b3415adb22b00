"""What watches the server asks: is it alive, is it ready, its numbers; and the web page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response

from isogloss.search.server.documents import errors_of
from isogloss.search.server.metrics import CONTENT_TYPE
from isogloss.search.server.problems import Json, Problem
from isogloss.search.server.schemas import Status

if TYPE_CHECKING:
    from isogloss.search.server.state import State

__all__ = ["status_router"]

_INDEX = "index.html"


def status_router(state: State) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["status"])

    @router.get(
        "/healthz",
        summary="The process answers",
        operation_id="healthz",
        responses={200: {"model": Status}, **errors_of(500)},
    )
    async def healthz() -> Response:
        return Json({"status": "ok"})

    @router.get(
        "/readyz",
        summary="Encoder and index have answered, and the server is not stopping",
        operation_id="readyz",
        responses={200: {"model": Status}, **errors_of(500, 503)},
    )
    async def readyz() -> Response:
        state.need_ready()
        if state.stopping:
            raise Problem(503, "stopping", "the server is stopping", retry_seconds=5)
        return Json({"status": "ready"})

    @router.get(
        "/metrics",
        summary="Numbers for Prometheus",
        operation_id="metrics",
        responses={
            200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
            **errors_of(401, 500),
        },
    )
    async def metrics() -> Response:
        return Response(state.metrics.text(), media_type=CONTENT_TYPE)

    @router.get("/", include_in_schema=False)
    async def page(request: Request) -> Response:
        return _file(state, _INDEX, request)

    @router.get("/static/{name}", include_in_schema=False)
    async def static(request: Request, name: str) -> Response:
        return _file(state, name, request)

    return router


def _file(state: State, name: str, request: Request) -> Response:
    found = state.pages.get(name)
    if found is None:
        raise Problem(404, "not_found", "no such file of the page")
    if request.headers.get("if-none-match") == found.headers["ETag"]:
        return Response(status_code=304, headers=found.headers)
    return Response(found.body, headers=found.headers)
