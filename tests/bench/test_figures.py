from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isogloss.bench.colours import HEAT_LEVELS, heat_css, heat_level, map_palette, text_on
from isogloss.bench.figures import Bar, Series, bars, curve, palette_png, ticks


def chunks(png: bytes) -> dict[bytes, bytes]:
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    found, at = {}, 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        kind, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        assert struct.unpack(">I", png[at + 8 + length : at + 12 + length])[0] == zlib.crc32(
            kind + data
        )
        found[kind], at = data, at + 12 + length
    return found


def test_pixels_of_a_map_are_its_levels() -> None:
    levels = np.random.default_rng(0).integers(0, 256, (7, 13), dtype=np.uint8)
    found = chunks(palette_png(levels))
    assert struct.unpack(">IIBBBBB", found[b"IHDR"]) == (13, 7, 8, 3, 0, 0, 0)
    rows = np.frombuffer(zlib.decompress(found[b"IDAT"]), dtype=np.uint8).reshape(7, 14)
    assert (rows[:, 0] == 0).all()
    assert (rows[:, 1:] == levels).all()


def test_another_reader_sees_the_same_colours() -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow comes with matplotlib")
    import io

    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    with image.open(io.BytesIO(palette_png(levels))) as opened:
        pixels = np.asarray(opened.convert("RGB"))
    assert (pixels.reshape(-1, 3) == map_palette()).all()


@given(st.integers(0, 254), st.data())
def test_a_stretched_palette_tells_every_level_apart(low: int, data) -> None:
    high = data.draw(st.integers(low + 1, 255))
    palette = chunks(palette_png(np.zeros((1, 1), np.uint8), low=low, high=high))[b"PLTE"]
    colours = np.frombuffer(palette, dtype=np.uint8).reshape(256, 3)
    place = {tuple(rgb): i for i, rgb in enumerate(map_palette().tolist())}
    assert len(place) == 256
    for level in range(low, high + 1):
        # As the script of the page does it.
        back = low + round(place[tuple(colours[level].tolist())] / 255 * (high - low))
        assert back == level


@pytest.mark.parametrize("levels", [np.zeros((0, 3), np.uint8), np.zeros((2, 2), np.float32)])
def test_what_is_no_map_is_refused(levels) -> None:
    with pytest.raises(ValueError, match="uint8"):
        palette_png(levels)


def test_lightness_of_maps_rises() -> None:
    lightness = map_palette().astype(float) @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(lightness) > -0.8).all()
    assert lightness[-1] - lightness[0] > 200


def test_every_shade_has_text_that_can_be_read() -> None:
    css = heat_css()
    assert css.count(".h") == 2 * (HEAT_LEVELS + 1)
    assert (heat_level(-1), heat_level(0.5), heat_level(2)) == (0, HEAT_LEVELS // 2, HEAT_LEVELS)
    assert (text_on("#ffffff"), text_on("#000000")) == ("#10151b", "#ffffff")


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (0, 7, [0, 2, 4, 6]), (3, 3, [3]), (0, 0.03, None)],
)
def test_ticks_are_round(low: float, high: float, expected) -> None:
    found = ticks(low, high)
    assert expected is None or found == pytest.approx(expected)
    assert len(found) <= 7


def test_a_curve_names_its_points_and_escapes() -> None:
    points = [(0, 0.1, 0.05, 0.2), (1, 0.5, None, None)]
    svg = curve([Series("a<b", points)], title="T", x_label="x", y_label="y&", percent=True)
    assert svg.count("<circle") == 2
    assert svg.count("whisker") == 1
    assert "a<b" not in svg and "a&lt;b" in svg and "y&amp;" in svg
    with pytest.raises(ValueError, match="no point"):
        curve([], title="T", x_label="x", y_label="y")


def test_one_point_of_zero_can_be_drawn() -> None:
    assert "<circle" in curve(
        [Series("a", [(300, 0, None, None)])], title="T", x_label="", y_label=""
    )


def test_bars_hold_their_numbers() -> None:
    html = bars([("head", [Bar("x", 0.25, 0.2, 0.3, note="n")])], title="t", chance=0.01)
    assert "width:25.00%" in html and "left:20.00%" in html and "20.0–30.0" in html
    assert "left:1.00%" in html and "head" in html
