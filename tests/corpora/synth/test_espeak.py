import numpy as np
import pytest

from isogloss.corpora.synth.espeak import respell_poj, synthesise
from isogloss.errors import UnknownName

SENTENCES = {
    "cmn": "wo3 men5 jin1 tian1 qu4 xue2 xiao4",
    "yue": "ngo5 dei6 gam1 jat6 heoi3 hok6 haau6",
    "hak": "ngài-têu kîm-ngit hi ho̍k-káu",
    "nan": "lán kin-á-ji̍t beh khì ha̍k-hāu",
}


@pytest.mark.parametrize("variety", sorted(SENTENCES))
def test_every_variety_is_spoken_in_speech_like_time(variety):
    speech = synthesise(SENTENCES[variety], variety)
    seconds = len(speech.samples) / speech.sample_rate_hz
    assert 1.0 < seconds < 4.0
    assert speech.samples.dtype == np.float32
    assert 0.05 < np.abs(speech.samples).max() <= 1.0
    assert len(speech.phones) >= 12


@pytest.mark.parametrize("variant", ["m3", "klatt3", "f2", "Andy"])
def test_an_utterance_depends_on_its_arguments_alone(variant):
    first = synthesise(SENTENCES["yue"], "yue", variant=variant, seed=7)
    synthesise(SENTENCES["hak"], "hak", variant="f4", seed=3, words_per_minute=120)
    again = synthesise(SENTENCES["yue"], "yue", variant=variant, seed=7)
    assert np.array_equal(first.samples, again.samples)
    assert first.phones == again.phones


def test_settings_change_the_sound():
    def spoken(**settings):
        return synthesise(SENTENCES["cmn"], "cmn", **settings).samples

    plain = spoken()
    assert len(spoken(words_per_minute=260)) < 0.8 * len(plain)
    assert not np.array_equal(spoken(variant="f2")[:5000], plain[:5000])


def test_phones_are_segments_without_tone_or_stress():
    # By hand: ba1 'eight' and ba4 'father' differ in tone alone.
    assert synthesise("ba1", "cmn").phones == synthesise("ba4", "cmn").phones
    assert not any(c.isdigit() for p in synthesise("ngo5 sik6", "yue").phones for c in p)


@pytest.mark.parametrize(
    ("written", "variety"), [("我們", "hak"), ("góa 我", "nan"), ("xyz!", "cmn"), ("r5", "cmn")]
)
def test_what_the_voice_would_spell_out_in_english_is_refused(written, variety):
    with pytest.raises(ValueError, match="cannot read"):
        synthesise(written, variety)


def test_empty_and_unknown_are_refused():
    with pytest.raises(ValueError, match="empty"):
        synthesise("  ", "cmn")
    with pytest.raises(UnknownName, match="'yeu'; did you mean yue"):
        synthesise("nei5", "yeu")
    with pytest.raises(UnknownName, match="voice"):
        synthesise("nei5", "yue", variant="no-such-voice")


def test_pinyin_u_umlaut_is_read_like_its_keyboard_spelling():
    assert synthesise("nü3 lü4", "cmn").phones == synthesise("nv3 lv4", "cmn").phones


@pytest.mark.parametrize(
    ("poj", "respelt"),
    [  # by hand from the rules in the docstring
        ("góa", "ngoà"),
        ("beh", "vet"),
        ("chia̍h-pn̄g", "chia̍t-pun"),
        ("ji̍t", "yi̍t"),
        ("saⁿ", "sa"),
        ("hó͘", "hò"),
        ("sek", "set"),
        ("m̄", "m"),
    ],
)
def test_poj_is_respelt_for_the_hakka_voice(poj, respelt):
    assert respell_poj(poj) == respelt
