"""Sound from a microphone in, samples out: by PortAudio where it is installed, else by ALSA.

Nothing is kept and nothing is sent: the samples are returned to the caller.
"""

from __future__ import annotations

import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from isogloss.errors import IsoglossError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from isogloss.types import FloatArray

__all__ = ["BLOCK_SECONDS", "SAMPLE_RATE_HZ", "listen", "microphone", "which_recorder"]

SAMPLE_RATE_HZ = 16_000
BLOCK_SECONDS = 0.1
_BLOCK = round(BLOCK_SECONDS * SAMPLE_RATE_HZ)

# Speech is louder than the quietest block heard so far by 10 dB, and than a still room (-50 dB).
_OVER_THE_QUIETEST = 10 ** (10 / 20)
_STILL_ROOM = 10 ** (-50 / 20)
_SPEECH_SECONDS = 0.3


def which_recorder() -> Literal["sounddevice", "arecord"] | None:
    """What records here: the package sounddevice (with PortAudio), the program arecord, or None."""
    try:
        import sounddevice  # noqa: F401
    except (ImportError, OSError):
        # OSError: the package is there and the library PortAudio is not.
        return "arecord" if shutil.which("arecord") else None
    return "sounddevice"


@contextmanager
def microphone(device: str | None = None) -> Iterator[Iterator[FloatArray]]:
    """Blocks of (1600,) float32 samples in [-1, 1], one channel of 16 kHz, until the block ends.

    Args:
        device: as the recorder calls it, such as 'hw:1'; None takes the system's default.

    Raises:
        IsoglossError: nothing here records, or the device cannot be opened or stops.
    """
    recorder = which_recorder()
    if recorder is None:
        raise IsoglossError(
            "no recorder: install PortAudio and the package sounddevice (apt-get install "
            "libportaudio2; pip install sounddevice), or arecord (apt-get install alsa-utils)"
        )
    with (_by_portaudio if recorder == "sounddevice" else _by_alsa)(device) as blocks:
        yield blocks


def listen(
    blocks: Iterable[FloatArray],
    *,
    seconds: float = 10.0,
    silence_seconds: float | None = 1.2,
    stopped: Callable[[], bool] = lambda: False,
) -> FloatArray:
    """The samples of `blocks` up to the end of what is said: (S,) float32.

    It ends after `seconds`, when `stopped` says so, or when somebody has spoken for 0.3 s and then
    nobody for `silence_seconds`; that silence is kept.

    Args:
        blocks: of `microphone`.
        seconds: at most; whole blocks are kept, so the last may reach beyond.
        silence_seconds: None never ends for silence.
        stopped: asked after every block.

    Raises:
        ValueError: `seconds` or `silence_seconds` is not positive.
        IsoglossError: not one sample came.
    """
    if not seconds > 0 or (silence_seconds is not None and not silence_seconds > 0):
        raise ValueError(
            f"seconds and silence_seconds must be positive, got {seconds} and {silence_seconds}"
        )
    heard: list[FloatArray] = []
    samples = 0
    quietest = np.inf
    spoken = quiet = 0
    for block in blocks:
        heard.append(block)
        samples += len(block)
        level = float(np.sqrt(np.mean(block.astype(np.float64) ** 2))) if len(block) else 0.0
        # A digital zero is a device that is not running yet, no room is so still.
        quietest = min(quietest, level) if level > 0 else quietest
        if level > max(_STILL_ROOM, _OVER_THE_QUIETEST * quietest):
            spoken, quiet = spoken + len(block), 0
        else:
            quiet += len(block)
        silent = silence_seconds is not None and quiet >= silence_seconds * SAMPLE_RATE_HZ
        spoke = spoken >= _SPEECH_SECONDS * SAMPLE_RATE_HZ
        if (silent and spoke) or samples >= seconds * SAMPLE_RATE_HZ or stopped():
            break
    if not samples:
        raise IsoglossError("the microphone gave no sound; is it connected and not muted?")
    return np.concatenate(heard).astype(np.float32, copy=False)


@contextmanager
def _by_portaudio(device: str | None) -> Iterator[Iterator[FloatArray]]:
    import sounddevice

    wanted: str | int | None = int(device) if device is not None and device.isdigit() else device
    try:
        with sounddevice.InputStream(
            samplerate=SAMPLE_RATE_HZ, channels=1, dtype="float32", device=wanted, blocksize=_BLOCK
        ) as stream:
            yield _read_stream(stream)
    except (sounddevice.PortAudioError, ValueError) as error:
        # ValueError: no device is called so.
        raise IsoglossError(f"the microphone cannot be used: {error}") from error


def _read_stream(stream: Any) -> Iterator[FloatArray]:
    while True:
        block, _ = stream.read(_BLOCK)
        yield np.asarray(block, dtype=np.float32)[:, 0]


@contextmanager
def _by_alsa(device: str | None) -> Iterator[Iterator[FloatArray]]:
    command = ["arecord", "-q", "-t", "raw", "-f", "S16_LE", "-c", "1", "-r", str(SAMPLE_RATE_HZ)]
    if device is not None:
        command += ["-D", device]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        yield _read_process(process)
    finally:
        process.kill()
        process.communicate()


def _read_process(process: subprocess.Popen[bytes]) -> Iterator[FloatArray]:
    if process.stdout is None or process.stderr is None:
        raise IsoglossError("arecord was started without pipes")
    while True:
        raw = process.stdout.read(2 * _BLOCK)
        if len(raw) >= 2:
            whole = np.frombuffer(raw[: len(raw) // 2 * 2], dtype="<i2")
            yield (whole / np.float32(32768)).astype(np.float32)
        if len(raw) < 2 * _BLOCK:
            break
    problem = process.stderr.read().decode("utf-8", "replace").strip()
    if process.wait():
        raise IsoglossError(
            f"arecord ended: {problem or f'exit code {process.returncode}'}; "
            "`arecord -l` lists the microphones"
        )
