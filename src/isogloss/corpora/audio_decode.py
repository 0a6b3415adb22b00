"""An open recording as blocks of samples at its own rate, from libsndfile or from PyAV."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss.corpora.audio_formats import (
    BrokenAudio,
    check_promise,
    looks_like_text,
    untrusted_format,
    wants_av,
)
from isogloss.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from isogloss.types import FloatArray

__all__ = ["AvSource", "Source", "open_source"]

_SNIFF_BYTES = 4096
# Lossy headers round to whole packets and count encoder padding differently; 0.15 s is more than
# two packets of any codec and far less than a cut anyone would notice.
_LOSSY_SLACK_SECONDS = 0.15
# What is accepted from strangers: studio recordings reach 192 kHz, surround sound 8 channels.
_HIGHEST_RATE_HZ = 384_000
_MOST_CHANNELS = 16


@dataclass
class Source:
    """A recording open in libsndfile: rate, channels, frames promised, blocks on demand."""

    path: Path
    handle: Any

    @property
    def sample_rate_hz(self) -> int:
        """Frames a second, as stored."""
        return int(self.handle.samplerate)

    @property
    def channels(self) -> int:
        """Channels, as stored."""
        return int(self.handle.channels)

    @property
    def frames(self) -> int:
        """Frames promised by the header (for MP3 and Ogg: found by libsndfile's scan)."""
        return int(self.handle.frames)

    def blocks(self, start: int, stop: int | None, block_frames: int) -> Iterator[FloatArray]:
        """(S, C) float32 blocks of frames [start, stop), each of at most `block_frames`."""
        import soundfile

        slack = 0 if self.handle.format in ("WAV", "WAVEX", "FLAC", "RF64") else None
        wanted = self.frames if stop is None else stop
        position = start
        try:
            if start:
                self.handle.seek(start)
            while position < wanted:
                size = min(block_frames, wanted - position)
                block = self.handle.read(size, dtype="float32", always_2d=True)
                if not len(block):
                    break
                position += len(block)
                yield block
        except soundfile.LibsndfileError as error:
            raise BrokenAudio(
                self.path,
                "truncated",
                f"damaged at {position / self.sample_rate_hz:.2f} s: {error}",
            ) from error
        allowed = int(_LOSSY_SLACK_SECONDS * self.sample_rate_hz) if slack is None else slack
        if position < wanted - allowed:
            raise _ended_early(self.path, position, wanted, self.sample_rate_hz)

    def check_last_frame(self) -> None:
        """Nothing, when the last promised frame can be decoded (FLAC headers promise a length).

        Raises:
            BrokenAudio: "truncated".
        """
        import soundfile

        if self.handle.format != "FLAC" or not self.frames:
            return
        try:
            self.handle.seek(self.frames - 1)
            found = len(self.handle.read(1, dtype="float32", always_2d=True))
            self.handle.seek(0)
        except soundfile.LibsndfileError:
            found = 0
        if not found:
            raise BrokenAudio(
                self.path,
                "truncated",
                f"truncated: the header promises {self.frames / self.sample_rate_hz:.2f} s, "
                "the last frame cannot be decoded",
            )


@dataclass
class AvSource:
    """The first audio stream of a container open in PyAV; same interface as `Source`."""

    path: Path
    container: Any

    def __post_init__(self) -> None:
        if not self.container.streams.audio:
            raise BrokenAudio(self.path, "unreadable", "holds no audio stream")
        self._stream = self.container.streams.audio[0]
        self._frames: int | None = None
        if self._stream.codec_context is None:
            raise BrokenAudio(self.path, "unreadable", "no decoder knows its codec")
        if not self.sample_rate_hz or not self.channels:
            raise BrokenAudio(self.path, "unreadable", "the audio stream names no sample rate")

    @property
    def sample_rate_hz(self) -> int:
        """Frames a second, as stored."""
        return int(self._stream.codec_context.sample_rate or 0)

    @property
    def channels(self) -> int:
        """Channels, as stored."""
        return int(self._stream.codec_context.layout.nb_channels)

    @property
    def frames(self) -> int:
        """Frames promised by the container; counted from packets when it promises nothing."""
        if self._frames is None:
            self._frames = round(self._duration_seconds() * self.sample_rate_hz)
        return self._frames

    def _duration_seconds(self) -> float:
        stream = self._stream
        if stream.duration and stream.time_base:
            return float(stream.duration * stream.time_base)
        if self.container.duration:
            return float(self.container.duration) / 1_000_000
        import av

        end = 0.0
        try:
            for packet in self.container.demux(stream):
                if packet.pts is not None:
                    end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            self.container.seek(0)
        except av.FFmpegError as error:
            raise _av_damage(self.path, error) from error
        return end

    def blocks(self, start: int, stop: int | None, block_frames: int) -> Iterator[FloatArray]:
        """(S, C) float32 blocks of frames [start, stop); block size is the codec's packet."""
        del block_frames
        import av

        wanted = self.frames if stop is None else stop
        rate = self.sample_rate_hz
        to_float = av.AudioResampler(format="fltp", layout=self._stream.codec_context.layout)
        position: int | None = None
        try:
            if start:
                # Half a second early: transform codecs need the packets before to start cleanly.
                self.container.seek(int(max(0.0, start / rate - 0.5) * 1_000_000))
            for frame in self.container.decode(self._stream):
                if frame.pts is not None and position is None:
                    position = self._frame_index(frame)
                for converted in to_float.resample(frame):
                    block = np.ascontiguousarray(converted.to_ndarray().T, dtype=np.float32)
                    at = position or 0
                    position = at + len(block)
                    first, last = max(0, start - at), len(block)
                    if stop is not None:
                        last = min(last, stop - at)
                    if first < last:
                        yield block[first:last]
                if stop is not None and (position or 0) >= stop:
                    return
        except av.FFmpegError as error:
            raise _av_damage(self.path, error) from error
        if (position or 0) < wanted - int(_LOSSY_SLACK_SECONDS * rate):
            raise _ended_early(self.path, position or 0, wanted, rate)

    def _frame_index(self, frame: Any) -> int:
        seconds = frame.pts * frame.time_base
        if self._stream.start_time and self._stream.time_base:
            seconds -= self._stream.start_time * self._stream.time_base
        return round(float(seconds) * self.sample_rate_hz)

    def check_last_frame(self) -> None:
        """Nothing: only decoding shows whether all packets of a container are there."""


def _ended_early(path: Path, found: int, wanted: int, rate: int) -> BrokenAudio:
    return BrokenAudio(
        path,
        "truncated",
        f"truncated: ends at {found / rate:.2f} s of the {wanted / rate:.2f} s promised",
    )


def _av_damage(path: Path, error: Exception) -> BrokenAudio:
    return BrokenAudio(path, "truncated", f"damaged: {error}")


@contextmanager
def open_source(path: Path, *, untrusted: bool = False) -> Iterator[Source | AvSource]:
    """The recording at `path`, open: libsndfile where it can read it, PyAV otherwise.

    FFmpeg guesses formats from content, and some of them (playlists) name other files and
    addresses to be opened. A file that is `untrusted` is therefore read as what its first bytes
    say, one of `untrusted_format`, or not at all; and not with more channels or a higher rate
    than any recording has, since a block of those would fill the memory.

    Raises:
        BrokenAudio: missing, empty, truncated, no audio at all, or not to be read untrusted.
        MissingExtra: soundfile, or PyAV for a container that needs it, is not installed.
    """
    try:
        status = path.stat()
        # Opening a named pipe would wait for a writer for ever; a folder fails by itself.
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            raise BrokenAudio(path, "unreadable", "not a file but a pipe, socket or device")
        size_bytes = status.st_size
        with path.open("rb") as handle:
            head = handle.read(_SNIFF_BYTES)
            if not head:
                raise BrokenAudio(path, "empty", "empty: the file has 0 bytes")
            if looks_like_text(head):
                raise BrokenAudio(path, "unreadable", f"not audio but text, starting {head[:24]!r}")
            check_promise(path, handle, head, size_bytes)
    except FileNotFoundError as error:
        raise BrokenAudio(path, "missing", "no such file") from error
    except OSError as error:
        raise BrokenAudio(path, "unreadable", f"cannot be read: {error.strerror}") from error
    except BrokenAudio:
        raise
    except ValueError as error:  # a zero byte in the name
        raise BrokenAudio(path, "unreadable", f"no path: {error}") from error
    container_format = untrusted_format(path, head) if untrusted else None
    if not wants_av(head):
        try:
            import soundfile
        except ImportError as error:
            raise MissingExtra("speech", "soundfile") from error
        try:
            # Bytes, since soundfile cannot encode names that are not UTF-8 (such as GBK).
            sound = soundfile.SoundFile(os.fsencode(path) if os.name == "posix" else path)
        except soundfile.LibsndfileError:
            sound = None  # libsndfile does not know it; FFmpeg may
        if sound is not None:
            with sound:
                source = Source(path, sound)
                if untrusted:
                    _refuse_extremes(source)
                yield source
            return
    try:
        import av
    except ImportError as error:
        raise MissingExtra("speech", "av") from error
    try:
        container = av.open(
            str(path),
            format=container_format,
            options={"protocol_whitelist": "file"} if untrusted else {},
            metadata_errors="ignore",
        )
    except (av.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BrokenAudio(path, "unreadable", f"no decoder reads it: {reason}") from error
    with container:
        av_source = AvSource(path, container)
        if untrusted:
            _refuse_extremes(av_source)
        yield av_source


def _refuse_extremes(source: Source | AvSource) -> None:
    if source.sample_rate_hz > _HIGHEST_RATE_HZ or source.channels > _MOST_CHANNELS:
        raise BrokenAudio(
            source.path,
            "unreadable",
            f"{source.channels} channels at {source.sample_rate_hz} Hz; at most {_MOST_CHANNELS} "
            f"and {_HIGHEST_RATE_HZ} are read",
        )
