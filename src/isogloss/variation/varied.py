"""`Varied`: a changed text with the places where it was changed; what every variation gives."""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Edit", "Variation", "Varied", "edited", "random_of"]


@dataclass(frozen=True, slots=True)
class Edit:
    """`source[start:end]` became `text[new_start:new_end]`; `by` says what it became.

    Offsets are characters (code points), first and one behind the last. `by` is the variety of the
    new words, or the name of the change.
    """

    start: int
    end: int
    new_start: int
    new_end: int
    by: str


@dataclass(frozen=True, slots=True)
class Varied:
    """One text after a variation.

    `edits` are in order and do not overlap; what lies between them is as it was. They are empty
    for a change of the whole text (a transliteration). `changed` is False where the variation left
    the text out on purpose (a draw): it still belongs to its own variety. `units` counts what
    could have been changed (words), `touched` what was; both 0 where the whole text changes.
    """

    text: str
    edits: tuple[Edit, ...] = ()
    changed: bool = True
    units: int = 0
    touched: int = 0


class Variation(Protocol):
    """A change of texts: the same text, key and seed give the same, whatever the batch."""

    @property
    def name(self) -> str:
        """A word for ids and messages: romanise, switch, clone, ..."""
        ...

    @property
    def described(self) -> str:
        """Everything that changes the output: name, options, seed, versions."""
        ...

    def variety_of(self, code: str) -> str:
        """The code of the variety that a text of variety `code` is in afterwards."""
        ...

    def vary(
        self, texts: Sequence[str], *, keys: Sequence[str], varieties: Sequence[str]
    ) -> list[Varied]:
        """Each text changed, in order.

        Args:
            texts: N texts.
            keys: N names, ids of items: a draw depends on the seed and on the key alone.
            varieties: N codes.
        """
        ...


def random_of(seed: int, key: str, purpose: str = "") -> random.Random:
    """A generator for one item: the same for a seed, a key and a purpose in every process."""
    return random.Random(zlib.crc32(f"{seed}\0{purpose}\0{key}".encode("utf-8", "surrogatepass")))


def edited(source: str, changes: Sequence[tuple[int, int, str, str]], *, units: int) -> Varied:
    """`source` with spans replaced.

    Args:
        source: the text.
        changes: (start, end, new words, by) in rising order, without overlap.
        units: what could have been changed.

    Raises:
        ValueError: changes overlap or lie outside the text.
    """
    pieces: list[str] = []
    edits: list[Edit] = []
    place = length = 0
    for start, end, new, by in changes:
        if not place <= start <= end <= len(source):
            raise ValueError(f"a change at {start}:{end} overlaps one before {place}, or the end")
        pieces += [source[place:start], new]
        length += start - place
        edits.append(Edit(start, end, length, length + len(new), by))
        length += len(new)
        place = end
    pieces.append(source[place:])
    return Varied("".join(pieces), tuple(edits), True, units, len(edits))
