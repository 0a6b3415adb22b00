"""Pieces of the OpenAPI document: bodies that are read by hand, and errors of every route."""

from __future__ import annotations

from typing import Any

from isogloss.search.server.question import LONGEST_TEXT, MOST_NAMES
from isogloss.search.server.schemas import ErrorBody

__all__ = [
    "SEARCH_LINKS",
    "TRANSCRIPTION_BODY",
    "embeddings_body",
    "errors_of",
    "finished",
    "search_body",
    "wav_response",
]

_MEANINGS = {
    400: "The request is malformed, or a field has a wrong value.",
    401: "The token is absent or wrong.",
    404: "There is no such thing.",
    408: "The body came too slowly.",
    413: "The body is too large, or the recording too long.",
    415: "The body has a content type that is not read.",
    416: "No byte of the recording is asked for.",
    422: "The recording cannot be used.",
    500: "The server made a mistake.",
    503: "The server is starting, stopping or full; see Retry-After.",
    504: "No answer within the time allowed.",
}


def errors_of(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Responses of those statuses, all of one shape."""
    return {s: {"model": ErrorBody, "description": _MEANINGS[s]} for s in statuses}


def wav_response() -> dict[int | str, dict[str, Any]]:
    """A WAV file, whole or a range of it."""
    content = {"audio/wav": {"schema": {"type": "string", "format": "binary"}}}
    return {
        200: {"description": "16-bit WAV.", "content": content},
        206: {"description": "A range of it.", "content": content},
    }


_NAMES = {"type": "array", "items": {"type": "string", "minLength": 1}, "maxItems": MOST_NAMES}
_TIME = {
    "type": "string",
    "format": "date-time",
    "description": "ISO 8601; without a zone it is UTC.",
}


def _query(name: str, schema: dict[str, Any], rest: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [name],
        "properties": {name: schema, **rest},
    }


_WORDS = {"type": "string", "minLength": 1, "maxLength": LONGEST_TEXT}
_ID = {**_WORDS, "description": "Id of an item of the index."}
_FILE = {
    "type": "string",
    "format": "binary",
    "description": "WAV, FLAC, Ogg, Opus, MP3, MP4, M4A, WebM, AIFF, AU or AAC.",
}
_TEXT = {**_WORDS, "description": "Text that is encoded."}


_TRANSCRIBE = {
    "type": "boolean",
    "default": False,
    "description": "Whether `query.transcript` is wanted: of a recording, where the encoder reads.",
}


def search_body(*, text: bool, max_hits: int) -> dict[str, Any]:
    """Body of `/v1/search`; `text` where the encoder takes it."""
    hits = {"type": "integer", "minimum": 1, "maximum": max_hits, "default": min(10, max_hits)}
    both: dict[str, Any] = {"k": hits, "after": _TIME, "before": _TIME, "transcribe": _TRANSCRIBE}
    form = {
        **both,
        "variety": {**_NAMES, "description": "Codes; repeat the field for several."},
        "site": _NAMES,
        "speaker": _NAMES,
    }
    plain = {**both, "varieties": _NAMES, "sites": _NAMES, "speakers": _NAMES}
    kinds: dict[str, dict[str, Any]] = {"id": _ID, "text": _TEXT} if text else {"id": _ID}
    return {
        "required": True,
        "description": "Exactly one of " + ", ".join(["file", *kinds]) + ".",
        "content": {
            "multipart/form-data": {
                "schema": {
                    "oneOf": [
                        _query(name, schema, form)
                        for name, schema in {"file": _FILE, **kinds}.items()
                    ]
                }
            },
            "application/json": {
                "schema": {"oneOf": [_query(name, schema, plain) for name, schema in kinds.items()]}
            },
        },
    }


# Fields that change nothing are of any type.
_MODEL = {
    "description": "One model is served, and any name means it; the answer says which.",
}


def embeddings_body(*, max_inputs: int, dimensions: int) -> dict[str, Any]:
    """Body of `/v1/embeddings`."""
    return {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["input"],
                    "properties": {
                        "input": {
                            "description": (
                                "Recordings as data:audio/wav;base64,... URLs, or ids of items; "
                                "texts, where the encoder takes text."
                            ),
                            "oneOf": [
                                {"type": "string", "minLength": 1},
                                {
                                    "type": "array",
                                    "items": {"type": "string", "minLength": 1},
                                    "minItems": 1,
                                    "maxItems": max_inputs,
                                },
                            ],
                        },
                        "model": _MODEL,
                        "encoding_format": {"enum": ["float", "base64", None], "default": "float"},
                        "dimensions": {
                            "enum": [dimensions, None],
                            "description": "Vectors are not cut.",
                        },
                        "user": {"description": "Ignored."},
                    },
                }
            }
        },
    }


TRANSCRIPTION_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {
                    "file": _FILE,
                    "model": _MODEL,
                    "response_format": {
                        "enum": ["json", "text", "srt", "verbose_json", "vtt"],
                        "default": "json",
                    },
                    "language": {
                        "description": "Given back in verbose_json; it changes nothing else.",
                    },
                    "temperature": {
                        "type": "number",
                        "minimum": 0,
                        "maximum": 1,
                        "description": "Accepted; reading is greedy.",
                    },
                    "timestamp_granularities[]": {
                        "type": "array",
                        "items": {"enum": ["word", "segment"]},
                        "description": "Of verbose_json.",
                    },
                    "prompt": {"description": "Ignored."},
                },
            }
        }
    },
}

SEARCH_LINKS: dict[str, Any] = {
    "similarity": {
        "operationId": "similarity",
        "parameters": {
            "query_id": "$response.body#/query/id",
            "item_id": "$response.body#/hits/0/id",
        },
    },
    "query_audio": {
        "operationId": "query_audio",
        "parameters": {"query_id": "$response.body#/query/id"},
    },
}


def finished(document: dict[str, Any], *, needs_token: bool) -> dict[str, Any]:
    """The document without the errors that FastAPI adds by itself, and with the token."""
    for path, operations in document["paths"].items():
        for operation in operations.values():
            added = operation["responses"].get("422", {}).get("content", {})
            shape = added.get("application/json", {}).get("schema", {}).get("$ref", "")
            # Parameters of paths are texts, which are never invalid.
            if shape.endswith("/HTTPValidationError"):
                del operation["responses"]["422"]
            if needs_token and path not in ("/healthz", "/readyz"):
                operation["security"] = [{"token": []}]
    components = document.get("components", {})
    for name in ("HTTPValidationError", "ValidationError"):
        components.get("schemas", {}).pop(name, None)
    if needs_token:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    return document
