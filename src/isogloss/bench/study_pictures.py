"""Pictures of a study in, PNG files out: heat maps, lines and bars (matplotlib).

Labels are codes and English words, since the fonts of matplotlib have no characters of many
scripts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss._files import atomic_writer
from isogloss.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from isogloss.tasks.study_report import StudyPicture

__all__ = ["write_study_pictures"]

_DPI = 150
_MOST_NUMBERS = 400
_MOST_COLUMNS = 24


def write_study_pictures(pictures: Sequence[StudyPicture], folder: Path) -> list[Path]:
    """Write each picture to `folder/NAME.png` and return the paths; one without numbers has none.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    written = []
    for picture in pictures:
        if not np.isfinite(_array(picture.values)).any():
            continue
        draw = {"heat": _heat, "lines": _lines, "bars": _bars}[picture.kind]
        path = folder / f"{picture.name}.png"
        with atomic_writer(path) as handle:
            draw(picture).savefig(handle, format="png", dpi=_DPI)
        written.append(path)
    return written


def _heat(picture: StudyPicture) -> Any:
    values = _array(picture.values)
    shades = _by_row(values) if picture.by_row else values
    names = picture.rows, picture.columns
    if picture.by_row and values.shape[1] > _MOST_COLUMNS:
        # A page scrolls down, not aside; and rows of different units have no axis to name.
        values, shades, names = values.T, shades.T, names[::-1]
    rows, columns = values.shape
    figure = _figure()(
        figsize=(max(4.0, 0.62 * columns + 2.4), max(2.2, 0.34 * rows + 1.4)), layout="constrained"
    )
    axis = figure.subplots()
    image = axis.imshow(shades, cmap="Blues", aspect="auto")
    _name_ticks(axis, names[1], most_level=6)
    axis.set_yticks(range(rows), [_plain(r) for r in names[0]], fontsize=8)
    if values.size <= _MOST_NUMBERS:
        low, high = np.nanmin(shades), np.nanmax(shades)
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value):
                dark = shades[row, column] > low + 0.62 * (high - low)
                axis.text(column, row, f"{value:.3g}", ha="center", va="center", fontsize=7,
                          color="white" if dark else "black")  # fmt: skip
    if not picture.by_row:
        figure.colorbar(image, ax=axis, label=picture.y, shrink=0.8)
    _titles(axis, picture, y="" if picture.by_row else None)
    return figure


def _lines(picture: StudyPicture) -> Any:
    figure = _figure()(figsize=(6.0, 4.0), layout="constrained")
    axis = figure.subplots()
    x = np.array([float(column) for column in picture.columns])
    values = _array(picture.values)
    for number, label in enumerate(picture.rows):
        there = np.isfinite(values[number])
        axis.errorbar(
            x[there], values[number][there], yerr=_whiskers(picture, number, there), marker="o",
            markersize=4, capsize=2, label=_plain(label), linestyle="-" if number < 10 else "--",
        )  # fmt: skip
    if (x == np.round(x)).all():
        axis.locator_params(axis="x", integer=True)  # there is no layer 0.5
    axis.legend(fontsize=8)
    _titles(axis, picture)
    return figure


def _bars(picture: StudyPicture) -> Any:
    values = _array(picture.values)
    groups, each = values.shape
    figure = _figure()(figsize=(max(5.0, 0.5 + 0.22 * groups * each + 2.0), 4.0),
                       layout="constrained")  # fmt: skip
    axis = figure.subplots()
    width = 0.82 / each
    for column, label in enumerate(picture.columns):
        there = np.isfinite(values[:, column])
        x = np.arange(groups)[there] + (column - (each - 1) / 2) * width
        ends = [_end(picture.low, column, there), _end(picture.high, column, there)]
        shown = values[there, column]
        spread = None
        if ends[0] is not None and ends[1] is not None:
            spread = np.nan_to_num(np.maximum([shown - ends[0], ends[1] - shown], 0))
        axis.bar(x, shown, width, yerr=spread, capsize=2, label=_plain(label))
    _name_ticks(axis, picture.rows, most_level=4)
    axis.axhline(0, color="grey", linewidth=0.8)
    if each > 1:
        figure.legend(fontsize=7, loc="outside right upper")
    _titles(axis, picture)
    return figure


def _name_ticks(axis: Any, names: Sequence[str], *, most_level: int) -> None:
    """Names under the axis, aslant where there are many."""
    aslant = len(names) > most_level
    axis.set_xticks(
        range(len(names)),
        [_plain(name) for name in names],
        fontsize=8,
        rotation=40 if aslant else 0,
        ha="right" if aslant else "center",
    )


def _titles(axis: Any, picture: StudyPicture, *, y: str | None = None) -> None:
    axis.set_title(_plain(picture.title), fontsize=10)
    axis.set_xlabel(_plain(picture.x), fontsize=8)
    axis.set_ylabel(_plain(picture.y if y is None else y) if picture.kind != "heat" else "",
                    fontsize=8)  # fmt: skip
    axis.tick_params(labelsize=8)


def _whiskers(picture: StudyPicture, number: int, there: Any) -> Any:
    if picture.low is None or picture.high is None:
        return None
    value = _array(picture.values)[number][there]
    low = _array(picture.low)[number][there]
    high = _array(picture.high)[number][there]
    return np.nan_to_num(np.maximum([value - low, high - value], 0))


def _end(ends: Sequence[Sequence[float | None]] | None, column: int, there: Any) -> Any:
    return None if ends is None else _array(ends)[there, column]


def _by_row(values: Any) -> Any:
    """Each row from 0 to 1."""
    low = np.nanmin(np.where(np.isfinite(values), values, np.inf), axis=1, keepdims=True)
    high = np.nanmax(np.where(np.isfinite(values), values, -np.inf), axis=1, keepdims=True)
    span = np.where(np.isfinite(high - low) & (high > low), high - low, 1.0)
    return (values - np.where(np.isfinite(low), low, 0.0)) / span


def _array(values: Sequence[Sequence[float | None]]) -> Any:
    return np.array(
        [[np.nan if value is None else float(value) for value in row] for row in values],
        dtype=np.float64,
    )


def _plain(text: str) -> str:
    """Letters that every font has; a dollar sign would begin a formula."""
    return text.replace("$", "").encode("ascii", "replace").decode()


def _figure() -> Any:
    """The figure class: without pyplot there is no display to open and no state to leave behind."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("text", "matplotlib") from error
    return Figure
