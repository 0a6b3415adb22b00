from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isogloss.speech.augment import (
    SpecAugmentConfig,
    add_noise,
    coloured_noise,
    perturb_speed,
    seeded,
    spec_augment,
    two_views,
)

torch.set_num_threads(1)

ALWAYS = SpecAugmentConfig(probability=1.0)
NO_MASKS = SpecAugmentConfig(probability=1.0, feature_masks=0, frame_masks=0)
NO_WARP = SpecAugmentConfig(probability=1.0, time_warp_factor=0)


def batch(*lengths: int, bins: int = 80) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(len(lengths), max(lengths), bins, generator=generator)
    for i, length in enumerate(lengths):
        features[i, length:] = -100.0
    return features, torch.tensor(lengths)


def masked_frames(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    return (before != after).all(dim=1)


def test_the_seed_decides_everything() -> None:
    features, lengths = batch(300, 250)
    first = spec_augment(features, lengths, seed=(1, 2, 3))
    random.seed(9)
    np.random.seed(9)  # noqa: NPY002
    torch.manual_seed(9)
    assert torch.equal(spec_augment(features, lengths, seed=(1, 2, 3)), first)
    assert not torch.equal(spec_augment(features, lengths, seed=(1, 2, 4)), first)
    assert not torch.equal(spec_augment(features, lengths, seed=(1, 3, 2)), first)
    assert not torch.equal(first, features)


def test_generators_of_the_caller_go_on_as_if_nothing_happened() -> None:
    def draws() -> tuple[float, float, float]:
        return random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002

    def start() -> None:
        random.seed(5)
        np.random.seed(5)  # noqa: NPY002
        torch.manual_seed(5)

    start()
    expected = draws()
    start()
    with pytest.raises(RuntimeError), seeded(1, 2):
        draws()
        raise RuntimeError
    two_views(*batch(200), seed=(0,))
    assert draws() == expected
    with pytest.raises(ValueError, match="seeds must be >= 0"), seeded(-1):
        pass


def test_padding_is_neither_read_nor_changed() -> None:
    features, lengths = batch(300, 180)
    out = spec_augment(features, lengths, seed=(4,), config=ALWAYS)
    assert torch.equal(out[1, 180:], features[1, 180:])
    longer = torch.cat([features, torch.full((2, 50, 80), float("nan"))], dim=1)
    assert torch.equal(spec_augment(longer, lengths, seed=(4,), config=ALWAYS)[:, :300], out)
    assert torch.equal(features, batch(300, 180)[0])  # the input is not touched


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 700))
def test_masks_hold_the_mean_and_stay_within_their_share(seed: int, length: int) -> None:
    features, lengths = batch(length)
    out = spec_augment(features, lengths, seed=(seed,), config=NO_WARP)
    changed = out != features
    torch.testing.assert_close(
        out[changed], features.mean().expand(int(changed.sum())), atol=1e-5, rtol=0
    )
    hidden = masked_frames(features[0], out[0])
    assert hidden.sum() <= 0.15 * length
    # What is hidden beside whole frames is whole bins, at most two masks of up to 26.
    bins = changed[0][~hidden].any(dim=0)
    assert bins.sum() <= 52
    assert torch.equal(changed[0][~hidden], bins.expand(int((~hidden).sum()), 80))


def test_time_masks_appear_and_probability_zero_changes_nothing() -> None:
    features, lengths = batch(400)
    hidden = [
        masked_frames(
            features[0], spec_augment(features, lengths, seed=(seed,), config=NO_WARP)[0]
        ).sum()
        for seed in range(20)
    ]
    assert max(hidden) > 20
    never = SpecAugmentConfig(probability=0.0)
    assert torch.equal(spec_augment(features, lengths, seed=(1,), config=never), features)


def test_the_warp_keeps_order_and_ends() -> None:
    ramp = torch.arange(400.0)[None, :, None].repeat(1, 1, 80)
    out = spec_augment(ramp, torch.tensor([400]), seed=(3,), config=NO_MASKS)[0, :, 0]
    assert not torch.equal(out, ramp[0, :, 0])
    assert out[0] == pytest.approx(0, abs=1)
    assert out[-1] == pytest.approx(399, abs=1)
    assert (out - ramp[0, :, 0]).abs().max() <= 80.5
    short = torch.randn(1, 161, 80)
    out = spec_augment(short, torch.tensor([161]), seed=(3,), config=NO_MASKS)
    assert torch.equal(out, short)


@pytest.mark.parametrize(
    "config",
    [
        SpecAugmentConfig(probability=1.0, frame_mask_size=1),
        SpecAugmentConfig(probability=1.0, max_frame_fraction=0.0),
        SpecAugmentConfig(probability=1.0, feature_mask_size=500),
        SpecAugmentConfig(probability=1.0, frame_masks=1, feature_masks=1),
        NO_MASKS,
    ],
)
@pytest.mark.parametrize("length", [1, 2, 6, 7, 10, 101])
def test_short_utterances_and_odd_options_do_not_crash(config, length: int) -> None:
    features, lengths = batch(length)
    for seed in range(5):
        assert spec_augment(features, lengths, seed=(seed,), config=config).isfinite().all()
    assert spec_augment(features[:, :0], lengths * 0, seed=(0,)).shape == (1, 0, 80)


