"""Training features and samples made harder: SpecAugment, two views for CR-CTC, speed, noise.

Every random choice comes from the seed in the call, never from a global state that is left
changed, so that a resumed run sees the same batches.
"""

from __future__ import annotations

import math
import random
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from isogloss.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from isogloss.types import FloatArray

__all__ = [
    "SpecAugmentConfig",
    "add_noise",
    "coloured_noise",
    "perturb_speed",
    "seeded",
    "spec_augment",
    "two_views",
]


@dataclass(frozen=True, slots=True)
class SpecAugmentConfig:
    """Options of SpecAugment; the defaults are icefall's for Zipformer. Sizes in frames or bins."""

    time_warp_factor: int = 80
    """Farthest shift of the warped frame; 0 for no warping. Utterances of up to 161 frames (twice
    the factor, plus 1) are too short to be warped."""
    feature_masks: int = 2
    feature_mask_size: int = 27
    frame_masks: int = 10
    """Most time masks of an utterance; short ones get fewer, `frame_mask_size` apart."""
    frame_mask_size: int = 100
    max_frame_fraction: float = 0.15
    """Largest share of an utterance under time masks."""
    probability: float = 0.9
    """Share of utterances that are warped, and (drawn anew) of those that are masked."""

    def __post_init__(self) -> None:
        counts = (self.time_warp_factor, self.feature_masks, self.frame_masks)
        if min(counts) < 0 or min(self.feature_mask_size, self.frame_mask_size) < 1:
            raise ValueError(f"mask counts must be >= 0 and sizes >= 1, got {self}")
        if not (0.0 <= self.max_frame_fraction <= 1.0 and 0.0 <= self.probability <= 1.0):
            raise ValueError(f"fraction and probability must lie in [0, 1], got {self}")

    def with_more_time_masks(self, ratio: float) -> SpecAugmentConfig:
        """The same with `ratio` times the time masks, in number and in the share they may cover.

        Source: Yao et al. 2025 (arXiv 2410.05101), sec. 3.3; their ratio is 2.5.
        """
        if ratio < 0:
            raise ValueError(f"time mask ratio must be >= 0, got {ratio}")
        return replace(
            self,
            frame_masks=int(self.frame_masks * ratio),
            max_frame_fraction=min(1.0, self.max_frame_fraction * ratio),
        )


@contextmanager
def seeded(*seed: int) -> Iterator[None]:
    """A block in which `random`, numpy's and torch's global generators follow `seed` alone.

    lhotse draws from all three. They are seeded together from the numbers given, for training
    (seed, epoch, batch index), and put back as they were when the block ends, so that neither the
    block depends on what ran before nor dropout after it on the block. torch's accelerator
    generators are left alone: nothing here draws from them. Not for several threads at once.
    """
    if any(number < 0 for number in seed):
        raise ValueError(f"seeds must be >= 0, got {seed}")
    states = np.random.SeedSequence(seed).generate_state(3)
    before = (random.getstate(), np.random.get_state(), torch.get_rng_state())  # noqa: NPY002
    random.seed(int(states[0]))
    np.random.seed(int(states[1]))  # noqa: NPY002 - lhotse's time warp draws from it
    torch.default_generator.manual_seed(int(states[2]))
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        torch.set_rng_state(before[2])


def spec_augment(
    features: Tensor,
    lengths: Tensor,
    *,
    seed: Sequence[int],
    config: SpecAugmentConfig | None = None,
) -> Tensor:
    """A copy of `features` with each utterance warped in time and masked in time and frequency.

    Args:
        features: (N, T, F) float, padded at the end of T.
        lengths: (N,) real frames of each utterance.
        seed: numbers >= 0 that decide every draw, for training (seed, epoch, batch index).
        config: how much; None for the defaults.

    Returns:
        (N, T, F) of the same dtype and device. Masked places hold the mean of the utterance. The
        padding is neither read nor changed, so an utterance does not depend on how far its batch
        is padded. Utterances too short for a warp or a mask of one frame go without.

    Raises:
        MissingExtra: lhotse is not installed.
        ValueError: the shapes do not agree.

    Source: Park et al. 2019; the transforms are lhotse's, utterance by utterance.
    """
    _check_batch(features, lengths)
    config = config or SpecAugmentConfig()
    with seeded(*seed):
        return _masked(_warped(features, lengths, config), lengths, config)


