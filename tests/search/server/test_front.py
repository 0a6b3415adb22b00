from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from isogloss.search.server.app import create_app
from isogloss.search.server.logs import JsonLines
from isogloss.search.server.settings import ServeSettings
from serve_makers import TinyEncoder, client_of, open_live, small_index

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "s3cret-token-of-the-test"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_index(tmp_path_factory.mktemp("served"))


def run(index: Path, ask: Any, encoder: Any = None, **settings: Any) -> None:
    async def go() -> None:
        app = create_app(encoder or TinyEncoder(), open_live(index), ServeSettings(**settings))
        async with client_of(app) as client:
            await ask(client)

    asyncio.run(go())


def test_a_token_opens_and_nothing_else_does(index: Path) -> None:
    async def ask(client: Any) -> None:
        wrong = [
            {},
            {"Authorization": "Bearer"},
            {"Authorization": f"Bearer {TOKEN}x"},
            {"Authorization": f"Bearer {TOKEN[:-1]}"},
            {"Authorization": f"Basic {TOKEN}"},
            {"Authorization": TOKEN},
            {"Authorization": "Bearer \u00e9".encode("latin-1")},
            {"Authorization": f"bearer  {TOKEN} extra"},
        ]
        for headers in wrong:
            for path in ("/v1/info", "/v1/items/m0-cmn", "/metrics", "/v1/models", "/nowhere"):
                answer = await client.get(path, headers=headers)
                assert answer.status_code == 401, (path, headers)
                assert answer.headers["www-authenticate"].startswith("Bearer")
                assert answer.json()["error"]["type"] == "authentication_error"
                assert TOKEN not in answer.text
        right = {"Authorization": f"bearer {TOKEN}"}
        info = await client.get("/v1/info", headers=right)
        assert info.json()["needs_token"] is True
        for path in ("/healthz", "/readyz", "/", "/openapi.json"):
            assert (await client.get(path)).status_code == 200

    run(index, ask, token=TOKEN)


def test_a_body_without_the_token_is_not_read(index: Path) -> None:
    taken = 0

    async def endless() -> Any:
        nonlocal taken
        for _ in range(4096):
            taken += 65536
            yield bytes(65536)

    async def ask(client: Any) -> None:
        answer = await client.post("/v1/search", content=endless())
        assert answer.status_code == 401
        assert taken <= 9 * 1024 * 1024

    run(index, ask, token=TOKEN)


@pytest.mark.parametrize(
    "token", ["", "short", "two words here", "ünicode-token", "line\nbreak-token"]
)
def test_a_token_that_cannot_be_sent_or_is_guessed_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="token"):
        ServeSettings(token=token)


def test_the_token_stands_in_no_repr() -> None:
    assert TOKEN not in repr(ServeSettings(token=TOKEN))


def test_request_ids_are_echoed_when_they_are_harmless(index: Path) -> None:
    async def ask(client: Any) -> None:
        for given in ("abc-123", "A.b_c", "x" * 128):
            answer = await client.get("/healthz", headers={"X-Request-ID": given})
            assert answer.headers["x-request-id"] == given
        made = set()
        for given in ("", "a b", "x" * 129, "a,b", "<script>"):
            answer = await client.get("/healthz", headers={"X-Request-ID": given})
            assert answer.headers["x-request-id"] != given
            made.add(answer.headers["x-request-id"])
        assert len(made) == 5
        for path in ("/nowhere", "/v1/items/nobody"):
            assert "x-request-id" in (await client.get(path)).headers

    run(index, ask)


def test_answers_carry_headers_that_keep_a_browser_careful(index: Path) -> None:
    async def ask(client: Any) -> None:
        page = await client.get("/")
        assert "script-src 'self'" in page.headers["content-security-policy"]
        assert "unsafe" not in page.headers["content-security-policy"]
        again = await client.get("/", headers={"If-None-Match": page.headers["etag"]})
        assert again.status_code == 304
        for path in ("/v1/info", "/nowhere"):
            headers = (await client.get(path)).headers
            assert headers["content-security-policy"].startswith("default-src 'none'")
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["cache-control"] == "no-store"
        origin = {"Origin": "https://evil.example"}
        answer = await client.get("/v1/info", headers=origin)
        assert "access-control-allow-origin" not in answer.headers

    run(index, ask)


