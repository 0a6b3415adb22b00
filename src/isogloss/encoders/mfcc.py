"""Mel-frequency cepstra of a waveform, as Kaldi computes them for TeleSpeech; used by `onnx`."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from isogloss.types import FloatArray

__all__ = ["mfcc"]

_RATE_HZ = 16000
_LENGTH, _SHIFT, _POINTS = 400, 160, 512
_COUNT = 40
_LOW_HZ, _HIGH_HZ = 40.0, _RATE_HZ / 2 - 200.0
_PREEMPHASIS = 0.97
_LIFTER = 22.0
_BLOCK_FRAMES = 6000


def mfcc(samples: FloatArray) -> FloatArray:
    """(T, 40) cepstra of (S,) samples at 16 kHz, one row every 10 ms: T = (S - 400) // 160 + 1.

    Frames of 25 ms that lie wholly inside lose their mean, are pre-emphasised (0.97), multiplied
    with the Povey window, and their power summed under 40 triangular filters from 40 to 7,800 Hz.
    The cosine transform of the logarithms, all 40 of them, is weighted by Kaldi's lifter (22). No
    dither; the first is the cosine transform's, not the energy.

    Raises:
        ValueError: fewer than 400 samples.

    Source: Kaldi's feature-mfcc with the options that sherpa-onnx sets for TeleSpeech models.
    """
    if len(samples) < _LENGTH:
        raise ValueError(f"{len(samples)} samples are less than one frame of {_LENGTH}")
    frames = np.lib.stride_tricks.sliding_window_view(samples, _LENGTH)[::_SHIFT]
    blocks = [
        _cepstra(frames[first : first + _BLOCK_FRAMES])
        for first in range(0, len(frames), _BLOCK_FRAMES)
    ]
    return np.concatenate(blocks)


def _cepstra(frames: FloatArray) -> FloatArray:
    x = frames - frames.mean(axis=1, keepdims=True)
    # The first sample of a frame has no predecessor and serves as its own.
    previous = np.concatenate([x[:, :1], x[:, :-1]], axis=1)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_LENGTH) / (_LENGTH - 1))
    x = (x - _PREEMPHASIS * previous) * hann**0.85
    power = np.abs(np.fft.rfft(x, n=_POINTS, axis=1))[:, :-1] ** 2
    energies = np.maximum(power @ _filters(), np.finfo(np.float32).eps)
    cepstra: FloatArray = (np.log(energies) @ _cosines()).astype(np.float32)
    return cepstra


@functools.cache
def _filters() -> npt.NDArray[np.float64]:
    """(256, 40) triangles, equally wide and half overlapping on the mel scale."""
    low, high = _mel(np.array([_LOW_HZ, _HIGH_HZ]))
    edges = low + (high - low) / (_COUNT + 1) * np.arange(_COUNT + 2)
    bins = _mel(np.arange(_POINTS // 2) * (_RATE_HZ / _POINTS))[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    weights: npt.NDArray[np.float64] = np.maximum(np.minimum(rising, falling), 0.0)
    return weights


def _mel(hertz: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    mels: npt.NDArray[np.float64] = 1127.0 * np.log1p(hertz / 700.0)
    return mels


@functools.cache
def _cosines() -> npt.NDArray[np.float64]:
    """(40 filters, 40 cepstra): orthonormal cosine transform, weighted by the lifter."""
    order = np.arange(_COUNT)
    matrix = np.cos(np.pi / _COUNT * (np.arange(_COUNT)[:, None] + 0.5) * order)
    matrix *= np.sqrt(2.0 / _COUNT)
    matrix[:, 0] = np.sqrt(1.0 / _COUNT)
    weighted: npt.NDArray[np.float64] = matrix * (
        1.0 + 0.5 * _LIFTER * np.sin(np.pi * order / _LIFTER)
    )
    return weighted
