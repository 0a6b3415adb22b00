"""Synthetic speakers: an espeak-ng voice variant with a pitch, a liveliness and a pace of its own.

Train, dev and test speakers are different variants, so a test voice is never heard in training.
Variants that whisper, croak or buzz are left out, and so are 'Reed' and 'caleb', whose samples
change from call to call even with the seed fixed (espeak-ng 1.51).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

__all__ = ["Prosody", "Speaker", "prosody_of", "rng_of", "speakers"]

_VARIANTS = {
    "train": (
        "Alex Alicia Andy Annie Denis Diogo Gene Henrique Lee Mario Michael Mike Storm aunty "
        "belinda boris david ed edward f1 f2 f3 grandma ian iven iven3 john kaukovalta linda "
        "m1 m2 m3 m4 m5 marcelo max miguel norbert pablo paul quincy rob robert sandro steph "
        "travis victor zac"
    ).split(),
    "dev": ["Gene2", "adam", "anika", "m6"],
    "test": ["Hugo", "Nguyen", "f4", "f5", "grandpa", "m7", "michel", "shelby"],
}


@dataclass(frozen=True, slots=True)
class Speaker:
    """A voice: espeak-ng `variant`, base pitch and liveliness (0 to 99), pace (words a minute)."""

    name: str
    variant: str
    pitch: int
    pitch_range: int
    words_per_minute: int


@dataclass(frozen=True, slots=True)
class Prosody:
    """How one utterance is said: the speaker's settings, moved a little."""

    pitch: int
    pitch_range: int
    words_per_minute: int


def speakers(split: str) -> tuple[Speaker, ...]:
    """The speakers of 'train' (48), 'dev' (4) or 'test' (8); no variant is in two of them."""
    if split not in _VARIANTS:
        raise ValueError(f"split '{split}' is not one of {', '.join(_VARIANTS)}")
    voices = []
    for variant in _VARIANTS[split]:
        # Settings belong to the variant alone: adding a speaker does not change the others.
        rng = np.random.default_rng(list(variant.encode()))
        pitch, pitch_range, pace = rng.integers([35, 35, 165], [66, 71, 206])
        voices.append(
            Speaker(f"espeak-{variant}", variant, int(pitch), int(pitch_range), int(pace))
        )
    return tuple(voices)


def prosody_of(speaker: Speaker, rng: np.random.Generator) -> Prosody:
    """One utterance's prosody: pitch and liveliness within 8, pace within 12 % of the speaker's."""
    pitch = speaker.pitch + int(rng.integers(-8, 9))
    pitch_range = speaker.pitch_range + int(rng.integers(-8, 9))
    pace = speaker.words_per_minute * float(rng.uniform(0.88, 1.12))
    return Prosody(pitch, pitch_range, round(pace))


def rng_of(seed: int, name: str) -> np.random.Generator:
    """A generator that depends on `seed` and `name` alone, whatever was drawn before."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))
