"""A text file or a manifest in, different texts out: some to learn from, others held out."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from isogloss.corpora.jsonl import manifest_path, stream_items
from isogloss.encoders.item_text import has_text, text_of
from isogloss.errors import IsoglossError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["held_out_texts", "text_file"]

_HELD_OUT = 20
_LEAST_TEXTS = 50


def text_file(path: Path) -> Path:
    """The file that `path` names: itself, or the manifest in a folder.

    Raises:
        IsoglossError: there is none.
    """
    found = path if path.is_file() else manifest_path(path)
    if not found.is_file():
        raise IsoglossError(f"{path}: there is no such text file or manifest")
    return found


def held_out_texts(
    path: Path, *, variety: str | None, most: int, judged: int, without: str = "\0"
) -> tuple[list[str], list[str]]:
    """At most `most` texts to learn from and at most `judged` held-out ones, each text once.

    Which texts are held out (one in 20) depends on the text alone. Empty texts, and those that
    hold `without`, are left out.

    Args:
        path: a text a line, UTF-8; or a manifest (.jsonl).
        variety: of the items of a manifest; None takes all.
        most: see above.
        judged: see above.
        without: a mark that the caller needs for itself.

    Raises:
        IsoglossError: the file is not UTF-8, or holds too few texts.
        ValueError: a variety is asked of a file of lines.
    """
    known = dict.fromkeys(text.strip() for text in _texts(path, variety))
    known.pop("", None)
    usable = [text for text in known if without not in text]
    held = {t for t in usable if zlib.crc32(t.encode("utf-8", "replace")) % _HELD_OUT == 0}
    learn = [text for text in usable if text not in held][:most]
    if len(learn) < _LEAST_TEXTS or not held:
        of = f" of '{variety}'" if variety else ""
        raise IsoglossError(
            f"{path}: {len(usable)} different texts{of} are too few to train on; at least "
            f"{2 * _LEAST_TEXTS} are needed"
        )
    return learn, [text for text in usable if text in held][:judged]


def _texts(path: Path, variety: str | None) -> Iterator[str]:
    if ".jsonl" in path.name:
        for item in stream_items(path):
            if has_text(item) and variety in (None, item.variety):
                yield text_of(item)
        return
    if variety is not None:
        raise ValueError(f"a variety chooses items of a manifest; {path} has lines")
    try:
        yield from path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise IsoglossError(f"{path}: byte {error.start} is no UTF-8; convert it first") from error
