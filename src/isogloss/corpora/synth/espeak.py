"""Romanised words in, speech and phones out, by espeak-ng called in process; used by `make`.

The library and its voices come from the PyPI package `espeakng-loader`. espeak-ng keeps state
between utterances (flutter and echo phases, noise), so the same call gives other samples the
second time. Here the shared library is loaded afresh for every utterance, which costs about 5 ms
and makes each one a function of its arguments alone.
"""

from __future__ import annotations

import ctypes
import re
import threading
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss.errors import IsoglossError, MissingExtra, UnknownName

if TYPE_CHECKING:
    from isogloss.types import FloatArray

__all__ = ["ESPEAK_VOICES", "Speech", "respell_poj", "say", "synthesise"]

ESPEAK_VOICES = {
    "cmn": "cmn-latn-pinyin",
    "yue": "yue-latn-jyutping",
    "hak": "hak",
    # No voice exists for Hokkien: POJ is respelt to Pha̍k-fa-sṳ and read by the Hakka voice.
    "nan": "hak",
}
"""Variety code to the espeak-ng voice that reads its romanisation."""

_SYNCHRONOUS, _UTF8, _IPA = 2, 1, 2
_RATE, _PITCH, _PITCH_RANGE = 1, 3, 4
_SEPARATOR = "_"
# espeak-ng 1.51 prints tone 3 as the IPA of its own '3'; digits are the other tones.
_TONE_OR_STRESS = re.compile(r"[\dɜˈˌ.]")
# "(en)" marks where espeak-ng goes over to another language.
_LANGUAGE = re.compile(r"\([a-z-]+\)")
_LOCK = threading.Lock()


@dataclass(frozen=True, slots=True, eq=False)
class Speech:
    """One utterance: `samples` (S,) float32 in [-1, 1]; `phones` are segments without tone."""

    samples: FloatArray
    sample_rate_hz: int
    phones: tuple[str, ...]


def synthesise(
    romanisation: str,
    variety: str,
    *,
    variant: str = "",
    words_per_minute: int = 175,
    pitch: int = 50,
    pitch_range: int = 50,
    seed: int = 0,
) -> Speech:
    """Speech of a romanised sentence; the same arguments give the same samples.

    Args:
        romanisation: pinyin or jyutping with tone digits, Pha̍k-fa-sṳ or POJ with diacritics.
        variety: cmn, yue, hak or nan. nan is an approximation: the Hakka voice reads it.
        variant: espeak-ng voice variant, such as 'm3' or 'klatt2'; empty for the plain voice.
        words_per_minute: espeak-ng's rate, 80 to 450.
        pitch: base pitch, 0 to 99.
        pitch_range: liveliness of the pitch, 0 to 99.
        seed: of the noise inside the voice.

    Raises:
        UnknownName: no voice for `variety`, or no such `variant`.
        ValueError: the romanisation is empty or a syllable cannot be read by the voice (espeak-ng
            would spell it out in English letters).
        MissingExtra: espeakng-loader is not installed.
    """
    if variety not in ESPEAK_VOICES:
        raise UnknownName("synthetic variety", variety, ESPEAK_VOICES)
    text = respell_poj(romanisation) if variety == "nan" else _readable(romanisation, variety)
    return say(
        text,
        ESPEAK_VOICES[variety],
        variant=variant,
        words_per_minute=words_per_minute,
        pitch=pitch,
        pitch_range=pitch_range,
        seed=seed,
        foreign=False,
    )


def say(
    text: str,
    voice: str,
    *,
    variant: str = "",
    words_per_minute: int = 175,
    pitch: int = 50,
    pitch_range: int = 50,
    seed: int = 0,
    foreign: bool = True,
) -> Speech:
    """Speech of a text in the spelling that an espeak-ng voice reads; repeatable.

    Args:
        text: what to say.
        voice: espeak-ng's name of a voice, such as 'de' or 'cmn-latn-pinyin'.
        variant: voice variant, such as 'm3'; empty for the plain voice.
        words_per_minute: espeak-ng's rate, 80 to 450.
        pitch: base pitch, 0 to 99.
        pitch_range: liveliness of the pitch, 0 to 99.
        seed: of the noise inside the voice.
        foreign: whether words that the voice takes for another language may be read in that one,
            as names and titles are; otherwise they are refused.

    Raises:
        UnknownName: no such voice or variant.
        ValueError: the text is empty, gives no sound, or holds foreign words that may not be read.
        MissingExtra: espeakng-loader is not installed.
    """
    if not text.strip():
        raise ValueError("nothing to say: the text is empty")
    with _LOCK:
        engine = _Engine()
        try:
            engine.choose(voice, variant)
            engine.set(_RATE, words_per_minute)
            engine.set(_PITCH, pitch)
            engine.set(_PITCH_RANGE, pitch_range)
            phones = _phones(engine.phonemes(text), text, foreign=foreign)
            if not phones:
                # espeak-ng would give ten milliseconds of silence.
                raise ValueError(f"the voice reads nothing aloud in '{text[:40]}'")
            samples = engine.speak(text, seed)
        finally:
            engine.close()
    return Speech(samples.astype(np.float32) / 32768.0, engine.sample_rate_hz, phones)


