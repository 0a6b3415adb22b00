"""Word lists of pairs of varieties: a TSV goes in, `Lexicon`s come out.

Text variation switches words by them, training links words by them.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from isogloss.errors import BadRecord
from isogloss.types import Lexicon
from isogloss.varieties.rows import read_tsv

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["read_lexicons"]

_COLUMNS = ("source", "target", "source_variety", "target_variety", "weight")


def read_lexicons(path: str | Path) -> tuple[Lexicon, ...]:
    """The lexicons of a TSV file, one for each pair of varieties, in order of appearance.

    The first line names the columns: `source` and `target` (a word or phrase each), and if wanted
    `source_variety`, `target_variety` (codes; "" stands for any) and `weight` (a positive number,
    1 where left out). A file of two columns without such a line is read as `source` and `target`.
    The same pair twice counts once, with the larger weight.

    Raises:
        BadRecord: not UTF-8, an unknown or missing column, an empty word, a weight that is no
            positive number, or no pair at all.
        OSError: the file cannot be read.
    """
    path = Path(path)
    found: dict[tuple[str, str], dict[tuple[str, str], float]] = {}
    for number, row in _rows(path):
        weight = _weight(path, number, row.get("weight", ""))
        pairs = found.setdefault((row.get("source_variety", ""), row.get("target_variety", "")), {})
        pair = (row["source"], row["target"])
        pairs[pair] = max(weight, pairs.get(pair, 0.0))
    if not found:
        raise BadRecord(path, 1, "source", "the file has no word pair")
    return tuple(
        Lexicon(source, target, tuple(pairs), tuple(pairs.values()))
        for (source, target), pairs in found.items()
    )


def _rows(path: Path) -> Sequence[tuple[int, dict[str, str]]]:
    try:
        with path.open(encoding="utf-8-sig") as handle:
            first = handle.readline()
    except UnicodeDecodeError as error:
        raise BadRecord(path, 1, "encoding", f"not UTF-8: {error}; save the file so") from error
    cells = [cell.strip() for cell in first.rstrip("\r\n").split("\t")]
    if len(cells) != 2 or set(cells) & set(_COLUMNS):
        return read_tsv(path, columns=_COLUMNS, required=("source", "target"))
    return _headless(path)


def _headless(path: Path) -> list[tuple[int, dict[str, str]]]:
    rows = []
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRecord(path, 1, "encoding", f"not UTF-8: {error}; save the file so") from error
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) != 2 or not all(cells):
            problem = f"expected a word, a tab and a word, got {line.strip()[:40]!r}"
            raise BadRecord(path, number, "source", problem)
        rows.append((number, {"source": cells[0], "target": cells[1]}))
    return rows


def _weight(path: Path, number: int, cell: str) -> float:
    if not cell:
        return 1.0
    try:
        weight = float(cell)
    except ValueError:
        weight = math.nan
    if not math.isfinite(weight) or weight <= 0:
        raise BadRecord(path, number, "weight", f"'{cell}' is not a positive number")
    return weight
