"""Recordings of every format, rate and channel count, and everything that can be wrong with one."""

from __future__ import annotations

import os
import random
import struct
import tracemalloc
import wave

import numpy as np
import pytest

from isogloss.corpora.audio import audio_blocks, probe_audio, read_audio, write_wav
from isogloss.errors import AudioError

av = pytest.importorskip("av")
soundfile = pytest.importorskip("soundfile")

SOUNDFILE_FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
}
AV_FORMATS = {"m4a": "aac", "mp4": "aac", "webm": "libopus"}
LOSSLESS = ("wav", "flac")


def tone(seconds: float, rate: int, hz: float = 440.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def write_any(path, samples, rate):
    """`samples` (S,) in the format that the name of `path` says."""
    suffix = path.suffix[1:]
    if suffix in SOUNDFILE_FORMATS:
        kind, subtype = SOUNDFILE_FORMATS[suffix]
        soundfile.write(path, samples, rate, format=kind, subtype=subtype)
        return path
    with av.open(str(path), "w") as container:
        stream = container.add_stream(AV_FORMATS[suffix], rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = rate, 0
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return path


def kind_of(call, *args, **kwargs):
    with pytest.raises(AudioError) as caught:
        call(*args, **kwargs)
    return caught.value.kind


@pytest.mark.parametrize("suffix", [*SOUNDFILE_FORMATS, *AV_FORMATS])
def test_every_format_gives_the_tone_that_went_in_as_16_khz_mono(tmp_path, suffix):
    path = write_any(tmp_path / f"a.{suffix}", tone(3.0, 48000), 48000)
    samples = read_audio(path)
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert len(samples) == pytest.approx(48000, abs=400)
    spectrum = np.abs(np.fft.rfft(samples[8000:24000]))
    assert np.argmax(spectrum) == 440
    assert np.std(samples[8000:24000]) == pytest.approx(0.3 / np.sqrt(2), rel=0.05)


@pytest.mark.parametrize("suffix", [*SOUNDFILE_FORMATS, *AV_FORMATS])
def test_the_header_says_seconds_rate_and_channels(tmp_path, suffix):
    info = probe_audio(write_any(tmp_path / f"a.{suffix}", tone(2.0, 48000), 48000))
    assert info.duration_seconds == pytest.approx(2.0, abs=0.05)
    assert (info.sample_rate_hz, info.channels) == (48000, 1)


@pytest.mark.parametrize("suffix", [*SOUNDFILE_FORMATS, *AV_FORMATS])
def test_a_piece_is_the_same_piece_of_the_whole(tmp_path, suffix):
    rng = np.random.default_rng(0)
    noise = np.convolve(rng.standard_normal(48000 * 4), np.ones(16) / 16, "same") * 0.2
    path = write_any(tmp_path / f"a.{suffix}", noise.astype(np.float32), 48000)
    whole, piece = read_audio(path), read_audio(path, start_seconds=1.5, end_seconds=2.5)
    assert len(piece) == pytest.approx(16000, abs=2)
    # Containers with timestamps in milliseconds are exact to one of those, 16 samples.
    slack = 24 if suffix in AV_FORMATS else 0
    inner = piece[4000:12000]
    best = max(
        np.corrcoef(inner, whole[at : at + 8000])[0, 1]
        for at in range(28000 - slack, 28001 + slack)
    )
    assert best > 0.95


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000, 96000])
def test_any_rate_becomes_16_khz_with_the_same_pitch(tmp_path, rate):
    write_wav(tmp_path / "a.wav", tone(1.0, rate, 1000.0), rate)
    samples = read_audio(tmp_path / "a.wav")
    assert len(samples) == pytest.approx(16000, abs=2)
    assert np.argmax(np.abs(np.fft.rfft(samples[:16000], 16000))) == 1000


def test_channels_are_averaged(tmp_path):
    left, right = np.full(1600, 0.5, np.float32), np.full(1600, -0.25, np.float32)
    write_wav(tmp_path / "a.wav", np.stack([left, right], axis=1), 16000)
    samples = read_audio(tmp_path / "a.wav")
    np.testing.assert_allclose(samples, 0.125, atol=1e-4)
    assert probe_audio(tmp_path / "a.wav").channels == 2


def test_16_bit_loses_at_most_one_step_and_only_once(tmp_path):
    samples = np.random.default_rng(1).uniform(-1, 1, 5000).astype(np.float32)
    write_wav(tmp_path / "a.wav", samples, 16000)
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav"), samples, atol=1.0 / 32768)
    again = read_audio(tmp_path / "a.wav")
    write_wav(tmp_path / "b.wav", again, 16000)
    np.testing.assert_array_equal(read_audio(tmp_path / "b.wav"), again)
    with wave.open(str(tmp_path / "a.wav")) as wav:
        assert (wav.getframerate(), wav.getnchannels(), wav.getsampwidth()) == (16000, 1, 2)


def test_writing_clips_and_refuses_nan(tmp_path):
    write_wav(tmp_path / "a.wav", np.array([2.0, -2.0], np.float32), 16000)
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav"), [1.0, -1.0], atol=1e-4)
    with pytest.raises(ValueError, match="NaN"):
        write_wav(tmp_path / "b.wav", np.array([np.nan], np.float32), 16000)
    with pytest.raises(ValueError, match="must be"):
        write_wav(tmp_path / "b.wav", np.zeros((1, 2, 3), np.float32), 16000)
    assert not (tmp_path / "b.wav").exists()


def test_a_file_without_samples_gives_none(tmp_path):
    write_wav(tmp_path / "a.wav", np.zeros(0, np.float32), 16000)
    assert read_audio(tmp_path / "a.wav").shape == (0,)
    assert probe_audio(tmp_path / "a.wav").duration_seconds == 0


