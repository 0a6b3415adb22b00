"""An untrusted recording in, a WAV of 16 kHz mono float32 out, never longer than is allowed.

The samples are counted while they are decoded: an hour of silence in a small file is given up when
the limit is reached, whatever its header says. Only one block of sound is in memory.
"""

from __future__ import annotations

import io
import wave
from typing import TYPE_CHECKING

import numpy as np

from isogloss.corpora.audio import mono_blocks
from isogloss.corpora.audio_formats import BrokenAudio
from isogloss.errors import AudioError, MissingExtra
from isogloss.search.server.problems import Problem

if TYPE_CHECKING:
    from pathlib import Path

    from isogloss.types import FloatArray

__all__ = ["RATE_HZ", "audio_problem", "decode_upload", "wav_bytes"]

RATE_HZ = 16000
_BLOCK_SECONDS = 1.0


def decode_upload(path: Path, out: Path, *, max_seconds: float) -> float:
    """Write the recording at `path` to `out` as WAV; its seconds.

    Raises:
        Problem: 413 when it lasts longer than `max_seconds`; 422 when it is damaged, holds no
            sound, or is none of the formats that are read.
    """
    try:
        import soundfile
    except ImportError as error:
        raise MissingExtra("speech", "soundfile") from error
    most = int(max_seconds * RATE_HZ)
    heard = 0
    with soundfile.SoundFile(
        str(out), "w", samplerate=RATE_HZ, channels=1, format="WAV", subtype="FLOAT"
    ) as wav:
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
                wav.write(block)
        except AudioError as error:
            raise audio_problem(error) from error
    if not heard:
        raise Problem(422, "bad_audio", "the recording holds no sound", param="file")
    return heard / RATE_HZ


def audio_problem(error: AudioError) -> Problem:
    """The answer for a recording that cannot be used; it does not name files of the server."""
    kind = error.kind if isinstance(error, BrokenAudio) else "unusable"
    code = "empty_audio" if kind == "empty" else "bad_audio"
    return Problem(422, code, f"the recording cannot be used: {error.problem}", param="file")


def wav_bytes(samples: FloatArray, sample_rate_hz: int = RATE_HZ) -> bytes:
    """(S,) samples in [-1, 1] as 16-bit mono WAV; values outside are clipped."""
    pcm = np.clip(np.rint(samples * 32768.0), -32768, 32767).astype("<i2")
    out = io.BytesIO()
    with wave.open(out, "wb") as handle:
        handle.setnchannels(1)
        handle.setsampwidth(2)
        handle.setframerate(sample_rate_hz)
        handle.writeframes(pcm.tobytes())
    return out.getvalue()
