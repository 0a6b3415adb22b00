"""The real client of OpenAI against the running application."""

from __future__ import annotations

import base64
import contextlib
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import openai
import pytest

from isogloss.search.server.app import create_app
from isogloss.search.server.settings import ServeSettings
from isogloss.types import Item
from makers import MELODIES, melody
from serve_makers import (
    ReadingEncoder,
    TextEncoder,
    TinyEncoder,
    open_live,
    served,
    small_index,
    wav_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKEN = "token-of-the-client"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_index(tmp_path_factory.mktemp("served"))


@contextlib.contextmanager
def client_for(index: Path, encoder: Any) -> Iterator[openai.OpenAI]:
    app = create_app(encoder, open_live(index), ServeSettings(token=TOKEN), name="tiny")
    with served(app) as (host, port):
        with openai.OpenAI(
            base_url=f"http://{host}:{port}/v1", api_key=TOKEN, max_retries=0
        ) as client:
            yield client


def said(meaning: int) -> bytes:
    return wav_of(melody(MELODIES[meaning], seed=3))


def data_url(content: bytes) -> str:
    return "data:audio/wav;base64," + base64.b64encode(content).decode()


def test_embeddings_in_both_formats_are_the_mean_of_the_steps(index: Path, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(said(1))
    steps = TinyEncoder().encode([Item("a", "und", audio=str(tmp_path / "a.wav"))])
    expected = steps.values.mean(axis=0)
    with client_for(index, TinyEncoder()) as client:
        default = client.embeddings.create(model="tiny", input=data_url(said(1)))
        numbers = client.embeddings.create(
            model="tiny", input=[data_url(said(1))], encoding_format="float"
        )
        raw = client.embeddings.create(
            model="tiny", input=[data_url(said(1))], encoding_format="base64"
        )
    assert default.model == "tiny"
    assert default.usage.total_tokens == 0
    assert np.allclose(default.data[0].embedding, expected, atol=1e-5)
    assert np.allclose(numbers.data[0].embedding, expected, atol=1e-5)
    vector = np.frombuffer(base64.b64decode(str(raw.data[0].embedding)), "<f4")
    assert np.array_equal(vector, np.float32(numbers.data[0].embedding))


def test_embeddings_of_items_and_of_several_inputs_keep_the_order(index: Path) -> None:
    with client_for(index, TinyEncoder()) as client:
        inputs = ["m1-yue", data_url(said(2)), "m0-cmn", data_url(said(0))]
        together = client.embeddings.create(model="tiny", input=inputs)
        assert [entry.index for entry in together.data] == [0, 1, 2, 3]
        for entry, one in zip(together.data, inputs, strict=True):
            alone = client.embeddings.create(model="tiny", input=one)
            assert np.allclose(alone.data[0].embedding, entry.embedding, atol=1e-5)


def test_embeddings_of_text_where_the_encoder_takes_it(index: Path) -> None:
    with client_for(index, TextEncoder()) as client:
        found = client.embeddings.create(model="tiny", input="一丁")
        assert len(found.data[0].embedding) == 24


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"input": "hello"}, openai.NotFoundError, "takes no text"),
        ({"input": [1, 2, 3]}, openai.BadRequestError, "tokens"),
        ({"input": [[1, 2], [3]]}, openai.BadRequestError, "tokens"),
        ({"input": []}, openai.BadRequestError, "not empty"),
        ({"input": ""}, openai.BadRequestError, "not empty"),
        ({"input": ["m0-cmn"] * 65}, openai.BadRequestError, "at most 64"),
        ({"input": "m0-cmn", "dimensions": 8}, openai.BadRequestError, "24 dimensions"),
        ({"input": "data:audio/wav,abc"}, openai.BadRequestError, "base64"),
        ({"input": "data:audio/wav;base64,@@@"}, openai.BadRequestError, "base64"),
        ({"input": data_url(b"noise")}, openai.UnprocessableEntityError, "cannot be used"),
    ],
)
def test_inputs_that_cannot_be_embedded(
    index: Path, given: dict[str, Any], error: type[Exception], message: str
) -> None:
    with client_for(index, TinyEncoder()) as client:
        with pytest.raises(error, match=message):
            client.embeddings.create(model="tiny", **given)
        assert client.embeddings.create(model="tiny", input="m0-cmn", dimensions=24).data


def tones(*levels: float) -> bytes:
    wave = np.sin(2 * np.pi * 220 * np.arange(8000) / 16000)
    return wav_of(np.concatenate([level * wave for level in levels]).astype(np.float32))


