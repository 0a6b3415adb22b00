"""Requests made up from the OpenAPI document: every answer must be one that it describes.

A generator cannot make up recordings that decode, and a schema cannot ask for them, so files are
drawn from a few: real recordings, and bytes that only look like one. The latter are refused with
422, which is the one status that is allowed here beyond schemathesis' own choice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from isogloss.search.server.app import create_app
from isogloss.search.server.settings import ServeSettings
from makers import MELODIES, melody
from serve_makers import ReadingEncoder, TinyEncoder, open_live, served, small_index, wav_of

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES = [
    wav_of(melody(MELODIES[0], note_seconds=0.05)),
    wav_of(np.zeros((800, 2), np.float32), 8000),
    wav_of(np.zeros(0, np.float32)),
    b"",
    b"no sound",
    b"RIFF\x00\x00\x00\x00WAVE",
]
schemathesis.openapi.format("binary", st.sampled_from(FILES))

EXPECTED = [200, 206, 400, 401, 404, 405, 408, 413, 415, 416, 422, 503]


@pytest.fixture(scope="module", params=["steps alone", "everything"])
def address(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    encoder = ReadingEncoder() if request.param == "everything" else TinyEncoder()
    folder = small_index(tmp_path_factory.mktemp("served"))
    app = create_app(encoder, open_live(folder), ServeSettings(batch_window_seconds=0.0))
    with served(app) as (host, port):
        yield f"http://{host}:{port}"


CONFIG = schemathesis.Config.from_dict(
    {
        "checks": {
            "positive_data_acceptance": {
                "expected-statuses": ["2xx", "401", "403", "404", "409", "422", "5xx"]
            }
        }
    }
)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_the_application_does_what_its_document_says(address: str, mode: GenerationMode) -> None:
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json", config=CONFIG)
    asked: set[str] = set()
    for result in schema.get_all_operations():
        operation = result.ok()

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=15,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        def each(case: Any) -> None:
            response = case.call_and_validate(timeout=20)
            assert response.status_code in EXPECTED
            assert response.headers["x-request-id"]

        try:
            each()
        except Unsatisfiable:
            # Names in paths are texts, so only a body can be wrong.
            assert mode is GenerationMode.NEGATIVE
            assert operation.method == "get"
        asked.add(f"{operation.method.upper()} {operation.path}")
    assert len(asked) == 13


def test_every_operation_is_in_the_document(address: str) -> None:
    import httpx

    document = httpx.get(f"{address}/openapi.json").json()
    assert set(document["paths"]) == {
        "/healthz",
        "/readyz",
        "/metrics",
        "/v1/info",
        "/v1/search",
        "/v1/queries/{query_id}/similarity/{item_id}",
        "/v1/queries/{query_id}/audio",
        "/v1/items/{item_id}",
        "/v1/items/{item_id}/audio",
        "/v1/embeddings",
        "/v1/audio/transcriptions",
        "/v1/models",
        "/v1/models/{model}",
    }
    for path in document["paths"].values():
        for operation in path.values():
            assert operation["operationId"]
            for status, answer in operation["responses"].items():
                if status >= "400":
                    shape = answer["content"]["application/json"]["schema"]
                    assert shape == {"$ref": "#/components/schemas/ErrorBody"}
