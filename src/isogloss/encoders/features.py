"""Items in, their samples or log-mel frames out; every failure names the recording."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isogloss.corpora.audio import read_audio
from isogloss.errors import AudioError, MissingExtra

if TYPE_CHECKING:
    from torch import Tensor

    from isogloss.types import FloatArray, Item

__all__ = ["LONGEST_SECONDS", "item_features", "item_samples", "needs_device", "needs_torch"]

LONGEST_SECONDS = 120.0
"""Longer recordings are refused: attention needs memory that grows with the square of the time."""

_SAMPLE_RATE_HZ = 16000


def needs_torch() -> None:
    """Raise `MissingExtra` when torch is not installed."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingExtra("speech", "torch") from error


def needs_device(device: str) -> None:
    """Raise unless torch can put something on `device`.

    Raises:
        ValueError: there is no such device here.
        MissingExtra: torch is not installed.
    """
    needs_torch()
    import torch

    try:
        torch.empty(0, device=device)
    # torch says so with whatever its build has at hand.
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"device '{device}' cannot be used here: {reason}; use cpu") from error


def item_samples(
    item: Item, *, sample_rate_hz: int = _SAMPLE_RATE_HZ, least_samples: int = 1
) -> FloatArray:
    """Samples of an item's recording, (S,) float32, mono.

    Raises:
        AudioError: the recording cannot be read, is longer than `LONGEST_SECONDS`, or has fewer
            than `least_samples` samples.
        ValueError: the item has no audio.
    """
    if item.audio is None:
        raise ValueError(f"item '{item.id}' has no audio; a speech encoder needs a recording")
    samples = read_audio(
        item.audio,
        start_seconds=item.start_seconds,
        end_seconds=item.end_seconds,
        sample_rate_hz=sample_rate_hz,
    )
    seconds = len(samples) / sample_rate_hz
    if seconds > LONGEST_SECONDS:
        raise AudioError(
            item.audio,
            f"item '{item.id}' lasts {seconds:.0f} s, more than {LONGEST_SECONDS:.0f} s; "
            "cut it with start_seconds and end_seconds",
        )
    if len(samples) < least_samples:
        raise AudioError(
            item.audio,
            f"item '{item.id}' lasts {seconds:.3f} s; the encoder needs at least "
            f"{least_samples / sample_rate_hz:.3f} s",
        )
    return samples


def item_features(item: Item, *, least_frames: int = 1) -> Tensor:
    """Log-mel frames of an item's recording, (T, 80) float32, 100 a second.

    Raises:
        AudioError: the recording cannot be read, is longer than `LONGEST_SECONDS`, or gives fewer
            than `least_frames` frames.
        ValueError: the item has no audio.
    """
    from isogloss.speech.features import fbank

    samples = item_samples(item, least_samples=0)
    path = str(item.audio)
    try:
        frames = fbank(samples, sample_rate_hz=_SAMPLE_RATE_HZ)
    except ValueError as error:
        raise AudioError(path, f"item '{item.id}': {error}") from error
    if len(frames) < least_frames:
        raise AudioError(
            path,
            f"item '{item.id}' lasts {len(samples) / _SAMPLE_RATE_HZ:.3f} s; the encoder needs at "
            f"least {least_frames / 100:.2f} s",
        )
    return frames
