import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isogloss.corpora.synth.room import add_noise, add_room


def tone(seconds=0.5):
    return (0.3 * np.sin(2 * np.pi * 220 * np.arange(int(16000 * seconds)) / 16000)).astype("f4")


@given(snr_db=st.floats(-5, 40))
def test_noise_has_the_level_asked_for(snr_db):
    clean = tone()
    noisy = add_noise(clean, snr_db=snr_db, rng=np.random.default_rng(1))
    measured = 10 * np.log10(np.mean(clean**2) / np.mean((noisy - clean) ** 2))
    assert measured == pytest.approx(snr_db, abs=0.05)


def test_silence_stays_silence():
    silent = np.zeros(1000, dtype=np.float32)
    assert not add_noise(silent, snr_db=10, rng=np.random.default_rng(1)).any()
    assert not add_room(silent, 16000, rt60_seconds=0.3, rng=np.random.default_rng(1)).any()


def test_a_click_gets_a_tail_that_decays():
    click = np.zeros(16000, dtype=np.float32)
    click[0] = 0.5
    wet = add_room(click, 16000, rt60_seconds=0.5, rng=np.random.default_rng(1))
    energy = [float(np.sum(wet[a : a + 1600] ** 2)) for a in (1, 1600, 3200, 4800)]
    assert energy == sorted(energy, reverse=True)
    # 60 dB in 0.5 s: 12 dB from one 0.1 s block to the next.
    assert 10 * np.log10(energy[1] / energy[2]) == pytest.approx(12, abs=2)
    assert wet.shape == click.shape


def test_a_room_needs_a_size():
    with pytest.raises(ValueError, match="rt60_seconds"):
        add_room(tone(), 16000, rt60_seconds=0.0, rng=np.random.default_rng(1))
