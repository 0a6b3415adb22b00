"""Which script characters belong to, and Chinese text turned into one script by OpenCC.

Scripts are named as in ISO 15924 (Hans, Hant, Hani, Latn, ...).
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Any

from isogloss.errors import MissingExtra, UnknownName

__all__ = ["characters_outside", "known_scripts", "normalise_script"]

# First words of the Unicode names of the letters that belong to a script.
_NAMES: dict[str, tuple[str, ...]] = {
    "Arab": ("ARABIC",),
    "Armn": ("ARMENIAN",),
    "Beng": ("BENGALI",),
    "Bopo": ("BOPOMOFO",),
    "Cyrl": ("CYRILLIC",),
    "Deva": ("DEVANAGARI",),
    "Ethi": ("ETHIOPIC",),
    "Geor": ("GEORGIAN",),
    "Grek": ("GREEK",),
    "Gujr": ("GUJARATI",),
    "Guru": ("GURMUKHI",),
    "Hang": ("HANGUL",),
    "Hanb": ("CJK", "BOPOMOFO"),
    "Hani": ("CJK",),
    "Hans": ("CJK",),
    "Hant": ("CJK",),
    "Hebr": ("HEBREW",),
    "Hira": ("HIRAGANA",),
    "Jpan": ("CJK", "HIRAGANA", "KATAKANA"),
    "Kana": ("KATAKANA",),
    "Khmr": ("KHMER",),
    "Knda": ("KANNADA",),
    "Kore": ("HANGUL", "CJK"),
    "Laoo": ("LAO",),
    "Latn": ("LATIN",),
    "Mlym": ("MALAYALAM",),
    "Mong": ("MONGOLIAN",),
    "Mymr": ("MYANMAR",),
    "Nkoo": ("NKO",),
    "Orya": ("ORIYA",),
    "Sinh": ("SINHALA",),
    "Taml": ("TAMIL",),
    "Telu": ("TELUGU",),
    "Tfng": ("TIFINAGH",),
    "Thai": ("THAI",),
    "Tibt": ("TIBETAN",),
}
# Marks, digits, punctuation, symbols, spaces and format characters belong to every script.
_SHARED_CATEGORIES = "MNPSZ"
_CONVERSIONS = {"Hans": "t2s", "Hant": "s2t"}


def known_scripts() -> tuple[str, ...]:
    """The ISO 15924 codes that `characters_outside` can judge, sorted."""
    return tuple(sorted(_NAMES))


def normalise_script(text: str, script: str) -> str:
    """`text` in simplified ("Hans") or traditional ("Hant") characters, by OpenCC.

    Characters that exist in one form only, dialect characters among them, stay as they are.

    Raises:
        UnknownName: another script.
        MissingExtra: OpenCC is not installed.
    """
    if script not in _CONVERSIONS:
        raise UnknownName("script", script, _CONVERSIONS)
    return str(_converter(_CONVERSIONS[script]).convert(text))


@lru_cache(maxsize=2)
def _converter(conversion: str) -> Any:
    try:
        import opencc
    except ImportError as error:
        raise MissingExtra("speech", "opencc") from error
    return opencc.OpenCC(conversion)


def characters_outside(text: str, script: str) -> tuple[str, ...]:
    """The different characters of `text` that do not belong to `script`, in order of appearance.

    Marks, digits, punctuation, symbols and spaces belong to every script; control characters,
    private-use and unassigned code points and U+FFFD to none. For Hans and Hant a character of the
    other form counts as outside when this form writes it differently; characters that are correct
    in both (后, 里, 喺) do not.

    Raises:
        UnknownName: a script this module does not know.
        MissingExtra: OpenCC is not installed (Hans and Hant only).
    """
    if script not in _NAMES:
        raise UnknownName("script", script, _NAMES)
    return tuple(c for c in dict.fromkeys(text) if not _belongs(c, script))


@lru_cache(maxsize=65536)
def _belongs(character: str, script: str) -> bool:
    category = unicodedata.category(character)
    if character == "\ufffd":
        return False
    if not category.startswith("L") and not _is_new_ideograph(character):
        return category[0] in _SHARED_CATEGORIES or category == "Cf" or character in "\t\n\r"
    if _script_word(character) not in _NAMES[script]:
        # Modifier letters (ʰ, ʼ, the superscript n of Southern Min) accompany Latin.
        return script == "Latn" and category == "Lm"
    if script not in _CONVERSIONS:
        return True
    # National character sets list what is correct in a form; OpenCC says what has another form.
    legacy = "gb2312" if script == "Hans" else "cp950"
    return _encodable(character, legacy) or normalise_script(character, script) == character


def _is_new_ideograph(character: str) -> bool:
    """True for ideographs that Unicode got after the tables of Python 3.11 (extensions H, I)."""
    return "\U00031350" <= character <= "\U000323af" or "\U0002ebf0" <= character <= "\U0002ee5d"


def _script_word(character: str) -> str:
    if _is_new_ideograph(character):
        return "CJK"
    words = unicodedata.name(character, "?").replace("-", " ").split(" ")
    if words[0] in ("FULLWIDTH", "HALFWIDTH") and len(words) > 1:
        return words[1]
    return "CJK" if words[0] == "IDEOGRAPHIC" else words[0]


def _encodable(character: str, encoding: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
