from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PIL")
matplotlib = pytest.importorskip("matplotlib")

from isogloss.encoders.pixel_fonts import (  # noqa: E402
    Fonts,
    FoundFont,
    named_font,
    open_fonts,
    system_fonts,
    trained_fonts,
)
from isogloss.encoders.pixel_render import Renderer  # noqa: E402
from isogloss.errors import IsoglossError  # noqa: E402

FOLDER = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
DEJAVU = FOLDER / "DejaVuSans.ttf"


@pytest.fixture
def fonts() -> Fonts:
    return open_fonts([FoundFont(DEJAVU)], 16)


def picture(renderer: Renderer, text: str) -> np.ndarray:
    """(height, pixels) of a text."""
    patches = renderer.strip(text).patches
    height = renderer.fonts.height
    return patches.reshape(len(patches), height, -1).transpose(1, 0, 2).reshape(height, -1)


def test_strip_has_ink_within_the_line_and_nothing_behind_the_text(fonts: Fonts) -> None:
    renderer = Renderer(fonts, 8)
    strip = renderer.strip(text="Ågq fox")
    assert strip.patches.shape[1] == 16 * 8
    assert strip.patches.dtype == np.uint8
    # Ink in the last patch: no empty patch follows the text.
    assert strip.patches[-1].any()
    ink = picture(renderer, "Ågq fox") > 128
    assert ink.any(axis=1).sum() >= 12  # tall and deep letters fill the line


def test_characters_follow_the_text(fonts: Fonts) -> None:
    renderer = Renderer(fonts, 4)
    strip = renderer.strip(text="ab  cd")
    seen = strip.characters[strip.characters >= 0]
    assert (np.diff(seen) >= 0).all()
    assert set(seen.tolist()) == {0, 1, 4, 5}
    words = renderer.words("ab  cd", strip, [(0, 2), (4, 6)])
    assert set(words.tolist()) <= {-1, 0, 1}
    assert words[0] == 0 and words[-1] == 1


def test_words_do_not_change_the_picture_and_spaces_are_one_gap(fonts: Fonts) -> None:
    renderer = Renderer(fonts, 4)
    np.testing.assert_array_equal(picture(renderer, "ab cd"), picture(renderer, " ab \n cd  "))
    assert not np.array_equal(picture(renderer, "ab cd"), picture(renderer, "abcd")[:, :24])


def test_a_word_is_drawn_the_same_wherever_it_stands(fonts: Fonts) -> None:
    renderer = Renderer(fonts, 1)
    alone = picture(renderer, "fox")
    behind = picture(renderer, "ab fox")
    np.testing.assert_array_equal(behind[:, -alone.shape[1] :], alone)


def test_missing_characters_are_counted_and_never_boxes(fonts: Fonts) -> None:
    renderer = Renderer(fonts, 4)
    strip = renderer.strip(text="fox 狐狸 狐")
    assert strip.missing == Counter({"狐": 2, "狸": 1})
    nothing = renderer.strip(text="狐狸")
    assert nothing.patches.shape[0] == 1
    assert not nothing.patches.any()
    assert nothing.characters.tolist() == [-1]
    # A joiner has no picture and is not missing.
    assert not renderer.strip(text="a\u200db").missing


def test_the_second_font_draws_what_the_first_lacks() -> None:
    # cmr10 has no Cyrillic, DejaVu has.
    both = open_fonts([FoundFont(FOLDER / "cmr10.ttf"), FoundFont(DEJAVU)], 16)
    assert both.number("a") == 0
    assert both.number("ж") == 1
    assert both.number("狐") is None
    assert [font.path.name for font in both.used(["aaa"])] == ["cmr10.ttf"]
    assert [font.path.name for font in both.used(["aж"])] == ["cmr10.ttf", "DejaVuSans.ttf"]


def test_fonts_of_the_system_are_never_none_and_draw_latin() -> None:
    found = system_fonts()
    assert found
    assert open_fonts(found[:1], 16).number("a") == 0
    assert not any("LastResort" in font.path.name for font in found)


def test_fonts_of_training_are_known_by_their_content(tmp_path: Path) -> None:
    font = system_fonts()[0]
    assert trained_fonts([(font.path.name, font.sha)], tmp_path)[0].sha == font.sha
    with pytest.raises(IsoglossError, match=f"drawn with {font.path.name}, and another version"):
        trained_fonts([(font.path.name, "0" * 64)], tmp_path)
    with pytest.raises(IsoglossError, match=r"drawn with None\.ttf, and it is not here"):
        trained_fonts([("None.ttf", "0")], tmp_path)


def test_long_lines_are_drawn(fonts: Fonts) -> None:
    strip = Renderer(fonts, 16).strip(text="ab" * 50_000)
    assert len(strip.patches) > 10_000
    assert strip.characters[-1] >= 99_990


def test_what_cannot_be_drawn_with_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IsoglossError, match="no such font"):
        named_font(str(tmp_path / "x.ttf"))
    broken = tmp_path / "x.ttf"
    broken.write_bytes(b"no font")
    with pytest.raises(IsoglossError, match="Pillow cannot draw with this font"):
        open_fonts([FoundFont(broken)], 16)
    with pytest.raises(ValueError, match="no font to draw with"):
        open_fonts([], 16)
    with pytest.raises(ValueError, match="height must be at least 8 pixels, got 4"):
        open_fonts([FoundFont(DEJAVU)], 4)
    with pytest.raises(ValueError, match="width must be at least 1 pixel"):
        Renderer(open_fonts([FoundFont(DEJAVU)], 16), 0)
