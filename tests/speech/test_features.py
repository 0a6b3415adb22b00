"""`fbank` against kaldi-native-fbank, and its laws."""

import math

import kaldi_native_fbank as knf
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isogloss.speech.features import MEL_BINS, fbank, frame_count

torch.set_num_threads(1)


def by_kaldi(samples: np.ndarray, sample_rate_hz: int = 16000) -> np.ndarray:
    options = knf.FbankOptions()
    options.frame_opts.samp_freq = sample_rate_hz
    options.frame_opts.dither = 0.0
    options.frame_opts.snip_edges = False
    options.mel_opts.num_bins = 80
    options.mel_opts.low_freq = 20.0
    options.mel_opts.high_freq = -400.0
    computer = knf.OnlineFbank(options)
    computer.accept_waveform(sample_rate_hz, samples.tolist())
    computer.input_finished()
    return np.stack([computer.get_frame(i) for i in range(computer.num_frames_ready)])


def sound(kind: str, count: int) -> np.ndarray:
    rng = np.random.default_rng(count)
    noise = rng.normal(size=count)
    samples = {
        "noise": 0.1 * noise,
        "loud": np.clip(3.0 * noise, -1.0, 1.0),
        "quiet": 1e-5 * noise,
        "silence": np.zeros(count),
        "offset": 0.3 + 0.05 * noise,
        "half silence": 0.2 * noise * (np.arange(count) > count / 2),
    }[kind]
    return samples.astype(np.float32)


@pytest.mark.parametrize("kind", ["noise", "loud", "quiet", "silence", "offset", "half silence"])
@pytest.mark.parametrize("count", [400, 401, 479, 480, 481, 1000, 16000, 16079, 16080, 50001])
def test_equals_kaldi_native_fbank(kind: str, count: int) -> None:
    samples = sound(kind, count)
    expected = by_kaldi(samples)
    found = fbank(samples)
    assert found.shape == expected.shape == (frame_count(count), MEL_BINS)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-3, rtol=0)


def test_a_tone_equals_kaldi_where_energy_is_not_rounding_error() -> None:
    # Far from the tone both programs see the rounding of their float32 transforms, 70 dB down.
    samples = (0.5 * np.sin(0.3 * np.arange(16000))).astype(np.float32)
    expected = by_kaldi(samples)
    difference = np.abs(fbank(samples).numpy() - expected)
    assert difference.max() < 0.02
    assert difference[expected > expected.max() - 12].max() < 1e-3


def test_other_sampling_rate_equals_kaldi() -> None:
    samples = sound("noise", 8000)
    expected = by_kaldi(samples, 8000)
    np.testing.assert_allclose(fbank(samples, sample_rate_hz=8000).numpy(), expected, atol=1e-3)


def test_silence_is_the_floor() -> None:
    assert torch.equal(fbank(np.zeros(1600, np.float32)), torch.full((10, 80), math.log(2**-23)))


@settings(max_examples=30, deadline=None)
@given(count=st.integers(400, 4000), gain=st.floats(0.1, 10.0))
def test_gain_shifts_log_energies(count: int, gain: float) -> None:
    samples = sound("noise", count)
    before, after = fbank(samples), fbank(samples * np.float32(gain))
    # A band 9 nats below its frame's loudest is the rounding of the others.
    told = before > before.amax(dim=1, keepdim=True) - 9
    assert told.float().mean() > 0.5
    shift = (after - before)[told]
    torch.testing.assert_close(shift, torch.full_like(shift, 2 * math.log(gain)), atol=5e-3, rtol=0)


def test_blocks_do_not_show() -> None:
    samples = sound("noise", 16000 * 70)
    whole = fbank(samples)
    # Frame t reaches from sample 160 t - 120, so a cut on a frame keeps all inner frames.
    piece = fbank(samples[160 * 5990 : 160 * 6020])
    torch.testing.assert_close(whole[5992:6018], piece[2:28], atol=1e-4, rtol=0)


def test_numpy_and_torch_and_double_agree() -> None:
    samples = sound("noise", 3000)
    expected = fbank(samples)
    assert torch.equal(fbank(torch.from_numpy(samples)), expected)
    assert torch.equal(fbank(samples.astype(np.float64)), expected)


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (np.zeros(399, np.float32), "399 samples are less than one frame of 400"),
        (np.zeros(0, np.float32), "0 samples"),
        (np.zeros((2, 1600), np.float32), "mono"),
        (np.zeros(1600, np.int16), "floating point"),
        (np.full(1600, np.nan, np.float32), "NaN"),
        (np.full(1600, np.inf, np.float32), "NaN or infinity"),
    ],
)
def test_refuses(samples: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        fbank(samples)


def test_refuses_a_rate_that_leaves_no_band() -> None:
    with pytest.raises(ValueError, match="at least 1000"):
        fbank(np.zeros(1600, np.float32), sample_rate_hz=0)
