"""The Tatoeba test set of LASER (Artetxe and Schwenk 2019): sentences and their English.

    root/
      tatoeba.cmn-eng.cmn     # one sentence a line
      tatoeba.cmn-eng.eng     # its English in the same line
      tatoeba.yue-eng.yue
      tatoeba.yue-eng.eng

Every pair of languages is a test of its own with its own English side, so the English of one pair
is no translation of another's: meanings are PAIR:LINE.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from isogloss.corpora.readers.aligned_lines import add_lines, line_count
from isogloss.corpora.readers.gathering import Gathering, chosen
from isogloss.corpora.readers.result import LayoutError, ReadResult
from isogloss.corpora.readers.rows import existing_folder

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read"]

_NAME = re.compile(r"tatoeba\.(?P<first>[a-z]{3})-(?P<second>[a-z]{3})\.(?P<side>[a-z]{3})(\.gz)?")
_EXPECTED = "files such as tatoeba.cmn-eng.cmn beside tatoeba.cmn-eng.eng"


def read(root: Path, *, languages: tuple[str, ...] = ()) -> ReadResult:
    """The sentences of every pair, which share a meaning with their English.

    Args:
        root: folder with the files.
        languages: codes as in the file names, such as cmn and gsw; all when empty.

    Raises:
        LayoutError: there is no pair, or the sides of one differ in length.
        UnknownName: a language is asked for that has no file.
    """
    folder = existing_folder(root, _EXPECTED)
    found = {
        match[0]: (match["first"], match["second"], match["side"], path)
        for path in sorted(folder.iterdir())
        if (match := _NAME.fullmatch(path.name))
    }
    pairs: dict[tuple[str, str], dict[str, Path]] = {}
    for first, second, side, path in found.values():
        pairs.setdefault((first, second), {})[side] = path
    whole = {pair: sides for pair, sides in pairs.items() if set(sides) == set(pair)}
    if not whole:
        raise LayoutError(folder, "no pair of files", _EXPECTED)
    gathering = Gathering(
        folder,
        name="tatoeba",
        licence="CC BY 2.0 FR",
        source="https://github.com/facebookresearch/LASER",
    )
    for pair in sorted(set(pairs) - set(whole)):
        gathering.skip("-".join(pair), "one side is missing", "get the other file of the pair")
    known = tuple(sorted({first for first, _ in whole}))
    kept = chosen("languages", languages, known) if languages else known
    for pair, sides in whole.items():
        if pair[0] not in kept:
            continue
        counts = {side: line_count(path) for side, path in sides.items()}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{sides[s].name} has {n}" for s, n in counts.items())
            raise LayoutError(folder, f"numbers of lines differ: {listed}", "files of equal length")
        codes = {side: gathering.variety(sides[side].name, side) for side in pair}
        if None in codes.values():
            continue
        for side, code in codes.items():
            prefix = f"tatoeba-{'-'.join(pair)}:"
            add_lines(gathering, sides[side], str(code), prefix=prefix, split="test")
    return gathering.result()
