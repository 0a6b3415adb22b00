"""How a verb is declared: its parser, with an example, numbers, and what wrong usage is."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from isogloss.cli.tables import talk

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["WrongUsageError", "add_verb", "at_least"]


class WrongUsageError(Exception):
    """Arguments that argparse accepts and that make no sense together: exit code 2."""


def add_verb(
    verbs: argparse._SubParsersAction[Any],
    name: str,
    handler: Callable[[argparse.Namespace], int],
    summary: str,
    example: str,
) -> argparse.ArgumentParser:
    """A parser for the verb `name` whose help ends with an example.

    Args:
        verbs: of the noun.
        name: of the verb.
        handler: gets the arguments and gives the exit code; its `WrongUsageError` is exit code 2.
        summary: one line.
        example: commands, indented.
    """
    parser: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"example:\n{example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )

    def guarded(args: argparse.Namespace) -> int:
        try:
            return handler(args)
        except WrongUsageError as error:
            talk(f"{parser.prog}: error: {error}")
            return 2

    parser.set_defaults(handler=guarded)
    return parser


def at_least(least: int) -> Callable[[str], int]:
    """A type of argument: whole numbers from `least` on."""

    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{value} is less than {least}")
        return value

    number.__name__ = "whole number"  # argparse says "invalid whole number value"
    return number