@pytest.fixture
def all_is_speech(monkeypatch: pytest.MonkeyPatch) -> None:
    """A detector that takes everything loud for speech, since tones are not."""
    import isogloss.speech.long_transcription as module
    from isogloss.speech.segments import FRAME_SECONDS, Activity

    class Detector:
        def listen(self, blocks: Any) -> Activity:
            samples = np.concatenate(list(blocks))
            frames = -(-len(samples) // 512)
            padded = np.pad(samples, (0, frames * 512 - len(samples))).reshape(frames, 512)
            power = np.square(padded).mean(axis=1)
            loud = np.float32(power > 1e-6)
            level = np.float32(10 * np.log10(np.maximum(power, 1e-12)))
            assert FRAME_SECONDS * 16000 == 512
            return Activity(loud, level, len(samples) / 16000)

    monkeypatch.setattr(module, "SpeechDetector", Detector)


@pytest.mark.usefixtures("all_is_speech")
def test_transcriptions_in_every_format(index: Path) -> None:
    sound = ("a.wav", tones(0.1, 0.0, 0.3))
    with client_for(index, ReadingEncoder()) as client:
        plain = client.audio.transcriptions.create(model="whisper-1", file=sound)
        assert plain.text == "一七"
        text = client.audio.transcriptions.create(
            model="whisper-1", file=sound, response_format="text", temperature=0.2, language="zh"
        )
        assert text == "一\n七\n"
        verbose = client.audio.transcriptions.create(
            model="whisper-1",
            file=sound,
            response_format="verbose_json",
            timestamp_granularities=["word", "segment"],
            language="yue",
        )
        assert verbose.text == "一七"
        assert verbose.language == "yue"
        assert verbose.duration == pytest.approx(1.5)
        assert [segment.text for segment in verbose.segments or []] == ["一", "七"]
        assert [word.word for word in verbose.words or []] == ["一", "七"]
        assert (verbose.segments or [])[1].start == pytest.approx(1.0, abs=0.05)
        srt = client.audio.transcriptions.create(
            model="whisper-1", file=sound, response_format="srt"
        )
        assert str(srt).startswith("1\n00:00:00,000 --> 00:00:00,")
        vtt = client.audio.transcriptions.create(
            model="whisper-1", file=sound, response_format="vtt"
        )
        assert str(vtt).startswith("WEBVTT\n\n00:00:00.000 -->")
        silence = client.audio.transcriptions.create(model="whisper-1", file=("s.wav", tones(0.0)))
        assert silence.text == ""


@pytest.mark.usefixtures("all_is_speech")
@pytest.mark.parametrize(("encoder", "words"), [(ReadingEncoder(), "一七"), (TinyEncoder(), None)])
def test_a_search_says_what_it_heard_when_that_is_wanted(
    index: Path, encoder: Any, words: str | None
) -> None:
    sound = ("a.wav", tones(0.1, 0.0, 0.3))
    with client_for(index, encoder) as client:
        address = f"{client.base_url}search"
        headers = {"Authorization": f"Bearer {TOKEN}"}
        for form, expected in (({}, None), ({"transcribe": "true"}, words)):
            answer = httpx.post(
                address, files={"file": sound}, data=form, headers=headers, timeout=30
            )
            assert answer.json()["query"]["transcript"] == expected
        answer = httpx.post(
            address, json={"id": "m0-cmn", "transcribe": True}, headers=headers, timeout=30
        )
        assert answer.json()["query"]["transcript"] is None
        for wrong in ({"data": {"transcribe": "maybe"}}, {"json": {"transcribe": 1}}):
            given = {"files": {"file": sound}} if "data" in wrong else {}
            answer = httpx.post(address, **given, **wrong, headers=headers, timeout=30)
            assert answer.status_code == 400


@pytest.mark.usefixtures("all_is_speech")
def test_transcriptions_that_cannot_be_made(index: Path) -> None:
    sound = ("a.wav", tones(0.1))
    with client_for(index, TinyEncoder()) as client:
        with pytest.raises(openai.NotFoundError, match="cannot transcribe"):
            client.audio.transcriptions.create(model="tiny", file=sound)
    with client_for(index, ReadingEncoder()) as client:
        with pytest.raises(openai.UnprocessableEntityError, match="not audio but text"):
            client.audio.transcriptions.create(model="tiny", file=("a.wav", b"no sound"))
        with pytest.raises(openai.BadRequestError, match="response_format"):
            client.audio.transcriptions.create(
                model="tiny", file=sound, response_format="diarized_json"
            )
        with pytest.raises(openai.BadRequestError, match="streamed"):
            client.audio.transcriptions.create(model="tiny", file=sound, stream=True)
        with pytest.raises(openai.BadRequestError, match="temperature"):
            client.audio.transcriptions.create(model="tiny", file=sound, temperature=3)


def test_models_and_a_wrong_key(index: Path) -> None:
    with client_for(index, TinyEncoder()) as client:
        assert [model.id for model in client.models.list()] == ["tiny"]
        assert client.models.retrieve("tiny").id == "tiny"
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("gpt")
        stranger = client.with_options(api_key="wrong")
        with pytest.raises(openai.AuthenticationError, match="wrong token"):
            stranger.models.list()
