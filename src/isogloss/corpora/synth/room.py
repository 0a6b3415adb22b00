"""A dry recording in, the same in a room with noise out: simple augmentation for synthetic speech.

The room is exponentially decaying noise (Polack's model of a diffuse tail), the noise has a random
spectral slope. Real rooms and real noise are for `speech.augment`, which takes recordings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from isogloss.types import FloatArray

__all__ = ["add_noise", "add_room"]


def add_room(
    samples: FloatArray, sample_rate_hz: int, *, rt60_seconds: float, rng: np.random.Generator
) -> FloatArray:
    """`samples` (S,) with the tail of a room that decays by 60 dB in `rt60_seconds`; length kept.

    The direct sound comes first and 9 dB above the tail; peaks are scaled back to the input's.
    """
    if rt60_seconds <= 0:
        raise ValueError(f"rt60_seconds must be positive, got {rt60_seconds}")
    length = max(2, int(rt60_seconds * sample_rate_hz))
    decay = np.exp(-6.908 * np.arange(length) / length)
    tail = rng.standard_normal(length) * decay
    tail *= 10 ** (-9 / 20) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    size = len(samples) + length
    wet = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(tail, size), size)[: len(samples)]
    peak_before, peak_after = np.abs(samples).max(initial=0.0), np.abs(wet).max(initial=0.0)
    if peak_after > 0:
        wet *= peak_before / peak_after
    return wet.astype(np.float32)


def add_noise(samples: FloatArray, *, snr_db: float, rng: np.random.Generator) -> FloatArray:
    """`samples` (S,) plus noise at a signal-to-noise ratio in dB over the whole utterance.

    The noise falls by 0 to 6 dB an octave, drawn from `rng`. Silence stays silence.
    """
    power = float(np.mean(samples.astype(np.float64) ** 2)) if len(samples) else 0.0
    if power == 0.0:
        return samples.copy()
    spectrum = np.fft.rfft(rng.standard_normal(len(samples)))
    spectrum[1:] /= np.arange(1, len(spectrum)) ** rng.uniform(0.0, 1.0)
    noise = np.fft.irfft(spectrum, len(samples))
    noise *= np.sqrt(power / (10 ** (snr_db / 10) * np.mean(noise**2)))
    return (samples + noise).astype(np.float32)