def test_two_views_share_the_warp_and_not_the_masks() -> None:
    features, lengths = batch(400, 300)
    same, doubled = two_views(features, lengths, seed=(1, 1), config=NO_MASKS)
    assert doubled.tolist() == [400, 300, 400, 300]
    assert torch.equal(same[:2], same[2:])
    assert not torch.equal(same[:2], features)
    views, _ = two_views(features, lengths, seed=(1, 1), config=ALWAYS)
    assert views.shape == (4, 400, 80)
    assert not torch.equal(views[0], views[2])
    # Each view is the warped utterance, but for masks that hold its mean.
    for view, warped, length in zip(views, same, doubled.tolist(), strict=True):
        masked = view != warped
        assert 0.05 < masked[:length].float().mean() < 0.8
        mean = warped[:length].mean().expand(int(masked.sum()))
        torch.testing.assert_close(view[masked], mean, atol=1e-5, rtol=0)


def test_two_views_have_more_time_masks() -> None:
    features, lengths = batch(600)
    more = ALWAYS.with_more_time_masks(2.5)
    assert (more.frame_masks, more.max_frame_fraction) == (25, pytest.approx(0.375))
    assert more.feature_masks == ALWAYS.feature_masks
    hidden = []
    for seed in range(20):
        views, _ = two_views(features, lengths, seed=(seed,), config=NO_WARP)
        hidden.append(masked_frames(features[0], views[0]).sum().item())
    assert 0.15 * 600 < max(hidden) <= 0.375 * 600
    with pytest.raises(ValueError, match="ratio"):
        ALWAYS.with_more_time_masks(-1)


def test_bad_batches_and_options_are_refused() -> None:
    features, lengths = batch(30)
    with pytest.raises(ValueError, match=r"\(N, T, F\)"):
        spec_augment(features[0], lengths, seed=(0,))
    with pytest.raises(ValueError, match="between 0 and 30"):
        two_views(features, lengths + 1, seed=(0,))
    for options in (
        {"frame_masks": -1},
        {"feature_mask_size": 0},
        {"probability": 1.5},
        {"max_frame_fraction": -0.1},
    ):
        with pytest.raises(ValueError, match="got SpecAugmentConfig"):
            SpecAugmentConfig(**options)


@pytest.mark.parametrize("factor", [0.9, 1.1, 1.25])
def test_a_faster_tone_is_higher_and_shorter(factor: float) -> None:
    rate = 16000
    tone = np.sin(2 * np.pi * 440 * np.arange(rate) / rate).astype(np.float32)
    out = perturb_speed(tone, factor, sample_rate_hz=rate)
    assert out.dtype == np.float32
    assert len(out) == pytest.approx(rate / factor, abs=1)
    middle = out[1000:-1000] * np.hanning(len(out) - 2000)
    peak = np.abs(np.fft.rfft(middle)).argmax() * rate / len(middle)
    assert peak == pytest.approx(440 * factor, abs=2)
    assert np.abs(out[1000:-1000]).max() == pytest.approx(1.0, abs=0.01)


def test_speed_one_and_nothing_are_left_alone() -> None:
    samples = np.ones(10, np.float32)
    assert np.array_equal(perturb_speed(samples, 1.0), samples)
    assert len(perturb_speed(samples[:0], 0.9)) == 0
    for factor in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="above 0"):
            perturb_speed(samples, factor)
    with pytest.raises(ValueError, match="mono"):
        perturb_speed(samples[None], 0.9)


@pytest.mark.parametrize("noise_length", [100, 8000, 20000])
@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 20.0])
def test_noise_has_the_ratio_asked_for(noise_length: int, snr_db: float) -> None:
    generator = np.random.default_rng(0)
    samples = (0.1 * generator.standard_normal(8000)).astype(np.float32)
    noise = coloured_noise(noise_length, generator=generator)
    out = add_noise(samples, noise, snr_db=snr_db, generator=generator)
    assert out.shape == samples.shape
    added = np.mean((out - samples).astype(np.float64) ** 2)
    ratio = 10 * np.log10(np.mean(samples.astype(np.float64) ** 2) / added)
    assert ratio == pytest.approx(snr_db, abs=0.05)


def test_noise_place_follows_the_generator() -> None:
    samples = np.ones(50, np.float32)
    noise = np.random.default_rng(1).standard_normal(500).astype(np.float32)
    one, same, other = (
        add_noise(samples, noise, snr_db=0, generator=np.random.default_rng(seed))
        for seed in (1, 1, 2)
    )
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_silence_stays_silence() -> None:
    generator = np.random.default_rng(0)
    silence, noise = np.zeros(100, np.float32), np.ones(10, np.float32)
    assert not add_noise(silence, noise, snr_db=0, generator=generator).any()
    assert np.array_equal(add_noise(noise, silence, snr_db=0, generator=generator), noise)
    assert len(add_noise(silence[:0], noise, snr_db=0, generator=generator)) == 0
    with pytest.raises(ValueError, match="no samples"):
        add_noise(silence, noise[:0], snr_db=0, generator=generator)


def test_colours_fall_with_frequency() -> None:
    for exponent in (0.0, 1.0, 2.0):
        noise = coloured_noise(1 << 16, generator=np.random.default_rng(0), exponent=exponent)
        power = np.abs(np.fft.rfft(noise.astype(np.float64))) ** 2
        octaves = [power[1 << k : 2 << k].mean() for k in range(6, 14)]
        slopes = np.diff(np.log2(octaves))
        assert slopes.mean() == pytest.approx(-exponent, abs=0.1)
        assert np.sqrt(np.mean(noise**2)) == pytest.approx(1.0, abs=1e-4)
        assert noise.mean() == pytest.approx(0.0, abs=1e-3) or exponent == 0.0
    assert coloured_noise(1, generator=np.random.default_rng(0)).tolist() == [0.0]
    with pytest.raises(ValueError, match="at least 1"):
        coloured_noise(0, generator=np.random.default_rng(0))
