"""`isogloss search verify`: what is wrong with an index on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from isogloss.cli.search_options import add_index_verb, add_json_option
from isogloss.cli.tables import print_json, talk

if TYPE_CHECKING:
    import argparse

__all__ = ["add_verify"]


def add_verify(verbs: argparse._SubParsersAction[Any]) -> None:
    """Declare `search verify`."""
    parser = add_index_verb(
        verbs,
        "verify",
        _verify,
        "what is wrong with an index on disk, file by file",
        "  isogloss search verify index\n"
        "  isogloss search verify index --deep     reads everything: checksums, every item\n\n"
        "exit code: 1 when something is wrong",
    )
    parser.add_argument(
        "--deep", action="store_true", help="read every byte and compare it with its checksum"
    )
    add_json_option(parser)


def _verify(args: argparse.Namespace) -> int:
    import sys

    from isogloss.search.engine_place import is_engine_place

    how = "read to the last byte" if args.deep else "--deep compares checksums too"
    if is_engine_place(args.index):
        from isogloss.search.engine import EngineIndex

        with EngineIndex.open(args.index) as index:
            found, shown = index.verify(deep=args.deep), index.shown
        how = "every row read" if args.deep else "its shards; --deep reads every row"
        how += "; files and indexes are PostgreSQL's to check: pg_amcheck"
    else:
        from isogloss.search.store import verify

        found = verify(args.index, deep=args.deep, progress=sys.stderr.isatty())
        shown = str(args.index)
    if args.json:
        print_json({"index": shown, "deep": args.deep, "problems": found})
    else:
        for problem in found:
            sys.stdout.write(f"{problem}\n")
    talk(f"{shown}: {len(found)} problems" if found else f"{shown} is sound ({how})")
    return 1 if found else 0
