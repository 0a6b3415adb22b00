"""Bad clients against the real server, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from isogloss.search.server.app import create_app
from isogloss.search.server.settings import ServeSettings
from makers import melody
from serve_makers import TinyEncoder, client_of, open_live, served, small_index, wav_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1024 * 1024
SOUND = wav_of(melody((0, 4, 7, 4)))


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_index(tmp_path_factory.mktemp("served"))


@contextlib.contextmanager
def serving(index: Path, encoder: Any = None, **settings: Any) -> Iterator[tuple[Any, Any]]:
    app = create_app(encoder or TinyEncoder(), open_live(index), ServeSettings(**settings))
    with served(app) as address:
        yield address, app.state.isogloss


def spoken(address: Any, data: bytes, *, then: float = 0.0) -> bytes:
    """All that the server says to `data`, sent as it stands."""
    with socket.create_connection(address, timeout=15) as connection:
        connection.sendall(data)
        time.sleep(then)
        return received(connection)


def received(connection: socket.socket) -> bytes:
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            found += piece
    return found


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def error_of(answer: bytes) -> dict[str, Any]:
    return json.loads(answer.partition(b"\r\n\r\n")[2])["error"]


def multipart(content: bytes) -> tuple[bytes, bytes]:
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    return head + content, b"\r\n--b--\r\n"


@pytest.mark.parametrize("chunked", [True, False])
def test_two_gigabytes_are_stopped_at_the_limit(index: Path, chunked: bool) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        head, end = multipart(b"")
        yield head
        piece = bytes(MIB)
        for _ in range(2048):
            sent += MIB
            yield piece
        yield end

    with serving(index, max_upload_bytes=2 * MIB) as ((host, port), state):
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        if not chunked:
            headers["Content-Length"] = str(2048 * MIB)
        began = time.monotonic()
        answer = httpx.post(
            f"http://{host}:{port}/v1/search", content=endless(), headers=headers, timeout=30
        )
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "too_large"
        assert str(2 * MIB) in answer.json()["error"]["message"]
        assert sent < 64 * MIB
        assert time.monotonic() - began < 10
        assert httpx.get(f"http://{host}:{port}/healthz").status_code == 200
        assert list(state.scratch.path.iterdir()) == []
        assert "isogloss_body_bytes_held 0.0" in state.metrics.text().decode()


def test_a_length_that_lies_is_not_relied_upon(index: Path) -> None:
    async def go() -> None:
        app = create_app(TinyEncoder(), open_live(index), ServeSettings(max_upload_bytes=100_000))
        async with client_of(app) as client:
            head, end = multipart(bytes(150_000))
            headers = {"Content-Type": "multipart/form-data; boundary=b", "Content-Length": "10"}
            answer = await client.post("/v1/search", content=head + end, headers=headers)
            assert answer.status_code == 413
            assert answer.json()["error"]["param"] == "file"

    asyncio.run(go())


def test_a_client_that_stops_in_the_middle_of_a_body_is_408(index: Path) -> None:
    with serving(index, body_idle_seconds=0.3) as (address, _):
        head, _ = multipart(SOUND)
        request = (
            b"POST /v1/search HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\n\r\n" + head
        )
        answer = spoken(address, request)
        assert status_of(answer) == 408
        assert error_of(answer)["code"] == "body_timeout"
        assert b"connection: close" in answer.lower()


def test_a_client_that_drips_its_body_is_408(index: Path) -> None:
    with serving(index, body_idle_seconds=5.0, body_seconds=0.6) as (address, _):
        with socket.create_connection(address, timeout=15) as connection:
            connection.sendall(
                b"POST /v1/search HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
                b"Content-Type: application/json\r\n\r\n"
            )
            stop = threading.Event()

            def drip() -> None:
                with contextlib.suppress(OSError):
                    while not stop.wait(0.05):
                        connection.sendall(b"1\r\n \r\n")

            thread = threading.Thread(target=drip)
            thread.start()
            began = time.monotonic()
            answer = received(connection)
            stop.set()
            thread.join()
        assert status_of(answer) == 408
        assert 0.4 < time.monotonic() - began < 5


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: "])
def test_headers_that_do_not_come_end_the_connection(index: Path, sent: bytes) -> None:
    with serving(index, header_seconds=0.3) as (address, _):
        began = time.monotonic()
        assert spoken(address, sent) == b""
        assert time.monotonic() - began < 5


def test_a_kept_connection_may_not_drip_its_second_request(index: Path) -> None:
    with serving(index, header_seconds=0.4) as (address, _):
        with socket.create_connection(address, timeout=15) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            first = b""
            while b"ok" not in first.partition(b"\r\n\r\n")[2]:
                first += connection.recv(65536)
            assert status_of(first) == 200
            connection.sendall(b"GET /healthz HT")
            began = time.monotonic()
            assert received(connection) == b""
            assert time.monotonic() - began < 5


def test_slow_clients_do_not_keep_others_from_being_served(index: Path) -> None:
    with serving(index, max_concurrent=2, body_idle_seconds=20) as ((host, port), _):
        head, _ = multipart(SOUND)
        slow = []
        for _ in range(20):
            connection = socket.create_connection((host, port), timeout=15)
            connection.sendall(
                b"POST /v1/search HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\n"
                b"Content-Type: multipart/form-data; boundary=b\r\n\r\n" + head
            )
            slow.append(connection)
        began = time.monotonic()
        answer = httpx.post(f"http://{host}:{port}/v1/search", files={"file": SOUND}, timeout=10)
        assert answer.status_code == 200
        assert time.monotonic() - began < 3
        for connection in slow:
            connection.close()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"NONSENSE\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 100_000,
        b"POST /v1/search HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/search HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6"
        b"\r\n\r\nabcde",
    ],
)
def test_what_is_no_http_is_400_and_hurts_nobody(index: Path, request_bytes: bytes) -> None:
    with serving(index) as (address, _):
        answer = spoken(address, request_bytes)
        assert answer == b"" or status_of(answer) in (400, 431)
        assert status_of(spoken(address, b"GET /healthz HTTP/1.0\r\n\r\n")) == 200


def test_a_full_queue_is_503_and_says_when_to_come_back(index: Path) -> None:
    encoder = TinyEncoder()

    async def go() -> None:
        settings = ServeSettings(max_concurrent=1, queue=2, batch_size=1)
        app = create_app(encoder, open_live(index), settings)
        async with client_of(app) as client:
            encoder.wait_seconds = 0.2
            answers = await asyncio.gather(
                *(client.post("/v1/search", files={"file": SOUND}) for _ in range(8))
            )
            codes = sorted(answer.status_code for answer in answers)
            assert codes == [200] * 3 + [503] * 5
            full = next(answer for answer in answers if answer.status_code == 503)
            assert full.headers["retry-after"] == "1"
            assert full.json()["error"]["code"] == "overloaded"
            assert (await client.post("/v1/search", files={"file": SOUND})).status_code == 200
            text = (await client.get("/metrics")).text
            assert 'isogloss_rejected_total{reason="overloaded"} 5.0' in text

    asyncio.run(go())


def test_all_bodies_together_are_bounded(index: Path) -> None:
    with serving(index, held_bytes=200_000, body_idle_seconds=20) as (address, _):
        head, _ = multipart(bytes(150_000))
        start = (
            b"POST /v1/search HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        )
        with socket.create_connection(address, timeout=15) as first:
            first.sendall(start + head)
            time.sleep(0.3)
            answer = spoken(address, start + head)
            assert status_of(answer) == 503
            assert error_of(answer)["code"] == "too_many_uploads"
        time.sleep(0.3)
        answer = httpx.post(
            f"http://{address[0]}:{address[1]}/v1/search", files={"file": SOUND}, timeout=10
        )
        assert answer.status_code == 200


def test_an_answer_that_takes_too_long_is_504_and_the_next_is_served(index: Path) -> None:
    encoder = TinyEncoder()

    async def go() -> None:
        app = create_app(encoder, open_live(index), ServeSettings(timeout_seconds=0.2))
        async with client_of(app) as client:
            encoder.wait_seconds = 0.6
            answer = await client.post("/v1/search", files={"file": SOUND})
            assert answer.status_code == 504
            assert answer.headers["retry-after"]
            encoder.wait_seconds = 0.0
            await asyncio.sleep(0.6)
            assert (await client.post("/v1/search", files={"file": SOUND})).status_code == 200

    asyncio.run(go())


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"{"),
        ("application/json", b"[" * 100_000),
        ("application/json", b'{"k": ' + b"9" * 5000 + b"}"),
        ("application/json", b"[]"),
        ("application/json", b"\xff\xfe"),
        ("application/json", b'{"id": NaN}'),
        ("application/json", b'{"id": "\\ud800"}'),
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b", b""),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\nx\r\n--b--\r\n"),
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="k"'),
        ("multipart/form-data; boundary=b", b"--c\r\n\r\n"),
        ("multipart/form-data; boundary=" + "b" * 5000, b"--b"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="id"\r\n\r\n\xff\r\n--b--\r\n',
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n' * 300,
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n' * 2 + b"--b--\r\n",
        ),
        ("application/x-www-form-urlencoded", b"&".join([b"variety=a"] * 300)),
        ("application/x-www-form-urlencoded", b"id=%ff"),
        ("application/x-www-form-urlencoded", b"file=abc"),
        ("text/plain", b"x"),
        ("", b"x"),
    ],
)
def test_malformed_bodies_are_refused_with_a_reason(index: Path, kind: str, body: bytes) -> None:
    async def go() -> None:
        app = create_app(TinyEncoder(), open_live(index))
        async with client_of(app) as client:
            answer = await client.post(
                "/v1/search", content=body, headers={"Content-Type": kind} if kind else {}
            )
            assert answer.status_code in (400, 404, 415), answer.text
            assert answer.json()["error"]["message"]
            assert list(app.state.isogloss.scratch.path.iterdir()) == []

    asyncio.run(go())


def test_a_field_that_is_too_long_is_413(index: Path) -> None:
    async def go() -> None:
        app = create_app(TinyEncoder(), open_live(index))
        async with client_of(app) as client:
            answer = await client.post(
                "/v1/search", data={"id": "x" * 70_000}, files={"unused": b"x"}
            )
            assert answer.status_code == 413

    asyncio.run(go())


def test_a_long_recording_is_413_while_it_is_decoded(index: Path) -> None:
    import io

    import soundfile

    out = io.BytesIO()
    soundfile.write(out, np.zeros(8000 * 600, np.int16), 8000, format="FLAC")

    async def go() -> None:
        app = create_app(TinyEncoder(), open_live(index), ServeSettings(max_seconds=2.0))
        async with client_of(app) as client:
            answer = await client.post("/v1/search", files={"file": out.getvalue()})
            assert answer.status_code == 413
            assert answer.json()["error"]["code"] == "too_long"

    asyncio.run(go())


def test_nothing_is_left_on_disk_when_the_server_has_stopped(index: Path, tmp_path: Path) -> None:
    async def go() -> None:
        app = create_app(TinyEncoder(), open_live(index), ServeSettings(scratch=tmp_path))
        async with client_of(app) as client:
            await client.post("/v1/search", files={"file": SOUND})
            assert len(list(tmp_path.iterdir())) == 1

    asyncio.run(go())
    assert list(tmp_path.iterdir()) == []
