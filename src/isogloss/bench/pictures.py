"""Results in, PNG files out, for slides and papers: the matrices and the layer curve (matplotlib).

Labels are English names, since the fonts of matplotlib have no Chinese characters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss._files import atomic_writer
from isogloss.bench.summary import group_cells, is_grouped, labels_of, set_label, set_labels
from isogloss.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from isogloss.bench.store import RunResult

__all__ = ["write_layers_png", "write_matrix_png"]

_DPI = 160
_MOST_NUMBERS = 16


def write_matrix_png(results: Sequence[RunResult], path: Path) -> None:
    """One heatmap of R@1 in % for each result, side by side, on one scale.

    Raises:
        ValueError: there is no result.
        MissingExtra: matplotlib is not installed.
    """
    if not results:
        raise ValueError("there is no result to draw")
    figure_class = _figure()
    size = len(group_cells(results[0])[0])
    side = max(3.0, 0.62 * size + 1.2)
    figure = figure_class(figsize=(side * len(results) + 0.8, side), layout="constrained")
    axes = figure.subplots(1, len(results), squeeze=False)[0]
    image, encoders = None, labels_of([r.encoder for r in results])
    for axis, result in zip(axes, results, strict=True):
        names, cells = group_cells(result)
        values = 100 * np.array(
            [[np.nan if cell is None else cell["value"] for cell in row] for row in cells]
        )
        image = axis.imshow(values, vmin=0, vmax=100, cmap="Blues")
        labels = _plain_labels(result, names)
        axis.set_xticks(range(len(names)), labels, rotation=40, ha="right", fontsize=8)
        axis.set_yticks(range(len(names)), labels, fontsize=8)
        axis.set_title(_plain(encoders[result.encoder], "encoder"), fontsize=10)
        axis.set_xlabel("answer", fontsize=8)
        axis.set_ylabel("query", fontsize=8)
        if size <= _MOST_NUMBERS:
            _write_numbers(axis, values)
    figure.colorbar(image, ax=list(axes), label="R@1 (%)", shrink=0.8)
    with atomic_writer(path) as handle:
        figure.savefig(handle, format="png", dpi=_DPI)


def _write_numbers(axis: Any, values: np.ndarray[Any, np.dtype[np.float64]]) -> None:
    for (row, column), value in np.ndenumerate(values):
        shown = "-" if np.isnan(value) else f"{value:.1f}"
        colour = "white" if value > 62 else "black"
        axis.text(column, row, shown, ha="center", va="center", fontsize=8, color=colour)


def write_layers_png(results: Sequence[RunResult], path: Path) -> bool:
    """The layer curve of every result that has one; False, and no file, when none has.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    with_layers = [result for result in results if result.layers]
    if not with_layers:
        return False
    figure = _figure()(figsize=(5.2, 3.4), layout="constrained")
    axis, encoders = figure.subplots(), labels_of([r.encoder for r in results])
    for result in with_layers:
        found = [(e, m) for e in result.layers if (m := e["measures"].get("R@1")) is not None]
        x = [e["layer"] for e, _ in found]
        y = [100 * m["value"] for _, m in found]
        below = [
            0 if m["low"] is None else max(0.0, 100 * (m["value"] - m["low"])) for _, m in found
        ]
        above = [
            0 if m["high"] is None else max(0.0, 100 * (m["high"] - m["value"])) for _, m in found
        ]
        axis.errorbar(
            x,
            y,
            yerr=[below, above],
            marker="o",
            label=_plain(encoders[result.encoder], "encoder"),
        )
        axis.set_xticks(x, [e["label"].replace(" output", "") for e, _ in found], fontsize=8)
    axis.set_ylim(0, 100)
    axis.set_xlabel("layer")
    axis.set_ylabel("R@1 (%)")
    axis.legend(fontsize=8)
    with atomic_writer(path) as handle:
        figure.savefig(handle, format="png", dpi=_DPI)
    return True


def _plain_labels(result: RunResult, names: Sequence[str]) -> list[str]:
    """Labels in letters that every font has; a name in other letters becomes its number."""
    labels = set_labels(result)
    if is_grouped(result):
        labels = {name: set_label(name, "group") for name in names}
    return [_plain(labels[name], f"set {index + 1}") for index, name in enumerate(names)]


def _plain(text: str, otherwise: str) -> str:
    return text if text.isascii() and "$" not in text else otherwise


def _figure() -> Any:
    """The figure class: without pyplot there is no display to open and no state to leave behind."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("speech", "matplotlib") from error
    return Figure
