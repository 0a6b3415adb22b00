"""Results to stdout: a table with wide characters aligned, or JSON."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["print_json", "print_table", "talk"]


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str | None = None
) -> None:
    """Print rows under `columns`; None is shown as '-', floats with two decimals, numbers right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for index, name in enumerate(columns):
        numeric = any(isinstance(row[index], (int, float)) for row in rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_shown(value)) for value in row))
    console = Console(file=sys.stdout)
    if not console.is_terminal:
        # A pipe or a file has no width: never fold or cut what a program will read.
        console = Console(file=sys.stdout, width=max(120, _width(columns, rows)))
    console.print(table)


def print_json(value: object) -> None:
    """Print `value` as indented JSON on stdout; NaN is refused, since JSON has none."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def talk(message: str) -> None:
    """Say something to the person at the terminal, on stderr."""
    sys.stderr.write(message + "\n")


def _shown(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.2f}"
    return str(value)


def _width(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> int:
    from rich.cells import cell_len

    widths = [
        max([cell_len(name), *(cell_len(_shown(row[index])) for row in rows)])
        for index, name in enumerate(columns)
    ]
    return sum(widths) + 2 * len(widths)
