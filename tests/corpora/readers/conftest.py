"""Recordings for corpora that the tests write."""

from __future__ import annotations

import math
import os
import struct
import wave
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

RATE_HZ = 16000


@pytest.fixture
def tone() -> Callable[[Path], Path]:
    """A function that writes 0.1 s of 440 Hz (16 kHz, mono, 16 bit) and gives its path back."""

    def write(path: Path, seconds: float = 0.1) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        frames = [
            round(8000 * math.sin(2 * math.pi * 440 * n / RATE_HZ))
            for n in range(round(seconds * RATE_HZ))
        ]
        with wave.open(str(path), "wb") as handle:
            handle.setnchannels(1)
            handle.setsampwidth(2)
            handle.setframerate(RATE_HZ)
            handle.writeframes(struct.pack(f"<{len(frames)}h", *frames))
        return path

    return write


@pytest.fixture
def shared_data() -> Callable[[str], Path]:
    """A function from a data set's name to its folder; skips the test where it is not there."""
    default = Path(__file__).parents[3] / ".." / "shared" / "data"
    root = Path(os.environ.get("ISOGLOSS_DATA", str(default)))

    def find(name: str) -> Path:
        folder = root / name
        if not folder.is_dir():
            pytest.skip(f"no {name} in {root}; set ISOGLOSS_DATA to the folder of the data sets")
        return folder

    return find