def test_missing_empty_folder_and_text_are_refused_with_their_reason(tmp_path):
    assert kind_of(read_audio, tmp_path / "none.wav") == "missing"
    (tmp_path / "empty.mp3").write_bytes(b"")
    assert kind_of(probe_audio, tmp_path / "empty.mp3") == "empty"
    (tmp_path / "text.wav").write_text("这不是录音\n" * 400, encoding="utf-8")
    with pytest.raises(AudioError, match="text") as caught:
        read_audio(tmp_path / "text.wav")
    assert caught.value.kind == "unreadable"
    assert kind_of(read_audio, tmp_path) == "unreadable"
    (tmp_path / "noise.wav").write_bytes(random.Random(0).randbytes(5000))
    assert kind_of(read_audio, tmp_path / "noise.wav") == "unreadable"
    assert kind_of(read_audio, "a\0b.wav") == "unreadable"


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "opus", "m4a"])
def test_a_cut_file_is_noticed_from_its_header(tmp_path, suffix, share):
    whole = write_any(tmp_path / f"a.{suffix}", tone(4.0, 48000), 48000).read_bytes()
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(whole[: int(len(whole) * share)])
    assert kind_of(probe_audio, path) == "truncated"
    assert kind_of(read_audio, path) == "truncated"


def test_bytes_after_the_end_of_an_ogg_stream_do_no_harm(tmp_path):
    whole = write_any(tmp_path / "a.ogg", tone(1.0, 48000), 48000).read_bytes()
    (tmp_path / "tagged.ogg").write_bytes(whole + b"\0" * 300)
    assert len(read_audio(tmp_path / "tagged.ogg")) == pytest.approx(16000, abs=10)


@pytest.mark.parametrize("suffix", ["mp3", "webm"])
def test_a_cut_file_whose_header_cannot_tell_is_noticed_when_read(tmp_path, suffix):
    whole = write_any(tmp_path / f"a.{suffix}", tone(4.0, 48000), 48000).read_bytes()
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(whole[: len(whole) // 2])
    assert kind_of(read_audio, path) == "truncated"


def test_a_wav_written_to_a_pipe_promises_nothing_and_is_read_to_its_end(tmp_path):
    write_wav(tmp_path / "a.wav", tone(1.0, 16000), 16000)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    at = data.index(b"data")
    data[4:8] = data[at + 4 : at + 8] = struct.pack("<I", 0xFFFFFFFF)
    (tmp_path / "pipe.wav").write_bytes(data)
    assert len(read_audio(tmp_path / "pipe.wav")) == 16000


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_refused(tmp_path, value):
    samples = tone(0.5, 16000)
    samples[100] = value
    soundfile.write(tmp_path / "a.wav", samples, 16000, subtype="FLOAT")
    with pytest.raises(AudioError, match="1 of 8000 samples") as caught:
        read_audio(tmp_path / "a.wav")
    assert caught.value.kind == "nan"


def test_pieces_outside_the_recording_are_refused(tmp_path):
    write_wav(tmp_path / "a.wav", tone(1.0, 16000), 16000)
    assert kind_of(read_audio, tmp_path / "a.wav", start_seconds=1.0) == "range"
    assert kind_of(read_audio, tmp_path / "a.wav", end_seconds=1.2) == "range"
    # Rounded times are forgiven.
    assert len(read_audio(tmp_path / "a.wav", start_seconds=0.5, end_seconds=1.03)) == 8000
    for times in ((-1.0, None), (0.5, 0.5), (0.6, 0.5), (float("nan"), None), (None, 0.0)):
        with pytest.raises(ValueError, match="seconds"):
            read_audio(tmp_path / "a.wav", start_seconds=times[0], end_seconds=times[1])


def test_three_hours_are_probed_and_read_in_part_without_being_loaded(tmp_path):
    frames = 3 * 3600 * 16000
    path = tmp_path / "long.wav"
    size = struct.pack("<I", 2 * frames)
    header = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", 36 + 2 * frames, b"WAVE", b"fmt ", 16, 1, 1,
                         16000, 32000, 2, 16)  # fmt: skip
    with path.open("wb") as handle:
        handle.write(header + b"data" + size)
        handle.truncate(44 + 2 * frames)  # sparse: zeros that take no disk
    tracemalloc.start()
    try:
        assert probe_audio(path).duration_seconds == 3 * 3600
        assert len(read_audio(path, start_seconds=9000.0, end_seconds=9001.0)) == 16000
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def test_blocks_are_the_recording_in_order_at_its_own_rate(tmp_path):
    samples = tone(2.5, 22050)
    write_wav(tmp_path / "a.wav", samples, 22050)
    blocks = list(audio_blocks(tmp_path / "a.wav", block_seconds=1.0))
    assert [block.shape for block in blocks] == [(22050, 1), (22050, 1), (11025, 1)]
    np.testing.assert_allclose(np.concatenate(blocks)[:, 0], samples, atol=1e-4)


@pytest.mark.parametrize("suffix", [*SOUNDFILE_FORMATS, *AV_FORMATS])
def test_damaged_bytes_give_samples_or_an_audio_error_and_nothing_else(tmp_path, suffix):
    whole = write_any(tmp_path / f"a.{suffix}", tone(0.5, 48000), 48000).read_bytes()
    rng = random.Random(7)
    path = tmp_path / f"damaged.{suffix}"
    for _ in range(25):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 4, 60))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data)
        for call in (probe_audio, read_audio):
            try:
                call(path)
            except AudioError:
                pass


def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(AudioError, match="not a file but a pipe"):
        read_audio(tmp_path / "pipe.wav")
    with pytest.raises(AudioError, match="Is a directory"):
        probe_audio(tmp_path)
