"""Transcripts with times as text, JSON, SRT, WebVTT and CTM; strings out, no file is written."""

from __future__ import annotations

import html
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from isogloss.speech.timestamps import TimedText, mean_confidence, timed_words
from isogloss.speech.tokens import normalise_text

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "SpokenSegment",
    "Transcript",
    "printable_name",
    "to_ctm",
    "to_dict",
    "to_srt",
    "to_text",
    "to_vtt",
    "transcript_text",
]

# Control characters, and the separators of lines and paragraphs.
_BREAKS = ("Cc", "Zl", "Zp")


@dataclass(frozen=True, slots=True)
class SpokenSegment:
    """What was read between `start_seconds` and `end_seconds`: text (perhaps empty), its units."""

    start_seconds: float
    end_seconds: float
    text: str
    units: tuple[TimedText, ...] = ()


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was read in a recording; a recording without speech has no segment."""

    id: str
    seconds: float
    segments: tuple[SpokenSegment, ...]
    audio: str | None = None


def printable_name(name: str) -> str:
    r"""`name` as text that fits on a line of UTF-8: what does not is written as its escape.

    Names of files are bytes: one in GBK becomes `\xc2\xbc....wav` here. Line breaks and other
    control characters are escaped too.
    """
    text = _encodable(name)
    return "".join(
        c.encode("unicode_escape").decode() if unicodedata.category(c) in _BREAKS else c
        for c in text
    )


def _encodable(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def transcript_text(transcript: Transcript) -> str:
    """All text of a transcript on one line, with spaces where the script has them."""
    return normalise_text(" ".join(segment.text for segment in transcript.segments))


def to_text(transcript: Transcript) -> str:
    """One line for each segment in which something was read."""
    return "".join(f"{segment.text}\n" for segment in transcript.segments if segment.text)


def to_dict(transcript: Transcript) -> dict[str, Any]:
    """The transcript as a JSON object: seconds to the millisecond, confidence to four digits.

    Segments in which nothing was read are there too, with an empty text; `confidence` is None
    where there is no unit. `tokens` are the model's units, `words` what stands between spaces, or
    one unit of a script without them.
    """
    every = [unit for segment in transcript.segments for unit in segment.units]
    return {
        "id": transcript.id,
        "audio": None if transcript.audio is None else _encodable(transcript.audio),
        "duration_seconds": round(transcript.seconds, 3),
        "text": transcript_text(transcript),
        "confidence": _rounded(mean_confidence(every)),
        "segments": [
            {
                "start_seconds": round(segment.start_seconds, 3),
                "end_seconds": round(segment.end_seconds, 3),
                "text": segment.text,
                "confidence": _rounded(mean_confidence(segment.units)),
                "words": [_timed(word) for word in timed_words(segment.units)],
                "tokens": [_timed(unit) for unit in segment.units],
            }
            for segment in transcript.segments
        ],
    }


def to_srt(transcript: Transcript) -> str:
    """SubRip subtitles: one cue for each segment in which something was read, numbered from 1."""
    cues = [
        f"{number}\n{_clock(segment.start_seconds, ',')} --> {_clock(segment.end_seconds, ',')}\n"
        f"{segment.text}\n"
        for number, segment in enumerate(_read_segments(transcript), start=1)
    ]
    return "\n".join(cues)


def to_vtt(transcript: Transcript) -> str:
    """WebVTT subtitles, cues as in `to_srt`; `&`, `<` and `>` in the text are escaped."""
    cues = [
        f"\n{_clock(segment.start_seconds, '.')} --> {_clock(segment.end_seconds, '.')}\n"
        f"{html.escape(segment.text, quote=False)}\n"
        for segment in _read_segments(transcript)
    ]
    return "WEBVTT\n" + "".join(cues)


def to_ctm(transcript: Transcript) -> str:
    """NIST CTM: `recording channel start duration word confidence`, a line a word, by start.

    The channel is 1, white space in the recording's name becomes `_`. Words are those of
    `timed_words`.
    """
    name = "_".join(transcript.id.split()) or "_"
    words = [word for segment in transcript.segments for word in timed_words(segment.units)]
    lines = [
        f"{name} 1 {word.start_seconds:.3f} {word.end_seconds - word.start_seconds:.3f} "
        f"{'_'.join(word.text.split())} {word.confidence:.4f}\n"
        for word in sorted(words, key=lambda word: word.start_seconds)
    ]
    return "".join(lines)


def _read_segments(transcript: Transcript) -> Sequence[SpokenSegment]:
    return [segment for segment in transcript.segments if segment.text]


def _timed(part: TimedText) -> dict[str, Any]:
    return {
        "text": part.text.strip(),
        "start_seconds": round(part.start_seconds, 3),
        "end_seconds": round(part.end_seconds, 3),
        "confidence": _rounded(part.confidence),
    }


def _rounded(confidence: float | None) -> float | None:
    return None if confidence is None else round(confidence, 4)


def _clock(seconds: float, comma: str) -> str:
    """`HH:MM:SS,mmm`; a hundred hours and more have more digits."""
    whole, thousandths = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}{comma}{thousandths:03d}"
