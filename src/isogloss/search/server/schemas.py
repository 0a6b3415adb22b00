"""Shapes of answers, for the OpenAPI document alone; answers are not built from them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from isogloss.search.server.census import MOST_EXAMPLES

__all__ = [
    "EmbeddingList",
    "ErrorBody",
    "Info",
    "ItemRecord",
    "ModelCard",
    "ModelList",
    "SearchResult",
    "SimilarityMap",
    "Status",
    "TranscriptionResult",
]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ErrorDetail(_Shape):
    """What went wrong, for a person and for a program."""

    message: str
    type: str
    code: str
    param: str | None


class ErrorBody(_Shape):
    """An error in OpenAI's shape."""

    error: ErrorDetail


class ItemRecord(_Shape):
    """An item of the index."""

    id: str
    variety: str
    variety_name: str | None
    variety_native_name: str | None
    group: str | None
    site: str | None
    latitude: float | None
    longitude: float | None
    speaker: str | None
    text: str | None
    transcript: str | None
    translation: str | None
    seconds: float | None
    meaning: str | None
    audio: str | None = Field(description="Path of its recording on this server.")


class Hit(_Shape):
    """One answer."""

    rank: int = Field(ge=1)
    id: str
    score: float
    tied: bool = Field(description="Another item has the same score.")
    item: ItemRecord


class Query(_Shape):
    """What was asked, under a name that the similarity map can be asked for."""

    id: str
    kind: Literal["audio", "item", "text"]
    seconds: float | None
    steps: int
    step_seconds: float | None
    transcript: str | None


class Took(_Shape):
    """Milliseconds of the batch that the query was in; None where nothing was encoded."""

    encode: float | None
    search: float


class SearchResult(_Shape):
    """Answers, best first."""

    query: Query
    hits: list[Hit]
    took_ms: Took
    exact: bool


class SimilarityMap(_Shape):
    """Cosine of every step of a query with every step of an item."""

    rows: int
    columns: int
    row_seconds: float | None
    column_seconds: float | None
    low: float
    high: float
    cosines: str = Field(description="Base64 of rows x columns bytes between low and high.")
    best_columns: list[int]
    best_rows: list[int]
    precision: float
    recall: float
    score: float


class VarietyRow(_Shape):
    """A variety of the index."""

    code: str
    name: str | None
    native_name: str | None
    group: str | None
    items: int
    latitude: float | None
    longitude: float | None


class SiteRow(_Shape):
    """A site of the index."""

    site: str
    variety: str
    items: int
    latitude: float | None
    longitude: float | None


class InfoLimits(_Shape):
    """What a request may hold."""

    upload_bytes: int
    seconds: float
    transcription_seconds: float
    k: int


class Info(_Shape):
    """What this server has and allows."""

    name: str
    version: str
    index_version: int
    items: int
    encoder: str
    step_seconds: float | None
    accepts: list[Literal["audio", "item", "text"]]
    transcribes: bool
    varieties: list[VarietyRow]
    sites: list[SiteRow]
    examples: list[ItemRecord] = Field(
        max_length=MOST_EXAMPLES,
        description="Items with recordings, of different varieties, to begin with.",
    )
    limits: InfoLimits
    needs_token: bool


class Status(_Shape):
    """Whether the server lives, or is ready."""

    status: str


class Embedding(_Shape):
    """One vector: numbers, or base64 of little-endian float32."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class Usage(_Shape):
    """Always 0: nothing is counted in tokens here."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(_Shape):
    """Vectors in the order of the inputs."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: Usage


class TranscriptionResult(BaseModel):
    """`text`; with `verbose_json` also task, language, duration, segments and words."""

    text: str
    task: str | None = None
    language: str | None = None
    duration: float | None = None
    segments: list[dict[str, Any]] | None = None
    words: list[dict[str, Any]] | None = None


class ModelCard(_Shape):
    """A model that is served."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(_Shape):
    """The one model that is served."""

    object: Literal["list"]
    data: list[ModelCard]
