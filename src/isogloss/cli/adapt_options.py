"""What the verbs of `isogloss adapt` share: how models are encoded, and which items they take."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from isogloss.cli.tables import talk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.types import Corpus, Item

__all__ = [
    "add_encoding_options",
    "comma_numbers",
    "items_of",
    "share",
    "talk_of_left_out",
]

MODEL_HELP = "hf:FOLDER, own:FOLDER, ngram:, ..., or a folder of encoded items"


def add_encoding_options(parser: argparse.ArgumentParser) -> None:
    """Add --corpus, --split, --varieties, --pool, --device, --cache and --json."""
    parser.add_argument(
        "--corpus", type=Path, required=True, help="manifest.jsonl, or the folder that holds it"
    )
    parser.add_argument("--split", help="only items of this split; default all")
    parser.add_argument(
        "--varieties", metavar="A,B", help="only items of these varieties; default all"
    )
    parser.add_argument(
        "--pool",
        default="mean",
        metavar="HOW",
        help="how steps become a vector: mean, first, last, weighted, weighted-down, max; default "
        "mean",
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1; default cpu")
    parser.add_argument("--cache", type=Path, help="folder in which every encoded item is kept")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def share(text: str) -> float:
    """A type of argument: a number between 0 and 1."""
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} does not lie between 0 and 1")
    return value


def comma_numbers(text: str) -> tuple[int, ...]:
    """A type of argument: whole numbers with commas between them."""
    found = tuple(int(piece) for piece in text.split(","))
    if len(set(found)) < len(found):
        raise argparse.ArgumentTypeError(f"{text} names a number twice")
    return found


def items_of(corpus: Corpus, split: str | None, varieties: str | None = None) -> list[Item]:
    """The items of `split` and of `varieties`, names with commas; None takes all.

    Raises:
        UnknownName: the corpus has no item of a variety.
        ValueError: there is no item.
    """
    found = [item for item in corpus.items if split in (None, item.split)]
    if not found:
        splits = sorted({item.split for item in corpus.items if item.split is not None})
        there = f"; its splits are {', '.join(splits)}" if splits else "; no item has a split"
        raise ValueError(
            f"corpus '{corpus.name}' has no item"
            + (f" in split '{split}'{there}" if split is not None else "")
        )
    if varieties is None:
        return found
    from isogloss.errors import UnknownName

    wanted = [name.strip() for name in varieties.split(",")]
    known = {item.variety for item in found}
    for name in wanted:
        if name not in known:
            raise UnknownName("variety in the corpus", name, known)
    return [item for item in found if item.variety in wanted]


def talk_of_left_out(left_out: Sequence[tuple[str, str]], most: int = 5) -> None:
    """Say on stderr which items were left out and why, the first ones by name."""
    for name, problem in left_out[:most]:
        talk(f"left out: {name}: {problem}")
    if len(left_out) > most:
        talk(f"left out: {len(left_out) - most} more")
