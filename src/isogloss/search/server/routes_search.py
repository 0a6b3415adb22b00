"""`/v1/search` and what belongs to a recent query: its similarity maps and its sound."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np
from fastapi import APIRouter, Request, Response

from isogloss.errors import AudioError, TextError, UnknownName
from isogloss.search.server.audio_upload import audio_problem, decode_upload, wav_of_pcm
from isogloss.search.server.documents import SEARCH_LINKS, errors_of, search_body, wav_response
from isogloss.search.server.forms import read_body
from isogloss.search.server.items import item_record
from isogloss.search.server.problems import Json, Problem
from isogloss.search.server.question import question_of
from isogloss.search.server.routes_items import sound_response
from isogloss.search.server.schemas import SearchResult, SimilarityMap
from isogloss.search.server.similarity import similarity_map
from isogloss.search.server.text_asked import refuse_unheard, text_problem
from isogloss.search.server.work import Answer, Ask, reads_speech, takes_text
from isogloss.speech.transcripts import transcript_text
from isogloss.types import Item

if TYPE_CHECKING:
    from pathlib import Path

    from isogloss.search.server.question import Question
    from isogloss.search.server.recent import RecentQuery
    from isogloss.search.server.scratch import Scratch
    from isogloss.search.server.state import State
    from isogloss.types import FloatArray

__all__ = ["search_router"]


class _Asked:
    """A query that was turned into steps."""

    def __init__(
        self,
        kind: str,
        steps: FloatArray,
        step_seconds: float | None,
        *,
        seconds: float | None = None,
        wav: bytes | None = None,
        item_id: str | None = None,
        encode_seconds: float | None = None,
        heard: Path | None = None,
    ) -> None:
        self.kind = kind
        self.steps = steps
        self.step_seconds = step_seconds
        self.seconds = seconds
        self.wav = wav
        self.item_id = item_id
        self.encode_seconds = encode_seconds
        self.heard = heard
        self.transcript: str | None = None


def search_router(state: State) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["search"])

    @router.post(
        "/v1/search",
        summary="The nearest items of a recording, an item or a text",
        operation_id="search",
        openapi_extra={
            "requestBody": search_body(
                text=takes_text(state.work.encoder), max_hits=state.settings.max_hits
            )
        },
        responses={
            200: {"model": SearchResult, "links": SEARCH_LINKS},
            **errors_of(400, 401, 404, 408, 413, 415, 422, 500, 503, 504),
        },
    )
    async def search(request: Request) -> Response:
        state.need_ready()
        with state.limits.place(), state.scratch.request() as scratch:
            body = await read_body(
                request, scratch, max_upload_bytes=state.settings.max_upload_bytes
            )
            question = question_of(body, max_hits=state.settings.max_hits)
            async with state.limits.slot(request.receive):
                asked = await _steps_of(state, question, scratch)
                answer, took = await _searched(state, asked, question)
                if question.transcribe:
                    asked.transcript = await _heard(state, asked)
                return await asyncio.to_thread(_result, state, asked, answer, took)

    @router.get(
        "/v1/queries/{query_id}/similarity/{item_id:path}",
        summary="Cosine of every step of a recent query with every step of an item",
        operation_id="similarity",
        responses={200: {"model": SimilarityMap}, **errors_of(401, 404, 422, 500, 503, 504)},
    )
    async def similarity(request: Request, query_id: str, item_id: str) -> Response:
        state.need_ready()
        query = _recent(state, query_id)
        with state.limits.place():
            async with state.limits.slot(request.receive):
                return await asyncio.to_thread(_similarity, state, query, item_id)

    @router.get(
        "/v1/queries/{query_id}/audio",
        summary="A recent query as it was heard: 16-bit WAV, 16 kHz",
        operation_id="query_audio",
        responses={**wav_response(), **errors_of(401, 404, 416, 500, 503, 504)},
    )
    async def query_audio(request: Request, query_id: str) -> Response:
        state.need_ready()
        query = _recent(state, query_id)
        if query.wav is not None:
            return sound_response(query.wav, request)
        if query.item_id is None:
            raise Problem(404, "no_audio", "the query was a text")
        item = await asyncio.to_thread(state.live.now.item, query.item_id)
        if item is None or not state.settings.serve_audio:
            raise Problem(404, "no_audio", "the item of the query has no recording here")
        with state.limits.place():
            async with state.limits.slot(request.receive):
                wav = await asyncio.to_thread(state.sounds.wav, item)
        return sound_response(wav, request)

    return router


async def _steps_of(state: State, question: Question, scratch: Scratch) -> _Asked:
    if question.item_id is not None:
        return await asyncio.to_thread(_item_steps, state, question.item_id)
    if question.text is not None:
        if not takes_text(state.work.encoder):
            raise Problem(
                400,
                "text_not_supported",
                f"the encoder '{state.name}' takes recordings, no text; send a file or an id",
                param="text",
            )
        item = Item(id="query", variety="und", text=question.text)
        try:
            encoded, took = await state.work.encoding.submit(item)
        except TextError as error:
            raise text_problem(error, param="text") from error
        return _Asked("text", encoded.steps, encoded.step_seconds, encode_seconds=took)
    if question.upload is None:
        raise ValueError("a question without a query")
    refuse_unheard(state, param="file")
    upload, heard, pcm = question.upload, scratch.new(), bytearray()
    most = state.settings.max_seconds
    seconds = await scratch.in_thread(
        lambda: decode_upload(upload, heard, max_seconds=most, pcm=pcm)
    )
    try:
        encoded, took = await state.work.encoding.submit(
            Item(id="query", variety="und", audio=str(heard))
        )
    except AudioError as error:
        raise audio_problem(error) from error
    return _Asked(
        "audio",
        encoded.steps,
        encoded.step_seconds,
        seconds=round(seconds, 3),
        wav=wav_of_pcm(pcm),
        encode_seconds=took,
        heard=heard,
    )


async def _heard(state: State, asked: _Asked) -> str | None:
    """The words of a recording; None where there is none or the encoder cannot read."""
    if asked.heard is None or not reads_speech(state.work.encoder):
        return None
    try:
        item = Item(id="query", variety="und", audio=str(asked.heard))
        found, _ = await state.work.transcribing.submit(item)
    except AudioError:
        return None  # steps were found in it, words were not
    return transcript_text(found)


def _item_steps(state: State, item_id: str) -> _Asked:
    snapshot = state.live.now
    item = snapshot.item(item_id)
    if item is None:
        raise Problem(404, "no_such_item", f"the index has no item '{item_id}'", param="id")
    steps = np.ascontiguousarray(snapshot.index.steps(item_id), dtype=np.float32)
    step = snapshot.index.step_seconds
    seconds = None if step is None else round(len(steps) * step, 3)
    return _Asked("item", steps, step, seconds=seconds, item_id=item_id)


async def _searched(state: State, asked: _Asked, question: Question) -> tuple[Answer, float]:
    if question.nothing:
        return Answer((), (), (), True, state.live.now), 0.0
    # An item of the index is no answer to itself, here as on the command line.
    job = Ask(asked.steps, question.k, question.wanted, asked.item_id)
    try:
        return await state.work.searching.submit(job)
    except UnknownName as error:
        raise Problem(404, "unknown_name", str(error), param=error.kind) from error


def _result(state: State, asked: _Asked, answer: Answer, search_seconds: float) -> Json:
    query_id = state.recent.keep(
        asked.kind,
        asked.steps,
        step_seconds=asked.step_seconds,
        wav=asked.wav,
        item_id=asked.item_id,
    )
    encode = asked.encode_seconds
    return Json(
        {
            "query": {
                "id": query_id,
                "kind": asked.kind,
                "seconds": asked.seconds,
                "steps": len(asked.steps),
                "step_seconds": asked.step_seconds,
                "transcript": asked.transcript,
            },
            "hits": _hits(state, answer),
            "took_ms": {
                "encode": None if encode is None else round(encode * 1000, 3),
                "search": round(search_seconds * 1000, 3),
            },
            "exact": answer.exact,
        }
    )


def _hits(state: State, answer: Answer) -> list[dict[str, Any]]:
    # Where others write to the index, an item may be gone since it was found.
    items = answer.snapshot.index.items(answer.ids)
    rows = zip(answer.ids, answer.scores, answer.tied, strict=True)
    held = [row for row in rows if row[0] in items]
    return [
        {
            "rank": rank,
            "id": item_id,
            "score": float(score),
            "tied": bool(tied),
            "item": item_record(answer.snapshot, items[item_id], audio=state.settings.serve_audio),
        }
        for rank, (item_id, score, tied) in enumerate(held, start=1)
    ]


def _recent(state: State, query_id: str) -> RecentQuery:
    query = state.recent.get(query_id)
    if query is None:
        raise Problem(
            404, "no_such_query", "no such query, or too long ago; search again", param="query_id"
        )
    return query


def _similarity(state: State, query: RecentQuery, item_id: str) -> Json:
    snapshot = state.live.now
    if snapshot.item(item_id) is None:
        raise Problem(404, "no_such_item", f"the index has no item '{item_id}'", param="item_id")
    steps = np.asarray(snapshot.index.steps(item_id), dtype=np.float32)
    cells = len(query.steps) * len(steps)
    if cells > state.settings.max_cells:
        raise Problem(
            422,
            "too_large",
            f"{len(query.steps)} x {len(steps)} steps are more than {state.settings.max_cells} "
            "cells; ask for shorter recordings",
        )
    found = similarity_map(query.steps, steps)
    return Json(
        {
            **found,
            "row_seconds": query.step_seconds,
            "column_seconds": snapshot.index.step_seconds,
        }
    )
