from __future__ import annotations

import itertools
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isogloss.corpora.synth.espeak import synthesise
from isogloss.errors import IsoglossError, MissingExtra
from isogloss.speech import segments as module
from isogloss.speech.segments import (
    FRAME_SECONDS,
    Activity,
    Segment,
    SegmentConfig,
    SpeechDetector,
    find_segments,
    pieces_of,
)
from makers import melody

RATE_HZ = 16000


@pytest.fixture(scope="module")
def detector() -> SpeechDetector:
    return SpeechDetector()


@pytest.fixture(scope="module")
def planted() -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Three sentences in faint noise, and where each begins and ends in seconds."""
    import soxr

    rng = np.random.default_rng(0)
    said = [
        ("wo3 men5 qu4 xue2 xiao4", "cmn"),
        ("ngo5 dei6 sik6 faan6", "yue"),
        ("ta1 lai2", "cmn"),
    ]
    pieces, times, position = [np.zeros(8000, dtype=np.float32)], [], 8000
    for (text, variety), gap in zip(said, (6400, 16000, 9600), strict=True):
        speech = synthesise(text, variety, seed=3)
        samples = soxr.resample(speech.samples, speech.sample_rate_hz, RATE_HZ)
        loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max())
        times.append(((position + loud[0]) / RATE_HZ, (position + loud[-1]) / RATE_HZ))
        pieces += [0.3 * samples / np.abs(samples).max(), np.zeros(gap, dtype=np.float32)]
        position += len(samples) + gap
    whole = np.concatenate(pieces)
    noise = 0.0005 * rng.standard_normal(len(whole))
    return (whole + noise).astype(np.float32), times


def in_blocks(samples: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    """The samples in blocks of these sizes, the rest in one."""
    return np.split(samples, np.minimum(np.cumsum(sizes), len(samples)))


def activity(probabilities: list[float], loudness: list[float] | None = None) -> Activity:
    values = np.array(probabilities, dtype=np.float32)
    loud = np.full(len(values), -20.0) if loudness is None else np.array(loudness)
    return Activity(values, loud.astype(np.float32), len(values) * FRAME_SECONDS)


def frames_of(found: list[Segment]) -> list[tuple[int, int]]:
    return [(round(s.start_seconds / 0.032), round(s.end_seconds / 0.032)) for s in found]


EVERY_FRAME = SegmentConfig(least_gap_seconds=0.0, least_speech_seconds=0.0, padding_seconds=0.0)


def test_speech_is_found_where_it_was_planted(
    detector: SpeechDetector, planted: tuple[np.ndarray, list[tuple[float, float]]]
) -> None:
    samples, times = planted
    found = find_segments(detector.listen([samples]))
    assert len(found) == 3
    for segment, (start, end) in zip(found, times, strict=True):
        assert abs(segment.start_seconds - start) < 0.1
        assert abs(segment.end_seconds - end) < 0.1


def test_a_stream_gives_what_the_whole_gives(
    detector: SpeechDetector, planted: tuple[np.ndarray, list[tuple[float, float]]]
) -> None:
    samples, _ = planted
    whole = detector.listen([samples])
    for sizes in ([1, 2, 3, 511, 512, 513], [0, 100], [7000] * 9, [200_000]):
        streamed = detector.listen(iter(in_blocks(samples, sizes)))
        np.testing.assert_array_equal(streamed.probabilities, whole.probabilities)
        np.testing.assert_array_equal(streamed.loudness_db, whole.loudness_db)
        assert streamed.seconds == whole.seconds == len(samples) / RATE_HZ


def test_probabilities_are_those_of_the_packages_frame_by_frame_model(
    detector: SpeechDetector, planted: tuple[np.ndarray, list[tuple[float, float]]]
) -> None:
    """Against silero_vad.onnx, the model that silero-vad itself runs, one frame at a time."""
    import onnxruntime

    spec = find_spec("silero_vad")
    assert spec is not None
    assert spec.origin is not None
    session = onnxruntime.InferenceSession(
        str(Path(spec.origin).parent / "data" / "silero_vad.onnx"),
        providers=["CPUExecutionProvider"],
    )
    samples = planted[0][: 80 * 512]
    state = np.zeros((2, 1, 128), dtype=np.float32)
    context = np.zeros(64, dtype=np.float32)
    expected = []
    for start in range(0, len(samples), 512):
        frame = np.concatenate([context, samples[start : start + 512]])
        value, state = session.run(
            None, {"input": frame[None], "state": state, "sr": np.array(RATE_HZ)}
        )
        expected.append(float(value[0, 0]))
        context = frame[-64:]
    found = detector.listen([samples]).probabilities
    assert max(expected) > 0.9
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_silence_noise_and_music_are_not_speech(detector: SpeechDetector) -> None:
    noise = 0.01 * np.random.default_rng(1).standard_normal(32000).astype(np.float32)
    for samples in (np.zeros(32000, dtype=np.float32), noise, melody((0, 4, 7, 4) * 3)):
        assert find_segments(detector.listen([samples])) == []


def test_nothing_to_hear(detector: SpeechDetector) -> None:
    empty = np.zeros(0, dtype=np.float32)
    for blocks in ([], [empty], [empty, empty]):
        heard = detector.listen(blocks)
        assert (len(heard.probabilities), heard.seconds) == (0, 0.0)
        assert find_segments(heard) == []
    short = detector.listen([np.full(100, 0.1, dtype=np.float32)])
    assert len(short.probabilities) == 1
    assert short.seconds == 100 / RATE_HZ
    # 100 of 512 samples have a power of 0.01: 10 log10(0.01 * 100 / 512) = -27.09 dB.
    assert short.loudness_db[0] == pytest.approx(-27.093, abs=1e-3)


@pytest.mark.parametrize(
    ("samples", "problem"),
    [(np.array([0.0, np.nan], np.float32), "NaN"), (np.zeros((4, 2), np.float32), r"\(4, 2\)")],
)
def test_samples_that_are_none(detector: SpeechDetector, samples: np.ndarray, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        detector.listen([samples])


def test_a_run_reaches_as_far_as_the_release() -> None:
    #        0    1    2    3    4    5    6    7    8
    found = [0.1, 0.4, 0.6, 0.4, 0.2, 0.4, 0.4, 0.1, 0.5]
    assert frames_of(find_segments(activity(found), EVERY_FRAME)) == [(1, 4), (8, 9)]


def test_short_pauses_are_bridged_and_short_speech_is_dropped() -> None:
    # Frames of 32 ms: a pause of 3 is 96 ms, of 4 is 128 ms.
    found = [1.0] * 5 + [0.0] * 3 + [1.0] * 5 + [0.0] * 4 + [1.0] * 3 + [0.0] * 9 + [1.0] * 4
    config = SegmentConfig(least_gap_seconds=0.1, least_speech_seconds=0.1)
    assert frames_of(find_segments(activity(found), config)) == [(0, 13), (29, 33)]


def test_quiet_ends_are_taken_off_but_no_more_than_five_frames() -> None:
    loudness = [-60.0] * 2 + [-20.0] * 4 + [-60.0] + [-20.0] * 3 + [-60.0] * 7
    found = find_segments(activity([1.0] * 17, loudness), EVERY_FRAME)
    assert frames_of(found) == [(2, 12)]
    loud_enough = SegmentConfig(padding_seconds=0.0, edge_db=40.0)
    assert frames_of(find_segments(activity([1.0] * 17, loudness), loud_enough)) == [(0, 17)]


def test_what_is_too_long_is_cut_at_its_least_speech_like_frame() -> None:
    # At most 31 frames (1 s); the cut lies in frames 15 to 30 of what is left.
    found = [0.9] * 70
    found[20] = found[19] = found[21] = 0.4
    loudness = [-20.0] * 70
    loudness[38] = -30.0
    config = SegmentConfig(longest_seconds=1.0, padding_seconds=0.05)
    cut = find_segments(activity(found, loudness), config)
    # 20 by its probability; then nothing is below the threshold, so 38 (or a neighbour, since three
    # frames are averaged) by its loudness; the rest of 32 frames again, as quiet everywhere.
    assert frames_of(cut)[0] == (0, 20)
    assert abs(frames_of(cut)[1][1] - 38) <= 1
    assert all(s.end_seconds - s.start_seconds <= 1.0 for s in cut)
    assert [s.start_seconds for s in cut[1:]] == [s.end_seconds for s in cut[:-1]]
    # What was one is heard once.
    assert all(s.heard_to_seconds == t.heard_from_seconds for s, t in itertools.pairwise(cut))


def test_padding_stops_half_way_to_the_neighbour_and_at_the_ends() -> None:
    found = [0.0] + [1.0] * 10 + [0.0] * 2 + [1.0] * 10 + [0.0] * 20
    config = SegmentConfig(least_gap_seconds=0.0, padding_seconds=0.1)
    first, second = find_segments(activity(found), config)
    assert first.heard_from_seconds == 0.0
    assert first.heard_to_seconds == pytest.approx(12 * 0.032)
    assert second.heard_from_seconds == pytest.approx(12 * 0.032)
    assert second.heard_to_seconds == pytest.approx(23 * 0.032 + 0.1)


@given(
    st.lists(st.sampled_from([0.0, 0.2, 0.36, 0.5, 0.9, 1.0]), max_size=200),
    st.floats(0.0, 0.5),
    st.floats(1.0, 3.0),
    st.integers(0, 511),
)
def test_segments_are_in_order_inside_and_not_too_long(
    found: list[float], padding: float, longest: float, missing: int
) -> None:
    heard = activity(found)
    seconds = max(0.0, heard.seconds - missing / RATE_HZ)
    config = SegmentConfig(padding_seconds=padding, longest_seconds=longest)
    cut = find_segments(Activity(heard.probabilities, heard.loudness_db, seconds), config)
    ends = [0.0]
    for segment in cut:
        assert ends[-1] <= segment.heard_from_seconds + 1e-9
        assert segment.heard_from_seconds <= segment.start_seconds < segment.end_seconds
        assert segment.end_seconds <= segment.heard_to_seconds <= seconds + 1e-9
        assert segment.end_seconds - segment.start_seconds <= longest + 1e-9
        ends.append(segment.heard_to_seconds)


@given(st.lists(st.integers(0, 9000), max_size=12), st.integers(0, 40_000))
def test_pieces_are_slices_whatever_the_blocks(sizes: list[int], count: int) -> None:
    samples = np.arange(count, dtype=np.float32)
    spans = [(0.0, 0.1), (0.1, 0.5), (0.75, 1.25), (1.25, 1.5), (2.0, 2.4)]
    wanted = [Segment(a, b, a, b) for a, b in spans]
    found = list(pieces_of(in_blocks(samples, sizes), wanted))
    assert len(found) == len(spans)
    for piece, (start, end) in zip(found, spans, strict=True):
        np.testing.assert_array_equal(piece, samples[round(start * 16000) : round(end * 16000)])


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"threshold": 0.2}, "release 0.35"),
        ({"threshold": 1.0}, "between 0 and 1"),
        ({"padding_seconds": -1.0}, "padding_seconds must be finite and not negative"),
        ({"least_gap_seconds": float("nan")}, "least_gap_seconds"),
        ({"longest_seconds": 0.5}, "at least 1"),
    ],
)
def test_settings_that_make_no_sense(changes: dict[str, float], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        SegmentConfig(**changes)


def test_a_missing_or_old_detector_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"silero-vad is not installed.*isogloss\[speech\]"):
        SpeechDetector()
    (tmp_path / "silero_vad").mkdir()

    class Old:
        origin = str(tmp_path / "silero_vad" / "__init__.py")

    monkeypatch.setattr(module, "find_spec", lambda name: Old)
    with pytest.raises(IsoglossError, match=r"pip install 'silero-vad>=6\.2\.3'"):
        SpeechDetector()
