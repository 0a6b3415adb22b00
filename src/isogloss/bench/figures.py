"""Numbers in, self-contained pieces of HTML out: SVG curves, bars, PNG bytes. No network, no style.

Colours come from the page's style sheet (classes s0, s1, ... for series), so that figures follow
the reader's light or dark theme.
"""

from __future__ import annotations

import base64
import math
import struct
import zlib
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from isogloss.bench.colours import map_palette

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

__all__ = ["Bar", "Series", "bars", "curve", "palette_png", "png_uri", "ticks"]

_WIDTH, _HEIGHT = 440, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 12, 40


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a curve: a point is (x, y, low, high), the bounds may be None."""

    label: str
    points: Sequence[tuple[float, float, float | None, float | None]]
    style: str = "s0"


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: a share in [0, 1], its interval, and what is written beside it."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    style: str = "s0"
    note: str = ""


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers (1, 2 or 5 times a power of ten apart) from low to high."""
    span = high - low
    if not span > 0:
        return [low]
    raw = span / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]


def curve(
    series: Sequence[Series],
    *,
    title: str,
    x_label: str,
    y_label: str,
    y_range: tuple[float, float] | None = None,
    x_names: dict[float, str] | None = None,
    percent: bool = False,
    dots: bool = True,
) -> str:
    """An SVG line chart with whiskers, axes and a text alternative.

    Args:
        series: at least one point in all.
        title: the text alternative begins with it.
        x_label: under the axis.
        y_label: above the axis.
        y_range: of the axis; by default from 0 to the largest value.
        x_names: labels at those x instead of numbers.
        percent: y values are shares, shown as percentages.
        dots: mark every point.
    """
    xs = [x for one in series for x, *_ in one.points]
    tops = [y if high is None else high for one in series for _, y, _, high in one.points]
    if not xs:
        raise ValueError(f"'{title}' has no point to draw")
    x_low, x_high = min(xs), max(xs)
    low, high = y_range or (0.0, max(tops) or 1.0)

    def at(x: float, y: float) -> tuple[float, float]:
        wide = (x - x_low) / (x_high - x_low) if x_high > x_low else 0.5
        high_up = (min(max(y, low), high) - low) / (high - low)
        return (
            round(_LEFT + wide * (_WIDTH - _LEFT - _RIGHT), 1),
            round(_HEIGHT - _BOTTOM - high_up * (_HEIGHT - _TOP - _BOTTOM), 1),
        )

    parts = []
    for value in ticks(low, high):
        y = at(x_low, value)[1]
        shown = f"{100 * value:g}" if percent else f"{value:g}"
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(
            f'<text class="tick" x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{shown}</text>'
        )
    named = x_names or {x: f"{x:g}" for x in ticks(x_low, x_high)}
    for x, name in named.items():
        left = at(x, low)[0]
        parts.append(
            f'<text class="tick" x="{left}" y="{_HEIGHT - _BOTTOM + 16}" '
            f'text-anchor="middle">{escape(name)}</text>'
        )
    parts.append(
        f'<text class="axis" x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 6}" '
        f'text-anchor="middle">{escape(x_label)}</text>'
    )
    for one in series:
        parts += _line(one, at, dots=dots)
    told = "; ".join(
        f"{one.label}: "
        + ", ".join(
            f"{named.get(x, f'{x:g}')} {100 * y if percent else y:.3g}"
            for x, y, *_ in one.points[:40]
        )
        for one in series
    )
    legend = _legend(series) if len(series) > 1 else ""
    spoken = escape(f"{title}. {told}", quote=True)
    return (
        f'<figure class="chart"><figcaption>{escape(y_label)}</figcaption>'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{spoken}">'
        f"{''.join(parts)}</svg>{legend}</figure>"
    )


def _line(
    one: Series, at: Callable[[float, float], tuple[float, float]], *, dots: bool
) -> list[str]:
    points = [at(x, y) for x, y, *_ in one.points]
    path = " ".join(f"{x},{y}" for x, y in points)
    parts = [f'<polyline class="line {one.style}" points="{path}"/>']
    for (x, y, low, high), (left, up) in zip(one.points, points, strict=True):
        if low is not None and high is not None:
            bottom, top = at(x, low)[1], at(x, high)[1]
            parts.append(
                f'<line class="whisker {one.style}" x1="{left}" x2="{left}" '
                f'y1="{bottom}" y2="{top}"/>'
            )
        if dots:
            parts.append(
                f'<circle class="dot {one.style}" cx="{left}" cy="{up}" r="3.5">'
                f"<title>{escape(one.label)}: {y:.3g}</title></circle>"
            )
    return parts


