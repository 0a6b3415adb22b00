"""Sound files in, 16 kHz mono float32 out; every broken file is an `AudioError` with its reason.

WAV, FLAC, MP3, Ogg Vorbis and Opus are read by libsndfile, MP4 / M4A and all the rest by PyAV.
Whatever is read is read in blocks, so the memory needed is that of the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from isogloss._files import atomic_writer
from isogloss.corpora.audio_decode import AvSource, Source, open_source
from isogloss.corpora.audio_formats import BrokenAudio
from isogloss.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Iterator

    from isogloss.types import FloatArray

__all__ = [
    "AudioInfo",
    "BrokenAudio",
    "audio_blocks",
    "mono_blocks",
    "probe_audio",
    "read_audio",
    "write_wav",
]

_BLOCK_SECONDS = 10.0
# Times in manifests are often rounded to 1/100 s, so an end this far past the recording's is its
# end; more is a mistake in the manifest.
_END_SLACK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What the header of a recording says: seconds, Hz, channels."""

    duration_seconds: float
    sample_rate_hz: int
    channels: int


def probe_audio(path: str | Path) -> AudioInfo:
    """Duration, sample rate and channels of a recording, without loading its samples.

    Raises:
        AudioError: missing, empty, not audio, or shorter than its header promises.
        MissingExtra: a decoder is not installed.
    """
    with open_source(Path(path)) as source:
        info = AudioInfo(
            source.frames / source.sample_rate_hz, source.sample_rate_hz, source.channels
        )
        source.check_last_frame()
    return info


def audio_blocks(
    path: str | Path,
    *,
    start_seconds: float | None = None,
    end_seconds: float | None = None,
    block_seconds: float = _BLOCK_SECONDS,
) -> Iterator[FloatArray]:
    """(S, C) float32 blocks of a recording at its own rate and channels, in order.

    Blocks are at most `block_seconds` long, so a recording of any length needs bounded memory.
    Samples are not checked for NaN here. No block comes out of a recording without samples.

    Raises:
        AudioError: as `read_audio`, when the block that shows the damage is reached.
        ValueError: the times are negative, not finite or do not rise.
    """
    _check_times(start_seconds, end_seconds)
    with open_source(Path(path)) as source:
        start, stop = _frame_range(source, start_seconds, end_seconds)
        block_frames = max(1, round(block_seconds * source.sample_rate_hz))
        yield from source.blocks(start, stop, block_frames)


def read_audio(
    path: str | Path,
    *,
    start_seconds: float | None = None,
    end_seconds: float | None = None,
    sample_rate_hz: int = 16000,
) -> FloatArray:
    """Samples of a recording, or of a piece of it: (S,) float32, mono, at `sample_rate_hz`.

    Channels are averaged; other rates are resampled with soxr (high quality). Full scale is 1.0;
    lossy decoders may exceed it slightly. A recording without samples gives (0,).

    Args:
        path: WAV, FLAC, MP3, Ogg Vorbis, Opus, MP4, M4A, or anything else FFmpeg decodes.
        start_seconds: where the piece begins; None is the beginning.
        end_seconds: where it ends; None is the end. Up to 0.05 s past the recording is its end.
        sample_rate_hz: rate of the result.

    Raises:
        AudioError: the file is missing, empty, truncated, damaged, not audio, holds NaN or
            infinite samples, or ends before the piece asked for.
        ValueError: the times are negative, not finite or do not rise, or the rate is not positive.
        MissingExtra: a decoder or soxr is not installed.
    """
    pieces = list(
        mono_blocks(
            path,
            start_seconds=start_seconds,
            end_seconds=end_seconds,
            sample_rate_hz=sample_rate_hz,
        )
    )
    if len(pieces) == 1:
        return pieces[0]
    return np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.float32)