def two_views(
    features: Tensor,
    lengths: Tensor,
    *,
    seed: Sequence[int],
    config: SpecAugmentConfig | None = None,
    time_mask_ratio: float = 2.5,
) -> tuple[Tensor, Tensor]:
    """The doubled batch of CR-CTC: each utterance warped once, then masked twice independently.

    Args:
        features: (N, T, F) float, padded at the end of T, not augmented yet.
        lengths: (N,) real frames of each utterance.
        seed: as for `spec_augment`.
        config: how much for one view; None for the defaults.
        time_mask_ratio: how many times more time masks than `config` says; with two views the
            masks may be larger, because each view is pulled towards what the other one saw.

    Returns:
        (2N, T, F) features and (2N,) lengths: rows i and N + i are the two views of utterance i.
        They have the same time axis, so that their outputs can be compared step by step.

    Source: Yao et al. 2025 (arXiv 2410.05101), sec. 3.2 and 3.3.
    """
    _check_batch(features, lengths)
    config = config or SpecAugmentConfig()
    masks = config.with_more_time_masks(time_mask_ratio)
    with seeded(*seed):
        warped = _warped(features, lengths, config)
        views = [_masked(warped, lengths, masks), _masked(warped, lengths, masks)]
    return torch.cat(views), torch.cat([lengths, lengths])


def perturb_speed(samples: FloatArray, factor: float, *, sample_rate_hz: int = 16000) -> FloatArray:
    """`samples` played `factor` times as fast, pitch raised with it (sox "speed").

    Args:
        samples: (S,) mono.
        factor: above 0; 0.9, 1.0 and 1.1 are usual. 1.0 gives the samples back as they are.
        sample_rate_hz: of the input and of the output.

    Returns:
        (about S / factor,) float32.

    Raises:
        MissingExtra: lhotse is not installed.
        ValueError: the factor is not above 0, or samples is not (S,).

    The work is done by lhotse's `Speed`, whose resampler is plain torch: torchaudio is not needed.
    """
    if factor <= 0 or not np.isfinite(factor):
        raise ValueError(f"speed factor must be above 0, got {factor}")
    samples = _mono(samples)
    if factor == 1.0 or not len(samples):
        return samples
    try:
        from lhotse.augmentation import Speed
    except ImportError as error:
        raise MissingExtra("speech", "lhotse") from error
    changed = Speed(factor=factor)(samples[None], sample_rate_hz)
    return np.ascontiguousarray(changed[0], dtype=np.float32)


def add_noise(
    samples: FloatArray,
    noise: FloatArray,
    *,
    snr_db: float,
    generator: np.random.Generator,
    sample_rate_hz: int = 16000,
) -> FloatArray:
    """`samples` plus a piece of `noise` that is `snr_db` decibels weaker in mean power.

    Args:
        samples: (S,) mono.
        noise: (M,) mono of the same rate: cut at a random place when longer, repeated from a
            random place when shorter.
        snr_db: power of the whole of `samples` over that of the piece; below 0 the noise is louder.
        generator: decides the place.
        sample_rate_hz: of both.

    Returns:
        (S,) float32, not clipped. Silent noise or silent samples give the samples back.

    Raises:
        MissingExtra: lhotse is not installed.
        ValueError: an array is not one-dimensional, or there is no noise.
    """
    samples, noise = _mono(samples), _mono(noise)
    if not len(noise):
        raise ValueError("the noise has no samples")
    if not samples.any():  # no power to set the noise against; lhotse would add it in full
        return samples
    try:
        from lhotse.audio.mixer import AudioMixer
    except ImportError as error:
        raise MissingExtra("speech", "lhotse") from error
    if len(noise) >= len(samples):
        start = int(generator.integers(len(noise) - len(samples) + 1))
        piece = noise[start : start + len(samples)]
    else:
        start = int(generator.integers(len(noise)))
        piece = np.resize(np.roll(noise, -start), len(samples))
    mixer = AudioMixer(samples[None], sampling_rate=sample_rate_hz)
    mixer.add_to_mix(piece[None], snr=snr_db)
    return np.ascontiguousarray(mixer.mixed_audio[0], dtype=np.float32)


