"""A text in, a strip of grey patches out: what the encoder `pixel:` reads."""

from __future__ import annotations

import unicodedata
from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from isogloss.encoders.pixel_fonts import is_blank
from isogloss.encoders.words import span_words, words_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from isogloss.encoders.pixel_fonts import Fonts

__all__ = ["Renderer", "Strip"]

_MOST_KEPT = 50_000
_LONGEST_KEPT = 64


@dataclass(frozen=True, slots=True, eq=False)
class Strip:
    """`patches` (T, height x width) uint8, 255 is ink; `characters` (T,) the character in each.

    A patch's character is the one at its middle, a place in the text; -1 between words and behind
    the last. `missing` are the characters that no font has, which are left out.
    """

    patches: npt.NDArray[np.uint8]
    characters: npt.NDArray[np.int64]
    missing: Counter[str]


class Renderer:
    """Draws texts word by word, each word with the fonts that have its characters.

    Words follow each other from left to right in the order in which they are read, in every
    script; letters within a word are shaped as its script wants, where Pillow has Raqm.

    Args:
        fonts: opened at the height of the strip.
        width: of a patch, in pixels.
    """

    def __init__(self, fonts: Fonts, width: int) -> None:
        if width < 1:
            raise ValueError(f"width must be at least 1 pixel, got {width}")
        self.fonts = fonts
        self.width = width
        self._space = max(1, round(fonts.faces[0].getlength(" ")))
        self._kept: OrderedDict[str, tuple[npt.NDArray[np.uint8], Counter[str]]] = OrderedDict()

    def strip(self, text: str) -> Strip:
        """The patches of `text`, composed (NFC), at least one.

        White space is one gap. A text none of whose characters a font has is one empty patch.
        """
        spans = words_of(text)
        missing: Counter[str] = Counter()
        pictures: list[npt.NDArray[np.uint8]] = []
        starts: list[int] = []
        place = 0
        for number, (first, last) in enumerate(spans):
            if number and spans[number - 1][1] < first:
                place += self._space
            picture, lacking = self._word(text[first:last])
            missing.update(lacking)
            pictures.append(picture)
            starts.append(place)
            place += picture.shape[1]
        count = max(1, -(-place // self.width))
        strip = np.zeros((self.fonts.height, count * self.width), dtype=np.uint8)
        characters = np.full(count * self.width, -1, dtype=np.int64)
        for (first, last), start, picture in zip(spans, starts, pictures, strict=True):
            size = picture.shape[1]
            strip[:, start : start + size] = picture
            if size:
                within = np.arange(size) * (last - first) // size
                characters[start : start + size] = first + within
        patches = strip.reshape(self.fonts.height, count, self.width).transpose(1, 0, 2)
        return Strip(
            np.ascontiguousarray(patches).reshape(count, -1),
            self._of_patches(characters.reshape(count, self.width)),
            missing,
        )

    def words(
        self, text: str, strip: Strip, spans: Sequence[tuple[int, int]]
    ) -> npt.NDArray[np.int64]:
        """The number of the word of each patch, (T,) int64; -1 for none."""
        pieces = [
            (int(place), int(place) + 1) if place >= 0 else (0, 0) for place in strip.characters
        ]
        return span_words(text, pieces, spans)

    def _of_patches(self, columns: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The character at the middle of each patch, else the nearest one in it."""
        order = np.argsort(np.abs(np.arange(self.width) - self.width // 2), kind="stable")
        ordered = columns[:, order]
        found = ordered[np.arange(len(ordered)), np.argmax(ordered >= 0, axis=1)]
        of_patches: npt.NDArray[np.int64] = found.astype(np.int64)
        return of_patches

    def _word(self, word: str) -> tuple[npt.NDArray[np.uint8], Counter[str]]:
        if len(word) > _LONGEST_KEPT:
            return self._drawn(word)
        found = self._kept.get(word)
        if found is None:
            found = self._kept[word] = self._drawn(word)
            if len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return found

    def _drawn(self, word: str) -> tuple[npt.NDArray[np.uint8], Counter[str]]:
        """A picture of the word, (height, pixels), and the characters that no font has."""
        from PIL import Image, ImageDraw

        missing: Counter[str] = Counter()
        parts: list[tuple[int, str]] = []
        for character in word:
            number = self._number(character, parts)
            if number is None:
                missing[character] += 1
            elif parts and parts[-1][0] == number:
                parts[-1] = (number, parts[-1][1] + character)
            else:
                parts.append((number, character))
        lengths = [round(self.fonts.faces[number].getlength(part)) for number, part in parts]
        image = Image.new("L", (sum(lengths), self.fonts.height))
        draw = ImageDraw.Draw(image)
        place = 0
        for (number, part), length in zip(parts, lengths, strict=True):
            face = self.fonts.faces[number]
            draw.text((place, self.fonts.ascent), part, fill=255, font=face, anchor="ls")
            place += length
        return np.asarray(image, dtype=np.uint8).reshape(self.fonts.height, -1), missing

    def _number(self, character: str, parts: Sequence[tuple[int, str]]) -> int | None:
        # What joins to the letter before must be shaped with it, if that font has it.
        if parts and (is_blank(character) or unicodedata.category(character).startswith("M")):
            if is_blank(character) or self.fonts.has(parts[-1][0], character):
                return parts[-1][0]
        return self.fonts.number(character)
