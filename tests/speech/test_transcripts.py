from __future__ import annotations

import json
import re

from isogloss.speech.timestamps import TimedText
from isogloss.speech.transcripts import (
    SpokenSegment,
    Transcript,
    to_ctm,
    to_dict,
    to_srt,
    to_text,
    to_vtt,
    transcript_text,
)


def units(start: float, *texts: str) -> tuple[TimedText, ...]:
    return tuple(
        TimedText(text, start + 0.1 * i, start + 0.1 * i + 0.04, 0.5)
        for i, text in enumerate(texts)
    )


FOUND = Transcript(
    "tapes/a 1.wav",
    4000.0,
    (
        SpokenSegment(0.032, 1.5, "我们a<b", units(0.1, "我", "们", "a", "<b")),
        SpokenSegment(2.0, 2.5, ""),
        SpokenSegment(3599.9996, 3661.0015, "hi you", units(3600.0, "hi", " you")),
    ),
    audio="/tapes/a 1.wav",
)
SILENT = Transcript("s", 3.0, ())


def test_srt_is_exact() -> None:
    assert to_srt(FOUND) == (
        "1\n00:00:00,032 --> 00:00:01,500\n我们a<b\n\n2\n01:00:00,000 --> 01:01:01,002\nhi you\n"
    )
    assert to_srt(SILENT) == ""


def test_srt_parses_back() -> None:
    cue = re.compile(r"(\d+)\n(\S+) --> (\S+)\n(.*)\n")
    blocks = [cue.fullmatch(block.strip() + "\n") for block in to_srt(FOUND).split("\n\n")]
    assert [match.group(1) for match in blocks if match] == ["1", "2"]

    def seconds(clock: str) -> float:
        hours, minutes, rest = clock.replace(",", ".").split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(rest)

    said = [segment for segment in FOUND.segments if segment.text]
    for match, segment in zip(blocks, said, strict=True):
        assert match is not None
        assert abs(seconds(match.group(2)) - segment.start_seconds) <= 0.000501
        assert abs(seconds(match.group(3)) - segment.end_seconds) <= 0.000501
        assert match.group(4) == segment.text


def test_vtt_is_exact_and_escaped() -> None:
    assert to_vtt(FOUND) == (
        "WEBVTT\n"
        "\n00:00:00.032 --> 00:00:01.500\n我们a&lt;b\n"
        "\n01:00:00.000 --> 01:01:01.002\nhi you\n"
    )
    assert to_vtt(SILENT) == "WEBVTT\n"


def test_ctm_has_six_columns_and_no_spaces_in_names() -> None:
    lines = to_ctm(FOUND).splitlines()
    assert lines[0] == "tapes/a_1.wav 1 0.100 0.040 我 0.5000"
    assert [line.split()[4] for line in lines] == ["我", "们", "a<b", "hi", "you"]
    assert all(len(line.split()) == 6 for line in lines)
    starts = [float(line.split()[2]) for line in lines]
    assert starts == sorted(starts)
    assert to_ctm(SILENT) == ""


def test_text_has_a_line_for_each_segment_that_says_something() -> None:
    assert to_text(FOUND) == "我们a<b\nhi you\n"
    assert transcript_text(FOUND) == "我们a<b hi you"
    assert to_text(SILENT) == transcript_text(SILENT) == ""


def test_json_keeps_everything() -> None:
    record = json.loads(json.dumps(to_dict(FOUND), allow_nan=False))
    assert record["id"] == "tapes/a 1.wav"
    assert record["duration_seconds"] == 4000.0
    assert record["confidence"] == 0.5
    assert [s["text"] for s in record["segments"]] == ["我们a<b", "", "hi you"]
    assert record["segments"][1]["confidence"] is None
    assert record["segments"][2]["start_seconds"] == 3600.0
    assert record["segments"][0]["words"][2] == {
        "text": "a<b",
        "start_seconds": 0.3,
        "end_seconds": 0.44,
        "confidence": 0.5,
    }
    assert [t["text"] for t in record["segments"][0]["tokens"]] == ["我", "们", "a", "<b"]
    silent = to_dict(SILENT)
    assert (silent["text"], silent["segments"], silent["confidence"]) == ("", [], None)
