"""Where people speak in a recording: blocks of samples in, speech segments out.

`SpeechDetector` gives a probability of speech every 32 ms, `find_segments` makes segments of them,
`pieces_of` cuts their samples out of the stream. Called by `isogloss.tasks.transcribe_recordings`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss.errors import IsoglossError, MissingExtra

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy.typing as npt

    from isogloss.types import FloatArray

__all__ = [
    "FRAME_SECONDS",
    "Activity",
    "Segment",
    "SegmentConfig",
    "SpeechDetector",
    "find_segments",
    "pieces_of",
]

SAMPLE_RATE_HZ = 16000
_FRAME_SAMPLES = 512
FRAME_SECONDS = _FRAME_SAMPLES / SAMPLE_RATE_HZ
"""Time that one probability of speech stands for: 32 ms."""

_CONTEXT_SAMPLES = 64
_STATE_SIZE = 128
# Frames in one call of the network. Always the same number, so that the probabilities do not
# depend on how the sound came in blocks.
_FRAMES_AT_ONCE = 256
_MODEL_FILE = Path("data") / "silero_vad_16k_sequence.onnx"
_SMOOTHED_FRAMES = 3
_QUIETEST_DB = -120.0
# The network goes on saying speech for about 0.1 s after its end; no more than this is taken back,
# so that a whisper after a shout keeps its words.
_TRIMMED_FRAMES = 5


@dataclass(frozen=True, slots=True)
class SegmentConfig:
    """How probabilities become segments.

    Attributes:
        threshold: a segment has at least one frame with this probability of speech.
        release: it reaches as far as the probability stays at this; not more than `threshold`.
        edge_db: frames at its ends (at most 0.16 s at each) that are quieter than its loudest
            frame by more than this are taken off, since the detector reacts late.
        least_gap_seconds: shorter pauses do not end a segment.
        least_speech_seconds: shorter segments are dropped.
        padding_seconds: sound before and after a segment that the recogniser hears besides, up to
            half of the pause; it does not change the segment's times.
        longest_seconds: longer segments are cut where they sound least like speech.
    """

    threshold: float = 0.5
    release: float = 0.35
    edge_db: float = 35.0
    least_gap_seconds: float = 0.2
    least_speech_seconds: float = 0.1
    padding_seconds: float = 0.02
    longest_seconds: float = 20.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (np.isfinite(value) and value >= 0):
                raise ValueError(f"{field.name} must be finite and not negative, got {value}")
        if not 0.0 < self.release <= self.threshold < 1.0:
            raise ValueError(
                "threshold must lie between 0 and 1 and release between 0 and threshold, got "
                f"threshold {self.threshold}, release {self.release}"
            )
        if self.longest_seconds < 1.0:
            raise ValueError(f"longest_seconds must be at least 1, got {self.longest_seconds}")


@dataclass(frozen=True, slots=True, eq=False)
class Activity:
    """What was heard in a recording: (F,) values, one every `FRAME_SECONDS`.

    `probabilities` of speech lie in [0, 1]; `loudness_db` is the mean power in dB of full scale,
    -120 for silence. `seconds` is the recording's length; its last frame may be a part of one.
    """

    probabilities: FloatArray
    loudness_db: FloatArray
    seconds: float


@dataclass(frozen=True, slots=True)
class Segment:
    """Speech from `start_seconds` to `end_seconds`, heard with some sound around it."""

    start_seconds: float
    end_seconds: float
    heard_from_seconds: float
    heard_to_seconds: float


class SpeechDetector:
    """Silero VAD, run by onnxruntime on one CPU thread.

    The network keeps no state between recordings, so one detector serves many, one after another.
    The package's own loader is not used: importing it sets torch to one thread for the whole
    process.

    Source: the model `silero_vad_16k_sequence` of the PyPI package silero-vad (MIT), which gives
    the numbers of Silero's model frame by frame.
    """

    def __init__(self) -> None:
        """The detector, loaded.

        Raises:
            MissingExtra: silero-vad or onnxruntime is not installed.
            IsoglossError: silero-vad is too old to hold the model.
        """
        path = _model_path()
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingExtra("speech", "onnxruntime") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session: Any = onnxruntime.InferenceSession(
            str(path), sess_options=options, providers=["CPUExecutionProvider"]
        )

    def listen(self, blocks: Iterable[FloatArray]) -> Activity:
        """Probability of speech and loudness, every 32 ms, of a recording that comes in blocks.

        The result does not depend on the size of the blocks. What is kept grows by 250 bytes for
        each second of sound, not with its samples.

        Args:
            blocks: (S,) float32 mono samples in [-1, 1] at 16 kHz; S may be 0, and so may the
                number of blocks.

        Raises:
            ValueError: a block is not one-dimensional, or holds NaN or infinity.
        """
        hidden = np.zeros((1, 1, _STATE_SIZE), dtype=np.float32)
        cell = np.zeros_like(hidden)
        context = np.zeros(_CONTEXT_SAMPLES, dtype=np.float32)
        probabilities: list[FloatArray] = []
        loudness: list[FloatArray] = []
        total = 0
        for samples in _regrouped(blocks, _FRAMES_AT_ONCE * _FRAME_SAMPLES):
            total += len(samples)
            frames = _framed(samples)
            before = np.vstack([context, frames[:-1, -_CONTEXT_SAMPLES:]])
            found, hidden, cell = self._session.run(
                ["speech_probs", "hn", "cn"],
                {"input": np.hstack([before, frames]), "h": hidden, "c": cell},
            )
            context = frames[-1, -_CONTEXT_SAMPLES:]
            probabilities.append(found)
            loudness.append(_loudness(frames))
        if not total:
            empty = np.zeros(0, dtype=np.float32)
            return Activity(empty, empty, 0.0)
        return Activity(
            np.concatenate(probabilities), np.concatenate(loudness), total / SAMPLE_RATE_HZ
        )


def find_segments(activity: Activity, config: SegmentConfig | None = None) -> list[Segment]:
    """Segments of speech in a recording, in order, none overlapping another.

    Runs of frames at `release` or above that reach `threshold` somewhere are speech; runs with a
    shorter pause between them are one segment; what is then shorter than `least_speech_seconds` is
    dropped; what is longer than `longest_seconds` is cut at its least speech-like frame: in the
    second half of the longest possible segment, the frame of lowest probability (mean of three),
    or the quietest where none falls below `threshold`. Two segments that were cut from one touch.

    Times are multiples of 32 ms (the last may be the recording's end) and `heard_*` never reaches
    into another segment. A recording without speech gives an empty list.
    """
    config = config or SegmentConfig()
    probabilities = activity.probabilities
    runs = _runs(probabilities >= config.release)
    runs = [(a, b) for a, b in runs if float(probabilities[a:b].max()) >= config.threshold]
    joined: list[tuple[int, int]] = []
    for start, end in runs:
        if joined and (start - joined[-1][1]) * FRAME_SECONDS < config.least_gap_seconds:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    longest = max(1, int(config.longest_seconds / FRAME_SECONDS))
    spans = [
        part
        for start, end in joined
        if (end - start) * FRAME_SECONDS >= config.least_speech_seconds
        for part in _cut(
            activity, *_trimmed(activity, start, end, config.edge_db), longest, config.threshold
        )
    ]
    return _padded(spans, activity.seconds, config.padding_seconds)


def pieces_of(blocks: Iterable[FloatArray], segments: Sequence[Segment]) -> Iterator[FloatArray]:
    """The samples that are heard of each segment, (S,) float32, one after another.

    Args:
        blocks: the recording's samples as `SpeechDetector.listen` gets them.
        segments: in order of time; what they hear must not overlap. One that ends past the
            recording ends with it.
    """
    bounds = [
        (round(s.heard_from_seconds * SAMPLE_RATE_HZ), round(s.heard_to_seconds * SAMPLE_RATE_HZ))
        for s in segments
    ]
    kept: list[FloatArray] = []
    position = number = 0
    for block in blocks:
        first = position
        position += len(block)
        while number < len(bounds):
            start, stop = bounds[number]
            if start < position:
                kept.append(block[max(0, start - first) : stop - first])
            if stop > position:
                break
            yield np.concatenate(kept)
            kept = []
            number += 1
    for _ in bounds[number:]:
        yield np.concatenate([*kept, np.zeros(0, dtype=np.float32)])
        kept = []


def _model_path() -> Path:
    # Found without importing the package, whose import changes torch's number of threads.
    found = find_spec("silero_vad")
    if found is None or found.origin is None:
        raise MissingExtra("speech", "silero-vad")
    path = Path(found.origin).parent / _MODEL_FILE
    if not path.is_file():
        try:
            which = f"silero-vad {version('silero-vad')}"
        except PackageNotFoundError:
            which = "the installed silero-vad"
        raise IsoglossError(
            f"{which} has no {_MODEL_FILE.name}; run: pip install 'silero-vad>=6.2.3'"
        )
    return path


def _regrouped(blocks: Iterable[FloatArray], size: int) -> Iterator[FloatArray]:
    """The same samples in blocks of `size`, the last one as it comes; no block is empty."""
    waiting: list[FloatArray] = []
    count = 0
    for block in blocks:
        if block.ndim != 1:
            raise ValueError(f"a block of samples must be (S,), got {block.shape}")
        if not np.isfinite(block).all():
            raise ValueError("samples hold NaN or infinity")
        waiting.append(block.astype(np.float32, copy=False))
        count += len(block)
        if count >= size:
            joined = np.concatenate(waiting)
            whole = count // size * size
            for start in range(0, whole, size):
                yield joined[start : start + size]
            waiting, count = [joined[whole:]], count - whole
    if count:
        yield np.concatenate(waiting)


def _framed(samples: FloatArray) -> FloatArray:
    """(F, 512) frames; the last is filled with silence."""
    count = -(-len(samples) // _FRAME_SAMPLES)
    frames = np.zeros((count, _FRAME_SAMPLES), dtype=np.float32)
    frames.reshape(-1)[: len(samples)] = samples
    return frames


def _loudness(frames: FloatArray) -> FloatArray:
    power = np.square(frames, dtype=np.float32).mean(axis=1)
    decibels: FloatArray = 10.0 * np.log10(np.maximum(power, 10 ** (_QUIETEST_DB / 10)))
    return decibels


def _runs(is_speech: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Bounds [start, end) of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_speech, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _trimmed(activity: Activity, start: int, end: int, edge_db: float) -> tuple[int, int]:
    """[start, end) without the quiet frames at its ends."""
    loudness = activity.loudness_db[start:end]
    loud = np.flatnonzero(loudness >= float(loudness.max()) - edge_db)
    quiet_before, quiet_after = int(loud[0]), len(loudness) - 1 - int(loud[-1])
    return start + min(quiet_before, _TRIMMED_FRAMES), end - min(quiet_after, _TRIMMED_FRAMES)


def _cut(
    activity: Activity, start: int, end: int, longest: int, threshold: float
) -> Iterator[tuple[int, int]]:
    """[start, end) in parts of at most `longest` frames."""
    while end - start > longest:
        # The rest keeps a quarter of the longest length, so that no crumb is left over.
        first, last = start + longest // 2, min(start + longest, end - longest // 4)
        likely = _smoothed(activity.probabilities, first, last)
        if float(likely.min()) >= threshold:
            likely = _smoothed(activity.loudness_db, first, last)
        cut = first + int(likely.argmin())
        yield start, cut
        start = cut
    yield start, end


def _smoothed(values: FloatArray, first: int, last: int) -> FloatArray:
    """Mean of three neighbours around each of `values[first:last]`, which has them."""
    around = _SMOOTHED_FRAMES // 2
    window = values[first - around : last + around]
    means = np.convolve(window, np.full(_SMOOTHED_FRAMES, 1 / _SMOOTHED_FRAMES), mode="valid")
    return means.astype(np.float32)


def _padded(spans: Sequence[tuple[int, int]], seconds: float, padding: float) -> list[Segment]:
    times = [(a * FRAME_SECONDS, min(b * FRAME_SECONDS, seconds)) for a, b in spans]
    segments = []
    for i, (start, end) in enumerate(times):
        before = start - times[i - 1][1] if i else 2 * start
        after = times[i + 1][0] - end if i + 1 < len(times) else 2 * (seconds - end)
        segments.append(
            Segment(start, end, start - min(padding, before / 2), end + min(padding, after / 2))
        )
    return segments
