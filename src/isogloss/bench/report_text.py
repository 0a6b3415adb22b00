"""Results of a suite on sentences in; mining curves and language bias out, as HTML.

Called by `report.py`.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from isogloss.bench.colours import heat_level
from isogloss.bench.figures import Series, curve
from isogloss.bench.report_tables import styles
from isogloss.bench.summary import labels_of, set_label

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from isogloss.bench.store import RunResult

__all__ = ["heat_section", "mining_section"]


def mining_section(results: Sequence[RunResult]) -> str:
    """Precision against recall as the threshold falls, for every way of mining."""
    labels, style = labels_of([r.encoder for r in results]), styles(results)
    lines: dict[tuple[str, str], list[Series]] = {}
    for result in results:
        for task, measurement in _of_kind([result], "mining"):
            points = measurement["signature"].get("curve")
            if not points or " by " in measurement["name"]:
                continue
            series = Series(
                labels[result.encoder],
                [(float(recall), float(precision), None, None) for _, precision, recall in points],
                style[result.encoder],
            )
            lines.setdefault((task, measurement["name"].removeprefix("F1 ")), []).append(series)
    if not lines:
        return ""
    charts = [
        curve(
            series,
            title=f"Precision by recall, {task}, {way}",
            x_label="recall",
            y_label=f"precision in %, {task}: {way}",
            y_range=(0.0, 1.0),
            percent=True,
            dots=False,
        )
        for (task, way), series in lines.items()
    ]
    return (
        "<h2>Mining</h2><p>Pairs are kept from the largest margin downwards, over all pairs of "
        "varieties together: the further to the right a curve stays high, the more pairs can be "
        "had at that precision. The F1 in the tables is at one threshold, chosen on other "
        f'sentences.</p><div class="columns">{"".join(charts)}</div>'
    )


def heat_section(results: Sequence[RunResult]) -> str:
    """In which varieties the best answers lie, for queries of each."""
    labels = labels_of([r.encoder for r in results])
    tables = []
    for result in results:
        for task, measurement in _of_kind([result], "mixed-pool"):
            heat = measurement["signature"].get("heat")
            if heat:
                caption = f"{labels[result.encoder]}, {task}"
                tables.append(_heat(caption, heat))
    if not tables:
        return ""
    return (
        "<h2>Language bias</h2><p>All varieties stand in one pool. A row says in which varieties "
        "the best answers to its queries lie, in %; the last row is each variety's share of the "
        "pool, which a ranking that is blind to varieties would give. A bright diagonal is "
        f'bias.</p><div class="matrices">{"".join(tables)}</div>'
    )


def _of_kind(results: Sequence[RunResult], kind: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for result in results:
        for task, entry in result.tasks.items():
            if entry["task"] == kind:
                for measurement in entry.get("measurements", ()):
                    yield task, measurement


def _heat(caption: str, heat: Mapping[str, Any]) -> str:
    names = [set_label(code, "variety") for code in heat["varieties"]]
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    rows = [*zip(names, heat["shares"], strict=True), ("share of pool", heat["share of the pool"])]
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>{"".join(map(_cell, shares))}</tr>'
        for name, shares in rows
    )
    return (
        f'<div class="scroll"><table class="heat dense"><caption>{escape(caption)}</caption>'
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(share: float | None) -> str:
    if share is None:
        return '<td class="none">–</td>'
    return f'<td class="h{heat_level(share)}">{100 * share:.1f}</td>'
