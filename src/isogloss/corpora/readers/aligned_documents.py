"""Documents in two languages with gold sentence alignments, as Bleualign and Vecalign keep them.

    root/
      dev.de              one sentence a line
      dev.fr
      dev.defr            [6]:[6, 7, 8]     lines counted from 0; one side may be empty

Sentences that the gold puts into one block share a meaning, so a block of one and three lines is
four items of one meaning; a line that the gold does not name has none. The document and the line
(from 0) are in `extra`. A line that two blocks name belongs to the first; the second is counted.
"""

from __future__ import annotations

import re
from pathlib import Path  # noqa: TC003  (readers are read by their types)
from typing import TYPE_CHECKING

from isogloss.corpora.readers.aligned_lines import line_count
from isogloss.corpora.readers.gathering import Gathering, table_with
from isogloss.corpora.readers.result import LayoutError, OptionError, ReadResult
from isogloss.corpora.readers.rows import existing_folder, text_lines
from isogloss.types import Item

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["read", "read_blocks"]

_EXPECTED = "files such as dev.de, dev.fr and dev.defr, with blocks like [6]:[6, 7]"
_BLOCK = re.compile(r"\[([\d,\s]*)\]\s*:\s*\[([\d,\s]*)\](:.*)?")


def read(
    root: Path,
    *,
    languages: tuple[str, ...] = ("de", "fr"),
    gold: str | None = None,
    labels: Mapping[str, str] | None = None,
    test_documents: tuple[str, ...] = (),
    licence: str | None = None,
    source: str | None = None,
    varieties_table: Path | None = None,
) -> ReadResult:
    """The sentences of every document that has both languages and a gold alignment.

    Args:
        root: the folder.
        languages: the endings of the two sides.
        gold: ending of the alignments; by default both languages joined, as in defr.
        labels: ENDING=CODE where an ending is no label of the varieties table.
        test_documents: names of documents in the split test, the others are in dev; by default
            those whose name begins with 'test'.
        licence: the licence, as it shall stand in the manifest.
        source: where the corpus comes from.
        varieties_table: a TSV of varieties beside the built-in ones.

    Raises:
        LayoutError: there is no document, or a gold block names a line that is not there.
        OptionError: there are not two languages.
    """
    if len(set(languages)) != 2 or len(languages) != 2:
        raise OptionError("languages", languages, "name two endings, such as de,fr")
    folder = existing_folder(root, _EXPECTED)
    gathering = Gathering(
        folder,
        name=folder.name,
        licence=licence,
        source=source,
        table=table_with(varieties_table),
    )
    ending = gold or "".join(languages)
    names = sorted(path.name.removesuffix(f".{ending}") for path in folder.glob(f"*.{ending}"))
    codes = [gathering.variety(f"*.{label}", label, given=labels) for label in languages]
    first, second = codes
    if not names or first is None or second is None:
        raise LayoutError(folder, f"no alignment *.{ending} of known languages", _EXPECTED)
    for name in names:
        sides = [folder / f"{name}.{label}" for label in languages]
        missing = [side.name for side in sides if not side.is_file()]
        if missing:
            gathering.skip(name, f"{missing[0]} is missing", "get the text of the document")
            continue
        test = name in test_documents if test_documents else name.startswith("test")
        _add_document(
            gathering, name, sides, (first, second), folder / f"{name}.{ending}", test=test
        )
    return gathering.result()


def read_blocks(path: Path) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Blocks of a gold alignment, in order: lines of the first and of the second side, from 0.

    Raises:
        LayoutError: a line is no block (it is named), or the file is not UTF-8.
    """
    blocks = []
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise LayoutError(path, f"it is not UTF-8: {error}", "[6]:[6, 7]") from error
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        match = _BLOCK.fullmatch(line.strip())
        if match is None:
            raise LayoutError(
                path, f"line {number} is no block: {line.strip()[:40]!r}", "[6]:[6, 7]"
            )
        left, right = (tuple(int(n) for n in re.findall(r"\d+", match[k])) for k in (1, 2))
        blocks.append((left, right))
    return blocks


def _without_repeats(
    blocks: list[tuple[tuple[int, ...], tuple[int, ...]]], gold: Path, gathering: Gathering
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Blocks less those with a line that an earlier one has: a sentence has one meaning."""
    kept = []
    seen: tuple[set[int], set[int]] = (set(), set())
    for left, right in blocks:
        again = sorted((seen[0] & set(left)) | (seen[1] & set(right)))
        if again:
            gathering.skip(
                f"{gold.name} {list(left)}:{list(right)}",
                f"line {again[0]} is in an earlier block too",
                "join the two blocks",
            )
            continue
        seen[0].update(left)
        seen[1].update(right)
        kept.append((left, right))
    return kept


def _add_document(
    gathering: Gathering,
    name: str,
    sides: list[Path],
    codes: tuple[str, str],
    gold: Path,
    *,
    test: bool,
) -> None:
    blocks = _without_repeats(read_blocks(gold), gold, gathering)
    for column, (path, code) in enumerate(zip(sides, codes, strict=True)):
        block_of = {
            line: number
            for number, block in enumerate(blocks)
            if block[0] and block[1]
            for line in block[column]
        }
        lines = line_count(path)
        beyond = [line for line in block_of if line >= lines]
        if beyond:
            raise LayoutError(
                gold, f"it names line {beyond[0]} of {path.name}, which has {lines}", "lines from 0"
            )
        for number, text in text_lines(path, gathering):
            line = number - 1
            meaning = f"{name}:{block_of[line]}" if line in block_of else None
            gathering.add(
                Item(
                    id=f"{name}:{line}-{code}",
                    variety=code,
                    meaning=meaning,
                    text=text.strip(),
                    split="test" if test else "dev",
                    extra={"document": name, "line": str(line)},
                ),
                where=f"{path.name}:{number}",
            )
