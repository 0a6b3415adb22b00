"""What stands above the numbers on the page of `isogloss demo --text`."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from isogloss._files import write_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["add_summary"]

_KINDS = {
    "trained": "trained: masked LM, then contrast of translations",
    "control": "control: the same steps of masked LM alone",
    "mlm": "masked LM, where both began",
    "random": "random weights",
    "ngram": "character n-grams, the floor",
}


def add_summary(page: Path, summary: Mapping[str, Any]) -> None:
    """Put a table of the models, and what to do with them, below the heading of `page`."""
    rows = "".join(
        f'<tr><th scope="row">{escape(told)}</th><td>{100 * summary[f"r_at_1_{kind}"]:.1f} %</td>'
        f"<td>{_interval(summary, kind)}</td><td>{_serbian(summary, kind)}</td></tr>"
        for kind, told in _KINDS.items()
        if f"r_at_1_{kind}" in summary
    )
    heads = "".join(
        f'<th scope="col">{text}</th>'
        for text in ("model", "R@1", "interval", "Serbian to and from its Latin script")
    )
    section = (
        '<div class="scroll"><table class="plain"><caption>Out of the held-out messages, how many '
        "find their own translation first, mean over all pairs of varieties; the layer is chosen "
        f"on other messages.</caption><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
        "</div><p>All text is messages of computer programs, from the catalogues of this machine: "
        "short, formulaic, full of names that every language keeps. The n-gram floor feeds on "
        "these. No number here says how the model does on other text.</p>"
    )
    text = page.read_text(encoding="utf-8")
    place = text.find("</h1>") + len("</h1>")
    write_text(page, text[:place] + section + text[place:])


def _interval(summary: Mapping[str, Any], kind: str) -> str:
    low, high = summary[f"r_at_1_{kind}_low"], summary[f"r_at_1_{kind}_high"]
    return "" if low is None else f"{100 * low:.1f} to {100 * high:.1f}"


def _serbian(summary: Mapping[str, Any], kind: str) -> str:
    found = summary["srp_srp_latn"].get(kind, {})
    return ", ".join(f"{100 * value:.1f} %" for value in found.values())
