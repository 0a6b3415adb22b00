"""`/v1/items/{id}`, its recording, and `/v1/info`."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response

from isogloss import __version__
from isogloss.search.server.documents import errors_of, wav_response
from isogloss.search.server.items import byte_range, item_record
from isogloss.search.server.problems import Json, Problem
from isogloss.search.server.schemas import Info, ItemRecord
from isogloss.search.server.work import reads_speech, takes_audio, takes_text

if TYPE_CHECKING:
    from isogloss.search.server.state import State
    from isogloss.types import Item

__all__ = ["items_router", "sound_response"]


def items_router(state: State) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["items"])

    @router.get(
        "/v1/info",
        summary="What this server has and allows",
        operation_id="info",
        responses={200: {"model": Info}, **errors_of(401, 500, 503)},
    )
    async def info() -> Response:
        state.need_ready()
        return Json(await asyncio.to_thread(_info, state))

    async def audio_of(request: Request, item: Item) -> Response:
        if not state.settings.serve_audio:
            raise Problem(404, "no_audio", "this server serves no recordings of items")
        with state.limits.place():
            async with state.limits.slot(request.receive):
                wav = await asyncio.to_thread(state.sounds.wav, item)
        return sound_response(wav, request)

    async def record_of(item: Item) -> Json:
        # An index on a server is asked over the network.
        audio = state.settings.serve_audio
        return Json(await asyncio.to_thread(item_record, state.live.now, item, audio=audio))

    # Before the route of the item itself, whose id may hold slashes.
    @router.get(
        "/v1/items/{item_id:path}/audio",
        summary="The recording of an item: 16-bit WAV, 16 kHz, at most 120 s",
        operation_id="item_audio",
        responses={**wav_response(), **errors_of(401, 404, 416, 500, 503, 504)},
    )
    async def item_audio(request: Request, item_id: str) -> Response:
        state.need_ready()
        # An item may itself be called 'something/audio'; then the slash comes as %2F.
        raw: bytes = request.scope.get("raw_path") or b"/audio"
        item = await asyncio.to_thread(state.live.now.item, item_id)
        if item is not None and raw.endswith(b"/audio"):
            return await audio_of(request, item)
        return await record_of(await _known(state, f"{item_id}/audio", shown=item_id))

    @router.get(
        "/v1/items/{item_id:path}",
        summary="An item; its recording when `Accept: audio/wav` is sent",
        operation_id="item",
        responses={
            200: {"model": ItemRecord, "content": {"audio/wav": {}}},
            **{206: wav_response()[206]},
            **errors_of(401, 404, 416, 500, 503, 504),
        },
    )
    async def item(request: Request, item_id: str) -> Response:
        state.need_ready()
        found = await _known(state, item_id)
        if _wants_sound(request.headers.get("accept", "")):
            return await audio_of(request, found)
        return await record_of(found)

    return router


def sound_response(wav: bytes, request: Request) -> Response:
    """`wav`, or the range of it that the request asks for."""
    # A browser may keep a recording, its user alone; seeking asks for ranges of one entity.
    tag = f'"{hashlib.sha256(wav).hexdigest()[:20]}"'
    headers = {
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, max-age=3600",
        "ETag": tag,
    }
    unchanged = request.headers.get("if-range", tag) == tag
    span = byte_range(request.headers.get("range"), len(wav)) if unchanged else None
    if span is None:
        return Response(wav, media_type="audio/wav", headers=headers)
    start, stop = span
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(wav)}"
    return Response(wav[start:stop], 206, media_type="audio/wav", headers=headers)


async def _known(state: State, item_id: str, *, shown: str | None = None) -> Item:
    item = await asyncio.to_thread(state.live.now.item, item_id)
    if item is None:
        name = item_id if shown is None else shown
        raise Problem(404, "no_such_item", f"the index has no item '{name}'", param="item_id")
    return item


def _wants_sound(accept: str) -> bool:
    kinds = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    return "application/json" not in kinds and any(
        kind in ("audio/wav", "audio/x-wav", "audio/wave", "audio/*") for kind in kinds
    )


def _info(state: State) -> dict[str, object]:
    snapshot = state.live.now
    settings = state.settings
    encoder = state.work.encoder
    ways = {"audio": takes_audio(encoder), "item": True, "text": takes_text(encoder)}
    accepts = [way for way, is_taken in ways.items() if is_taken]
    return {
        "name": "isogloss",
        "version": __version__,
        "index_version": snapshot.version,
        "items": snapshot.count,
        "encoder": state.name,
        "step_seconds": snapshot.index.step_seconds,
        "accepts": accepts,
        "transcribes": reads_speech(state.work.encoder),
        "varieties": list(snapshot.census.varieties),
        "sites": list(snapshot.census.sites),
        "examples": [
            item_record(snapshot, example, audio=True)
            for example in snapshot.census.examples
            if settings.serve_audio
        ],
        "limits": {
            "upload_bytes": settings.max_upload_bytes,
            "seconds": settings.max_seconds,
            "transcription_seconds": settings.max_transcription_seconds,
            "k": settings.max_hits,
        },
        "needs_token": settings.token is not None,
    }
