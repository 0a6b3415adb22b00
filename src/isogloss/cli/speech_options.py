"""What the verbs of `isogloss speech` share: how they are declared and refuse wrong usage."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from isogloss.cli.corpus_options import add_verb
from isogloss.cli.tables import talk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from isogloss.types import Item

__all__ = ["WrongUsageError", "at_least", "folder_of", "of_manifest", "verb"]


class WrongUsageError(Exception):
    """Arguments that argparse accepts and that make no sense together: exit code 2."""


def verb(
    verbs: argparse._SubParsersAction[Any],
    name: str,
    handler: Callable[[argparse.Namespace], int],
    summary: str,
    example: str,
) -> argparse.ArgumentParser:
    """A verb whose help ends in `example`; `handler` gets the arguments and gives the exit code."""

    def guarded(args: argparse.Namespace) -> int:
        try:
            return handler(args)
        except WrongUsageError as error:
            talk(f"isogloss speech {name}: error: {error}")
            return 2

    return add_verb(verbs, name, guarded, summary, example)


def at_least(least: int) -> Callable[[str], int]:
    """A type of argument: whole numbers from `least` on."""

    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{value} is less than {least}")
        return value

    number.__name__ = "whole number"  # argparse says "invalid whole number value"
    return number


def of_manifest(path: Path, split: str | None) -> list[Item]:
    """The items with audio of a manifest, those of `split` alone when it is given."""
    from isogloss.corpora.jsonl import read_corpus
    from isogloss.tasks.parallel import splits_there

    every = read_corpus(path).items
    items = [i for i in every if i.audio is not None and split in (None, i.split)]
    if not items:
        raise ValueError(
            f"{path} has no item with audio"
            + (f" in split '{split}'" if split else "")
            + splits_there(every, split)
        )
    return items


def folder_of(model: Path) -> str:
    """The folder, also where a model is named as `bench` and `encode` name it."""
    return str(model).removeprefix("own:")
