"""Values in [0, 1] in, colours out: one ramp for tables in light and dark, one for maps."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["HEAT_LEVELS", "heat_css", "heat_level", "map_palette", "text_on"]

HEAT_LEVELS = 20
"""Table cells have one of 21 shades."""

_LIGHT = ("#f4f6f8", "#d3e0ee", "#9cbcdf", "#5b8fc7", "#2a65a4", "#123f73")
_DARK = ("#20262d", "#263f5b", "#2f5c8d", "#4a83c0", "#86b3e2", "#d3e6fb")
# Dark to bright with evenly rising lightness, so that the ridge of a map stands out in print too.
_MAP = ("#10131f", "#1d2b53", "#2b4f7f", "#2f7a8c", "#3fa487", "#86c66b", "#d8de5b", "#fdf6b4")


def heat_level(value: float) -> int:
    """Shade of a share in [0, 1]: 0 to `HEAT_LEVELS`; values outside are cut."""
    return round(HEAT_LEVELS * min(1.0, max(0.0, value)))


def heat_css() -> str:
    """Rules for classes h0 to h20, light and dark, with text that can be read on each."""
    blocks = []
    for stops, wrapper in ((_LIGHT, "{}"), (_DARK, "@media (prefers-color-scheme:dark){{{}}}")):
        ramp = _ramp(stops, HEAT_LEVELS + 1)
        rules = "".join(
            f".h{i}{{background:{_hex(rgb)};color:{text_on(_hex(rgb))}}}"
            for i, rgb in enumerate(ramp)
        )
        blocks.append(wrapper.format(rules))
    return "\n".join(blocks)


def map_palette() -> npt.NDArray[np.uint8]:
    """(256, 3) RGB of map levels, dark to bright, no two alike: a colour tells its level."""
    palette = _ramp(_MAP, 256)
    return palette


def text_on(background: str) -> str:
    """Near-black or white, whichever contrasts more with '#rrggbb' (WCAG 2 relative luminance)."""
    light = _luminance(background)
    dark_text, white_text = "#10151b", "#ffffff"
    with_dark = (light + 0.05) / (_luminance(dark_text) + 0.05)
    with_white = 1.05 / (light + 0.05)
    return dark_text if with_dark >= with_white else white_text


def _luminance(colour: str) -> float:
    channels = np.array(_rgb(colour)) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ np.array([0.2126, 0.7152, 0.0722]))


def _ramp(stops: tuple[str, ...], count: int) -> npt.NDArray[np.uint8]:
    anchors = np.array([_rgb(stop) for stop in stops], dtype=np.float64)
    at = np.linspace(0, len(stops) - 1, count)
    columns = [np.interp(at, np.arange(len(stops)), anchors[:, c]) for c in range(3)]
    return np.rint(np.stack(columns, axis=1)).astype(np.uint8)


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _hex(rgb: npt.NDArray[np.uint8]) -> str:
    return "#" + "".join(f"{int(c):02x}" for c in rgb)
