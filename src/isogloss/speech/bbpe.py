"""Byte-level units: which tables of units have them, what bytes a unit stands for.

Public Chinese models spell text as UTF-8 bytes in one of two ways. icefall writes each byte as a
printable character (BBPE), so that sentencepiece learns pieces of bytes; sentencepiece itself
writes a byte that no piece covers as "<0xE4>" (byte fallback). Called by `Tokenizer`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["byte_of_fallback", "bytes_of_symbol", "is_bbpe", "spell", "text_of_bytes"]

_SPACE = "▁"
# Characters of Latin Extended-A that compatibility normalisation (NFKC) would change.
_UNSTABLE = frozenset({306, 307, 319, 320, 329, 383})
_HIGH = [code for code in range(288, 423) if code not in _UNSTABLE]
# Source: icefall's byte_utils.py, after fairseq's: printable ASCII stands for itself, the 32
# control bytes and the 129 bytes from 127 on for letters from U+0100 on.
_CHARACTERS = "".join(map(chr, [*range(256, 288), *range(32, 127), *_HIGH]))
_BYTES = {character: byte for byte, character in enumerate(_CHARACTERS)}
_BYTES[_SPACE] = 0x20
_FALLBACK = re.compile(r"<0x([0-9A-Fa-f]{2})>")
# Han characters, at whose borders icefall's recipes put spaces before they spell.
_HAN = re.compile("([\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])")
_LEADS, _CONTINUATIONS = range(0xC2, 0xF5), range(0x80, 0xC0)
# Of 64 continuation bytes; a table of Han characters has nearly all, a Baltic alphabet under ten.
_CERTAIN = 32


def byte_of_fallback(symbol: str) -> int | None:
    """The byte that "<0xE4>" stands for; None for any other symbol."""
    found = _FALLBACK.fullmatch(symbol)
    return None if found is None else int(found[1], 16)


def bytes_of_symbol(symbol: str) -> bytes:
    """The bytes of a BBPE symbol, a space for U+2581.

    Raises:
        ValueError: a character of it stands for no byte.
    """
    try:
        return bytes(_BYTES[character] for character in symbol)
    except KeyError as error:
        raise ValueError(f"{error.args[0]!r} of {symbol!r} stands for no byte") from None


def spell(text: str, *, space_han: bool = False) -> str:
    """`text` as icefall spells it: one printable character for each UTF-8 byte, spaces kept.

    Args:
        text: as `normalise_text` leaves it.
        space_han: put a space at both sides of every Han character first, as recipes do that are
            made for one language model over words and characters.
    """
    if space_han:
        text = " ".join(_HAN.sub(r" \1 ", text).split())
    return "".join(_CHARACTERS[byte] for byte in text.encode("utf-8", "ignore"))


def text_of_bytes(data: bytes) -> str:
    """The characters that are whole in `data`, in order; bytes that belong to none are dropped.

    No encoding of a character lies inside another's or overlaps it, so this is also the reading
    with the most characters, which is what icefall looks for.
    """
    return data.decode("utf-8", "ignore")


def is_bbpe(symbols: Iterable[str]) -> bool:
    """Whether these are BBPE symbols, the special ones left out.

    Every character must stand for a byte, every symbol must be a stretch of well-formed UTF-8, and
    there must be bytes of characters beyond ASCII: half of all continuation bytes, or in a small
    table a first and a continuation byte and no control byte. An alphabet that lies in Latin
    Extended-A as a whole (Latvian) uses characters of control bytes, other alphabets use
    characters that stand for no byte.
    """
    seen: set[int] = set()
    for symbol in symbols:
        if any(character not in _BYTES for character in symbol):
            return False
        data = bytes_of_symbol(symbol)
        if not _is_stretch(data):
            return False
        seen.update(data)
    continuations = sum(byte in _CONTINUATIONS for byte in seen)
    if continuations >= _CERTAIN:
        return True
    controls = any(byte < 0x20 or byte == 0x7F for byte in seen)
    leads = any(byte in _LEADS for byte in seen)
    return continuations > 0 and leads and not controls


def _is_stretch(data: bytes) -> bool:
    """Whether `data` can stand inside well-formed UTF-8: only its ends may be cut characters."""
    start = 0
    while start < len(data) and start < 3 and data[start] in _CONTINUATIONS:
        start += 1
    end = len(data)
    for back in range(1, min(3, end - start) + 1):
        lead = data[end - back]
        if lead in _LEADS:
            needed = 2 + (lead >= 0xE0) + (lead >= 0xF0)
            end -= back if needed > back else 0
            break
        if lead not in _CONTINUATIONS:
            break
    try:
        data[start:end].decode("utf-8")
    except UnicodeDecodeError:
        # Bytes that UTF-8 never has are units of complete tables.
        return len(data) == 1
    return True
