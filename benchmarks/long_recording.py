"""Transcription of one long recording made of test utterances: times, errors, speed.

Run it with: python benchmarks/long_recording.py MODEL MANIFEST [--minutes 20] [--json]

Utterances of one split are drawn in random order until the recording is long enough; between two
lies a gap of 0.3 to 2 s, and room noise, quieter than the speech by --noise-db, lies under all of
it. `transcribe_recordings` reads it as a user's recording is read.

The truth of an utterance is where its sound lies: its first and last 10 ms of a power within 40 dB
of its loudest 10 ms, so that silence at the ends of a clip does not count. An utterance is found
when exactly one segment overlaps it by half of the shorter of the two, and this segment overlaps no
other utterance so: split, merged and missed utterances are failures. Of those found, both ends must
lie within 0.3 s of the truth. Segments that match no utterance are counted as well.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss.corpora.audio import read_audio, write_wav
from isogloss.corpora.jsonl import read_corpus
from isogloss.encoders import own
from isogloss.measures import cer
from isogloss.speech.long_transcription import LongTranscription, transcribe_recordings
from isogloss.speech.segments import SegmentConfig
from isogloss.speech.transcripts import Transcript, transcript_text
from isogloss.types import Item

if TYPE_CHECKING:
    from isogloss.types import FloatArray

RATE_HZ = 16000
TOLERANCE_SECONDS = 0.3
GAP_SECONDS = (0.3, 2.0)
TRUTH_DB = 40.0


@dataclass(frozen=True)
class Truth:
    """One utterance in the recording: where its sound lies, what is said, and which item it is."""

    start_seconds: float
    end_seconds: float
    text: str
    item: int


def sound_of(samples: FloatArray) -> tuple[float, float]:
    """First and last second of sound within `TRUTH_DB` of the loudest 10 ms."""
    frames = samples[: len(samples) // 160 * 160].reshape(-1, 160)
    decibels = 10 * np.log10(np.square(frames, dtype=np.float64).mean(axis=1) + 1e-12)
    loud = np.flatnonzero(decibels >= decibels.max() - TRUTH_DB)
    return float(loud[0]) * 0.01, float(loud[-1] + 1) * 0.01


def room_noise(count: int, level_db: float, rng: np.random.Generator) -> FloatArray:
    """Noise that falls by 3 dB an octave, at `level_db` of full scale: (S,) float32."""
    block = 1 << 18
    pieces = []
    for _ in range(-(-count // block)):
        spectrum = np.fft.rfft(rng.standard_normal(block))
        spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
        spectrum[0] = 0.0
        noise = np.fft.irfft(spectrum, block)
        pieces.append(noise * 10 ** (level_db / 20) / noise.std())
    return np.concatenate(pieces)[:count].astype(np.float32)


def long_recording(
    items: list[Item], minutes: float, noise_db: float, seed: int
) -> tuple[FloatArray, list[Truth]]:
    """The samples of a recording of at least `minutes`, and what is said where in it."""
    rng = np.random.default_rng(seed)
    gap = round(rng.uniform(*GAP_SECONDS) * RATE_HZ)
    pieces, truth, position = [np.zeros(gap, dtype=np.float32)], [], gap
    order: list[int] = []
    while position < minutes * 60 * RATE_HZ:
        order = order or rng.permutation(len(items)).tolist()
        number = order.pop()
        item = items[number]
        samples = read_audio(str(item.audio))
        start, end = sound_of(samples)
        begin = position / RATE_HZ
        text = item.translation or item.transcript or ""
        truth.append(Truth(begin + start, begin + end, text, number))
        silence = np.zeros(round(rng.uniform(*GAP_SECONDS) * RATE_HZ), dtype=np.float32)
        pieces += [samples, silence]
        position += len(samples) + len(silence)
    whole = np.concatenate(pieces)
    speech_db = 10 * np.log10(np.square(whole[whole != 0.0], dtype=np.float64).mean())
    return whole + room_noise(len(whole), float(speech_db) - noise_db, rng), truth


def matched(truth: list[Truth], found: Transcript) -> list[int | None]:
    """Number of the one segment that matches each utterance, None for a failure."""
    overlaps: list[list[int]] = [[] for _ in truth]
    of_segment = [0] * len(found.segments)
    for i, said in enumerate(truth):
        for k, segment in enumerate(found.segments):
            start = max(said.start_seconds, segment.start_seconds)
            common = min(said.end_seconds, segment.end_seconds) - start
            shorter = min(
                said.end_seconds - said.start_seconds, segment.end_seconds - segment.start_seconds
            )
            if common >= 0.5 * shorter > 0:
                overlaps[i].append(k)
                of_segment[k] += 1
    return [ks[0] if len(ks) == 1 and of_segment[ks[0]] == 1 else None for ks in overlaps]


def judged(truth: list[Truth], found: Transcript) -> dict[str, Any]:
    """Shares of utterances with right times, and how far they are off."""
    match = matched(truth, found)
    pairs = [
        (said, found.segments[k]) for said, k in zip(truth, match, strict=True) if k is not None
    ]
    starts = np.array([s.start_seconds - t.start_seconds for t, s in pairs])
    ends = np.array([s.end_seconds - t.end_seconds for t, s in pairs])
    right_start, right_end = abs(starts) <= TOLERANCE_SECONDS, abs(ends) <= TOLERANCE_SECONDS
    first_units = [s.units[0].start_seconds - t.start_seconds for t, s in pairs if s.units]
    last_units = [s.units[-1].end_seconds - t.end_seconds for t, s in pairs if s.units]
    errors = cer(["".join(t.text for t in truth)], [transcript_text(found)], resamples=0)
    return {
        "utterances": len(truth),
        "segments": len(found.segments),
        "found": len(pairs) / len(truth),
        "start_within": float(right_start.sum()) / len(truth),
        "end_within": float(right_end.sum()) / len(truth),
        "both_within": float((right_start & right_end).sum()) / len(truth),
        "start_error_ms": spread(starts),
        "end_error_ms": spread(ends),
        "first_unit_after_start_ms": spread(np.array(first_units)),
        "last_unit_after_end_ms": spread(np.array(last_units)),
        "cer": errors.value,
    }


def spread(seconds: FloatArray | np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, int] | None:
    """Median and the 5th and 95th percentile, in milliseconds."""
    if not len(seconds):
        return None
    low, middle, high = np.percentile(seconds, [5, 50, 95]) * 1000
    return {"p5": round(low), "median": round(middle), "p95": round(high)}


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", help="folder of a trained model")
    parser.add_argument("manifest", help="corpus whose utterances are joined")
    parser.add_argument("--split", default="test")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--noise-db", type=float, default=40.0, help="speech above noise")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--beam", type=int, default=1)
    parser.add_argument("--segments", default="{}", help="JSON of SegmentConfig's fields")
    parser.add_argument("--keep", type=Path, help="write the recording and its transcript here")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    corpus = read_corpus(arguments.manifest)
    items = [i for i in corpus.items if i.split == arguments.split and i.audio is not None]
    samples, truth = long_recording(items, arguments.minutes, arguments.noise_db, arguments.seed)
    encoder = own.load(arguments.model)
    config = LongTranscription(
        beam=arguments.beam, segments=SegmentConfig(**json.loads(arguments.segments))
    )
    with tempfile.TemporaryDirectory() as folder:
        path = (arguments.keep or Path(folder)) / "long.wav"
        write_wav(path, samples, RATE_HZ)
        began, began_cpu = time.perf_counter(), time.process_time()
        read = list(
            transcribe_recordings(encoder, [Item("long", "und", audio=str(path.resolve()))], config)
        )
        taken, cpu = time.perf_counter() - began, time.process_time() - began_cpu
        cut_at_truth = oracle_cer(encoder, path, truth)
    found = read[0]
    if not isinstance(found, Transcript):
        raise SystemExit(f"not read: {found.problem}")
    result = judged(truth, found)
    result |= {
        "minutes": len(samples) / RATE_HZ / 60,
        "real_time_factor": taken / (len(samples) / RATE_HZ),
        "processor_seconds_per_second": cpu / (len(samples) / RATE_HZ),
        "cer_cut_at_the_truth": cut_at_truth,
        "cer_of_the_clips": clips_cer(encoder, items, truth),
    }
    if arguments.json:
        print(json.dumps(result, indent=2))
        return
    for name, value in result.items():
        print(f"{name:28}{value:.4f}" if isinstance(value, float) else f"{name:28}{value}")


def clips_cer(encoder: own.OwnEncoder, items: list[Item], truth: list[Truth]) -> float:
    """CER of the clips themselves, each as often as it was drawn: no gaps, no noise."""
    drawn = sorted({said.item for said in truth})
    read = dict(zip(drawn, encoder.transcribe([items[i] for i in drawn]), strict=True))
    texts = [said.text for said in truth]
    return cer(texts, [read[said.item].text for said in truth], resamples=0).value


def oracle_cer(encoder: own.OwnEncoder, path: Path, truth: list[Truth]) -> float:
    """CER of the recording cut at the true times instead of those that were found."""
    items = [
        Item(
            str(i),
            "und",
            audio=str(path.resolve()),
            start_seconds=said.start_seconds,
            end_seconds=said.end_seconds,
        )
        for i, said in enumerate(truth)
    ]
    read = encoder.transcribe(items)
    return cer([said.text for said in truth], [r.text for r in read], resamples=0).value


if __name__ == "__main__":
    main()