class _Engine:
    """One fresh load of libespeak-ng."""

    def __init__(self) -> None:
        try:
            import espeakng_loader
        except ImportError as error:
            raise MissingExtra("speech", "espeakng-loader") from error
        self._library: Any = ctypes.CDLL(espeakng_loader.get_library_path())
        self._data = Path(str(espeakng_loader.get_data_path()))
        data = str(self._data).encode()
        self.sample_rate_hz = int(self._library.espeak_Initialize(_SYNCHRONOUS, 0, data, 0))
        if self.sample_rate_hz <= 0:
            raise IsoglossError(f"espeak-ng found no voices in {self._data}")
        self._chunks: list[np.ndarray[Any, np.dtype[np.int16]]] = []
        kind = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
        )
        # Kept as an attribute: espeak-ng calls it long after this function has returned.
        self._callback = kind(self._receive)
        self._library.espeak_SetSynthCallback(self._callback)

    def _receive(self, samples: Any, count: int, _events: Any) -> int:
        if samples and count:
            self._chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def choose(self, voice: str, variant: str) -> None:
        # espeak-ng falls back to the plain voice without a word when a variant does not exist.
        variants = [path.name for path in (self._data / "voices" / "!v").iterdir()]
        if variant and variant not in variants:
            raise UnknownName("voice variant", variant, variants)
        voice = f"{voice}+{variant}" if variant else voice
        if self._library.espeak_SetVoiceByName(ctypes.c_char_p(voice.encode())) != 0:
            raise UnknownName("espeak-ng voice", voice, ESPEAK_VOICES.values())

    def set(self, parameter: int, value: int) -> None:
        self._library.espeak_SetParameter(parameter, value, 0)

    def speak(self, text: str, seed: int) -> np.ndarray[Any, np.dtype[np.int16]]:
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(seed))
        encoded = text.encode()
        self._library.espeak_Synth(encoded, len(encoded) + 1, 0, 0, 0, _UTF8, None, None)
        if not self._chunks:
            raise ValueError(f"espeak-ng gave no sound for '{text}'")
        return np.concatenate(self._chunks)

    def phonemes(self, text: str) -> str:
        convert = self._library.espeak_TextToPhonemes
        convert.restype = ctypes.c_char_p
        buffer = ctypes.create_string_buffer(text.encode())
        position = ctypes.c_void_p(ctypes.addressof(buffer))
        mode = (ord(_SEPARATOR) << 8) | _IPA
        clauses = []
        while position.value:
            clauses.append((convert(ctypes.byref(position), _UTF8, mode) or b"").decode())
        return " ".join(clauses)

    def close(self) -> None:
        """Unload the library, so that the next load starts from its initial state."""
        self._library.espeak_Terminate()
        handle = self._library._handle
        del self._library
        import _ctypes

        _ctypes.dlclose(handle)


def _phones(printed: str, romanisation: str, *, foreign: bool) -> tuple[str, ...]:
    if foreign:
        printed = _LANGUAGE.sub(" ", printed)
    elif "(" in printed:
        raise ValueError(f"the voice cannot read '{romanisation}': it would say {printed.strip()}")
    parts = printed.replace(" ", _SEPARATOR).split(_SEPARATOR)
    bare = (_TONE_OR_STRESS.sub("", part) for part in parts)
    return tuple(phone for phone in bare if phone)


def _readable(romanisation: str, variety: str) -> str:
    text = unicodedata.normalize("NFC", romanisation)
    # The pinyin voice knows ü only by its keyboard spelling.
    return text.replace("ü", "v").replace("'", "") if variety == "cmn" else text


_POJ_ONSETS = "chh ph th kh ng ch p b m t n l k g h j s".split()
# The Hakka voice has no voiced stops: v, ng and y are the nearest onsets it reads.
_ONSET = {"b": "v", "g": "ng", "j": "y"}
_RHYME = {"ek": "et", "eng": "en", "ng": "un"}
# POJ mark to the Hakka mark of the nearest contour: 51 > 31, 21 > 11, 24 > 24, 33 > 55, stops.
_TONE = {
    "\u0301": "\u0300",
    "\u0300": "\u0301",
    "\u0302": "\u0302",
    "\u0304": "",
    "\u030d": "\u030d",
}
_O_DOT, _NASAL = "\u0358", "ⁿ"
_MARK_ORDER = "aoeuimn"


def respell_poj(romanisation: str) -> str:
    """POJ respelt so that the Hakka voice can read it: an approximation, and labelled so.

    Voiced stops become the nearest Hakka onset (b > v, g > ng, j > y), nasal vowels lose their
    nasality, a final glottal stop becomes -t, and each tone takes the Hakka tone of the nearest
    contour. Words stay separated by spaces and syllables by hyphens.
    """
    words = []
    for word in romanisation.lower().replace("--", "-").split():
        words.append("-".join(_respell_syllable(part) for part in word.split("-") if part))
    return " ".join(words)


def _respell_syllable(syllable: str) -> str:
    plain, tone = "", ""
    for character in unicodedata.normalize("NFD", syllable):
        if character in _TONE:
            tone = _TONE[character]
        elif character not in (_O_DOT, _NASAL):
            plain += character
    onset = next((o for o in _POJ_ONSETS if plain.startswith(o) and plain != o), "")
    rhyme = plain[len(onset) :]
    if rhyme.endswith("h"):
        # The voice reads a stop after one vowel letter more reliably than after a falling glide.
        rhyme = (rhyme[:-2] if len(rhyme) > 2 and rhyme[-2] in "iu" else rhyme[:-1]) + "t"
    respelt = _ONSET.get(onset, onset) + _RHYME.get(rhyme, rhyme)
    at = next((respelt.find(letter) for letter in _MARK_ORDER if letter in respelt), -1)
    if tone and at >= 0:
        respelt = respelt[: at + 1] + tone + respelt[at + 1 :]
    return unicodedata.normalize("NFC", respelt)
