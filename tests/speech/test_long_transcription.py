from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from isogloss.speech import long_transcription as module
from isogloss.speech.long_transcription import Unread
from isogloss.speech.segments import SegmentConfig
from isogloss.speech.tokens import Tokenizer
from isogloss.tasks import LongTranscription, transcribe_recordings
from isogloss.types import Item
from makers import write_wav

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from isogloss.speech.transcripts import Transcript

RATE_HZ = 16000
LEVELS = (0.1, 0.2, 0.3, 0.4)
CHARACTERS = "一丁七万"


class LevelReader:
    """Reads one character from the level of a sound, so that what is read tells what was heard."""

    tokenizer = Tokenizer(["<blk>", "<unk>", *CHARACTERS])
    name = "levels"

    def __init__(self) -> None:
        self.batches: list[int] = []

    def posteriors_of_samples(
        self, pieces: Sequence[np.ndarray], *, head: str
    ) -> Iterator[tuple[int, np.ndarray]]:
        if pieces:  # an empty call asks for the head alone
            self.batches.append(len(pieces))
        for index in reversed(range(len(pieces))):
            piece = pieces[index]
            steps = max(1, len(piece) // 640)
            values = np.full((steps, 6), np.log(0.02), dtype=np.float32)
            values[:, 0] = np.log(0.9)
            if len(piece):
                unit = 2 + int(np.abs(np.array(LEVELS) - np.median(np.abs(piece))).argmin())
                middle = steps // 2
                values[middle, 0], values[middle, unit] = np.log(0.02), np.log(0.9)
            yield index, values


class LoudIsSpeech:
    """A stand-in for the detector: sound is speech, so that squares can be planted."""

    def listen(self, blocks: Any) -> Any:
        from isogloss.speech.segments import Activity, _framed, _loudness

        samples = np.concatenate([*blocks, np.zeros(0, dtype=np.float32)])
        loudness = _loudness(_framed(samples))
        return Activity((loudness > -60).astype(np.float32), loudness, len(samples) / RATE_HZ)


@pytest.fixture(autouse=True)
def loud_is_speech(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SpeechDetector", LoudIsSpeech)


def square(levels: Sequence[float], *, seconds: float = 0.64, gap: float = 0.64) -> np.ndarray:
    """A gap, then for each level a constant sound and a gap."""
    quiet = np.zeros(round(gap * RATE_HZ))
    loud = [np.append(np.full(round(seconds * RATE_HZ), level), quiet) for level in levels]
    return np.concatenate([quiet, *loud])


def recording(folder: Path, name: str, samples: np.ndarray, rate_hz: int = RATE_HZ) -> Item:
    return Item(name, "und", audio=str(write_wav(folder / name, samples, rate_hz)))


def read(items: Sequence[Item], **settings: Any) -> list[Transcript | Unread]:
    return list(transcribe_recordings(LevelReader(), items, LongTranscription(**settings)))


def texts(found: Transcript | Unread) -> list[str]:
    assert not isinstance(found, Unread), found
    return [segment.text for segment in found.segments]


def test_each_segment_is_read_with_its_times(tmp_path: Path) -> None:
    item = recording(tmp_path, "a.wav", square([0.3, 0.1, 0.4]))
    (found,) = read([item], segments=SegmentConfig(padding_seconds=0.0))
    assert texts(found) == ["七", "一", "万"]
    assert not isinstance(found, Unread)
    assert found.seconds == pytest.approx(7 * 0.64)
    starts = [segment.start_seconds for segment in found.segments]
    assert starts == pytest.approx([0.64, 1.92, 3.2])
    assert [s.end_seconds for s in found.segments] == pytest.approx([1.28, 2.56, 3.84])
    # 16 steps of 40 ms, the character in the eighth.
    unit = found.segments[1].units[0]
    assert unit.start_seconds == pytest.approx(1.92 + 0.025 + 8 * 0.04)
    assert unit.confidence == pytest.approx(0.9, abs=1e-6)


@pytest.mark.parametrize("rate_hz", [8000, 22050, 44100])
def test_any_rate_and_a_piece_of_a_recording(tmp_path: Path, rate_hz: int) -> None:
    samples = np.repeat(square([0.2, 0.4]), 1)
    positions = np.arange(0, len(samples) - 1, RATE_HZ / rate_hz)
    item = recording(
        tmp_path, "a.wav", np.interp(positions, np.arange(len(samples)), samples), rate_hz
    )
    (found,) = read([item])
    assert texts(found) == ["丁", "万"]
    piece = Item("p", "und", audio=item.audio, start_seconds=1.5, end_seconds=3.0)
    (found,) = read([piece])
    assert texts(found) == ["万"]
    assert not isinstance(found, Unread)
    # Times count from the start of the piece.
    assert found.segments[0].start_seconds == pytest.approx(0.42, abs=0.04)


def test_a_long_recording_is_a_stream_with_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    items = [
        recording(tmp_path, f"{i}.wav", square(rng.choice(LEVELS, 5).tolist(), seconds=0.5))
        for i in range(6)
    ]
    reader = LevelReader()
    whole = list(transcribe_recordings(reader, items))
    assert reader.batches == [30]
    # Nothing kept from the first pass, and three segments at a time.
    monkeypatch.setattr(module, "_KEPT_SECONDS", 0.0)
    monkeypatch.setattr(module, "_WAITING_SECONDS", 1.4)
    config = LongTranscription(whole_seconds=0.5)
    reader = LevelReader()
    assert list(transcribe_recordings(reader, items, config)) == whole
    assert reader.batches == [3] * 10


def test_what_is_broken_is_told_in_its_place_and_stops_nothing(tmp_path: Path) -> None:
    good = recording(tmp_path, "good.wav", square([0.2]))
    nan = tmp_path / "nan.wav"
    import soundfile

    soundfile.write(nan, np.array([0.1, np.nan] * 8000), RATE_HZ, subtype="FLOAT")
    cut = tmp_path / "cut.wav"
    cut.write_bytes(Path(str(good.audio)).read_bytes()[:9000])
    text = tmp_path / "text.wav"
    text.write_text("no sound")
    (tmp_path / "zero.wav").write_bytes(b"")
    (tmp_path / "folder.wav").mkdir()
    names = ["nan.wav", "cut.wav", "text.wav", "zero.wav", "folder.wav", "none.wav"]
    broken = [Item(name, "und", audio=str(tmp_path / name)) for name in names]
    items = [good, *broken[:3], Item("good2", "und", audio=good.audio), *broken[3:]]
    found = read([*items, Item("no audio", "und")])
    assert [transcript.id for transcript in found] == [*(i.id for i in items), "no audio"]
    assert texts(found[0]) == texts(found[4]) == ["丁"]
    problems = {f.id: f.problem for f in found if isinstance(f, Unread)}
    assert list(problems) == [*names, "no audio"]
    assert "NaN" in problems["nan.wav"]
    assert "truncated" in problems["cut.wav"]
    assert "not audio but text" in problems["text.wav"]
    assert "0 bytes" in problems["zero.wav"]
    assert problems["none.wav"] == "no such file"
    assert problems["no audio"] == "has no audio"


def test_silence_and_no_samples_are_empty_transcripts(tmp_path: Path) -> None:
    items = [
        recording(tmp_path, "silent.wav", np.zeros(RATE_HZ)),
        recording(tmp_path, "empty.wav", np.zeros(0)),
    ]
    for settings in ({}, {"detect_speech": False}):
        silent, empty = read(items, **settings)
        assert texts(empty) == []
        assert not isinstance(silent, Unread)
        assert silent.seconds == 1.0
        assert texts(silent) == ([] if not settings else ["一"])


def test_whole_recordings_are_one_segment_and_not_too_long(tmp_path: Path) -> None:
    items = [
        recording(tmp_path, "short.wav", square([0.3, 0.3])),
        recording(tmp_path, "long.wav", np.full(5 * RATE_HZ, 0.1)),
        recording(tmp_path, "tiny.wav", np.full(10, 0.4)),
    ]
    short, long, tiny = read(items, detect_speech=False, whole_seconds=4.0)
    assert not isinstance(short, Unread)
    assert [(s.start_seconds, s.end_seconds) for s in short.segments] == [(0.0, 3.2)]
    assert isinstance(long, Unread)
    assert "longer than 4 s" in long.problem
    assert texts(tiny) == ["万"]


def test_progress_adds_up_to_the_seconds_of_the_recordings(tmp_path: Path) -> None:
    items = [
        recording(tmp_path, "a.wav", square([0.2, 0.3])),
        recording(tmp_path, "silent.wav", np.zeros(RATE_HZ)),
    ]
    seconds: list[float] = []
    list(transcribe_recordings(LevelReader(), items, advance=seconds.append))
    assert sum(seconds) == pytest.approx(5 * 0.64 + 1.0)


def test_beam_search_reads_the_same_here(tmp_path: Path) -> None:
    item = recording(tmp_path, "a.wav", square([0.3, 0.1]))
    assert texts(read([item], beam=4)[0]) == texts(read([item])[0]) == ["七", "一"]


def test_settings_and_models_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="beam must be at least 1"):
        LongTranscription(beam=0)
    with pytest.raises(ValueError, match="'both'"):
        LongTranscription(head="both")  # type: ignore[arg-type]

    class Mute(LevelReader):
        tokenizer = None  # type: ignore[assignment]

    with pytest.raises(ValueError, match="no output units"):
        list(transcribe_recordings(Mute(), []))
