"""The command in a process of its own: signals, tokens, ports."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from isogloss.cli import main
from isogloss.corpora.jsonl import read_corpus
from isogloss.search.from_recordings import index_recordings
from isogloss.search.index_settings import IndexSettings
from isogloss.search.sequence_index import SequenceIndex
from makers import melody_corpus

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 melodies as log-mel frames, which need no weights."""
    folder = tmp_path_factory.mktemp("served")
    items = read_corpus(melody_corpus(folder / "corpus")).items
    index_recordings(folder / "index", items, "mel:", settings=IndexSettings(units=256))
    return folder / "index"


class Command:
    """`isogloss search serve` and its address."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "isogloss", "search", "serve", *arguments, "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        )
        assert self.process.stdout is not None
        text = ""
        while "}" not in text:
            line = self.process.stdout.readline()
            assert line, self.process.communicate()
            text += line
        self.url = json.loads(text)["url"]
        for _ in range(600):
            if httpx.get(f"{self.url}/readyz").status_code == 200:
                return
            time.sleep(0.05)
        raise AssertionError("never ready")

    def stop(self, sig: int = signal.SIGTERM) -> tuple[int, str]:
        """Exit code, and what was said on stderr."""
        self.process.send_signal(sig)
        _, log = self.process.communicate(timeout=30)
        return self.process.returncode, log


@pytest.fixture
def command(index: Path) -> Iterator[Command]:
    started = Command(str(index), "--port", "0", "--drain", "0.5", "--reload", "0")
    yield started
    if started.process.poll() is None:
        started.process.kill()
        started.process.communicate()


def test_sigterm_lets_a_running_request_finish(index: Path, command: Command) -> None:
    sound = next((index.parent / "corpus").rglob("*.wav")).read_bytes()
    head = b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + sound
    body = head + b"\r\n--b--\r\n"
    host, port = command.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(
            b"POST /v1/search HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body) + body[:1000]
        )
        stopped: list[tuple[int, str]] = []
        thread = threading.Thread(target=lambda: stopped.append(command.stop()))
        time.sleep(0.3)
        thread.start()
        time.sleep(0.2)
        draining = httpx.get(f"{command.url}/readyz")
        assert draining.status_code == 503
        assert draining.json()["error"]["code"] == "stopping"
        assert httpx.get(f"{command.url}/healthz").status_code == 200
        time.sleep(0.8)
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{command.url}/healthz")
        connection.sendall(body[1000:])
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 200")
    thread.join(timeout=30)
    code, log = stopped[0]
    assert code == 0, log
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert any(line["event"] == "request" and line["status"] == 200 for line in lines)
    assert "Traceback" not in log


def test_sighup_opens_the_new_commit(index: Path, command: Command) -> None:
    before = httpx.get(f"{command.url}/v1/info").json()
    SequenceIndex.open(index).delete(["m3-hak"])
    assert httpx.get(f"{command.url}/v1/items/m3-hak").status_code == 200
    command.process.send_signal(signal.SIGHUP)
    for _ in range(200):
        if httpx.get(f"{command.url}/v1/items/m3-hak").status_code == 404:
            break
        time.sleep(0.05)
    after = httpx.get(f"{command.url}/v1/info").json()
    assert after["items"] == before["items"] - 1
    assert after["index_version"] > before["index_version"]
    assert command.stop(signal.SIGINT)[0] == 0


def test_the_token_of_the_environment_or_a_file_is_asked_for(index: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-the-file-1\n", encoding="utf-8")
    started = Command(
        str(index), "--port", "0", "--token-file", str(tmp_path / "token"), ISOGLOSS_TOKEN="other-1"
    )
    wrong = {"Authorization": "Bearer other-1"}
    right = {"Authorization": "Bearer from-the-file-1"}
    assert httpx.get(f"{started.url}/v1/info", headers=wrong).status_code == 401
    assert httpx.get(f"{started.url}/v1/info", headers=right).status_code == 200
    code, log = started.stop()
    assert code == 0
    assert "from-the-file-1" not in log


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["missing"], 1, "missing"),
        (["{index}", "--encoder", "nothing:"], 1, "unknown encoder"),
        (["{index}", "--encoder", "random:micro"], 1, "the index was made by"),
        (["{index}", "--audio-root", "missing"], 2, "no folder"),
        (["{index}", "--no-audio", "--audio-root", "."], 2, "contradict"),
        (["{index}", "--token-file", "missing"], 1, "missing"),
        (["{index}", "--token-file", "{empty}"], 2, "holds no token"),
        (["{index}", "--host", "no.such.host.invalid"], 1, "cannot listen"),
    ],
)
def test_wrong_usage_is_one_line(
    index: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    (tmp_path / "empty").write_text("\n", encoding="utf-8")
    given = [a.format(index=index, empty=tmp_path / "empty") for a in arguments]
    assert main(["search", "serve", *given, "--port", "0"]) == code
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_a_port_that_is_taken_is_said_before_anything_is_loaded(
    index: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert main(["search", "serve", str(index), "--port", port]) == 1
    assert "choose another with --port" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value"),
    [("--port", "70000"), ("--timeout", "0"), ("--max-seconds", "nan"), ("--queue", "-1")],
)
def test_numbers_out_of_range_are_wrong_usage(
    option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["search", "serve", "x", option, value])
    assert caught.value.code == 2
    assert option in capsys.readouterr().err


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, index: Path) -> None:
    from isogloss.errors import MissingExtra
    from isogloss.search.server import run

    def absent(name: str) -> Any:
        return None if name == "uvicorn" else True

    monkeypatch.setattr(run, "find_spec", absent)
    with pytest.raises(MissingExtra, match=r"pip install 'isogloss\[serve\]'"):
        run.serve(index)
