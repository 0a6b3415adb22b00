"""Makers for the server's tests: an encoder without weights, a small index, an application."""

from __future__ import annotations

import asyncio
import contextlib
import io
import socket
import threading
import time
import wave
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np

from isogloss.corpora.audio import read_audio
from isogloss.corpora.jsonl import read_corpus
from isogloss.errors import AudioError
from isogloss.speech.tokens import Tokenizer
from isogloss.types import Item, Sequences
from makers import melody_corpus

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

    from fastapi import FastAPI


STEP_SAMPLES = 640


@dataclass
class TinyEncoder:
    """Level of 24 bands every 40 ms, nothing learnt; `wait_seconds` makes it slow."""

    made_by: str = "tiny:1"
    wait_seconds: float = 0.0
    calls: list[int] = field(default_factory=list)

    def encode(self, items: Sequence[Item]) -> Sequences:
        if not items:
            raise ValueError("there is no item to encode")
        self.calls.append(len(items))
        if self.wait_seconds:
            time.sleep(self.wait_seconds)
        return Sequences.from_list(
            [item.id for item in items],
            [self._steps(item) for item in items],
            step_seconds=STEP_SAMPLES / 16000,
            made_by=self.made_by,
        )

    def _steps(self, item: Item) -> np.ndarray:
        samples = read_audio(
            item.audio or "", start_seconds=item.start_seconds, end_seconds=item.end_seconds
        )
        count = len(samples) // STEP_SAMPLES
        if not count:
            raise AudioError(item.audio or "", "shorter than 0.040 s")
        frames = samples[: count * STEP_SAMPLES].reshape(count, STEP_SAMPLES)
        power = np.abs(np.fft.rfft(frames * np.hanning(STEP_SAMPLES), axis=1))[:, :96]
        bands = np.log(1e-3 + power.reshape(count, 24, 4).sum(axis=2))
        return (bands - bands.mean(axis=1, keepdims=True)).astype(np.float32)


class TextEncoder(TinyEncoder):
    """Takes text as well: a character is a step."""

    takes_text = True
    takes_audio = True

    def _steps(self, item: Item) -> np.ndarray:
        if item.text is None:
            return super()._steps(item)
        rows = [np.random.default_rng(ord(c)).standard_normal(24) for c in item.text]
        return np.array(rows, np.float32)


CHARACTERS = "一丁七万"
LEVELS = (0.1, 0.2, 0.3, 0.4)


class ReadingEncoder(TextEncoder):
    """Takes text, and transcribes: one character a sound, known from its level."""

    tokenizer = Tokenizer(["<blk>", "<unk>", *CHARACTERS])

    def posteriors_of_samples(self, pieces: Any, *, head: str = "standard") -> Any:
        for number, piece in enumerate(pieces):
            level = float(np.sqrt(2 * np.mean(np.square(piece))))
            unit = 2 + int(np.argmin(np.abs(np.array(LEVELS) - level)))
            log_probs = np.full((10, 6), -20.0, np.float32)
            log_probs[:, 0] = -0.01
            log_probs[4, 0], log_probs[4, unit] = -20.0, -0.01
            yield number, log_probs


def small_index(folder: Path, encoder: TinyEncoder | None = None, **changes: Any) -> Path:
    """An index of the 12 melodies under `folder`, each with a site and a place."""
    from isogloss.search.index_settings import IndexSettings
    from isogloss.search.sequence_index import SequenceIndex

    corpus = read_corpus(melody_corpus(folder / "corpus"))
    items = [placed(item, **changes) for item in corpus.items]
    steps = (encoder or TinyEncoder()).encode(items)
    SequenceIndex.build(folder / "index", steps, items, settings=IndexSettings(units=256))
    return folder / "index"


def placed(item: Item, **changes: Any) -> Item:
    from dataclasses import replace

    extra = {"latitude": "23.1", "longitude": "113.3"} if item.variety == "yue" else {}
    return replace(item, site=f"site-{item.variety}", extra=extra, **changes)


def open_live(index: Path) -> Any:
    """`Live` of an index folder, as the command makes it."""
    from isogloss.search.sequence_index import SequenceIndex
    from isogloss.search.server.live import Live
    from isogloss.search.store_commit import COMMIT_FILE

    def mark() -> tuple[int, int]:
        status = (index / COMMIT_FILE).stat()
        return status.st_mtime_ns, status.st_ino

    return Live(lambda: SequenceIndex.open(index), mark)


def wav_of(samples: np.ndarray, sample_rate_hz: int = 16000) -> bytes:
    out = io.BytesIO()
    pcm = np.round(np.clip(samples, -1, 1) * 32767).astype("<i2")
    with wave.open(out, "wb") as handle:
        handle.setnchannels(1 if pcm.ndim == 1 else pcm.shape[1])
        handle.setsampwidth(2)
        handle.setframerate(sample_rate_hz)
        handle.writeframes(pcm.tobytes())
    return out.getvalue()


@contextlib.asynccontextmanager
async def client_of(app: FastAPI, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application in this process, once it is ready."""
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://test", timeout=30, **options
        ) as client:
            await until_ready(app)
            yield client


async def until_ready(app: FastAPI) -> None:
    for _ in range(1000):
        if app.state.isogloss.ready:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the application did not become ready")


@contextlib.contextmanager
def served(app: FastAPI) -> Iterator[tuple[str, int]]:
    """Host and port of the application behind the command's own server, in a thread."""
    from isogloss.search.server.listening import Server, serve_config

    state = app.state.isogloss
    server = Server(serve_config(app, state.settings), state)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=asyncio.run, args=(server.serve_on(listener),))
        thread.start()
        try:
            deadline = time.monotonic() + 30
            while not (server.started and state.ready):
                if time.monotonic() > deadline:
                    raise AssertionError("the server did not become ready")
                time.sleep(0.01)
            yield listener.getsockname()[:2]
        finally:
            server.should_exit = True
            thread.join(timeout=30)
