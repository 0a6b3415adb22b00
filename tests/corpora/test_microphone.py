"""Recording: by a program that stands in for arecord, by a module that stands in for sounddevice.

No machine of ours has a microphone; what the stand-ins get and give is what the real ones do.
"""

from __future__ import annotations

import sys
import types
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from isogloss.corpora.microphone import listen, microphone, which_recorder
from isogloss.errors import IsoglossError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BLOCK = 1600


def noise(seconds: float, level: float, seed: int = 0) -> np.ndarray:
    samples = np.random.default_rng(seed).standard_normal(round(seconds * 16000))
    return (level * samples).astype(np.float32)


def blocks_of(samples: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(samples), BLOCK):
        yield samples[start : start + BLOCK]


def test_silence_after_speech_ends_it() -> None:
    said = np.concatenate([noise(0.5, 0.001), noise(1.0, 0.1), noise(5.0, 0.001)])
    heard = listen(blocks_of(said), seconds=10.0, silence_seconds=1.0)
    assert len(heard) == 2.5 * 16000
    assert np.array_equal(heard, said[: len(heard)])


def test_silence_before_speech_does_not_end_it() -> None:
    said = np.concatenate([noise(3.0, 0.001), noise(1.0, 0.1), noise(2.0, 0.001)])
    assert len(listen(blocks_of(said), silence_seconds=1.0)) == 5.0 * 16000


def test_a_click_is_no_speech() -> None:
    said = np.concatenate([noise(0.5, 0.001), noise(0.1, 0.3), noise(4.0, 0.001)])
    assert len(listen(blocks_of(said), seconds=3.0, silence_seconds=1.0)) == 3.0 * 16000


def test_seconds_and_the_key_end_it() -> None:
    said = noise(20.0, 0.1)
    assert len(listen(blocks_of(said), seconds=2.0)) == 2.0 * 16000
    presses = iter([False, False, True])
    assert len(listen(blocks_of(said), stopped=lambda: next(presses))) == 3 * BLOCK
    everything = listen(blocks_of(noise(3.0, 0.001)), silence_seconds=None)
    assert len(everything) == 3.0 * 16000


def test_no_sample_and_no_length_are_refused() -> None:
    with pytest.raises(IsoglossError, match="gave no sound"):
        listen(iter(()))
    with pytest.raises(ValueError, match="must be positive, got 0"):
        listen(iter(()), seconds=0)


@pytest.fixture
def no_portaudio(monkeypatch: pytest.MonkeyPatch) -> None:
    # None in sys.modules makes the import fail as it does where the package is not installed.
    monkeypatch.setitem(sys.modules, "sounddevice", None)


def arecord(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program called arecord that is the only one on the path."""
    program = folder / "arecord"
    program.write_text(f"#!{sys.executable}\nimport sys\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


@pytest.mark.usefixtures("no_portaudio")
def test_by_arecord(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = (
        "wanted = ['-t', 'raw', '-f', 'S16_LE', '-c', '1', '-r', '16000', '-D', 'hw:1']\n"
        "assert sys.argv[2:] == wanted, sys.argv\n"
        "while True:\n    sys.stdout.buffer.write(b'\\x00\\x40' * 1600)\n"
    )
    arecord(tmp_path, script, monkeypatch)
    assert which_recorder() == "arecord"
    with microphone("hw:1") as blocks:
        heard = listen(blocks, seconds=0.5)
    assert len(heard) == 5 * BLOCK
    assert np.all(heard == 0.5)


@pytest.mark.usefixtures("no_portaudio")
def test_arecord_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arecord(tmp_path, "sys.exit('audio open error: No such device')", monkeypatch)
    with (
        pytest.raises(IsoglossError, match=r"arecord ended: audio open error: .*`arecord -l`"),
        microphone() as blocks,
    ):
        listen(blocks)


@pytest.mark.usefixtures("no_portaudio")
def test_no_recorder_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert which_recorder() is None
    with pytest.raises(IsoglossError, match=r"apt-get install libportaudio2.*alsa-utils"):
        with microphone():
            pass


class Stream:
    """What sounddevice.InputStream does with a constant sound."""

    asked: dict[str, Any]

    def __init__(self, **asked: Any) -> None:
        type(self).asked = asked
        if asked["device"] == 9:
            raise ValueError("No input device matching 9")

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read(self, frames: int) -> tuple[np.ndarray, bool]:
        return np.full((frames, 1), 0.25, np.float32), False


@pytest.fixture
def portaudio(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("sounddevice")
    module.__dict__.update(InputStream=Stream, PortAudioError=RuntimeError)
    monkeypatch.setitem(sys.modules, "sounddevice", module)


@pytest.mark.usefixtures("portaudio")
def test_by_portaudio() -> None:
    assert which_recorder() == "sounddevice"
    with microphone() as blocks:
        heard = listen(blocks, seconds=0.3)
    assert heard.shape == (3 * BLOCK,) and np.all(heard == 0.25)
    assert (Stream.asked["samplerate"], Stream.asked["channels"]) == (16000, 1)
    with pytest.raises(IsoglossError, match="No input device matching 9"):
        with microphone("9"):
            pass