def _legend(series: Sequence[Series]) -> str:
    entries = "".join(
        f'<li><span class="key {one.style}"></span>{escape(one.label)}</li>' for one in series
    )
    return f'<ul class="legend">{entries}</ul>'


def bars(
    blocks: Sequence[tuple[str, Sequence[Bar]]], *, title: str, chance: float | None = None
) -> str:
    """Horizontal bars from 0 to 100 %, with whiskers, values in text, and a line at chance.

    Args:
        blocks: heading ('' for none) and bars of each block.
        title: the table's caption.
        chance: a share to mark in every bar.
    """
    bodies = []
    for heading, rows in blocks:
        head = ""
        if heading:
            head = f'<tr><th scope="rowgroup" colspan="3" class="head">{escape(heading)}</th></tr>'
        bodies.append(f"<tbody>{head}{''.join(_bar_rows(rows, chance))}</tbody>")
    return f'<table class="bars"><caption>{escape(title)}</caption>{"".join(bodies)}</table>'


def _bar_rows(rows: Sequence[Bar], chance: float | None) -> list[str]:
    parts = []
    for row in rows:
        whisker = ""
        if row.low is not None and row.high is not None:
            whisker = (
                f'<i class="range" style="left:{100 * row.low:.2f}%;'
                f'width:{100 * (row.high - row.low):.2f}%"></i>'
            )
        line = f'<i class="chance" style="left:{100 * chance:.2f}%"></i>' if chance else ""
        between = "" if row.low is None or row.high is None else _interval(row.low, row.high)
        note = f" <small>{escape(row.note)}</small>" if row.note else ""
        parts.append(
            f'<tr><th scope="row">{escape(row.label)}{note}</th>'
            f'<td class="bar"><span class="track" aria-hidden="true">'
            f'<b class="{row.style}" style="width:{100 * row.value:.2f}%"></b>{whisker}{line}'
            f'</span></td><td class="num">{100 * row.value:.1f}<small>{between}</small></td></tr>'
        )
    return parts


def _interval(low: float, high: float) -> str:
    return f" {100 * low:.1f}–{100 * high:.1f}"


def palette_png(levels: npt.NDArray[np.uint8], *, low: int = 0, high: int = 255) -> bytes:
    """A PNG of (T, U) map levels, row 0 at the top, coloured by the palette of maps.

    Each pixel is its level as an index, so any reader of PNG gets the values back.

    Args:
        levels: the map.
        low: level with the first colour of the palette; lower ones have it too.
        high: level with its last colour. Between them no two levels have one colour.

    Raises:
        ValueError: the array is not (T, U) uint8 with T and U at least 1, or high is below low.
    """
    if not 0 <= low <= high <= 255:
        raise ValueError(f"expected 0 <= low <= high <= 255, got {low} and {high}")
    if levels.ndim != 2 or levels.dtype != np.uint8 or not levels.size:
        raise ValueError(f"levels must be (T, U) uint8, got {levels.shape} {levels.dtype}")
    height, width = levels.shape
    rows = np.zeros((height, width + 1), dtype=np.uint8)  # each row begins with filter 0
    rows[:, 1:] = levels
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", header),
            _chunk(b"PLTE", map_palette()[_stretched(low, high)].tobytes()),
            _chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)),
            _chunk(b"IEND", b""),
        ]
    )


def _stretched(low: int, high: int) -> npt.NDArray[np.intp]:
    """For each of 256 levels its place in the palette; the page's script does the converse."""
    share = (np.arange(256) - low) / max(1, high - low)
    places: npt.NDArray[np.intp] = np.rint(255 * share.clip(0, 1)).astype(np.intp)
    return places


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def png_uri(data: bytes) -> str:
    """The bytes of a PNG as a data URI."""
    return "data:image/png;base64," + base64.b64encode(data).decode("ascii")
