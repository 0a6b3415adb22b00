"""Results of a suite in; its comparison, controls, probes and coverage out, as HTML.

Called by `report.py`.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from isogloss.bench.compare_table import mark_of, notes_of, shown_value, test_rows
from isogloss.bench.entries import signature_of
from isogloss.bench.figures import Bar, bars
from isogloss.bench.report_tables import styles
from isogloss.bench.summary import labels_of, set_label
from isogloss.bench.task_kinds import RETRIEVALS, TEXT_TASKS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from isogloss.bench.compare import Comparison, Row
    from isogloss.bench.store import RunResult

__all__ = ["compare_section", "controlled_section", "coverage_section", "probe_section"]

_CONTROLS = ("controlled", "word-choice")
# Tasks that have sections of their own, or none besides the comparison.
_SHOWN_ELSEWHERE = (*_CONTROLS, *RETRIEVALS, "layers", "transcription", "probe")


def compare_section(found: Comparison) -> str:
    """Every measure of every encoder; what cannot be told from the best is marked like it."""
    if not found.rows:
        return ""
    labels = labels_of(found.encoders)
    head = "".join(f'<th scope="col">{escape(labels[name])}</th>' for name in found.encoders)
    body, before = [], None
    for row in found.rows:
        if row.task != before:
            columns = len(found.encoders) + 2
            body.append(
                f'<tr class="task"><th scope="rowgroup" colspan="{columns}">'
                f"{escape(row.task)}</th></tr>"
            )
            before = row.task
        body.append(_compare_row(row, found))
    notes = "".join(f"<li>{escape(note)}</li>" for note in _for_page(found))
    return (
        '<h2>Side by side</h2><div class="scroll"><table class="plain compare">'
        "<caption>Shares in %, correlations as they are, with intervals</caption>"
        f'<thead><tr><th scope="col">measure</th>{head}<th scope="col">chance</th></tr></thead>'
        f'<tbody>{"".join(body)}</tbody></table></div><ul class="note">{notes}</ul>'
        f"{_tests(found)}"
    )


def _for_page(found: Comparison) -> list[str]:
    notes = notes_of(found)
    if found.baseline is None:
        # Weight of type marks on the page what a star marks at a terminal.
        notes[0] = "bold: " + notes[0].removeprefix("* ")
    told: dict[tuple[str, str], list[str]] = {}
    labels = labels_of(found.encoders)
    for task, encoder, reason in found.left_out:
        told.setdefault((task, reason), []).append(labels[encoder])
    notes += [f"{task}, not for {', '.join(of)}: {why}" for (task, why), of in told.items()]
    return notes


def _compare_row(row: Row, found: Comparison) -> str:
    cells = []
    for name in found.encoders:
        cell = row.cells.get(name)
        if cell is None:
            cells.append("<td>–</td>")
            continue
        mark = mark_of(row, name, found.baseline)
        value = shown_value(cell.value, row.measure)
        value += "" if mark in ("", "*") else f" <sup>{escape(mark)}</sup>"
        if cell.low is not None and cell.high is not None:
            low, high = (shown_value(v, row.measure) for v in (cell.low, cell.high))
            value += f" <small>{low} to {high}</small>"
        best = ' class="alike"' if mark == "*" else ""
        cells.append(f"<td{best}>{value}</td>")
    note = "" if row.higher_is_better else " <small>less is better</small>"
    chance = "–" if row.chance is None else shown_value(row.chance, row.measure)
    values = "".join([*cells, f"<td>{chance}</td>"])
    return f'<tr><th scope="row">{escape(row.measure)}{note}</th>{values}</tr>'


def _tests(found: Comparison) -> str:
    columns, rows = test_rows(found)
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(value))}</td>" for value in row) + "</tr>"
        for row in rows
    )
    return (
        "<details><summary>Every paired test</summary>"
        '<div class="scroll"><table class="plain tests"><caption>Differences with intervals; p as '
        f"it is, and adjusted for all {found.tests} tests</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></details>"
    )


def controlled_section(results: Sequence[RunResult]) -> str:
    """What is left of retrieval when sound is held apart from meaning, for every such task."""
    parts = []
    for name in _names(results, lambda kind: kind in _CONTROLS):
        parts.append(f"<h3>{escape(name)}</h3>{_task_bars(results, name)}{_table(results, name)}")
    others = _names(results, lambda kind: kind not in _SHOWN_ELSEWHERE)
    controls = (
        "<h2>Meaning or sound?</h2><p>Related varieties share words that sound alike, so plain "
        "recall can ride on sound. Here sound and meaning are set against each other: wrong "
        "answers that sound nearest, right answers that sound unlike, and the correlation of the "
        f"score with each while the other is held fixed.</p>{''.join(parts)}"
    )
    rest = "".join(f"<h3>{escape(name)}</h3>{_table(results, name)}" for name in others)
    return (controls if parts else "") + (f"<h2>Further tasks</h2>{rest}" if rest else "")


def probe_section(results: Sequence[RunResult]) -> str:
    """How much of variety and speaker is still in the vectors: accuracies beside chance."""
    charts = []
    for name in _names(results, lambda kind: kind == "probe"):
        measures = [m for m in _means(results, name) if "accuracy" in m]
        if measures:
            chart = _bars_of(results, name, measures)
            charts.append(f"<div><h3>{escape(name)}</h3>{chart}</div>")
    if not charts:
        return ""
    return (
        "<h2>What else is in the vectors</h2><p>A linear classifier reads a label off pooled "
        "vectors of sentences (and, for varieties, speakers) that it has not seen. An encoder of "
        "meaning alone would leave it at chance, the dotted line; centring takes off what a mean "
        f'tells.</p><div class="columns">{"".join(charts)}</div>'
    )


def coverage_section(results: Sequence[RunResult]) -> str:
    """How many of the expected recordings were there, for each part of the corpus.

    Nothing for sentences, of which nobody knows how many there should be.
    """
    coverage = results[0].corpus.get("coverage")
    kinds = {str(task.get("task")) for task in results[0].config.get("tasks", {}).values()}
    if not coverage or not coverage["rows"] or kinds & set(TEXT_TASKS):
        return ""
    by = str(coverage["by"])
    present = sum(row["present"] for row in coverage["rows"])
    expected = sum(row["expected"] for row in coverage["rows"])
    rows = [
        Bar(
            set_label(row["name"], by),
            row["present"] / row["expected"] if row["expected"] else 0.0,
            note=f"{row['present']} of {row['expected']}",
        )
        for row in coverage["rows"]
    ]
    title = f"Recordings there, in % of those expected: {present} of {expected}"
    return f"<h2>How much of it was there</h2>{bars([('', rows)], title=title)}"


def _names(results: Sequence[RunResult], wanted: Callable[[str], bool]) -> list[str]:
    """Tasks of the wanted kinds that somebody has, in the order of the suite."""
    return list(
        dict.fromkeys(
            name
            for result in results
            for name, entry in result.tasks.items()
            if wanted(entry["task"]) and entry.get("measurements")
        )
    )


def _means(results: Sequence[RunResult], task: str) -> list[str]:
    """Names of measures over all pairs of sets, not of single ones ('... cmn>yue')."""
    return list(
        dict.fromkeys(
            m["name"]
            for result in results
            for m in result.tasks.get(task, {}).get("measurements", ())
            if ">" not in m["name"]
        )
    )


def _measurement(
    result: RunResult, task: str, measure: str
) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
    entry = result.tasks.get(task, {})
    for m in entry.get("measurements", ()):
        if m["name"] == measure:
            return entry, m
    return None


def _task_bars(results: Sequence[RunResult], task: str) -> str:
    measures = [
        name
        for name in _means(results, task)
        if name.startswith(("hard R@1", "R@1 distance", "word choice accuracy"))
    ]
    return _bars_of(results, task, measures) if measures else ""


def _bars_of(results: Sequence[RunResult], task: str, measures: Sequence[str]) -> str:
    labels, style = labels_of([r.encoder for r in results]), styles(results)
    blocks, chances = [], set()
    for measure in measures:
        rows = []
        for result in results:
            stored = _measurement(result, task, measure)
            if stored is None:
                continue
            m = stored[1]
            name = result.encoder
            rows.append(Bar(labels[name], m["value"], m["low"], m["high"], style[name]))
            chances.add(signature_of(*stored).get("chance"))
        blocks.append((measure, rows))
    # One line can only be drawn where all bars have the same chance.
    chance = chances.pop() if len(chances) == 1 else None
    known = chance if isinstance(chance, float) else None
    told = "" if known is None else f"; dotted line: chance, {100 * known:.1f} %"
    return bars(blocks, title=f"In %{told}", chance=known)


def _table(results: Sequence[RunResult], task: str) -> str:
    """Measures that are not drawn as bars, a column for each encoder."""
    drawn = ("hard R@1", "R@1 distance", "word choice accuracy")
    measures = [name for name in _means(results, task) if not name.startswith(drawn)]
    if not measures:
        return ""
    labels = labels_of([r.encoder for r in results])
    having = [r for r in results if r.tasks.get(task, {}).get("measurements")]
    head = "".join(f'<th scope="col">{escape(labels[r.encoder])}</th>' for r in having)
    body = []
    for measure in measures:
        cells = []
        for result in having:
            stored = _measurement(result, task, measure)
            if stored is None:
                cells.append("<td>–</td>")
                continue
            m = stored[1]
            value = shown_value(m["value"], measure)
            if m["low"] is not None:
                low, high = (shown_value(m[end], measure) for end in ("low", "high"))
                value += f" <small>{low} to {high}</small>"
            cells.append(f"<td>{value}</td>")
        body.append(f'<tr><th scope="row">{escape(measure)}</th>{"".join(cells)}</tr>')
    return (
        f'<div class="scroll"><table class="plain"><caption>{escape(task)}: means over pairs of '
        f'sets, with intervals</caption><thead><tr><th scope="col">measure</th>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )
