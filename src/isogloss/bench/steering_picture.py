"""A steering result in, a PNG out: share in the target variety and meaning kept, by strength."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isogloss._files import atomic_writer
from isogloss.errors import MissingExtra

if TYPE_CHECKING:
    from pathlib import Path

    from isogloss.tasks.steering import SteeringResult

__all__ = ["write_steering_png"]

_DPI = 160


def write_steering_png(result: SteeringResult, path: Path) -> None:
    """Two panels over strength, a line for each method and layer; dotted: without intervention.

    Above the share of outputs in the target variety with its interval, below R@1 of the output
    among translations; without retrieval (prompts without translations) the first panel alone.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("text", "matplotlib") from error
    lines: dict[str, list[int]] = {}
    for number, row in enumerate(result.rows[1:], start=1):
        name = row.method if row.layer is None else f"{row.method}, layer {row.layer}"
        lines.setdefault(name, []).append(number)
    judged = "n-grams to target" if result.without.retrieval else None
    panels = 1 if judged is None else 2
    figure = Figure(figsize=(6.0, 2.6 * panels + 0.6), layout="constrained")
    axes = figure.subplots(panels, 1, squeeze=False, sharex=True)[:, 0]
    for name, numbers in lines.items():
        rows = [result.rows[n] for n in numbers]
        x = [row.strength for row in rows]
        below = [100 * (row.share - (row.share if row.low is None else row.low)) for row in rows]
        above = [100 * ((row.share if row.high is None else row.high) - row.share) for row in rows]
        axes[0].errorbar(
            x,
            [100 * row.share for row in rows],
            yerr=[[max(0.0, v) for v in below], [max(0.0, v) for v in above]],
            marker="o",
            label=name,
        )
        if judged is not None:
            axes[1].plot(x, [100 * row.retrieval[judged] for row in rows], marker="o")
    axes[0].axhline(100 * result.without.share, linestyle=":", color="grey")
    axes[0].set_ylabel(f"outputs in {result.signature['target']} (%)")
    axes[0].set_ylim(-3, 103)
    axes[0].legend(fontsize=7)
    if judged is not None:
        axes[1].axhline(100 * result.without.retrieval[judged], linestyle=":", color="grey")
        axes[1].set_ylabel("R@1 of the translation (%)")
        axes[1].set_ylim(-3, 103)
    relative = result.signature["relative"]
    axes[-1].set_xlabel("strength" + (" (share of the states' length)" if relative else ""))
    with atomic_writer(path) as handle:
        figure.savefig(handle, format="png", dpi=_DPI)
