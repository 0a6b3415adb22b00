"""`isogloss search`: build, ask, change, mine and serve an index."""

from __future__ import annotations

import argparse
from typing import Any

from isogloss.cli.search_build import add_build
from isogloss.cli.search_edit import add_edits
from isogloss.cli.search_mine import add_mine
from isogloss.cli.search_query import add_query
from isogloss.cli.search_serve import add_serve
from isogloss.cli.search_verify import add_verify

__all__ = ["add_parser"]


def add_parser(nouns: argparse._SubParsersAction[Any]) -> None:
    """Declare the noun `search` and its verbs."""
    parser = nouns.add_parser(
        "search",
        help="find the same sentence in other varieties: build, query, mine, verify, serve",
        description="Find the same sentence in other varieties.",
        epilog="example:\n  isogloss search build manifest.jsonl --encoder own:runs/a --out index\n"
        "  isogloss search query index question.wav\n"
        "  isogloss search <verb> --help",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(metavar="<verb>", required=True)
    add_build(verbs)
    add_query(verbs)
    add_edits(verbs)
    add_mine(verbs)
    add_verify(verbs)
    add_serve(verbs)
