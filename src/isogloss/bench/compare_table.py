"""A comparison in; rows for a terminal, CSV and a booktabs table out. Called by the CLI.

Shares are in %, correlations as they are; `*` marks what is best or cannot be told from it, `?`
what could not be tested.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from isogloss.bench.compare import ALPHA
from isogloss.bench.latex import escaped
from isogloss.bench.summary import labels_of

if TYPE_CHECKING:
    from isogloss.bench.compare import Cell, Comparison, Difference, Row

__all__ = [
    "compare_csv",
    "compare_latex",
    "notes_of",
    "shown_cell",
    "shown_difference",
    "shown_value",
    "table_rows",
    "test_rows",
]


def is_percent(measure: str) -> bool:
    """Whether a measure is a share (R@1, CER, accuracy) rather than a correlation or the like."""
    return not any(word in measure for word in ("Spearman", "Pearson", "correlation", " score"))


def shown_value(value: float, measure: str) -> str:
    """'41.3' for a share of 0.413, '0.413' for a correlation."""
    return f"{100 * value:.1f}" if is_percent(measure) else f"{value:.3f}"


def shown_difference(test: Difference, measure: str) -> str:
    """The difference with its sign, and its interval."""
    low, high = shown_value(test.low, measure), shown_value(test.high, measure)
    sign = "+" if test.difference > 0 else ""
    return f"{sign}{shown_value(test.difference, measure)} ({low} to {high})"


def mark_of(row: Row, encoder: str, baseline: str | None) -> str:
    """'*' for the best and what cannot be told from it, '?' for what was not tested, '' else.

    With a baseline: '+' better, '-' worse, '=' not distinguishable, '' for the baseline itself. A
    row in which nothing was tested has no marks.
    """
    cell = row.cells[encoder]
    if not row.tested:
        return ""
    if baseline is None:
        return {True: "*", False: "", None: "?"}[cell.alike]
    if encoder == baseline:
        return ""
    if cell.test is None:
        return "?"
    if cell.alike:
        return "="
    return "+" if (cell.test.difference > 0) == row.higher_is_better else "-"


def shown_cell(row: Row, encoder: str, baseline: str | None) -> str | None:
    """'41.3 (38.0 to 44.9) *'; None where the encoder lacks the measure."""
    cell = row.cells.get(encoder)
    if cell is None:
        return None
    return f"{shown_value(cell.value, row.measure)}{_interval(cell, row.measure)} " + (
        mark_of(row, encoder, baseline)
    )


def _interval(cell: Cell, measure: str) -> str:
    if cell.low is None or cell.high is None:
        return ""
    return f" ({shown_value(cell.low, measure)} to {shown_value(cell.high, measure)})"


def table_rows(found: Comparison) -> tuple[list[str], list[list[object]]]:
    """Columns and rows of the table: a row for each measure, a column for each encoder."""
    labels = labels_of(found.encoders)
    columns = ["task", "measure", *(labels[name] for name in found.encoders), "chance"]
    rows: list[list[object]] = []
    for row in found.rows:
        cells = [shown_cell(row, name, found.baseline) for name in found.encoders]
        chance = None if row.chance is None else shown_value(row.chance, row.measure)
        arrow = row.measure if row.higher_is_better else f"{row.measure} (less is better)"
        rows.append(
            [row.task, arrow, *(c.rstrip() if c is not None else None for c in cells), chance]
        )
    return columns, rows


def test_rows(found: Comparison) -> tuple[list[str], list[list[object]]]:
    """Columns and rows of every paired test that was made."""
    labels = labels_of(found.encoders)
    columns = ["task", "measure", "encoder", "minus", "difference", "p", "p (Holm)", "n"]
    rows: list[list[object]] = []
    for row in found.rows:
        for name in found.encoders:
            cell = row.cells.get(name)
            if cell is None or cell.test is None:
                continue
            test = cell.test
            rows.append(
                [
                    row.task,
                    row.measure,
                    labels[name],
                    labels[test.against],
                    shown_difference(test, row.measure),
                    f"{test.p_value:.4f}",
                    f"{test.p_holm:.4f}",
                    f"{test.n} {test.resampled}",
                ]
            )
    return columns, rows


def notes_of(found: Comparison) -> list[str]:
    """What the marks mean and what they do not, in sentences."""
    if found.baseline is None:
        notes = [
            f"* the best and every encoder that cannot be told from it (adjusted p >= {ALPHA}); "
            "among these there is no order"
        ]
    else:
        baseline = labels_of(found.encoders)[found.baseline]
        notes = [
            f"against {baseline}: + better, - worse, = cannot be told from it "
            f"(adjusted p >= {ALPHA})"
        ]
    marks = [mark_of(row, name, found.baseline) for row in found.rows for name in row.cells]
    if "?" in marks:
        notes.append("? not tested: no items shared with what it is set against")
    if any(not row.tested and len(row.cells) > 1 for row in found.rows):
        notes.append("rows without any mark: not tested, the measure is no mean of items")
    notes.append(
        f"intervals {100 * found.level:g} %; {found.tests} paired bootstrap tests of "
        f"{found.resamples} resamples, p-values adjusted together (Holm)"
    )
    return notes


def compare_csv(found: Comparison) -> str:
    """A row for each measure and encoder, values as fractions; empty where not known."""
    columns = [
        *("suite", "task", "measure", "higher_is_better", "encoder", "value", "low", "high", "n"),
        *("chance", "alike", "against", "difference", "difference_low", "difference_high"),
        *("p_value", "p_holm", "n_tested", "resampled"),
    ]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in found.rows:
        for name, cell in row.cells.items():
            record: dict[str, Any] = {
                "suite": found.suite,
                "task": row.task,
                "measure": row.measure,
                "higher_is_better": row.higher_is_better,
                "encoder": name,
                "value": cell.value,
                "low": cell.low,
                "high": cell.high,
                "n": cell.n,
                "chance": row.chance,
                "alike": cell.alike,
            }
            if cell.test is not None:
                test = cell.test
                record |= {
                    "against": test.against,
                    "difference": test.difference,
                    "difference_low": test.low,
                    "difference_high": test.high,
                    "p_value": test.p_value,
                    "p_holm": test.p_holm,
                    "n_tested": test.n,
                    "resampled": test.resampled,
                }
            writer.writerow(record)
    return text.getvalue()


def compare_latex(found: Comparison) -> str:
    r"""A `table` with encoders as columns; needs `\usepackage{booktabs}`.

    Without a baseline the best of each measure and all that cannot be told from it are bold; with
    one, marks stand behind the values.
    """
    labels = labels_of(found.encoders)
    lines = [
        r"\begin{table}",
        r"\centering",
        r"\begin{tabular}{ll" + "r" * len(found.encoders) + "}",
        r"\toprule",
        " & ".join(["task", "measure", *(escaped(labels[n]) for n in found.encoders)]) + r" \\",
        r"\midrule",
    ]
    before = None
    for row in found.rows:
        cells = [_latex_cell(row, name, found.baseline) for name in found.encoders]
        task = escaped(row.task) if row.task != before else ""
        arrow = r"$\uparrow$" if row.higher_is_better else r"$\downarrow$"
        lines.append(" & ".join([task, f"{escaped(row.measure)} {arrow}", *cells]) + r" \\")
        before = row.task
    said = (
        "Bold: the best and every encoder that cannot be told from it"
        if found.baseline is None
        else f"Against {escaped(labels[found.baseline])}: $+$ better, $-$ worse, $=$ not "
        "distinguishable"
    )
    caption = (
        f"{escaped(found.suite)}: shares in \\%. {said} (paired bootstrap, "
        f"{found.resamples} resamples, Holm-adjusted over {found.tests} tests, "
        f"$p \\geq {ALPHA}$)."
    )
    end = [r"\bottomrule", r"\end{tabular}", rf"\caption{{{caption}}}", r"\end{table}", ""]
    return "\n".join([*lines, *end])


def _latex_cell(row: Row, encoder: str, baseline: str | None) -> str:
    cell = row.cells.get(encoder)
    if cell is None:
        return "--"
    value = shown_value(cell.value, row.measure)
    mark = mark_of(row, encoder, baseline)
    if baseline is None:
        bold = rf"\textbf{{{value}}}" if mark == "*" else value
        return f"{bold}?" if mark == "?" else bold
    return f"{value}$^{{{mark}}}$" if mark else value
