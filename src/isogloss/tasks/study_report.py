"""What a study found, in one form for all of them: sentences, tables, pictures, and the numbers.

Made by `study_layers`, `study_scripts` and the others; `bench.study_write` writes it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from isogloss import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Cell", "StudyPicture", "StudyReport", "StudyTable", "mean_range", "spread"]

Cell = str | float | int | None


@dataclass(frozen=True, slots=True)
class StudyTable:
    """A table to print: `rows` have a cell for each of `columns`; `note` says how to read it."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"'{self.title}': a row of {len(row)} cells under {len(self.columns)} columns"
                )


@dataclass(frozen=True, slots=True)
class StudyPicture:
    """Numbers to draw.

    Attributes:
        name: of the file.
        title: over the picture.
        kind: 'heat' colours `values` (a row for each of `rows`); 'lines' draws a line for each of
            `rows` over `columns`, which are then numbers; 'bars' a group of bars for each row, a
            bar for each column.
        rows: labels.
        columns: labels.
        values: None where there is nothing.
        low: lower ends of whiskers, as `values`.
        high: upper ends of whiskers.
        x: label of the horizontal axis.
        y: label of the vertical axis, or of the colours.
        by_row: colours of 'heat' are stretched in each row by itself, for rows of different units.
    """

    name: str
    title: str
    kind: Literal["heat", "lines", "bars"]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]
    low: tuple[tuple[float | None, ...], ...] | None = None
    high: tuple[tuple[float | None, ...], ...] | None = None
    x: str = ""
    y: str = ""
    by_row: bool = False

    def __post_init__(self) -> None:
        if len(self.values) != len(self.rows) or any(
            len(row) != len(self.columns) for row in self.values
        ):
            raise ValueError(
                f"picture '{self.name}': values do not fit {len(self.rows)} rows and "
                f"{len(self.columns)} columns"
            )


@dataclass(frozen=True, slots=True)
class StudyReport:
    """Everything a study found.

    Attributes:
        study: its name.
        title: of the page.
        says: what came out, a sentence each.
        tables: to print, the most important one first.
        pictures: to draw.
        results: every number, as JSON.
        notes: what could not be measured or was left out, and why.
        signature: everything that changes the numbers.
    """

    study: str
    title: str
    says: tuple[str, ...]
    tables: tuple[StudyTable, ...]
    pictures: tuple[StudyPicture, ...]
    results: Mapping[str, Any]
    notes: Mapping[str, str] = field(default_factory=dict)
    signature: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """What results.json holds."""
        return {
            "isogloss": __version__,
            "study": self.study,
            "says": list(self.says),
            **self.results,
            "notes": dict(self.notes),
            "signature": dict(self.signature),
        }


def spread(values: Sequence[float | None]) -> tuple[float, float, float] | None:
    """Mean, least and greatest of the numbers that are there; None where there is none."""
    known = [value for value in values if value is not None]
    return (sum(known) / len(known), min(known), max(known)) if known else None


def mean_range(values: Sequence[float | None], digits: int = 3, *, sign: bool = False) -> str:
    """'0.123 (0.120 to 0.125)' for several numbers, '0.123' for one, '' for none."""
    found = spread(values)
    if found is None:
        return ""
    mark = "+" if sign else ""
    mean, low, high = (f"{value:{mark}.{digits}f}" for value in found)
    known = [value for value in values if value is not None]
    return mean if len(known) == 1 else f"{mean} ({low} to {high})"
