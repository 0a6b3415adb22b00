import numpy as np
import pytest

from isogloss.corpora.synth.espeak import synthesise
from isogloss.corpora.synth.voices import prosody_of, speakers

SPLITS = ("train", "dev", "test")


def test_no_voice_is_in_two_splits():
    variants = [s.variant for split in SPLITS for s in speakers(split)]
    assert len(variants) == len(set(variants)) >= 40
    assert [len(speakers(split)) for split in SPLITS] == [48, 4, 8]


@pytest.mark.parametrize("split", SPLITS)
def test_every_voice_speaks_and_repeats_itself(split):
    for speaker in speakers(split):
        first = synthesise("ni3 hao3", "cmn", variant=speaker.variant)
        again = synthesise("ni3 hao3", "cmn", variant=speaker.variant)
        assert np.array_equal(first.samples, again.samples), speaker
        assert first.samples.std() > 0.01, speaker


def test_prosody_stays_near_the_speaker():
    rng = np.random.default_rng(0)
    speaker = speakers("test")[0]
    drawn = [prosody_of(speaker, rng) for _ in range(200)]
    assert max(abs(p.pitch - speaker.pitch) for p in drawn) == 8
    assert all(0.87 < p.words_per_minute / speaker.words_per_minute < 1.13 for p in drawn)
    assert all(0 <= p.pitch <= 99 and 0 <= p.pitch_range <= 99 for p in drawn)


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="'eval' is not one of train, dev, test"):
        speakers("eval")
