from __future__ import annotations

import io
import struct
import wave
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from isogloss.corpora.audio import mono_blocks, read_audio
from isogloss.errors import AudioError
from isogloss.search.server.audio_upload import decode_upload, wav_bytes
from isogloss.search.server.problems import Problem
from makers import write_wav
from serve_makers import wav_of

if TYPE_CHECKING:
    from pathlib import Path

TONE = (0.3 * np.sin(np.arange(16000) * 0.1)).astype(np.float32)


def encoded(samples: np.ndarray, form: str, rate: int = 16000, **options: str) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, samples, rate, format=form, **options)
    return out.getvalue()


def decoded(tmp_path: Path, content: bytes, max_seconds: float = 60.0) -> tuple[float, np.ndarray]:
    source, out = tmp_path / "1", tmp_path / "2"
    source.write_bytes(content)
    seconds = decode_upload(source, out, max_seconds=max_seconds)
    return seconds, read_audio(out)


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "MP3", "AIFF", "AU"])
def test_common_formats_come_out_as_16_khz_mono(tmp_path: Path, form: str) -> None:
    stereo = np.stack([np.repeat(TONE, 3), np.repeat(TONE, 3)], axis=1)
    seconds, samples = decoded(tmp_path, encoded(stereo, form, 48000))
    assert seconds == pytest.approx(1.0, abs=0.1)
    assert len(samples) == pytest.approx(16000, abs=1600)
    assert np.abs(samples).max() == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize(("form", "codec"), [("mp4", "aac"), ("webm", "libopus")])
def test_what_browsers_record_is_read(tmp_path: Path, form: str, codec: str) -> None:
    av = pytest.importorskip("av")
    path = tmp_path / f"a.{form}"
    with av.open(str(path), "w", format=form) as container:
        stream = container.add_stream(codec, rate=48000, layout="mono")
        pcm = (np.repeat(TONE, 3) * 32767).astype(np.int16)[np.newaxis]
        frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout="mono")
        frame.sample_rate = 48000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    seconds, _ = decoded(tmp_path, path.read_bytes())
    assert seconds == pytest.approx(1.0, abs=0.15)


def test_wav_is_bit_for_bit_what_was_sent(tmp_path: Path) -> None:
    content = wav_of(TONE)
    _, samples = decoded(tmp_path, content)
    assert wav_bytes(samples)[44:] == content[44:]


def test_a_zip_bomb_of_silence_is_given_up_at_the_limit(tmp_path: Path) -> None:
    # 10 hours of silence in a small file; a low rate, so that it is made quickly.
    bomb = tmp_path / "bomb.flac"
    with soundfile.SoundFile(bomb, "w", 1000, 1, "PCM_16", format="FLAC") as handle:
        for _ in range(600):
            handle.write(np.zeros(1000 * 60, np.int16))
    assert bomb.stat().st_size < 3_000_000
    blocks = 0
    with pytest.raises(Problem) as caught:
        decode_upload(bomb, tmp_path / "out", max_seconds=60)
    assert caught.value.status == 413
    assert caught.value.code == "too_long"
    # Only the allowed minute was ever written.
    assert (tmp_path / "out").stat().st_size < 61 * 16000 * 4
    for _ in mono_blocks(bomb, untrusted=True, block_seconds=1.0):
        blocks += 1
        if blocks == 3:
            break


def test_the_limit_is_on_samples_not_on_what_the_header_says(tmp_path: Path) -> None:
    assert decoded(tmp_path, wav_of(TONE), max_seconds=1.0)[0] == 1.0
    with pytest.raises(Problem, match=r"longer than 0\.999 s"):
        decoded(tmp_path, wav_of(TONE), max_seconds=0.999)
    lying = bytearray(wav_of(TONE))
    lying[40:44] = struct.pack("<I", 0x7FFFFFFF)  # "the size was not known when this was written"
    assert decoded(tmp_path, bytes(lying))[0] == 1.0


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"hello, I am no sound", "not audio but text"),
        (bytes(1000), "not one of WAV"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "not one of WAV"),
        (b"RIFF", "not audio but text"),
        (b"RIFF\x24\x00\x00\x00WAVE", "truncated"),
        (cut(wav_of(TONE)), "truncated"),
        (cut(encoded(TONE, "FLAC")), r"truncated|damaged"),
        (encoded(TONE, "FLAC")[:60], "cannot be used"),
        (b"fLaC" + bytes(500), "cannot be used"),
        (b"OggS" + bytes(500), "truncated"),
        (b"ID3" + bytes(500), "cannot be used"),
        (b"\xff\xfb\x90\x00" + bytes(500), "cannot be used"),
        (b"\x1a\x45\xdf\xa3" + bytes(500), "no decoder reads it"),
        (b"\x00\x00\x00\x18ftypM4A " + bytes(500), "truncated"),
        (encoded(np.array([0.1, np.nan] * 8000, np.float32), "WAV", subtype="FLOAT"), "NaN"),
        (wav_of(np.zeros(0, np.float32)), "no sound"),
        (encoded(np.zeros((1600, 17), np.float32), "WAV"), "17 channels"),
    ],
)
def test_malformed_audio_is_422_and_says_why(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(Problem, match=message) as caught:
        decoded(tmp_path, content)
    assert caught.value.status == 422
    assert caught.value.param == "file"
    assert str(tmp_path) not in caught.value.message


def test_a_rate_beyond_all_use_is_refused(tmp_path: Path) -> None:
    out = io.BytesIO()
    with wave.open(out, "wb") as handle:
        handle.setnchannels(1)
        handle.setsampwidth(2)
        handle.setframerate(2_000_000_000)
        handle.writeframes(bytes(2000))
    with pytest.raises(Problem, match="2000000000 Hz"):
        decoded(tmp_path, out.getvalue())


@pytest.mark.parametrize("disguise", ["id3", "bare", "nul"])
def test_a_playlist_cannot_make_the_server_read_other_files(tmp_path: Path, disguise: str) -> None:
    secret = write_wav(tmp_path / "secret.wav", TONE)
    playlist = (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:1.0,\n{secret}\n#EXT-X-ENDLIST\n"
    ).encode()
    # FFmpeg looks behind an ID3 tag for the format of what follows it.
    content = {
        "id3": b"ID3\x04\x00\x00\x00\x00\x00\x0a" + bytes(10) + playlist,
        "bare": playlist,
        "nul": playlist + b"\x00" * 64,
    }[disguise]
    with pytest.raises(Problem):
        decoded(tmp_path, content)


def test_trusted_files_are_read_as_before(tmp_path: Path) -> None:
    path = tmp_path / "raw"
    path.write_bytes(encoded(TONE, "CAF"))
    assert len(read_audio(path)) == 16000
    with pytest.raises(AudioError, match="not one of WAV"):
        list(mono_blocks(path, untrusted=True))
