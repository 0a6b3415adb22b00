"""What the verbs of `isogloss speech` share: how they are declared and refuse wrong usage."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from isogloss.cli.corpus_options import add_verb
from isogloss.cli.tables import talk

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["WrongUsageError", "at_least", "verb"]


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
