"""Labels of languages as other people write them, made comparable; called by the table."""

from __future__ import annotations

import re
import unicodedata

from isogloss.varieties.scripts import SCRIPTS

__all__ = ["folded", "label_parts", "without_script"]

_SCRIPT_SUFFIX = re.compile(r"(.+)[_-]([A-Z][a-z]{3})")
_BETWEEN_PARTS = re.compile(r"[\s\-_/\\>·・,，、;；:：|()（）]+")
# Modifier letters that stand for an apostrophe; Unicode counts them as letters.
_APOSTROPHES = frozenset("\u02b9\u02bb\u02bc\u02bd")


def folded(label: str) -> str:
    """`label` without case, Latin diacritics, spaces and punctuation, so 'Ji-Lu' equals 'jilu'.

    A colon is kept: it parts the name of a corpus from a label of its own ('ewave:SW'). Vowel
    signs and other marks of scripts other than Latin, Greek and Cyrillic are kept. A label of
    punctuation alone gives ''.
    """
    kept = [
        character
        for character in unicodedata.normalize("NFKD", label).casefold()
        if character == ":" or (_carries_meaning(character) and character not in _APOSTROPHES)
    ]
    return unicodedata.normalize("NFC", "".join(kept))


def without_script(label: str) -> str | None:
    """'arb' for 'arb_Arab': the part before an ISO 15924 script code; None where there is none."""
    match = _SCRIPT_SUFFIX.fullmatch(label.strip())
    return match[1] if match and match[2] in SCRIPTS else None


def label_parts(label: str) -> tuple[str, ...]:
    """The parts of '吴语-太湖片-苏沪嘉小片', as written, coarse or fine in any order."""
    return tuple(part for part in _BETWEEN_PARTS.split(label) if part)


def _carries_meaning(character: str) -> bool:
    category = unicodedata.category(character)
    if category.startswith("M"):
        return not "\u0300" <= character <= "\u036f"
    return category[0] in "LN"
