"""Serbian in Cyrillic to Latin letters and back; used by `transliterate`.

To Latin is exact: each Cyrillic letter has one Latin spelling. Back is not, because nj, lj and dž
are one letter or two (`injekcija` is инјекција); words in `_PARTED` keep theirs apart.
"""

from __future__ import annotations

import re

__all__ = ["serbian_cyrillic", "serbian_latin"]

_SINGLE = dict(zip("абвгдђежзијклмнопрстћуфхцчш", "abvgdđežzijklmnoprstćufhcčš", strict=True))
_DOUBLE = {"љ": "lj", "њ": "nj", "џ": "dž"}
_TO_LATIN = {**_SINGLE, **{c.upper(): latin.upper() for c, latin in _SINGLE.items()}}
_TO_CYRILLIC = {latin: cyrillic for cyrillic, latin in _TO_LATIN.items()}
_PAIRS = {latin: cyrillic for cyrillic, latin in _DOUBLE.items()}

# Beginnings of words in which the two letters belong to two sounds, a bar between them.
_PARTED = (
    "in|jekc in|jekt in|jun kon|junk kon|jug kon|jekt tan|jug van|jezi "
    "nad|živ nad|žet nad|žnj nad|žup od|žal od|živ od|žva od|žet od|žderi pod|žar pod|žeže "
    "pred|želuda pred|žetv"
).split()
_PARTS = {word.replace("|", ""): word.index("|") for word in _PARTED}
_LONGEST = max(map(len, _PARTS))

_WORD = re.compile(r"[A-Za-zÀ-ɏ]+")
# What programs read, not people: directives of printf and Python, tags, addresses, escapes.
_KEPT = re.compile(
    r"%(?:\([^()\s]*\))?[-+#0]*(?:\d+\$|\*)?[\d.]*(?:hh?|ll?|[jztLq])?[a-zA-Z%]"
    r"|\{[^{}\s]*\}|<[^<>]*>|&\w+;|\\[a-z]|\b\w+://\S+|\S+@\S+\.\w+"
)
# Letters that the Serbian alphabet lacks mark a foreign word.
_FOREIGN = re.compile(r"[qwxyQWXY]|[^A-Za-zđžćčšĐŽĆČŠ]")


def serbian_latin(text: str) -> str:
    """`text` with Serbian Cyrillic letters in Latin; everything else as it was.

    Љ, Њ and Џ become Lj, Nj and Dž, and LJ, NJ, DŽ in a word of capitals (where a neighbouring
    letter is a capital and the following one is not small). No information is lost but where a
    text itself writes н and ј, or л and ј, or д and ж, one behind the other.
    """
    pieces = []
    for place, character in enumerate(text):
        if character in _TO_LATIN:
            pieces.append(_TO_LATIN[character])
        elif (low := character.lower()) in _DOUBLE:
            pair = _DOUBLE[low]
            if character == low:
                pieces.append(pair)
            else:
                pieces.append(pair.upper() if _among_capitals(text, place) else pair.title())
        else:
            pieces.append(character)
    return "".join(pieces)


def _among_capitals(text: str, place: int) -> bool:
    behind = text[place + 1 : place + 2]
    if behind.isalpha():
        return behind.isupper()
    before = text[place - 1 : place]
    return before.isalpha() and before.isupper()


def serbian_cyrillic(text: str) -> str:
    """`text` with Serbian Latin letters in Cyrillic.

    lj, nj and dž become one letter, but for words that begin as one of a short list in which they
    are two. Left as they are: words with letters that Serbian lacks (q, w, x, y, ö), directives of
    printf and Python (%s, {name}), tags, entities and addresses.
    """
    pieces = []
    place = 0
    for kept in _KEPT.finditer(text):
        pieces += [_plain_to_cyrillic(text[place : kept.start()]), kept.group()]
        place = kept.end()
    pieces.append(_plain_to_cyrillic(text[place:]))
    return "".join(pieces)


def _plain_to_cyrillic(text: str) -> str:
    return _WORD.sub(lambda found: _word_to_cyrillic(found.group()), text)


def _word_to_cyrillic(word: str) -> str:
    # The letters Ǉ, ǆ and their like are the pairs in one character.
    word = re.sub("[Ǆ-ǌ]", lambda found: _COMPOSED[found.group()], word)
    if _FOREIGN.search(word):
        return word
    low = word.lower()
    parted = next((_PARTS[low[:n]] for n in range(_LONGEST, 0, -1) if low[:n] in _PARTS), None)
    pieces = []
    place = 0
    while place < len(word):
        pair = _PAIRS.get(low[place : place + 2])
        if pair is not None and place + 1 != parted:
            pieces.append(pair.upper() if word[place].isupper() else pair)
            place += 2
        else:
            pieces.append(_TO_CYRILLIC[word[place]])
            place += 1
    return "".join(pieces)


_COMPOSED = dict(zip("ǄǅǆǇǈǉǊǋǌ", "DŽ Dž dž LJ Lj lj NJ Nj nj".split(), strict=True))