def mono_blocks(
    path: str | Path,
    *,
    start_seconds: float | None = None,
    end_seconds: float | None = None,
    sample_rate_hz: int = 16000,
    block_seconds: float = _BLOCK_SECONDS,
    untrusted: bool = False,
) -> Iterator[FloatArray]:
    """The samples of `read_audio` in blocks of about 10 s or less: a day of sound fits in memory.

    (S,) float32 each, some perhaps empty; joined they are what `read_audio` returns, bit for bit.
    No block comes out of a recording without samples. Arguments and errors are those of
    `read_audio`; damage is reported when the block that shows it is reached. `block_seconds`
    bounds what is decoded at once. An `untrusted` file is read only as one of the formats that
    `open_source` names, and refused when its rate or channels are beyond all use.
    """
    _check_times(start_seconds, end_seconds)
    if sample_rate_hz <= 0:
        raise ValueError(f"sample_rate_hz must be positive, got {sample_rate_hz}")
    path = Path(path)
    with open_source(path, untrusted=untrusted) as source:
        start, stop = _frame_range(source, start_seconds, end_seconds)
        block_frames = max(1, round(block_seconds * source.sample_rate_hz))
        mono: Iterator[FloatArray] = (
            _mono(path, block) for block in source.blocks(start, stop, block_frames)
        )
        if source.sample_rate_hz != sample_rate_hz:
            mono = _resampled(mono, source.sample_rate_hz, sample_rate_hz)
        yield from mono


def _mono(path: Path, block: FloatArray) -> FloatArray:
    """(S, C) to (S,): the mean of the channels, refused when it is not finite."""
    mono = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float32)
    finite = np.isfinite(mono)
    if not finite.all():
        bad = int(len(mono) - np.count_nonzero(finite))
        raise BrokenAudio(path, "nan", f"{bad} of {len(mono)} samples are NaN or infinite")
    return np.ascontiguousarray(mono)


def _resampled(blocks: Iterator[FloatArray], from_hz: int, to_hz: int) -> Iterator[FloatArray]:
    try:
        import soxr
    except ImportError as error:
        raise MissingExtra("speech", "soxr") from error
    # As a stream, so that a long recording is never held at its own, higher rate.
    stream = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.zeros(0, dtype=np.float32), last=True)


def _check_times(start_seconds: float | None, end_seconds: float | None) -> None:
    for name, value in (("start_seconds", start_seconds), ("end_seconds", end_seconds)):
        if value is not None and not (np.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be finite and not negative, got {value}")
    if end_seconds is not None and end_seconds <= (start_seconds or 0.0):
        raise ValueError(f"end_seconds {end_seconds} must be after start_seconds {start_seconds}")


def _frame_range(
    source: Source | AvSource, start_seconds: float | None, end_seconds: float | None
) -> tuple[int, int | None]:
    """First frame and frame after the last, None for 'to the end'."""
    rate = source.sample_rate_hz
    start = round((start_seconds or 0.0) * rate)
    if start == 0 and end_seconds is None:
        return 0, None
    if start and start >= source.frames:
        raise BrokenAudio(
            source.path,
            "range",
            f"start_seconds {start_seconds} is past its end at {source.frames / rate:.3f} s",
        )
    if end_seconds is None:
        return start, None
    if end_seconds > source.frames / rate + _END_SLACK_SECONDS:
        raise BrokenAudio(
            source.path,
            "range",
            f"end_seconds {end_seconds} is past its end at {source.frames / rate:.3f} s",
        )
    return start, min(round(end_seconds * rate), source.frames)


def write_wav(path: str | Path, samples: FloatArray, sample_rate_hz: int) -> None:
    """Write (S,) or (S, C) samples in [-1, 1] as 16-bit PCM WAV, whole or not at all.

    Values outside [-1, 1] are clipped. No samples make a valid file of 0 s.

    Raises:
        ValueError: the array has another shape, or holds NaN or infinity; the rate is not positive.
    """
    array = np.asarray(samples, dtype=np.float32)
    if array.ndim not in (1, 2):
        raise ValueError(f"samples must be (S,) or (S, C), got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"samples for {path} hold NaN or infinity")
    if sample_rate_hz <= 0:
        raise ValueError(f"sample_rate_hz must be positive, got {sample_rate_hz}")
    import wave

    # 32768, as decoders divide by: what was read from 16 bits is written back bit for bit.
    pcm = np.clip(np.rint(array * 32768.0), -32768, 32767).astype("<i2")
    with atomic_writer(Path(path)) as handle, wave.open(handle, "wb") as wav:
        wav.setnchannels(1 if array.ndim == 1 else array.shape[1])
        wav.setsampwidth(2)
        wav.setframerate(sample_rate_hz)
        wav.writeframes(pcm.tobytes())