def test_origins_are_allowed_when_they_are_named(index: Path) -> None:
    async def ask(client: Any) -> None:
        good = {"Origin": "https://good.example"}
        asked = {**good, "Access-Control-Request-Method": "POST"}
        assert (await client.options("/v1/search", headers=asked)).status_code == 200
        answer = await client.get("/healthz", headers=good)
        assert answer.headers["access-control-allow-origin"] == "https://good.example"
        answer = await client.get("/healthz", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in answer.headers

    run(index, ask, token=TOKEN, origins=("https://good.example",))


def test_errors_have_one_shape_also_for_paths_and_methods(index: Path) -> None:
    async def ask(client: Any) -> None:
        for method, path, status in (
            ("GET", "/nowhere", 404),
            ("DELETE", "/v1/search", 405),
            ("GET", "/v1/search", 405),
            ("POST", "/healthz", 405),
            ("POST", "/v1/items/m0-cmn", 405),
        ):
            answer = await client.request(method, path)
            assert answer.status_code == status
            assert set(answer.json()["error"]) == {"message", "type", "code", "param"}
            assert status != 405 or answer.headers["allow"]

    run(index, ask)


class Broken(TinyEncoder):
    """Breaks after the warm-up, in a way that nobody foresaw."""

    def encode(self, items: Any) -> Any:
        if self.calls:
            raise RuntimeError("a secret of the inside")
        return super().encode(items)


def test_a_mistake_of_ours_is_500_and_tells_no_secret(index: Path) -> None:
    async def ask(client: Any) -> None:
        wav = (await client.get("/v1/items/m0-cmn/audio")).content
        for _ in range(2):
            answer = await client.post("/v1/search", files={"file": ("x", wav)})
            assert answer.status_code == 500
            assert answer.json()["error"]["code"] == "internal_error"
            assert "secret" not in answer.text
        assert (await client.post("/v1/search", json={"id": "m0-cmn"})).status_code == 200

    run(index, ask, Broken())


def test_the_log_is_json_and_holds_neither_token_nor_text(
    index: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def ask(client: Any) -> None:
        headers = {"Authorization": f"Bearer {TOKEN}", "X-Request-ID": "id-1"}
        await client.get("/v1/items/m0-cmn", headers=headers)
        await client.post("/v1/search", json={"text": "说过的话"}, headers=headers)
        await client.get("/v1/info", headers={"Authorization": "Bearer almost-the-token"})

    with caplog.at_level(logging.INFO, logger="isogloss.serve"):
        run(index, ask, token=TOKEN)
    lines = [JsonLines().format(record) for record in caplog.records]
    found = [json.loads(line) for line in lines]
    requests = [line for line in found if line["event"] == "request"]
    assert [(r["status"], r["route"]) for r in requests] == [
        (200, "/v1/items/{item_id}"),
        (400, "/v1/search"),
        (401, "unmatched"),
    ]
    assert requests[0]["request_id"] == "id-1"
    assert requests[1]["code"] == "text_not_supported"
    joined = "".join(lines)
    assert TOKEN not in joined
    assert "almost-the-token" not in joined
    assert "m0-cmn" not in joined
    assert "说过" not in joined and "\\u8bf4" not in joined


def test_numbers_count_requests_and_refusals(index: Path) -> None:
    async def ask(client: Any) -> None:
        await client.get("/v1/items/nobody")
        await client.get("/v1/items/nobody2")
        await client.request("BREW", "/nowhere")
        text = (await client.get("/metrics")).text
        counted = 'isogloss_requests_total{method="GET",route="/v1/items/{item_id}",status="404"}'
        assert f"{counted} 2.0" in text
        assert 'isogloss_rejected_total{reason="no_such_item"} 2.0' in text
        assert 'method="OTHER"' in text and "BREW" not in text
        assert "isogloss_index_items 12.0" in text
        assert "isogloss_ready 1.0" in text

    run(index, ask)
