"""A stored result in, a booktabs table out: the layout of the YuBao paper's 8 x 8 table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isogloss._files import write_text
from isogloss.bench.summary import (
    encoder_label,
    group_cells,
    is_grouped,
    labels_of,
    set_label,
    set_labels,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from isogloss.bench.store import RunResult

__all__ = ["escaped", "latex_matrix", "write_latex"]

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def latex_matrix(result: RunResult, measure: str = "R@1") -> str:
    r"""A `table` with one row for each query group (or set) and one column for each target.

    Percentages with one decimal, '-' on the diagonal and where there is no pair; needs
    `\usepackage{booktabs}`.
    """
    return _matrix(result, measure, encoder_label(result.encoder))


def _matrix(result: RunResult, measure: str, encoder: str) -> str:
    names, cells = group_cells(result, measure)
    labels = set_labels(result)
    if is_grouped(result) and measure == "R@1":
        labels = {name: set_label(name, "group") for name in names}
    shown = [escaped(labels.get(name, name)) for name in names]
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_caption(result, measure, encoder)}}}",
        r"\begin{tabular}{l" + "r" * len(names) + "}",
        r"\toprule",
        " & ".join(["query $\\rightarrow$ answer", *shown]) + r" \\",
        r"\midrule",
    ]
    for i, row in enumerate(cells):
        values = [
            "-" if cell is None or i == j else f"{100 * cell['value']:.1f}"
            for j, cell in enumerate(row)
        ]
        lines.append(" & ".join([shown[i], *values]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def write_latex(results: Sequence[RunResult], path: Path, measure: str = "R@1") -> None:
    """One table for each result, in order, in one file."""
    labels = labels_of([result.encoder for result in results])
    write_text(path, "\n".join(_matrix(r, measure, labels[r.encoder]) for r in results))


def _caption(result: RunResult, measure: str, encoder: str) -> str:
    corpus = escaped(str(result.corpus["name"]))
    return f"Speech-to-speech retrieval, {escaped(measure)} in \\%: {escaped(encoder)} on {corpus}."


def escaped(text: str) -> str:
    """`text` with the characters that LaTeX takes for its own escaped."""
    return "".join(_ESCAPES.get(character, character) for character in text)
