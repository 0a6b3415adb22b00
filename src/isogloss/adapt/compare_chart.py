"""A `Comparison` in, a PNG out: R@1 by layer where there are several, else as bars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from isogloss._files import atomic_writer
from isogloss.errors import MissingExtra

if TYPE_CHECKING:
    from pathlib import Path

    from isogloss.adapt.compare import ComparedTransform, Comparison

__all__ = ["write_chart"]

_DPI = 150


def write_chart(found: Comparison, path: Path) -> None:
    """One panel for each model, the vectors as they are and each transform with its interval.

    Raises:
        ValueError: no row has numbers.
        MissingExtra: matplotlib is not installed.
    """
    rows = [row for row in found.rows if row.r_at_1 is not None]
    if not rows:
        raise ValueError("there is no number to draw")
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("text", "matplotlib") from error
    models = list(dict.fromkeys(row.model for row in rows))
    bars = max(len({(r.layer, r.transform) for r in rows if r.model == m}) for m in models)
    layered = any(len({r.layer for r in rows if r.model == m}) > 1 for m in models)
    height = 4.2 if layered else 1.2 + 0.28 * bars
    figure = Figure(figsize=(4.6 * len(models), height), layout="constrained")
    panels = figure.subplots(1, len(models), squeeze=False, sharex=not layered, sharey=layered)[0]
    for number, (axis, model) in enumerate(zip(panels, models, strict=True)):
        mine = [row for row in rows if row.model == model]
        axis.set_title(model if model.isascii() and "$" not in model else f"model {number + 1}")
        (_lines if layered else _bars)(axis, mine)
    with atomic_writer(path) as handle:
        figure.savefig(handle, format="png", dpi=_DPI)


def _lines(axis: Any, rows: list[ComparedTransform]) -> None:
    for spec in dict.fromkeys(row.transform for row in rows):
        mine = [row for row in rows if row.transform == spec]
        axis.errorbar(
            [row.layer or 0 for row in mine],
            [100 * (row.r_at_1 or 0) for row in mine],
            yerr=_whiskers(mine),
            marker="o",
            markersize=3,
            linewidth=2 if spec == "identity" else 1,
            color="black" if spec == "identity" else None,
            label=spec,
        )
    axis.set_ylim(bottom=0)
    axis.set_xlabel("layer")
    axis.set_ylabel("R@1 (%)")
    axis.legend(fontsize=7)


def _bars(axis: Any, rows: list[ComparedTransform]) -> None:
    places = list(range(len(rows)))
    axis.barh(
        places,
        [100 * (row.r_at_1 or 0) for row in rows],
        xerr=_whiskers(rows),
        color=["0.35" if row.transform == "identity" else "tab:blue" for row in rows],
        height=0.7,
    )
    axis.set_yticks(places, [row.transform for row in rows], fontsize=8)
    axis.invert_yaxis()
    axis.set_xlabel("R@1 (%), mean over pairs of varieties")


def _whiskers(rows: list[ComparedTransform]) -> list[list[float]]:
    """How far the interval reaches below and above, in percent; 0 where there is none."""
    below, above = [], []
    for row in rows:
        value = row.r_at_1 or 0.0
        below.append(0.0 if row.low is None else 100 * max(0.0, value - row.low))
        above.append(0.0 if row.high is None else 100 * max(0.0, row.high - value))
    return [below, above]