def coloured_noise(
    count: int, *, generator: np.random.Generator, exponent: float = 1.0
) -> FloatArray:
    """Noise whose power falls with frequency as 1 / f ** exponent, for when none was recorded.

    Args:
        count: samples, at least 1.
        generator: decides the noise.
        exponent: 0 white, 1 pink (like many rooms), 2 brown.

    Returns:
        (count,) float32 of mean 0 and root mean square 1 (all 0 when count is 1).
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    spectrum = np.fft.rfft(generator.standard_normal(count))
    scale = np.arange(len(spectrum), dtype=np.float64)
    scale[1:] **= -exponent / 2
    noise = np.fft.irfft(spectrum * scale, n=count) if count > 1 else np.zeros(1)
    power = float(np.sqrt(np.mean(noise**2)))
    return np.asarray(noise / power if power > 0 else noise, dtype=np.float32)


def _warped(features: Tensor, lengths: Tensor, config: SpecAugmentConfig) -> Tensor:
    features = features.clone()
    if config.time_warp_factor == 0:
        return features
    transforms = _lhotse_transforms()
    for i, length in enumerate(lengths.tolist()):
        if random.random() < config.probability:
            warped = transforms.time_warp(features[i, :length], factor=config.time_warp_factor)
            features[i, :length] = warped
    return features


def _masked(features: Tensor, lengths: Tensor, config: SpecAugmentConfig) -> Tensor:
    features = features.clone()
    transforms = _lhotse_transforms()
    for i, length in enumerate(lengths.tolist()):
        # lhotse divides by the number of time masks, and draws a width from an empty range when
        # the share of each is below one frame; masks of width 0 are drawn there instead.
        share = config.max_frame_fraction * length
        count = min(config.frame_masks, math.ceil(share / config.frame_mask_size))
        fits = count > 0 and share // count >= 1
        masks = transforms.SpecAugment(
            time_warp_factor=None,
            num_feature_masks=config.feature_masks,
            features_mask_size=min(config.feature_mask_size, features.shape[2]),
            num_frame_masks=config.frame_masks if fits else 1,
            frames_mask_size=config.frame_mask_size if fits else 1,
            max_frames_mask_fraction=config.max_frame_fraction if fits else 1.0,
            p=config.probability,
        )
        if length:
            features[i, :length] = masks(features[i : i + 1, :length])[0]
    return features


def _lhotse_transforms() -> Any:
    try:
        from lhotse.dataset import signal_transforms
    except ImportError as error:
        raise MissingExtra("speech", "lhotse") from error
    return signal_transforms


def _check_batch(features: Tensor, lengths: Tensor) -> None:
    if features.ndim != 3 or lengths.shape != features.shape[:1]:
        raise ValueError(
            f"expected (N, T, F) features and (N,) lengths, got {tuple(features.shape)} and "
            f"{tuple(lengths.shape)}"
        )
    if len(lengths) and not 0 <= int(lengths.min()) <= int(lengths.max()) <= features.shape[1]:
        raise ValueError(
            f"lengths must lie between 0 and {features.shape[1]}, got {lengths.tolist()}"
        )


def _mono(samples: FloatArray) -> FloatArray:
    if samples.ndim != 1:
        raise ValueError(f"expected (S,) mono samples, got {samples.shape}")
    return np.asarray(samples, dtype=np.float32)
