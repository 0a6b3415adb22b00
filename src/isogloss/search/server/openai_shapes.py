"""Requests and answers in the shape that OpenAI's Python client sends and reads.

What the shape asks for and this project does not have is said in `docs/serve.md`.
"""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from isogloss.search.server.problems import Problem
from isogloss.search.server.question import LONGEST_TEXT, single
from isogloss.speech.timestamps import mean_confidence, timed_words
from isogloss.speech.transcripts import to_srt, to_text, to_vtt, transcript_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.search.server.forms import Body
    from isogloss.speech.transcripts import SpokenSegment, Transcript
    from isogloss.types import FloatArray

__all__ = [
    "EmbeddingRequest",
    "TranscriptionRequest",
    "audio_of_data_url",
    "embedding_list",
    "embedding_request",
    "model_card",
    "transcription_request",
    "transcription_text",
    "verbose_transcription",
]

FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
_GRANULARITIES = ("word", "segment")
# Unknown, as ISO 639 writes it: the model does not say which language it heard.
_UNKNOWN_LANGUAGE = "und"


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """Inputs (data URLs, ids or texts), in base64 or not."""

    inputs: tuple[str, ...]
    base64: bool
    dimensions: int | None


@dataclass(frozen=True, slots=True)
class TranscriptionRequest:
    """How a transcript is to be written."""

    form: str
    language: str
    words: bool
    segments: bool


def embedding_request(body: Body, *, max_inputs: int) -> EmbeddingRequest:
    """The request in a JSON object.

    Raises:
        Problem: 400, with the field at fault.
    """
    given = single(body, "input")
    inputs = [given] if isinstance(given, str) else given
    if not isinstance(inputs, list) or not inputs:
        raise _bad("input", "input must be a text, or a list of texts that is not empty")
    if any(isinstance(entry, (int, list)) and not isinstance(entry, bool) for entry in inputs):
        raise _bad(
            "input",
            "input holds tokens; this server has no tokens of a text model: send recordings as "
            "data: URLs, or ids of items",
        )
    if not all(isinstance(entry, str) and entry for entry in inputs):
        raise _bad("input", "every input must be a text that is not empty")
    if len(inputs) > max_inputs:
        raise _bad("input", f"at most {max_inputs} inputs in one request, got {len(inputs)}")
    if any(len(entry) > LONGEST_TEXT and entry[:5].lower() != "data:" for entry in inputs):
        raise _bad("input", f"an input that is no data: URL has at most {LONGEST_TEXT} characters")
    form = single(body, "encoding_format")
    if form not in (None, "float", "base64"):
        raise _bad("encoding_format", "encoding_format must be float or base64")
    dimensions = single(body, "dimensions")
    if dimensions is not None and (isinstance(dimensions, bool) or not _whole(dimensions)):
        raise _bad("dimensions", "dimensions must be a whole number")
    return EmbeddingRequest(
        tuple(inputs), form == "base64", None if dimensions is None else int(dimensions)
    )


def audio_of_data_url(url: str, *, max_bytes: int) -> bytes:
    """The bytes of a `data:audio/wav;base64,...` URL.

    Raises:
        Problem: 400, it is not base64; 413, there are more than `max_bytes`.
    """
    head, comma, text = url.partition(",")
    if not comma or not head.lower().endswith(";base64"):
        raise _bad("input", "a data: URL of a recording reads data:audio/wav;base64,...")
    if len(text) // 4 * 3 > max_bytes + 3:
        raise Problem(
            413, "too_large", f"a recording is larger than {max_bytes} bytes", param="input"
        )
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _bad("input", f"a data: URL is not base64: {error}") from error


