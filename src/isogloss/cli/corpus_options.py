"""What the verbs of `isogloss corpus` share: --json, own varieties."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from isogloss.varieties import VarietyTable

__all__ = ["add_table_options", "varieties_table"]


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
