"""A corpus of texts given voices: each text is read aloud by espeak-ng, and the manifest extended.

For experiments on speech where only text is at hand. A variety without a voice is read by that of a
near one, which pronounces its spelling as if it were its own: an approximation that every item
says of itself (`extra["voice"]`).
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING

import numpy as np

from isogloss.corpora.audio import write_wav
from isogloss.corpora.jsonl import write_corpus
from isogloss.corpora.progress import with_progress
from isogloss.corpora.readers.result import Skipped
from isogloss.corpora.synth.espeak import say
from isogloss.corpora.synth.voices import prosody_of, rng_of, speakers
from isogloss.errors import IsoglossError, UnknownName

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from isogloss.types import Corpus, Item

__all__ = ["VOICES", "speak_corpus"]

VOICES = {
    "arb": "ar",
    "ara": "ar",
    "bar": "de",
    "bar-central": "de",
    "bar-southtyrol": "de",
    "dan": "da",
    "deu": "de",
    "eng": "en",
    "fra": "fr",
    "gsw": "de",
    "ita": "it",
    "nap": "it",
    "nds": "de",
    "nld": "nl",
    "por": "pt",
    "rus": "ru",
    "spa": "es",
}
"""Variety code to the espeak-ng voice that reads its spelling."""

_OWN = {"ara", "arb", "dan", "deu", "eng", "fra", "ita", "nld", "por", "rus", "spa"}
_SAMPLE_RATE_HZ = 16_000


def speak_corpus(
    corpus: Corpus,
    folder: Path,
    *,
    voices: Mapping[str, str] | None = None,
    seed: int = 1,
    train_splits: tuple[str, ...] = ("train",),
    copies: int = 1,
) -> tuple[Corpus, tuple[Skipped, ...]]:
    """`corpus` with recordings under `folder` and a manifest there, and what could not be read.

    Items of `train_splits` are spoken by other voices than the rest, and two varieties of one
    meaning never by the same voice. A recording that exists is kept, so an interrupted call goes
    on. An item's audio is a function of its text, variety and id, and `seed`.

    Args:
        corpus: items with `text`, `transcript` or `translation`, the first that is there is read.
        folder: made if absent.
        voices: espeak-ng voice for each variety, on top of `VOICES`.
        seed: of voices and prosody.
        train_splits: whose voices must not return in the others.
        copies: how often an item of `train_splits` is spoken, each time by another voice; the
            second copy of item 'a' is called 'a-2'.

    Raises:
        ValueError: `copies` is not at least 1.
        IsoglossError: nothing could be spoken.
        UnknownName: espeak-ng has no voice of that name.
        MissingExtra: espeakng-loader or soxr is not installed.
    """
    if copies < 1:
        raise ValueError(f"copies must be at least 1, got {copies}")
    chosen = {**VOICES, **(voices or {})}
    spoken: list[Item] = []
    skipped: list[Skipped] = []
    order = {code: i for i, code in enumerate(dict.fromkeys(i.variety for i in corpus.items))}
    for item in with_progress(corpus.items, "speaking", total=len(corpus)):
        text = item.text or item.transcript or item.translation
        voice = chosen.get(item.variety)
        if not text or voice is None:
            reason = "no text" if voice else f"no voice for {item.variety}"
            remedy = "give it a text" if voice else f"name a voice: {item.variety}=VOICE"
            skipped.append(Skipped(item.id, reason, remedy))
            continue
        training = item.split in train_splits
        try:
            spoken += [
                _spoken(item, text, voice, folder, seed, (order[item.variety], copy), training)
                for copy in range(copies if training else 1)
            ]
        except UnknownName:
            raise
        except ValueError as error:
            skipped.append(Skipped(item.id, str(error), "change or drop the text"))
    if not spoken:
        raise IsoglossError(f"nothing of '{corpus.name}' could be spoken; {skipped[0].reason}")
    source = f"{corpus.source or corpus.name}, read aloud by espeak-ng voices"
    made = dataclasses.replace(
        corpus, items=tuple(spoken), source=source, sha=None, root=str(folder.resolve())
    )
    return write_corpus(made, folder / "manifest.jsonl"), tuple(skipped)


def _spoken(
    item: Item,
    text: str,
    voice: str,
    folder: Path,
    seed: int,
    place: tuple[int, int],
    training: bool,
) -> Item:
    voices = speakers("train" if training else "test")
    # The shift keeps translations and copies of one meaning apart.
    draw = int(rng_of(seed, item.meaning or item.id).integers(len(voices)))
    variety, copy = place
    speaker = voices[(draw + variety + 7 * copy) % len(voices)]
    if copy:
        item = dataclasses.replace(item, id=f"{item.id}-{copy + 1}")
    name = hashlib.sha256(f"{seed}/{item.id}/{voice}/{text}".encode()).hexdigest()[:24]
    path = folder.resolve() / "audio" / item.variety / f"{name}.wav"
    rng = rng_of(seed, item.id)
    prosody = prosody_of(speaker, rng)
    speech = say(
        text,
        voice,
        variant=speaker.variant,
        words_per_minute=prosody.words_per_minute,
        pitch=prosody.pitch,
        pitch_range=prosody.pitch_range,
        seed=int(rng.integers(1 << 30)),
    )
    if not path.exists():
        import soxr

        samples = soxr.resample(speech.samples, speech.sample_rate_hz, _SAMPLE_RATE_HZ)
        write_wav(path, np.asarray(samples, dtype=np.float32), _SAMPLE_RATE_HZ)
    note = f"espeak-ng '{voice}'"
    if item.variety not in _OWN:
        note += ", which is no voice of this variety: an approximation"
    return dataclasses.replace(
        item,
        audio=str(path),
        transcript=item.transcript or text,
        phones=" ".join(speech.phones),
        speaker=speaker.name,
        extra={**item.extra, "voice": note},
    )
