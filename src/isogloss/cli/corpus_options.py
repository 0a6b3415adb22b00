"""What the verbs of `isogloss corpus` share: a parser with an example, --json, own varieties."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from isogloss.varieties import VarietyTable

__all__ = ["add_table_options", "add_verb", "varieties_table"]


def add_verb(
    verbs: argparse._SubParsersAction[Any],
    name: str,
    handler: Callable[[argparse.Namespace], int],
    summary: str,
    example: str,
) -> argparse.ArgumentParser:
    """A parser for the verb `name` whose help ends with an example."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"example:\n{example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(handler=handler)
    return parser


def add_table_options(parser: argparse.ArgumentParser, *, varieties: bool = True) -> None:
    """Add --json and, with `varieties`, --varieties-table (as in `isogloss varieties`: --table)."""
    if varieties:
        parser.add_argument(
            "--varieties-table",
            "--table",
            type=Path,
            metavar="TSV",
            help="varieties of your own beside the built-in ones",
        )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def varieties_table(args: argparse.Namespace) -> VarietyTable:
    """The built-in varieties, joined with those of --varieties-table."""
    from isogloss.varieties import builtin_table, load_table

    own = args.varieties_table
    return builtin_table() if own is None else builtin_table().merged(load_table(own))
