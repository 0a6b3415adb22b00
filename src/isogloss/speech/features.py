"""Log-mel filterbank of a waveform, as Kaldi computes it; called by training and by encoders.

`fbank` turns 16 kHz samples into (T, 80) log energies, one row every 10 ms.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    from isogloss.types import FloatArray

__all__ = ["FRAME_SHIFT_SECONDS", "MEL_BINS", "fbank", "frame_count"]

MEL_BINS = 80
FRAME_SHIFT_SECONDS = 0.01

_FRAME_LENGTH_SECONDS = 0.025
_PREEMPHASIS = 0.97
_LOW_HZ = 20.0
# Distance of the highest filter's end from half the sampling rate, the value lhotse passes.
_BELOW_NYQUIST_HZ = 400.0
_POVEY_EXPONENT = 0.85
_ENERGY_FLOOR = float(torch.finfo(torch.float32).eps)
# Frames transformed at once: a minute of sound needs 12 MB of spectra, an hour no more.
_BLOCK_FRAMES = 6000


def frame_count(samples: int, *, sample_rate_hz: int = 16000) -> int:
    """Frames that `fbank` gives for so many samples: (S + shift // 2) // shift.

    The shift is 10 ms (160 samples at 16 kHz), so the count is the duration rounded to 10 ms.
    """
    shift = round(FRAME_SHIFT_SECONDS * sample_rate_hz)
    return (samples + shift // 2) // shift


def fbank(samples: FloatArray | Tensor, *, sample_rate_hz: int = 16000) -> Tensor:
    """Log-mel energies of a waveform: (T, 80) float32, T = (S + 80) // 160 at 16 kHz.

    Frames of 25 ms every 10 ms, centred so that frame t lies around sample 160 t + 80; sound
    before the start and after the end is taken as the mirror image of what is there. Each frame
    loses its mean, is pre-emphasised (0.97), multiplied with the Povey window, and its power
    spectrum (512 points) is summed under 80 triangular filters from 20 Hz to 7,600 Hz. Digital
    silence gives log(2**-23) = -15.94 everywhere. No dither, so equal samples give equal features.

    Args:
        samples: (S,) in [-1, 1], numpy or torch; integers are refused because their scale is
            unknown.
        sample_rate_hz: rate of `samples`; the filters follow it, the models expect 16000.

    Raises:
        ValueError: not one-dimensional, not floating point, not finite, a rate below 1000 Hz, or
            shorter than one frame (400 samples at 16 kHz).

    Source: Kaldi's feature-fbank with the options of icefall and lhotse (snip_edges false, high
    frequency -400, samples in [-1, 1] instead of 16-bit values).
    """
    wave = torch.as_tensor(samples)
    if wave.dim() != 1:
        raise ValueError(f"samples must be (S,), got {tuple(wave.shape)}; mix to mono first")
    if not wave.is_floating_point():
        raise ValueError(f"samples must be floating point in [-1, 1], got {wave.dtype}")
    if sample_rate_hz < 1000:
        raise ValueError(f"sample_rate_hz must be at least 1000, got {sample_rate_hz}")
    shift = round(FRAME_SHIFT_SECONDS * sample_rate_hz)
    length = round(_FRAME_LENGTH_SECONDS * sample_rate_hz)
    if wave.numel() < length:
        raise ValueError(
            f"{wave.numel()} samples are less than one frame of {length} "
            f"({_FRAME_LENGTH_SECONDS * 1000:g} ms at {sample_rate_hz} Hz)"
        )
    wave = wave.to(torch.float32)
    if not bool(torch.isfinite(wave).all()):
        raise ValueError("samples hold NaN or infinity")
    frames = _mirrored(wave, length, shift).unfold(0, length, shift)
    window = _window(length).to(wave.device)
    filters = _filters(sample_rate_hz, _spectrum_points(length)).to(wave.device)
    blocks = [_log_mel(block, window, filters) for block in torch.split(frames, _BLOCK_FRAMES)]
    return torch.cat(blocks)


def _log_mel(frames: Tensor, window: Tensor, filters: Tensor) -> Tensor:
    frames = frames - frames.mean(dim=1, keepdim=True)
    # The first sample of a frame has no predecessor and serves as its own.
    previous = torch.cat([frames[:, :1], frames[:, :-1]], dim=1)
    frames = (frames - _PREEMPHASIS * previous) * window
    spectrum = torch.fft.rfft(frames, n=_spectrum_points(frames.shape[1]), dim=1)
    power = spectrum.real.square() + spectrum.imag.square()
    # Kaldi's filters leave out the bin at half the sampling rate.
    energies: Tensor = power[:, :-1] @ filters
    return energies.clamp_min(_ENERGY_FLOOR).log()


def _mirrored(wave: Tensor, length: int, shift: int) -> Tensor:
    """`wave` with its mirror image at both ends, so that every frame is full."""
    count = (wave.numel() + shift // 2) // shift
    left = length // 2 - shift // 2
    right = (count - 1) * shift + length - left - wave.numel()
    pieces = [wave[:left].flip(0), wave]
    if right > 0:
        pieces.append(wave[-right:].flip(0))
    return torch.cat(pieces)


def _spectrum_points(length: int) -> int:
    return 1 << (length - 1).bit_length()


@functools.cache
def _window(length: int) -> Tensor:
    """Povey's window, a Hann window to the power 0.85."""
    phase = torch.arange(length, dtype=torch.float64) * (2 * math.pi / (length - 1))
    return (0.5 - 0.5 * phase.cos()).pow(_POVEY_EXPONENT).float()


def _mel(hertz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return 1127.0 * np.log1p(hertz / 700.0)


@functools.cache
def _filters(sample_rate_hz: int, points: int) -> Tensor:
    """(points / 2, 80) triangles, equally wide and half overlapping on the mel scale."""
    high_hz = sample_rate_hz / 2 - _BELOW_NYQUIST_HZ
    low, high = _mel(np.array([_LOW_HZ, high_hz]))
    edges = low + (high - low) / (MEL_BINS + 1) * np.arange(MEL_BINS + 2, dtype=np.float64)
    bins = _mel(np.arange(points // 2, dtype=np.float64) * (sample_rate_hz / points))[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    weights = np.maximum(np.minimum(rising, falling), 0.0)
    return torch.from_numpy(weights.astype(np.float32))
