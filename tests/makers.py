"""Shared makers: a 12-item corpus of tone 'speech' whose melody is the meaning, small manifests.

Nothing here needs isogloss, so a fault in its writers cannot hide a fault in its readers.
"""

from __future__ import annotations

import json
import wave
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

SAMPLE_RATE_HZ = 16000
MELODIES = ((0, 4, 7, 4), (12, 7, 3, 0), (5, 5, 9, 2), (2, 11, 2, 7))
"""Semitones above the voice's lowest note; melody i is the meaning `m<i>`."""
VOICES = {
    "cmn": ("voice-a", 220.0, (1.0, 0.5, 0.25)),
    "yue": ("voice-b", 233.0, (1.0, 0.1, 0.6)),
    "hak": ("voice-c", 207.0, (1.0, 0.8, 0.05)),
}
"""Variety to its one speaker, lowest note in Hz and strength of the overtones."""


def melody(
    semitones: Sequence[int],
    *,
    lowest_hz: float = 220.0,
    overtones: Sequence[float] = (1.0,),
    note_seconds: float = 0.2,
    noise: float = 0.002,
    seed: int = 0,
) -> np.ndarray:
    """Notes one after another with soft edges and a little noise: (S,) float32, peak 0.5."""
    time = np.arange(round(note_seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    edge = np.minimum(1.0, np.minimum(time, time[::-1]) / 0.01)
    notes = []
    for semitone in semitones:
        hz = lowest_hz * 2 ** (semitone / 12)
        waves = [a * np.sin(2 * np.pi * hz * (k + 1) * time) for k, a in enumerate(overtones)]
        notes.append(edge * np.sum(waves, axis=0))
    samples = np.concatenate(notes)
    samples *= 0.5 / np.abs(samples).max()
    samples += noise * np.random.default_rng(seed).standard_normal(len(samples))
    return samples.astype(np.float32)


def write_wav(path: Path, samples: np.ndarray, sample_rate_hz: int = SAMPLE_RATE_HZ) -> Path:
    """Write (S,) or (S, C) samples in [-1, 1] as 16-bit PCM; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pcm = np.round(np.clip(samples, -1, 1) * 32767).astype("<i2")
    with wave.open(str(path), "wb") as handle:
        handle.setnchannels(1 if pcm.ndim == 1 else pcm.shape[1])
        handle.setsampwidth(2)
        handle.setframerate(sample_rate_hz)
        handle.writeframes(pcm.tobytes())
    return path


def write_manifest(
    path: Path, records: Iterable[Mapping[str, Any]], *, header: Mapping[str, Any] | None = None
) -> Path:
    """Write one JSON object a line, after the header when one is given; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [] if header is None else [{"isogloss_corpus": 1, **header}]
    lines += [dict(record) for record in records]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    path.write_text(text, encoding="utf-8")
    return path


def melody_corpus(folder: Path, *, split: str | None = None) -> Path:
    """The manifest of 12 items: 4 melodies (the meanings) in each of cmn, yue and hak.

    Every note is a character of the transcript, so the melody can be learnt and spelt; the voices
    of the varieties differ in timbre and pitch, so no recording equals another.
    """
    records = []
    for variety, (speaker, lowest_hz, overtones) in VOICES.items():
        for number, semitones in enumerate(MELODIES):
            name = f"m{number}-{variety}"
            samples = melody(semitones, lowest_hz=lowest_hz, overtones=overtones, seed=number)
            write_wav(folder / "audio" / f"{name}.wav", samples)
            record = {
                "id": name,
                "variety": variety,
                "meaning": f"m{number}",
                "audio": f"audio/{name}.wav",
                "transcript": "".join("一二三四五六七八九十百千万"[s] for s in semitones),
                "speaker": speaker,
            }
            records.append(record if split is None else {**record, "split": split})
    return write_manifest(folder / "manifest.jsonl", records, header={"name": "melodies"})


def recordings_with_faults(folder: Path) -> Path:
    """A folder of nine recordings with a `metadata.tsv`, as the reader `folder` takes it.

    Four are in order; the others are stereo at 44.1 kHz, silent, cut off, 0 bytes long, and of a
    variety whose code is misspelt.
    """
    rows = ["audio\tvariety\tmeaning\ttranscript\tspeaker"]
    texts = {"cmn": "他回家了", "yue": "佢返屋企喇", "hak": "佢转屋下了"}
    for variety, (speaker, lowest_hz, overtones) in VOICES.items():
        for number, semitones in enumerate(MELODIES[:3]):
            suffix = "mp3" if (variety, number) == ("hak", 2) else "wav"
            name = f"{variety}/{number}.{suffix}"
            samples = melody(semitones, lowest_hz=lowest_hz, overtones=overtones, seed=number)
            write_wav(folder / name, samples)
            code = "hkk" if (variety, number) == ("hak", 0) else variety
            rows.append(f"{name}\t{code}\ts{number}\t{texts[variety]}\t{speaker}")
    stereo = np.repeat(melody(MELODIES[0], seed=1)[:, None], 2, axis=1)
    write_wav(folder / "yue" / "0.wav", stereo, 44100)
    write_wav(folder / "yue" / "1.wav", np.zeros(SAMPLE_RATE_HZ))
    cut = folder / "yue" / "2.wav"
    cut.write_bytes(cut.read_bytes()[:9000])
    (folder / "hak" / "2.mp3").write_bytes(b"")
    (folder / "metadata.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder
