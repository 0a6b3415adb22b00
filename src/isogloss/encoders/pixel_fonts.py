"""Font files in, the font that has a character out; used by `pixel_render`.

Whether a font has a character is asked of its pictures: a missing one looks like a code point that
no font has.
"""

from __future__ import annotations

import sys
import unicodedata
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss._files import sha256_of_file
from isogloss.errors import IsoglossError, MissingExtra

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "Fonts",
    "FoundFont",
    "is_blank",
    "named_font",
    "open_fonts",
    "system_fonts",
    "trained_fonts",
]

# Tall and deep letters that should fit into a line, and where its base line is.
_TALL = "ÅÊjgpqyÇ漢國"
_BASE_LINE = 0.78
# A noncharacter: no font may have a picture of it.
_NEVER = "\uffff"
# Wide coverage and even strokes first; each of these takes what those before it lack.
_PREFERRED = (
    "DejaVuSans",
    "NotoSans-Regular",
    "NotoSansCJK-Regular",
    "NotoSansCJKsc-Regular",
    "WenQuanYiZenHei",
    "wqy-zenhei",
    "wqy-microhei",
)
_LAST = ("unifont", "Unifont")
_FOLDERS = {
    "darwin": ("/System/Library/Fonts", "/Library/Fonts", "~/Library/Fonts"),
    "win32": ("C:/Windows/Fonts",),
}
_UNIX = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts")


@dataclass(frozen=True, slots=True)
class FoundFont:
    """A font file: its path, and the sha256 by which a model knows it again."""

    path: Path

    @property
    def sha(self) -> str:
        """Of the file, read once."""
        return _sha(self.path)


@dataclass
class Fonts:
    """Fonts opened at the size of a line, asked in their order.

    `probes` are the same without shaping, of which is asked what they have. `ascent` is the place
    of the base line, in pixels from the top.
    """

    found: tuple[FoundFont, ...]
    faces: tuple[Any, ...]
    probes: tuple[Any, ...]
    height: int
    ascent: int
    shaping: str
    _of: dict[str, int | None] = field(default_factory=dict)

    def number(self, character: str) -> int | None:
        """Which font draws `character`; None when none has it."""
        if character not in self._of:
            self._of[character] = next(
                (i for i, face in enumerate(self.probes) if _has(face, character)), None
            )
        return self._of[character]

    def has(self, number: int, character: str) -> bool:
        """Whether the font of that number draws `character`."""
        return _has(self.probes[number], character)

    def used(self, texts: Iterable[str]) -> tuple[FoundFont, ...]:
        """The fonts that draw something of `texts`, in their order; the first at least."""
        characters = sorted({character for text in texts for character in text})
        numbers = {self.number(character) for character in characters if not is_blank(character)}
        return tuple(self.found[i] for i in range(len(self.found)) if i in numbers or not i)


def is_blank(character: str) -> bool:
    """Whether a character has no picture of its own: spaces, controls, joiners, selectors."""
    return unicodedata.category(character) in ("Cc", "Cf", "Zs", "Zl", "Zp") or (
        "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"
    )


def named_font(name: str) -> FoundFont:
    """The font in a file.

    Raises:
        IsoglossError: there is no such file.
    """
    path = Path(name).expanduser()
    if not path.is_file():
        raise IsoglossError(f"{path}: no such font; name font files, with commas between")
    return FoundFont(path)


def open_fonts(found: Sequence[FoundFont], height: int) -> Fonts:
    """Each font at the largest size at which tall letters fit into `height` pixels.

    Scripts whose letters join or change by their neighbours need Pillow with Raqm; without it
    letters are drawn one by one, and `shaping` says so.

    Raises:
        IsoglossError: a file is no font that Pillow can open at a size of its own.
        ValueError: no font, or a height under 8.
        MissingExtra: Pillow is not installed.
    """
    if not found:
        raise ValueError("there is no font to draw with")
    if height < 8:
        raise ValueError(f"height must be at least 8 pixels, got {height}")
    image_font = _image_font()
    from PIL import features

    shaping = "raqm" if features.check_feature("raqm") else "basic"
    engine = image_font.Layout.RAQM if shaping == "raqm" else image_font.Layout.BASIC
    ascent = round(_BASE_LINE * height)
    faces: list[Any] = []
    probes: list[Any] = []
    for font in found:
        try:
            size = _largest_size(image_font, font.path, height, ascent)
            face = image_font.truetype(str(font.path), size, layout_engine=engine)
        except (OSError, ValueError) as error:
            raise IsoglossError(
                f"{font.path}: Pillow cannot draw with this font: {error}"
            ) from error
        faces.append(face)
        probes.append(face.font_variant(layout_engine=image_font.Layout.BASIC))
    return Fonts(tuple(found), tuple(faces), tuple(probes), height, ascent, shaping)


def system_fonts() -> tuple[FoundFont, ...]:
    """Upright fonts of this machine, those of wide coverage first; never empty.

    The font of matplotlib stands in where the machine has none.

    Raises:
        IsoglossError: there is none at all, and no matplotlib.
    """
    ranked = sorted((_rank(path), path.name, str(path)) for path in _font_files())
    chosen: dict[str, Path] = {}
    for rank, name, place in ranked:
        if rank < _SKIPPED and len(chosen) < _MOST_FONTS:
            chosen.setdefault(name, Path(place))
    if not chosen:
        raise IsoglossError(
            "this machine has no font; install one (Debian: apt install fonts-dejavu-core), or "
            "name font files with ?font=FILE,FILE"
        )
    return tuple(FoundFont(path) for path in chosen.values())


def trained_fonts(wanted: Sequence[tuple[str, str]], folder: Path) -> tuple[FoundFont, ...]:
    """The fonts with which a model was trained, by (file name, sha256), from this machine.

    Raises:
        IsoglossError: one is absent or another version.
    """
    files = _font_files()
    fonts = []
    for name, sha in wanted:
        same = [path for path in files if path.name == name]
        path = next((path for path in same if _sha(path) == sha), None)
        if path is None:
            what = "another version of it is here" if same else "it is not here"
            raise IsoglossError(
                f"{folder}: the model reads text drawn with {name}, and {what}; install that "
                "font, or draw with others, at a loss, by ?font=FILE,FILE"
            )
        fonts.append(FoundFont(path))
    return tuple(fonts)


_SKIPPED = 100
_MOST_FONTS = 200
# Of the fonts of matplotlib, only what is a text font; the others are for formulas.
_OF_MATPLOTLIB = "DejaVuSans.ttf"
# Words in the names of fonts that draw text in another way, or boxes for everything.
_OTHER_KINDS = (
    "Bold Italic Oblique Light Thin Condensed Mono Emoji Math Icon Symbol Serif Display Black "
    "Medium LastResort Notdef Blank"
).split()


def _rank(path: Path) -> int:
    stem = path.stem
    if stem in _PREFERRED:
        return _PREFERRED.index(stem)
    if stem.startswith("NotoSans") and stem.endswith("-Regular"):
        return 20
    if stem in _LAST:
        return 60
    return _SKIPPED if any(word in stem for word in _OTHER_KINDS) else 40


@lru_cache(maxsize=1)
def _font_files() -> tuple[Path, ...]:
    folders = [Path(folder).expanduser() for folder in _FOLDERS.get(sys.platform, _UNIX)]
    kinds = (".ttf", ".otf", ".ttc")
    files = [
        path
        for folder in folders
        if folder.is_dir()
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in kinds and path.is_file()
    ]
    try:
        import matplotlib
    except ImportError:
        return tuple(files)
    return (*files, Path(matplotlib.get_data_path()) / "fonts" / "ttf" / _OF_MATPLOTLIB)


@lru_cache(maxsize=256)
def _sha(path: Path) -> str:
    return sha256_of_file(path)


def _has(face: Any, character: str) -> bool:
    if is_blank(character):
        return True
    # Drawn without neighbours; a picture of nothing is a missing one too.
    picture, missing = face.getmask(character), face.getmask(_NEVER)
    if picture.getbbox() is None:
        return False
    same_size: bool = picture.size == missing.size
    return not (same_size and bytes(picture) == bytes(missing))


def _largest_size(image_font: Any, path: Path, height: int, ascent: int) -> int:
    """The largest size in pixels, at most `height`, at which the tall letters of a font fit."""
    for size in range(height, 4, -1):
        face = image_font.truetype(str(path), size, layout_engine=image_font.Layout.BASIC)
        letters = [letter for letter in _TALL if _has(face, letter)]
        boxes = [face.getbbox(letter, anchor="ls") for letter in letters]
        if all(box[1] >= -ascent and box[3] <= height - ascent for box in boxes):
            return size
    return 4


def _image_font() -> Any:
    try:
        from PIL import ImageFont
    except ImportError as error:
        raise MissingExtra("text", "pillow") from error
    return ImageFont
