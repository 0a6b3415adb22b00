"""What a study found in; results.json, pictures (PNG) and one self-contained page out."""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING

from isogloss._files import write_json, write_text
from isogloss.bench.figures import png_uri
from isogloss.bench.report import whole_page
from isogloss.bench.study_pictures import write_study_pictures

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from isogloss.tasks.study_report import Cell, StudyReport, StudyTable

__all__ = ["write_study", "write_study_page"]


def write_study(report: StudyReport, out: Path) -> list[Path]:
    """Write results.json, a PNG for each picture and report.html into `out`; the paths in order.

    The numbers are on the disk before anything is drawn.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    numbers = out / "results.json"
    write_json(numbers, report.to_dict())
    pictures = write_study_pictures(report.pictures, out)
    page = write_study_page(report, out / "report.html", pictures=pictures)
    return [numbers, page, *pictures]


def write_study_page(report: StudyReport, out: Path, *, pictures: Sequence[Path] = ()) -> Path:
    """Write the page about `report` to the file `out`, replaced whole, and return its path."""
    titles = {picture.name: picture.title for picture in report.pictures}
    sections = [
        f"<h1>{escape(report.title)}</h1>",
        "".join(f"<p>{escape(sentence)}</p>" for sentence in report.says),
        *(_table(table) for table in report.tables),
        *(_figure(path, titles.get(path.stem, path.stem)) for path in pictures),
        _notes(report),
        "<h2>How it was made</h2><pre><code>"
        + escape(json.dumps(dict(report.signature), ensure_ascii=False, indent=2))
        + "</code></pre>",
    ]
    write_text(out, whole_page(report.title, "\n".join(part for part in sections if part)))
    return out


def _table(table: StudyTable) -> str:
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.columns)
    body = "".join(
        f'<tr><th scope="row">{escape(_shown(row[0]))}</th>'
        + "".join(f"<td>{escape(_shown(cell))}</td>" for cell in row[1:])
        + "</tr>"
        for row in table.rows
    )
    note = f"<p>{escape(table.note)}</p>" if table.note else ""
    return (
        f'<h2>{escape(table.title)}</h2><div class="scroll"><table class="plain"><thead><tr>'
        f"{heads}</tr></thead><tbody>{body}</tbody></table></div>{note}"
    )


def _shown(cell: Cell) -> str:
    if cell is None:
        return ""
    return f"{cell:.3f}" if isinstance(cell, float) else str(cell)


def _figure(path: Path, title: str) -> str:
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>"
        f'<img alt="{escape(title)}" style="max-width:100%;background:#fff" '
        f'src="{png_uri(path.read_bytes())}"></figure>'
    )


def _notes(report: StudyReport) -> str:
    if not report.notes:
        return ""
    items = "".join(f"<li>{escape(f'{k}: {v}')}</li>" for k, v in report.notes.items())
    return f"<h2>To be known</h2><ul class='note'>{items}</ul>"
