"""Recordings of any length and a model trained here in; transcripts with times out.

`transcribe_recordings` finds speech, cuts it into segments and reads those of many recordings in
batches of like length. Called by `isogloss.tasks.transcribe_files` and by the server.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from isogloss.corpora.audio import mono_blocks
from isogloss.errors import AudioError
from isogloss.speech.segments import (
    Segment,
    SegmentConfig,
    SpeechDetector,
    find_segments,
    pieces_of,
)
from isogloss.speech.transcripts import SpokenSegment, Transcript

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from isogloss.speech.tokens import Tokenizer
    from isogloss.types import FloatArray, Item

__all__ = [
    "LongTranscription",
    "SpeechReader",
    "Unread",
    "check_reader",
    "transcribe_recordings",
]

_RATE_HZ = 16000
# Recordings up to this long are decoded once and kept; longer ones are decoded a second time when
# their segments are cut out, so that an hour of sound is never in memory.
_KEPT_SECONDS = 120.0
# Speech that waits to be read: enough for batches of like length, 64 kB a second.
_WAITING_SECONDS = 240.0
# Share of the time that goes into finding speech, for the progress bar alone.
_LISTENING_SHARE = 0.15


class SpeechReader(Protocol):
    """What transcription needs of an encoder: `OwnEncoder` has it."""

    @property
    def tokenizer(self) -> Tokenizer | None:
        """Names of the output units; None when the model has none."""
        ...

    def posteriors_of_samples(
        self, pieces: Sequence[FloatArray], *, head: Literal["standard", "dialect"]
    ) -> Iterator[tuple[int, FloatArray]]:
        """Index and (T, V) log-probabilities of each piece of 16 kHz sound, in any order."""
        ...


@dataclass(frozen=True)
class LongTranscription:
    """How recordings are transcribed.

    Attributes:
        head: output of a model with two.
        beam: prefixes kept in the search; 1 is greedy decoding.
        detect_speech: find speech first. Without it a recording is one segment, read whole, and
            must not be longer than `whole_seconds`.
        segments: how speech is cut into segments.
        whole_seconds: longest recording that is read whole; attention needs memory that grows with
            the square of the time.
    """

    head: Literal["standard", "dialect"] = "standard"
    beam: int = 1
    detect_speech: bool = True
    segments: SegmentConfig = field(default_factory=SegmentConfig)
    whole_seconds: float = 120.0

    def __post_init__(self) -> None:
        if self.head not in ("standard", "dialect"):
            raise ValueError(f"head must be 'standard' or 'dialect', got '{self.head}'")
        if self.beam < 1:
            raise ValueError(f"beam must be at least 1, got {self.beam}")


@dataclass(frozen=True, slots=True)
class Unread:
    """A recording that could not be read, and why."""

    id: str
    audio: str | None
    problem: str


@dataclass(slots=True)
class _Recording:
    """A recording on its way: its segments, and what was read in those that are done."""

    item: Item
    seconds: float
    segments: list[Segment]
    read: list[SpokenSegment | None]


@dataclass(slots=True)
class _Piece:
    """Sound of one segment that waits to be read."""

    recording: _Recording
    number: int
    samples: FloatArray


def transcribe_recordings(
    reader: SpeechReader,
    items: Iterable[Item],
    config: LongTranscription | None = None,
    *,
    advance: Callable[[float], None] | None = None,
) -> Iterator[Transcript | Unread]:
    """The transcript of each recording, or why there is none, in order, as soon as it is known.

    Segments of several recordings are read in one batch, and a recording of any length is read as
    a stream: about 240 s of speech are in memory at a time, besides 250 bytes for each second of
    the recording. A recording without speech, or without samples, has a transcript without
    segments.

    Args:
        reader: a trained model, such as `isogloss.encoders.own.load("runs/a")`.
        items: recordings; `start_seconds` and `end_seconds` cut a piece out of one, and times are
            then counted from its start.
        config: None for the defaults.
        advance: called with seconds of recording dealt with since the last call.

    Raises:
        ValueError: the model has no output units, or not the head asked for.
        MissingExtra: a decoder, or silero-vad when speech is to be found, is not installed.
    """
    config = config or LongTranscription()
    work = _Work(reader, check_reader(reader, config), config, advance or _ignore)
    for item in items:
        work.add(item)
        yield from work.finished()
    work.read_waiting()
    yield from work.finished()


def check_reader(reader: SpeechReader, config: LongTranscription) -> Tokenizer:
    """Names of the reader's output units, before hours of sound are listened to for nothing.

    Raises:
        ValueError: the model has no output units, or not the head asked for.
    """
    if reader.tokenizer is None:
        raise ValueError("this model has no output units, so it cannot transcribe")
    # Without a piece nothing is computed, but a head that is not there is missed.
    for _ in reader.posteriors_of_samples([], head=config.head):
        pass
    return reader.tokenizer


def _ignore(_seconds: float) -> None:
    """Nobody watches the progress."""


class _Work:
    """Recordings in the order they came, and pieces of sound that wait for a batch."""

    def __init__(
        self,
        reader: SpeechReader,
        tokenizer: Tokenizer,
        config: LongTranscription,
        advance: Callable[[float], None],
    ) -> None:
        self._reader = reader
        self._tokenizer = tokenizer
        self._config = config
        self._advance = advance
        self._detector = SpeechDetector() if config.detect_speech else None
        self._recordings: deque[_Recording | Unread] = deque()
        self._waiting: list[_Piece] = []
        self._waiting_seconds = 0.0

    def add(self, item: Item) -> None:
        """Find the speech of a recording and queue its segments."""
        try:
            kept, recording = self._opened(item)
            self._recordings.append(recording)
            blocks = _blocks(item) if kept is None else kept
            for number, samples in enumerate(pieces_of(blocks, recording.segments)):
                self._waiting.append(_Piece(recording, number, samples))
                self._waiting_seconds += len(samples) / _RATE_HZ
                if self._waiting_seconds >= _WAITING_SECONDS:
                    self.read_waiting()
        except AudioError as error:
            self._give_up(item, error)

    def read_waiting(self) -> None:
        """Read every piece that waits."""
        pieces, self._waiting, self._waiting_seconds = self._waiting, [], 0.0
        if not pieces:
            return
        found = self._reader.posteriors_of_samples(
            [piece.samples for piece in pieces], head=self._config.head
        )
        for index, log_probs in found:
            piece = pieces[index]
            recording = piece.recording
            segment = recording.segments[piece.number]
            recording.read[piece.number] = self._spoken(segment, log_probs)
            share = recording.seconds / len(recording.segments)
            self._advance((1 - _LISTENING_SHARE) * share)

    def finished(self) -> Iterator[Transcript | Unread]:
        """What can be handed out without changing the order."""
        while self._recordings:
            first = self._recordings[0]
            if isinstance(first, Unread):
                yield first
            else:
                read = [segment for segment in first.read if segment is not None]
                if len(read) < len(first.read):
                    return
                yield Transcript(first.item.id, first.seconds, tuple(read), first.item.audio)
            self._recordings.popleft()

    def _opened(self, item: Item) -> tuple[list[FloatArray] | None, _Recording]:
        """Segments of a recording, and its samples where they are few."""
        kept: list[FloatArray] | None = []
        heard = 0
        whole = self._config.whole_seconds

        def listened() -> Iterator[FloatArray]:
            nonlocal kept, heard
            for block in _blocks(item):
                heard += len(block)
                if self._detector is None and heard > whole * _RATE_HZ:
                    raise AudioError(
                        item.audio or item.id,
                        f"longer than {whole:g} s, too long to be read whole; "
                        "let speech be detected (leave out --no-vad)",
                    )
                if kept is not None:
                    kept.append(block)
                    if heard > max(_KEPT_SECONDS, whole) * _RATE_HZ:
                        kept = None
                self._advance(_LISTENING_SHARE * len(block) / _RATE_HZ)
                yield block

        if self._detector is not None:
            activity = self._detector.listen(listened())
            segments, seconds = find_segments(activity, self._config.segments), activity.seconds
        else:
            seconds = sum(len(block) for block in listened()) / _RATE_HZ
            segments = [Segment(0.0, seconds, 0.0, seconds)] if seconds else []
        if not segments:
            self._advance((1 - _LISTENING_SHARE) * seconds)
        return kept, _Recording(item, seconds, segments, [None] * len(segments))

    def _spoken(self, segment: Segment, log_probs: FloatArray) -> SpokenSegment:
        from isogloss.speech.decode import greedy, prefix_beam
        from isogloss.speech.timestamps import timed_units

        if self._config.beam == 1:
            reading = greedy(log_probs, self._tokenizer)
        else:
            reading = prefix_beam(log_probs, self._tokenizer, beam=self._config.beam)[0]
        units = timed_units(
            log_probs, reading, self._tokenizer, start_seconds=segment.heard_from_seconds
        )
        return SpokenSegment(segment.start_seconds, segment.end_seconds, reading.text, units)

    def _give_up(self, item: Item, error: AudioError) -> None:
        """Forget a recording that broke, whatever was read of it."""
        last = self._recordings[-1] if self._recordings else None
        if isinstance(last, _Recording) and last.item is item:
            self._recordings.pop()
            self._waiting = [piece for piece in self._waiting if piece.recording is not last]
            self._waiting_seconds = sum(len(p.samples) for p in self._waiting) / _RATE_HZ
        self._recordings.append(Unread(item.id, item.audio, error.problem))


def _blocks(item: Item) -> Iterator[FloatArray]:
    if item.audio is None:
        raise AudioError(item.id, "has no audio")
    return mono_blocks(
        item.audio,
        start_seconds=item.start_seconds,
        end_seconds=item.end_seconds,
        sample_rate_hz=_RATE_HZ,
    )
