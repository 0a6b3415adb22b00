"""Which items of a manifest an encoder reads or hears; texts of the command line as items."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isogloss.cli.speech_options import of_manifest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from isogloss.types import Item

__all__ = ["items_for", "items_of_lines", "items_of_texts", "text_items"]


def items_for(encoder: str | None, path: Path, split: str | None) -> list[Item]:
    """The items of a manifest for `encoder`: with text where it takes text, else with audio.

    Raises:
        ValueError: there are none, in `split` where it is given.
        UnknownName: no such kind of encoder.
    """
    from isogloss.encoders.registry import reads_text

    if encoder is not None and reads_text(encoder):
        return text_items(path, split)
    return of_manifest(path, split)


def text_items(path: Path, split: str | None) -> list[Item]:
    """The items of a manifest that have a text or a transcript, those of `split` alone.

    One that is blank is among them: whoever encodes it says so.

    Raises:
        ValueError: there are none.
    """
    from isogloss.corpora.jsonl import read_corpus
    from isogloss.tasks.parallel import splits_there

    every = read_corpus(path).items
    items = [
        item
        for item in every
        if (item.text is not None or item.transcript is not None) and split in (None, item.split)
    ]
    if not items:
        raise ValueError(
            f"{path} has no item with text or transcript"
            + (f" in split '{split}'" if split else "")
            + splits_there(every, split)
        )
    return items


def items_of_lines(path: Path, variety: str) -> list[Item]:
    """One item for each line of a text file, called line-1 and so on; UTF-8, any line ending.

    Raises:
        ValueError: the file is empty or not UTF-8 (the place of the first wrong byte is named).
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: byte {error.start} is no UTF-8; convert it, such as: "
            f"iconv -f ENCODING -t UTF-8 {path}"
        ) from error
    if lines[-1] == "":
        lines.pop()
    if not lines:
        raise ValueError(f"{path} is empty")
    from isogloss.types import Item

    return [
        Item(f"line-{number}", variety, text=line) for number, line in enumerate(lines, start=1)
    ]


def items_of_texts(texts: Sequence[str]) -> list[Item]:
    """An item for each of `texts`, called by the text itself; a text given twice is one."""
    from isogloss.types import Item

    return [Item(text, "und", text=text) for text in dict.fromkeys(texts)]
