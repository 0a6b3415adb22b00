"""Line-aligned text: one file for each variety, line i of every file a translation of the others.

    root/
      eng.txt            or any names, with  files  eng=corpus.en yue=corpus.zh-hk
      yue.txt
      cmn.txt.gz

FLORES+, Moses corpora, Bible verses and most shared tasks have this layout. Line numbers are the
meanings, so the files must have the same number of lines; an empty line is no item and shifts
nothing.
"""

from __future__ import annotations

import gzip
from pathlib import Path  # noqa: TC003  (readers are read by their types)
from typing import TYPE_CHECKING

from isogloss.corpora.readers.gathering import Gathering, table_with
from isogloss.corpora.readers.result import LayoutError, ReadResult
from isogloss.corpora.readers.rows import existing_folder, text_lines
from isogloss.types import Item

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["add_lines", "line_count", "read"]

_EXPECTED = "one text file for each variety, named VARIETY.txt, or files VARIETY=FILE"


def read(
    root: Path,
    *,
    files: Mapping[str, str] | None = None,
    split: str | None = None,
    name: str | None = None,
    licence: str | None = None,
    source: str | None = None,
    varieties_table: Path | None = None,
) -> ReadResult:
    """The lines of every file; those with the same number share a meaning.

    Args:
        root: the folder.
        files: VARIETY=FILE, relative to root; by default every file VARIETY.txt or VARIETY.txt.gz,
            where VARIETY is a code or label of the varieties table.
        split: the split of all items: train, dev or test.
        name: what to call the corpus; its folder's name by default.
        licence: the licence, as it shall stand in the manifest.
        source: where the corpus comes from.
        varieties_table: a TSV of varieties beside the built-in ones.

    Raises:
        LayoutError: a file is missing, there are fewer than one, or their numbers of lines differ
            (each is named).
        UnknownName: a variety of `files` is not in the table.
    """
    folder = existing_folder(root, _EXPECTED)
    gathering = Gathering(
        folder,
        name=name or folder.name,
        licence=licence,
        source=source,
        table=table_with(varieties_table),
    )
    found = _given(folder, files, gathering) if files else _named(folder, gathering)
    counts = {variety: line_count(path) for variety, path in found.items()}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{found[v].name} has {count}" for v, count in counts.items())
        raise LayoutError(folder, f"numbers of lines differ: {listed}", "files of equal length")
    for variety, path in found.items():
        add_lines(gathering, path, variety, prefix="", split=split)
    return gathering.result()


def add_lines(
    gathering: Gathering, path: Path, variety: str, *, prefix: str, split: str | None
) -> None:
    """Add every line of `path` as an item `PREFIXNUMBER-VARIETY` whose meaning is PREFIXNUMBER."""
    for number, line in text_lines(path, gathering, blank=True):
        if not line.strip():
            gathering.skip(f"{path.name}:{number}", "no text", "write the sentence in, or leave it")
            continue
        meaning = f"{prefix}{number}"
        gathering.add(
            Item(
                id=f"{meaning}-{variety}",
                variety=variety,
                meaning=meaning,
                text=line.strip(),
                split=split,
            ),
            where=f"{path.name}:{number}",
        )


def line_count(path: Path) -> int:
    """Lines of a text file, blank ones included; `.gz` is read through gzip.

    Raises:
        LayoutError: the compressed file breaks off.
    """
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as handle:
            return sum(1 for _ in handle)
    except (EOFError, gzip.BadGzipFile) as error:
        raise LayoutError(path, f"file breaks off: {error}", "a whole file") from error


def _given(folder: Path, files: Mapping[str, str], gathering: Gathering) -> dict[str, Path]:
    found = {}
    for label, name in files.items():
        path = folder / name
        if not path.is_file():
            raise LayoutError(folder, f"no file '{name}'", _EXPECTED)
        found[gathering.table.resolve(label).code] = path
    return found


def _named(folder: Path, gathering: Gathering) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        stem = path.name.removesuffix(".gz").removesuffix(".txt")
        if not path.is_file() or stem == path.name or "." in stem:
            continue
        code = gathering.variety(path.name, stem)
        if code is not None:
            found[code] = path
    if not found:
        raise LayoutError(folder, "no file VARIETY.txt of a known variety", _EXPECTED)
    return found
