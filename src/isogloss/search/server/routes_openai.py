"""`/v1/embeddings`, `/v1/audio/transcriptions`, `/v1/models`: what OpenAI's client asks for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np
from fastapi import APIRouter, Request, Response

from isogloss.encoders.pool import mean_pool
from isogloss.errors import AudioError, TextError
from isogloss.search.server.audio_upload import audio_problem, decode_upload
from isogloss.search.server.documents import TRANSCRIPTION_BODY, embeddings_body, errors_of
from isogloss.search.server.forms import read_body
from isogloss.search.server.openai_shapes import (
    audio_of_data_url,
    embedding_list,
    embedding_request,
    model_card,
    transcription_request,
    transcription_text,
    verbose_transcription,
)
from isogloss.search.server.problems import Json, Problem
from isogloss.search.server.schemas import (
    EmbeddingList,
    ModelCard,
    ModelList,
    TranscriptionResult,
)
from isogloss.search.server.text_asked import refuse_unheard, text_problem
from isogloss.search.server.work import reads_speech, takes_text
from isogloss.speech.transcripts import transcript_text
from isogloss.types import Item, Sequences

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from pathlib import Path

    from isogloss.search.server.openai_shapes import TranscriptionRequest
    from isogloss.search.server.scratch import Scratch
    from isogloss.search.server.state import State
    from isogloss.speech.transcripts import Transcript
    from isogloss.types import FloatArray

__all__ = ["openai_router"]

_TEXT = {"schema": {"type": "string"}}


def openai_router(state: State) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["openai"])

    @router.post(
        "/v1/embeddings",
        summary="One vector for each recording, item or text: the mean of its steps",
        operation_id="embeddings",
        openapi_extra={
            "requestBody": embeddings_body(
                max_inputs=state.settings.max_inputs, dimensions=state.live.now.index.dimensions
            )
        },
        responses={
            200: {"model": EmbeddingList},
            **errors_of(400, 401, 404, 408, 413, 415, 422, 500, 503, 504),
        },
    )
    async def embeddings(request: Request) -> Response:
        state.need_ready()
        with state.limits.place(), state.scratch.request() as scratch:
            body = await read_body(
                request, scratch, max_upload_bytes=state.settings.max_upload_bytes
            )
            asked = embedding_request(body, max_inputs=state.settings.max_inputs)
            async with state.limits.slot(request.receive):
                vectors = await _all([_vector(state, entry, scratch) for entry in asked.inputs])
                width = len(vectors[0])
                if asked.dimensions not in (None, width):
                    raise Problem(
                        400,
                        "bad_field",
                        f"vectors have {width} dimensions and are not cut; leave dimensions out",
                        param="dimensions",
                    )
                return await asyncio.to_thread(
                    lambda: Json(embedding_list(vectors, state.name, as_base64=asked.base64))
                )

    @router.post(
        "/v1/audio/transcriptions",
        summary="What is said in a recording",
        operation_id="transcribe",
        openapi_extra={"requestBody": TRANSCRIPTION_BODY},
        responses={
            200: {
                "model": TranscriptionResult,
                "content": {
                    "text/plain": _TEXT,
                    "application/x-subrip": _TEXT,
                    "text/vtt": _TEXT,
                },
            },
            **errors_of(400, 401, 404, 408, 413, 415, 422, 500, 503, 504),
        },
    )
    async def transcribe(request: Request) -> Response:
        state.need_ready()
        with state.limits.place(), state.scratch.request() as scratch:
            body = await read_body(
                request, scratch, max_upload_bytes=state.settings.max_upload_bytes
            )
            asked = transcription_request(body)
            if body.upload is None:
                raise Problem(400, "bad_field", "send the recording as a file", param="file")
            if not reads_speech(state.work.encoder):
                raise Problem(
                    404,
                    "transcription_not_supported",
                    f"the encoder '{state.name}' cannot transcribe; serve a model trained here "
                    "(own:FOLDER)",
                    param="model",
                )
            async with state.limits.slot(request.receive):
                transcript = await _transcript(state, body.upload, scratch)
            return _written(transcript, asked)

    @router.get(
        "/v1/models",
        summary="The one model that is served",
        operation_id="models",
        responses={200: {"model": ModelList}, **errors_of(401, 500)},
    )
    async def models() -> Response:
        return Json({"object": "list", "data": [model_card(state.name)]})

    @router.get(
        "/v1/models/{model:path}",
        summary="The model, by its name",
        operation_id="model",
        responses={200: {"model": ModelCard}, **errors_of(401, 404, 500)},
    )
    async def model(model: str) -> Response:
        if model != state.name:
            raise Problem(
                404, "model_not_found", f"the model served is '{state.name}'", param="model"
            )
        return Json(model_card(state.name))

    return router


async def _all(asked: Sequence[Coroutine[Any, Any, FloatArray]]) -> list[FloatArray]:
    """Results in order; when one fails the others are given up."""
    tasks = [asyncio.create_task(one) for one in asked]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


async def _vector(state: State, entry: str, scratch: Scratch) -> FloatArray:
    """(D,) vector of one input."""
    if entry[:5].lower() == "data:":
        return _mean(await _steps_of_url(state, entry, scratch))
    if takes_text(state.work.encoder):
        try:
            encoded, _ = await state.work.encoding.submit(Item("input", "und", text=entry))
        except TextError as error:
            raise text_problem(error, param="input") from error
        return _mean(encoded.steps)
    snapshot = state.live.now
    if await asyncio.to_thread(snapshot.item, entry) is None:
        raise Problem(
            404,
            "no_such_item",
            f"the encoder takes no text and the index has no item '{entry[:200]}'; send a "
            "recording as data:audio/wav;base64,... or the id of an item",
            param="input",
        )
    return _mean(await asyncio.to_thread(snapshot.index.steps, entry))


async def _steps_of_url(state: State, url: str, scratch: Scratch) -> FloatArray:
    refuse_unheard(state, param="input")
    settings = state.settings
    upload, heard = scratch.new(), scratch.new()

    def decoded() -> None:
        upload.write_bytes(audio_of_data_url(url, max_bytes=settings.max_upload_bytes))
        decode_upload(upload, heard, max_seconds=settings.max_seconds)

    await scratch.in_thread(decoded)
    try:
        encoded, _ = await state.work.encoding.submit(Item("input", "und", audio=str(heard)))
    except AudioError as error:
        raise audio_problem(error) from error
    return encoded.steps


def _mean(steps: FloatArray) -> FloatArray:
    pooled = mean_pool(Sequences.from_list(["input"], [np.asarray(steps, np.float32)]))
    vector: FloatArray = pooled.values[0]
    return vector


async def _transcript(state: State, upload: Path, scratch: Scratch) -> Transcript:
    heard, most = scratch.new(), state.settings.max_transcription_seconds
    await scratch.in_thread(lambda: decode_upload(upload, heard, max_seconds=most))
    try:
        found, _ = await state.work.transcribing.submit(Item("input", "und", audio=str(heard)))
    except AudioError as error:
        raise audio_problem(error) from error
    return found


def _written(transcript: Transcript, asked: TranscriptionRequest) -> Response:
    if asked.form == "json":
        return Json(
            {
                "text": transcript_text(transcript),
                "usage": {"type": "duration", "seconds": round(transcript.seconds, 3)},
            }
        )
    if asked.form == "verbose_json":
        return Json(verbose_transcription(transcript, asked))
    text, media_type = transcription_text(transcript, asked.form)
    return Response(text.encode("utf-8"), media_type=media_type)