def embedding_list(vectors: Sequence[FloatArray], model: str, *, as_base64: bool) -> dict[str, Any]:
    """Vectors (each (D,)) in the order of the inputs; base64 is of little-endian float32."""
    return {
        "object": "list",
        "data": [
            {
                "object": "embedding",
                "index": number,
                "embedding": (
                    base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
                    if as_base64
                    else vector.tolist()
                ),
            }
            for number, vector in enumerate(vectors)
        ],
        "model": model,
        "usage": {"prompt_tokens": 0, "total_tokens": 0},
    }


def model_card(name: str) -> dict[str, Any]:
    """The model that is served; when it was made is not known, so the date is 0."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "isogloss"}


def transcription_request(body: Body) -> TranscriptionRequest:
    """The request in the fields beside the file.

    Raises:
        Problem: 400, with the field at fault.
    """
    form = single(body, "response_format") or "json"
    if form not in FORMATS:
        raise _bad(
            "response_format", f"response_format must be one of {', '.join(FORMATS)}, got '{form}'"
        )
    if str(single(body, "stream") or "false").lower() not in ("false", "0"):
        raise _bad("stream", "transcripts are not streamed here; leave stream out")
    temperature = single(body, "temperature")
    if temperature is not None:
        _check_temperature(temperature)
    wanted = body.fields.get("timestamp_granularities[]", [])
    wanted = [*wanted, *body.fields.get("timestamp_granularities", [])]
    for entry in wanted:
        if entry not in _GRANULARITIES:
            raise _bad(
                "timestamp_granularities",
                f"timestamp_granularities must be among {', '.join(_GRANULARITIES)}",
            )
    # It changes nothing, so nothing is wrong with it.
    language = next(iter(body.fields.get("language", [])), None) or _UNKNOWN_LANGUAGE
    return TranscriptionRequest(
        form, str(language), "word" in wanted, not wanted or "segment" in wanted
    )


def transcription_text(transcript: Transcript, form: str) -> tuple[str, str]:
    """The transcript as `text`, `srt` or `vtt`, and its media type."""
    if form == "srt":
        return to_srt(transcript), "application/x-subrip"
    if form == "vtt":
        return to_vtt(transcript), "text/vtt"
    return to_text(transcript), "text/plain"


def verbose_transcription(transcript: Transcript, request: TranscriptionRequest) -> dict[str, Any]:
    """`verbose_json`: language as it was sent, seconds, text, segments and words."""
    found: dict[str, Any] = {
        "task": "transcribe",
        "language": request.language,
        "duration": round(transcript.seconds, 3),
        "text": transcript_text(transcript),
        "usage": {"type": "duration", "seconds": round(transcript.seconds, 3)},
    }
    if request.segments:
        read = [segment for segment in transcript.segments if segment.text]
        found["segments"] = [_segment(number, segment) for number, segment in enumerate(read)]
    if request.words:
        found["words"] = [
            {
                "word": word.text,
                "start": round(word.start_seconds, 3),
                "end": round(word.end_seconds, 3),
            }
            for segment in transcript.segments
            for word in timed_words(segment.units)
        ]
    return found


def _segment(number: int, segment: SpokenSegment) -> dict[str, Any]:
    confidence = mean_confidence(segment.units)
    text = segment.text.encode()
    return {
        "id": number,
        # Whisper counts frames of 10 ms.
        "seek": round(segment.start_seconds * 100),
        "start": round(segment.start_seconds, 3),
        "end": round(segment.end_seconds, 3),
        "text": segment.text,
        # Ids of another model's tokens would mean nothing to a client.
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": round(math.log(max(confidence or 1e-9, 1e-9)), 4),
        "compression_ratio": round(len(text) / len(zlib.compress(text)), 4),
        "no_speech_prob": 0.0,
    }


def _check_temperature(value: Any) -> None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not 0 <= number <= 1:
        raise _bad("temperature", "temperature must lie between 0 and 1; reading is greedy anyway")


def _whole(value: Any) -> bool:
    return isinstance(value, int) or (isinstance(value, float) and value.is_integer())


def _bad(field: str, message: str) -> Problem:
    return Problem(400, "bad_field", message, param=field)
