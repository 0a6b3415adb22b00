"""An untrusted recording in, a WAV of 16 kHz mono float32 out, never longer than is allowed.

The samples are counted while they are decoded: an hour of silence in a small file is given up when
the limit is reached, whatever its header says. Only one block of sound is in memory.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

import numpy as np

from isogloss.corpora.audio import mono_blocks
from isogloss.corpora.audio_formats import BrokenAudio
from isogloss.errors import AudioError
from isogloss.search.server.problems import Problem

if TYPE_CHECKING:
    from pathlib import Path

    from isogloss.types import FloatArray

__all__ = ["RATE_HZ", "audio_problem", "decode_upload", "wav_bytes", "wav_of_pcm"]

RATE_HZ = 16000
_BLOCK_SECONDS = 1.0
# RIFF, fmt with its code of what a sample is, data.
_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
_INTEGER, _FLOAT = 1, 3
_ITEM = re.compile(r"^item '[^']*':?")


def decode_upload(
    path: Path, out: Path, *, max_seconds: float, pcm: bytearray | None = None
) -> float:
    """Write the recording at `path` to `out` as WAV; its seconds.

    Args:
        path: of an untrusted recording.
        out: becomes a WAV of 16 kHz, mono, float32.
        max_seconds: more is refused.
        pcm: the same samples are appended to it in 16 bits, for `wav_of_pcm`.

    Raises:
        Problem: 413 when it lasts longer than `max_seconds`; 422 when it is damaged, holds no
            sound, or is none of the formats that are read.
    """
    most = int(max_seconds * RATE_HZ)
    heard = 0
    # Not by libsndfile, which waits for the disk when a file is closed; this one lives for
    # milliseconds.
    with out.open("wb") as wav:
        wav.write(_wav_header(0, _FLOAT, 4))
        try:
            for block in mono_blocks(path, untrusted=True, block_seconds=_BLOCK_SECONDS):
                heard += len(block)
                if heard > most:
                    raise Problem(
                        413,
                        "too_long",
                        f"the recording lasts longer than {max_seconds:g} s; cut it",
                        param="file",
                    )
                wav.write(block.astype("<f4", copy=False).tobytes())
                if pcm is not None:
                    pcm += _pcm_of(block)
        except AudioError as error:
            raise audio_problem(error) from error
        wav.seek(0)
        wav.write(_wav_header(heard, _FLOAT, 4))
    if not heard:
        raise Problem(422, "bad_audio", "the recording holds no sound", param="file")
    return heard / RATE_HZ


def audio_problem(error: AudioError) -> Problem:
    """The answer for a recording that cannot be used; it does not name files of the server."""
    kind = error.kind if isinstance(error, BrokenAudio) else "unusable"
    code = "empty_audio" if kind == "empty" else "bad_audio"
    # Encoders name the item, whose name in a batch means nothing to the asker.
    problem = _ITEM.sub("it", error.problem)
    return Problem(422, code, f"the recording cannot be used: {problem}", param="file")


def wav_bytes(samples: FloatArray) -> bytes:
    """(S,) samples in [-1, 1] of 16 kHz as 16-bit mono WAV; values outside are clipped."""
    return wav_of_pcm(_pcm_of(samples))


def wav_of_pcm(pcm: bytes | bytearray) -> bytes:
    """16-bit samples of 16 kHz, mono, as WAV."""
    return _wav_header(len(pcm) // 2, _INTEGER, 2) + pcm


def _pcm_of(samples: FloatArray) -> bytes:
    scaled = np.rint(np.clip(samples, -1.0, 1.0) * 32768.0)
    pcm: bytes = np.minimum(scaled, 32767).astype("<i2").tobytes()
    return pcm


def _wav_header(count: int, code: int, width: int) -> bytes:
    """The 44 bytes before `count` samples of `width` bytes."""
    size = count * width
    shape = (16, code, 1, RATE_HZ, RATE_HZ * width, width, 8 * width)
    return _HEADER.pack(b"RIFF", 36 + size, b"WAVE", b"fmt ", *shape, b"data", size)
