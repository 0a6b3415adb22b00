"""A tokenizer in, every token as the bytes it stands for out, whatever its marks of word starts.

GPT's byte-level tokenizers write a word start as 'Ġ', SentencePiece as '▁' (U+2581, which is not
the underscore), WordPiece marks the inside of words by '##'. Here a word start is a space, so
tokens of different tokenizers can be compared.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from isogloss.errors import IsoglossError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Pieces", "pieces_of"]

Marks = Literal["byte-level", "metaspace", "wordpiece", "plain"]

_METASPACE = "▁"
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def _byte_alphabet() -> dict[str, int]:
    """The characters in which byte-level tokenizers write bytes: those that can be seen as such.

    The others, in order, are the characters from U+0100 on.
    """
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(b): b for b in shown} | {chr(0x100 + n): b for n, b in enumerate(hidden)}


_TO_BYTE = _byte_alphabet()
_FROM_BYTE = {byte: character for character, byte in _TO_BYTE.items()}


@dataclass(frozen=True, eq=False)
class Pieces:
    """What every token of a tokenizer stands for.

    Attributes:
        tokenizer: of transformers, a fast one.
        marks: how it marks word starts.
        keys: bytes of each token, a leading space for a word start; None for special tokens.
        names: of each token, as the tokenizer writes it.
        special: token number of each special role, such as 'eos_token'.
    """

    tokenizer: Any
    marks: Marks
    keys: tuple[bytes | None, ...]
    names: tuple[str | None, ...]
    special: dict[str, int]

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def by_key(self) -> dict[bytes, int]:
        """The first token of each key."""
        found: dict[bytes, int] = {}
        for number, key in enumerate(self.keys):
            if key is not None:
                found.setdefault(key, number)
        return found

    @cached_property
    def by_folded_key(self) -> dict[bytes, int]:
        """The first token of each key in lower case."""
        found: dict[bytes, int] = {}
        for number, key in enumerate(self.keys):
            if key is not None:
                found.setdefault(folded(key), number)
        return found

    def find(self, key: bytes) -> int | None:
        """The token that stands for `key`; signs are found with and without a word start.

        WordPiece cannot tell a comma behind a word from one behind a space.
        """
        found = self.by_key.get(key)
        if found is None and not any(map(str.isalnum, key.decode("utf-8", "replace"))):
            bare = key.removeprefix(b" ")
            found = self.by_key.get(bare if bare != key else b" " + key)
        return found

    def split(self, key: bytes) -> list[int]:
        """The tokens that this tokenizer makes of what another one writes as `key`.

        A key that starts inside a word is split as the inside of a word. Empty when nothing of it
        is known; unknown tokens are left out.
        """
        backend = self.tokenizer.backend_tokenizer
        if self.marks == "byte-level":
            written = "".join(_FROM_BYTE[byte] for byte in key)
            return self._known(backend.model.tokenize(written))
        try:
            text = key.decode("utf-8")
        except UnicodeDecodeError:
            # A part of a character: only single bytes can say it.
            there = self.by_key
            return [there[bytes([byte])] for byte in key if bytes([byte]) in there]
        starts, text = text.startswith(" "), text.lstrip(" ")
        if backend.normalizer is not None and self.marks != "metaspace":
            text = backend.normalizer.normalize_str(text)
        if not text:
            return [n for n in (self.by_key.get(key),) if n is not None]
        if self.marks == "wordpiece" and not starts:
            return self._inside(text)
        if self.marks == "metaspace" and starts:
            text = _METASPACE + text
        return self._known(backend.model.tokenize(text.replace(" ", _METASPACE)))

    def _known(self, tokens: Sequence[Any]) -> list[int]:
        unknown = self.special.get("unk_token")
        return [token.id for token in tokens if token.id != unknown]

    def _inside(self, text: str) -> list[int]:
        """Greedy longest match of the inside of a word, as WordPiece does behind a first piece."""
        there, found = self.by_key, []
        while text:
            size = next((n for n in range(len(text), 0, -1) if text[:n].encode() in there), None)
            if size is None:
                return []
            found.append(there[text[:size].encode()])
            text = text[size:]
        return found


def folded(key: bytes) -> bytes:
    """`key` in lower case; bytes that are no whole characters stay."""
    try:
        return key.decode("utf-8").casefold().encode()
    except UnicodeDecodeError:
        return key


def pieces_of(tokenizer: Any) -> Pieces:
    """What the tokens of `tokenizer` stand for.

    Raises:
        IsoglossError: it has no fast implementation, so there is no list of tokens to compare.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise IsoglossError(
            f"{type(tokenizer).__name__} has no fast tokenizer behind it; convert it to "
            "tokenizer.json first"
        )
    marks = _marks_of(json.loads(backend.to_str()))
    special_ids = set(map(int, tokenizer.all_special_ids))
    vocabulary = {int(number): name for name, number in tokenizer.get_vocab().items()}
    # Some tokenizers leave numbers out.
    names = [vocabulary.get(number) for number in range(max(vocabulary, default=-1) + 1)]
    added = set(tokenizer.get_added_vocab())
    keys = tuple(
        None if name is None or number in special_ids else _key(name, marks, name in added)
        for number, name in enumerate(names)
    )
    roles = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token")
    special = {
        role: int(getattr(tokenizer, f"{role}_id"))
        for role in (*roles, "mask_token")
        if getattr(tokenizer, f"{role}_id", None) is not None
    }
    return Pieces(tokenizer, marks, keys, tuple(names), special)


def _marks_of(description: dict[str, Any]) -> Marks:
    """By the parts of tokenizer.json; a sequence of decoders or pre-tokenizers is looked into."""
    kinds = set()
    for part in ("decoder", "pre_tokenizer", "normalizer"):
        found = description.get(part) or {}
        inner = [*found.get("decoders", ()), *found.get("pretokenizers", ())]
        kinds |= {found.get("type")} | {each.get("type") for each in inner}
    if description["model"]["type"] == "WordPiece":
        return "wordpiece"
    if "ByteLevel" in kinds:
        return "byte-level"
    vocabulary = description["model"].get("vocab", ())
    pieces = vocabulary if isinstance(vocabulary, dict) else [entry[0] for entry in vocabulary]
    if "Metaspace" in kinds or any(piece.startswith(_METASPACE) for piece in pieces):
        return "metaspace"
    return "plain"


def _key(name: str, marks: Marks, is_added: bool) -> bytes:
    byte = _BYTE.fullmatch(name) if marks == "metaspace" else None
    if byte is not None:
        return bytes([int(byte[1], 16)])
    if is_added:
        # Added tokens are written as they are in the text.
        return name.encode()
    if marks == "byte-level":
        return bytes(_TO_BYTE[c] for c in name if c in _TO_BYTE)
    if marks == "wordpiece":
        return name[2:].encode() if name.startswith("##") else b" " + name.encode()
    return name.replace(_METASPACE, " ").encode() if marks == "metaspace" else name.encode()
