"""The kinds of fault a corpus can have: how grave each is and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["KINDS", "CheckLimits", "Finding", "Severity", "found"]

Severity = Literal["error", "warning"]

KINDS: dict[str, tuple[Severity, str]] = {
    "bad line": ("error", "correct the line, or drop it"),
    "no items": ("error", "write them with isogloss corpus prepare, convert or synth"),
    "unknown variety": ("error", "correct the code, or add it with a varieties table of your own"),
    "duplicate id": ("error", "give every item an id of its own"),
    "missing": ("error", "restore the file, or drop the item"),
    "empty": ("error", "fetch or record the file again, or drop the item"),
    "unreadable": ("error", "convert the file to WAV or FLAC, or drop the item"),
    "truncated": ("error", "fetch or copy the file again, or drop the item"),
    "nan": ("error", "write the file again from its source; samples must be finite"),
    "range": ("error", "correct start_seconds and end_seconds"),
    "zero duration": ("error", "drop the item"),
    "absurd duration": ("error", "cut the recording, giving start_seconds and end_seconds"),
    "silence": ("error", "drop the item, or record it again"),
    "no content": ("error", "give the item audio or text"),
    "empty transcript": ("error", "transcribe the item, or drop it"),
    "too short for transcript": (
        "error",
        "compare transcript and audio: CTC has fewer steps (25 Hz) than characters",
    ),
    "speaker in two splits": ("error", "split again: isogloss corpus split --by speaker"),
    "meaning in two splits": ("error", "split again: isogloss corpus split --by meaning"),
    "long": ("warning", "cut it into utterances; long batches need much memory"),
    "sample rate": ("warning", "none needed: it is resampled to 16 kHz when read"),
    "stereo": ("warning", "none needed: channels are averaged; check that both hold the speaker"),
    "clipping": ("warning", "lower the gain and record again, where that is possible"),
    "no transcript": ("warning", "none needed to encode; training leaves the item out"),
    "outside script": (
        "warning",
        "convert with isogloss corpus convert --script, or check with --script as transcribed",
    ),
}
"""Kind of fault: its severity and its remedy."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault of one item (or of one speaker or meaning, for leaks between splits).

    `item` is the id, or "line 7" for a line that is no item; `line` is the line of the manifest
    where one was read. `value` is what was found.
    """

    item: str
    kind: str
    severity: Severity
    value: str
    remedy: str
    line: int | None = None


@dataclass(frozen=True, slots=True)
class CheckLimits:
    """Where a check draws its lines."""

    sample_rate_hz: int = 16000  # what the encoder takes
    long_seconds: float = 60.0  # utterances of read and spontaneous speech end well before
    absurd_seconds: float = 600.0  # ten minutes is a recording session, no utterance
    silence_peak: float = 0.001  # -60 dBFS: below the noise of any microphone in a room
    clipped_share: float = 0.001  # of samples at full scale; clean speech has next to none
    steps_per_second: float = 25.0  # what CTC sees of a second


def found(item: str, kind: str, value: str, *, line: int | None = None) -> Finding:
    """A finding of `kind` with its severity and remedy."""
    severity, remedy = KINDS[kind]
    return Finding(item, kind, severity, value, remedy, line)
