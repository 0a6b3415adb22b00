"""YuBao's phonetic transcription as phones parted by blanks, for the phonetic baseline."""

from __future__ import annotations

import unicodedata

__all__ = ["phones_of_ipa"]

_TONES = frozenset("0123456789⁰¹²³⁴⁵⁶⁷⁸⁹˥˦˧˨˩")
_TIES = frozenset("\u0361\u035c")
_NOTES = {"(": ")", "（": "）", "[": "]", "【": "】"}


def phones_of_ipa(text: str) -> str:
    """Phones of `text` parted by single blanks: "tʰa⁵⁵" gives "tʰ a ⁵⁵".

    Diacritics, modifier letters and length marks stay with the letter before them, letters under
    a tie bar stay together, and the digits or tone letters of one tone are one phone. Of variants
    parted by a slash within a syllable the first stays; notes in brackets, punctuation and signs
    for unknown sounds go. The result is empty when nothing is left.
    """
    phones = [phone for syllable in _without_notes(text).split() for phone in _phones(syllable)]
    return " ".join(unicodedata.normalize("NFC", phone) for phone in phones)


def _without_notes(text: str) -> str:
    kept: list[str] = []
    closing = ""
    for character in text:
        if closing:
            closing = "" if character == closing else closing
        elif character in _NOTES and _NOTES[character] in text:
            closing = _NOTES[character]
        else:
            kept.append(character)
    return "".join(kept)


def _phones(syllable: str) -> list[str]:
    variants = [part for part in syllable.replace("／", "/").split("/") if part]
    phones: list[str] = []
    tied = in_tone = False
    for character in unicodedata.normalize("NFD", variants[0] if variants else ""):
        category = unicodedata.category(character)
        if character in _TONES:
            phones[-1:] = [phones[-1] + character] if in_tone else [*phones[-1:], character]
            in_tone = True
            continue
        in_tone = False
        attached = tied or category in ("Mn", "Lm", "Sk")
        if phones and attached and phones[-1][0] not in _TONES:
            phones[-1] += character
        elif category[0] == "L" and category != "Lm":
            phones.append(character)
        tied = character in _TIES
    return phones
