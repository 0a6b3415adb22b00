"""Clients that mean it ill and operators in a hurry: one test for each way that was found open."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import struct
import time
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from isogloss.errors import AudioError, IsoglossError
from isogloss.search.server.app import create_app, shown_name
from isogloss.search.server.settings import ServeSettings
from makers import melody
from serve_makers import TinyEncoder, client_of, open_live, served, small_index, wav_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence
    from pathlib import Path

    from isogloss.types import Item, Sequences

SOUND = wav_of(melody((0, 4, 7, 4)))
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_index(tmp_path_factory.mktemp("hostile"))


def run(
    index: Path,
    ask: Callable[[httpx.AsyncClient, Any], Awaitable[None]],
    encoder: Any = None,
    **settings: Any,
) -> None:
    async def go() -> None:
        app = create_app(encoder or TinyEncoder(), open_live(index), ServeSettings(**settings))
        async with client_of(app) as client:
            await ask(client, app.state.isogloss)

    asyncio.run(go())


@contextlib.contextmanager
def serving(index: Path, encoder: Any = None, **settings: Any) -> Iterator[tuple[Any, Any]]:
    app = create_app(encoder or TinyEncoder(), open_live(index), ServeSettings(**settings))
    with served(app) as address:
        yield address, app.state.isogloss


def spoken(address: Any, data: bytes) -> tuple[int, bytes, bytes]:
    """Status, head in small letters and content of what is answered to `data`."""
    with socket.create_connection(address, timeout=15) as connection:
        connection.sendall(data)
        found = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(65536):
                found += piece
    head, _, content = found.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), head.lower(), content


def test_a_body_whose_length_can_be_read_in_two_ways_is_refused(index: Path) -> None:
    chunked = b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
    body = b'\r\nc\r\n{"id":"a b"}\r\n0\r\n\r\n'
    with serving(index) as (address, _):
        for start in (
            b"POST /v1/search HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n",
            b"POST /v1/search HTTP/1.0\r\nHost: x\r\n",
        ):
            status, head, content = spoken(address, start + chunked + body)
            assert status == 400
            assert b"connection: close" in head
            assert b"Transfer-Encoding" in content


def test_what_is_no_http_is_answered_like_every_error(index: Path) -> None:
    with serving(index) as (address, _):
        for request in (b"\x16\x03\x01\x02\x00\x01\x00", b"GET /\r\n\r\n"):
            status, head, content = spoken(address, request + bytes(300) + b"\r\n\r\n")
            assert status == 400
            assert b"x-request-id: " in head
            assert json.loads(content)["error"]["code"] == "bad_request"


def test_head_is_answered_as_get_without_content(index: Path) -> None:
    with serving(index) as ((host, port), state):
        for path in ("/healthz", "/", "/v1/items/m0-cmn/audio"):
            address = f"http://{host}:{port}{path}"
            head, got = httpx.head(address), httpx.get(address)
            assert head.status_code == 200
            assert head.content == b""
            assert head.headers["content-length"] == str(len(got.content))
        assert httpx.head(f"http://{host}:{port}/v1/search").status_code == 405
        assert 'method="HEAD"' in state.metrics.text().decode()


def test_two_tokens_are_none(index: Path) -> None:
    async def ask(client: httpx.AsyncClient, _: Any) -> None:
        right, wrong = b"Bearer open-sesame", b"Bearer other-word"
        for sent in ([wrong, right], [right, wrong], [right, right]):
            headers = [(b"authorization", value) for value in sent]
            assert (await client.get("/v1/info", headers=headers)).status_code == 401
        headers = [(b"AUTHORIZATION", b"bEaReR open-sesame")]
        assert (await client.get("/v1/info", headers=headers)).status_code == 200

    run(index, ask, token="open-sesame")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (json.dumps({"id": "x" * 1_000_000}), 400),
        (json.dumps({"id": "m0-cmn", "varieties": ["y" * 1_000_000]}), 404),
        (json.dumps({"z" * 1_000_000: 1}), 400),
        ('{"id": [' + "{}," * 200_000 + "{}]}", 400),
        ('{"id":' + "[" * 90_000, 400),
    ],
    ids=["id", "variety", "field", "many values", "deep"],
)
def test_an_answer_never_repeats_much_of_what_was_sent(index: Path, body: str, status: int) -> None:
    async def ask(client: httpx.AsyncClient, _: Any) -> None:
        answer = await client.post("/v1/search", content=body, headers=JSON)
        assert answer.status_code == status
        assert len(answer.content) < 1500

    run(index, ask)


def test_a_form_of_many_large_fields_is_refused(index: Path) -> None:
    async def ask(client: httpx.AsyncClient, _: Any) -> None:
        fields = {f"a{number}": "x" * 60_000 for number in range(40)}
        for files in ({"unused": b"x"}, None):
            answer = await client.post("/v1/search", data=fields, files=files)
            assert answer.status_code == 413

    run(index, ask)


def of_chunks(count: int) -> bytes:
    body = b"WAVE" + (b"JUNK" + bytes(4)) * count + SOUND[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def test_a_file_of_empty_chunks_is_given_up_soon(index: Path) -> None:
    async def ask(client: httpx.AsyncClient, _: Any) -> None:
        fine = await client.post("/v1/search", files={"file": of_chunks(20)})
        assert fine.status_code == 200
        answer = await client.post("/v1/search", files={"file": of_chunks(20_000)})
        assert answer.status_code == 422
        assert "chunks" in answer.json()["error"]["message"]

    run(index, ask)


@pytest.mark.filterwarnings("error")
def test_samples_beyond_all_measure_are_no_warning(index: Path) -> None:
    wild = np.random.default_rng(0).standard_normal(16000).astype(np.float32) * 1e37
    shape = struct.pack("<HHIIHH", 3, 1, 16000, 64000, 4, 32)
    body = b"WAVEfmt " + struct.pack("<I", 16) + shape
    body += b"data" + struct.pack("<I", wild.nbytes) + wild.tobytes()

    async def ask(client: httpx.AsyncClient, _: Any) -> None:
        content = b"RIFF" + struct.pack("<I", len(body)) + body
        answer = await client.post("/v1/search", files={"file": content})
        assert answer.status_code in (200, 422)

    run(index, ask)


def test_a_recording_that_is_too_short_is_not_called_by_a_name_of_ours(index: Path) -> None:
    class Named(TinyEncoder):
        def encode(self, items: Sequence[Item]) -> Sequences:
            if any(len(item.audio or "") and item.id == "0" for item in items) and self.calls:
                raise AudioError("/srv/secret", "item '0' lasts 0.010 s")
            return super().encode(items)

    async def ask(client: httpx.AsyncClient, _: Any) -> None:
        answer = await client.post("/v1/search", files={"file": SOUND})
        message = answer.json()["error"]["message"]
        assert message == "the recording cannot be used: it lasts 0.010 s"

    run(index, ask, Named())


class Moody(TinyEncoder):
    """Fails with an error of its own when a loud recording is in the batch; knows no end of it."""

    def encode(self, items: Sequence[Item]) -> Sequences:
        found = super().encode(items)
        for number in range(len(found)):
            if len(found[number]) == 13:
                raise RuntimeError("out of mood")
        return found


def test_an_error_of_the_encoder_reaches_its_own_request_alone(index: Path) -> None:
    bad = wav_of(np.random.default_rng(0).uniform(-0.5, 0.5, 13 * 640).astype(np.float32))
    encoder = Moody()

    async def ask(client: httpx.AsyncClient, _: Any) -> None:
        sounds = [SOUND] * 16
        sounds[5] = bad
        encoder.calls.clear()
        answers = await asyncio.gather(
            *(client.post("/v1/search", files={"file": sound}) for sound in sounds)
        )
        assert [a.status_code for a in answers] == [500 if n == 5 else 200 for n in range(16)]
        # Halves are tried, not every recording by itself.
        assert sum(count > 1 for count in encoder.calls) > 1

    run(index, ask, encoder, batch_window_seconds=0.2)


def test_steps_that_are_no_numbers_are_refused(index: Path) -> None:
    class Broken(TinyEncoder):
        def encode(self, items: Sequence[Item]) -> Sequences:
            found = super().encode(items)
            if len(self.calls) > 1:
                found.values[:] = np.nan
            return found

    async def ask(client: httpx.AsyncClient, _: Any) -> None:
        answer = await client.post("/v1/search", files={"file": SOUND})
        assert answer.status_code == 422
        assert "no numbers" in answer.json()["error"]["message"]

    run(index, ask, Broken())


def test_a_full_disk_is_503_and_everything_is_as_before_afterwards(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pathlib import Path as AnyPath

    from isogloss.search.server.scratch import Scratch

    async def ask(client: httpx.AsyncClient, state: Any) -> None:
        with monkeypatch.context() as patch:
            # Every write there fails as on a disk without room.
            patch.setattr(Scratch, "new", lambda _: AnyPath("/dev/full"))
            answer = await client.post("/v1/search", files={"file": SOUND})
            assert answer.status_code == 503
            assert answer.json()["error"]["code"] == "no_room"
            assert answer.headers["Retry-After"]
        assert (await client.post("/v1/search", files={"file": SOUND})).status_code == 200
        assert list(state.scratch.path.iterdir()) == []

    run(index, ask)


def test_work_for_a_client_that_has_gone_is_given_up(index: Path) -> None:
    encoder = TinyEncoder()
    with serving(index, encoder, max_concurrent=1, batch_size=1) as ((host, port), state):
        encoder.wait_seconds = 1.0
        head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        body = head + SOUND + b"\r\n--b--\r\n"
        request = (
            b"POST /v1/search HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\n\r\n" % len(body)
        ) + body
        asked = len(encoder.calls)
        for _ in range(8):
            with socket.create_connection((host, port), timeout=15) as connection:
                connection.sendall(request)
                time.sleep(0.05)
        began = time.monotonic()
        answer = httpx.post(f"http://{host}:{port}/v1/search", files={"file": SOUND}, timeout=30)
        # Eight seconds of work for nobody would have stood before this one.
        assert answer.status_code == 200
        assert time.monotonic() - began < 4
        assert len(encoder.calls) - asked <= 3
        numbers = state.metrics.text().decode()
        assert 'status="499"' in numbers
        assert "isogloss_requests_inside 0.0" in numbers
        assert list(state.scratch.path.iterdir()) == []


def test_a_client_that_does_not_take_its_answer_is_cut_off(index: Path) -> None:
    from isogloss.search.server.listening import protocol_with

    timed = protocol_with(5.0, read_seconds=0.2, read_bytes=1000)

    class Buffer:
        left = 500_000
        aborted = False

        def get_write_buffer_size(self) -> int:
            return self.left

        def abort(self) -> None:
            self.aborted = True

    async def go(taken: int) -> bool:
        import uvicorn
        from uvicorn.server import ServerState

        config = uvicorn.Config(lambda: None, http=timed, lifespan="off", log_config=None)
        config.load()
        protocol: Any = timed(config, ServerState(), {}, asyncio.get_running_loop())
        protocol.transport = buffer = Buffer()
        protocol._look_at_reader(None)
        for _ in range(10):
            await asyncio.sleep(0.1)
            buffer.left -= taken
        if protocol._reader_timer is not None:
            protocol._reader_timer.cancel()
        return buffer.aborted

    assert asyncio.run(go(0))
    assert not asyncio.run(go(5000))


def test_an_index_that_is_gone_is_served_on_and_found_again(tmp_path: Path) -> None:
    index = small_index(tmp_path)
    away = tmp_path / "away"

    async def ask(client: httpx.AsyncClient, state: Any) -> None:
        index.rename(away)
        await asyncio.sleep(0.3)
        assert (await client.post("/v1/search", json={"id": "m0-cmn"})).status_code == 200
        # Built anew at the same place, with the same number of commits and other items.
        other = small_index(tmp_path / "other", transcript="other words")
        shutil.move(other, index)
        for _ in range(100):
            await asyncio.sleep(0.05)
            found = (await client.get("/v1/items/m0-cmn")).json()
            if found["transcript"] == "other words":
                break
        assert found["transcript"] == "other words"
        assert state.live.now.count == 12

    run(index, ask, reload_seconds=0.05)


def test_an_index_of_another_encoder_does_not_take_the_place(tmp_path: Path) -> None:
    live = open_live(small_index(tmp_path))
    live.refresh()
    shutil.rmtree(tmp_path / "index")
    shutil.rmtree(tmp_path / "corpus")
    small_index(tmp_path, TinyEncoder(made_by="other:1"))
    with pytest.raises(IsoglossError, match="start the server anew"):
        live.refresh()
    assert live.now.index.made_by == "tiny:1"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("own:/srv/secret/runs/a", "own:a"),
        ("own:/srv/secret/runs/a/model", "own:a"),
        ("own:../a/", "own:a"),
        ("onnx:/srv/secret/b.onnx", "onnx:b.onnx"),
        ("hf:owner/name", "hf:owner/name"),
        ("hf:/srv/secret/name", "hf:name"),
        ("mel:", "mel:"),
        ("random:micro", "random:micro"),
        ("own:1e34c04ad1fad2cf;layer=final;isogloss=0.1.0", "own:1e34c04ad1fad2cf"),
    ],
)
def test_clients_see_no_folder_of_the_server(name: str, shown: str) -> None:
    assert shown_name(name) == shown


def test_examples_are_items_with_sound_of_every_variety(index: Path) -> None:
    async def ask(client: httpx.AsyncClient, _: Any) -> None:
        examples = (await client.get("/v1/info")).json()["examples"]
        assert {item["variety"] for item in examples} == {"cmn", "yue", "hak"}
        assert len(examples) <= 6
        for item in examples:
            assert (await client.get(item["audio"])).content[:4] == b"RIFF"

    run(index, ask)

    async def without(client: httpx.AsyncClient, _: Any) -> None:
        assert (await client.get("/v1/info")).json()["examples"] == []

    run(index, without, serve_audio=False)


def test_every_answer_names_its_request(index: Path) -> None:
    class Failing(TinyEncoder):
        def encode(self, items: Sequence[Item]) -> Sequences:
            if self.calls:
                raise RuntimeError("secret")
            return super().encode(items)

    async def ask(client: httpx.AsyncClient, _: Any) -> None:
        for method, path, options, status in (
            ("GET", "/nowhere", {}, 404),
            ("DELETE", "/v1/search", {}, 405),
            ("POST", "/v1/search", {"content": b"x"}, 415),
            ("POST", "/v1/search", {"json": {}}, 400),
            ("POST", "/v1/search", {"files": {"file": bytes(200_000)}}, 413),
            ("POST", "/v1/search", {"files": {"file": SOUND}}, 500),
            ("GET", "/v1/items/a%00b", {}, 404),
        ):
            answer = await client.request(method, path, **options)
            assert answer.status_code == status
            assert len(answer.headers["X-Request-ID"]) == 32
            assert "secret" not in answer.text

    run(index, ask, Failing(), max_upload_bytes=100_000)
