"""`isogloss varieties`: what a code is, what a label of other people means, what there is."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.cli.tables import print_json, print_table

if TYPE_CHECKING:
    from isogloss.types import Variety
    from isogloss.varieties import VarietyTable

__all__ = ["add_parser"]

_LIST_EXAMPLE = """\
examples:
  isogloss varieties list --group wu
  isogloss varieties list --table mine.tsv --json
"""
_SHOW_EXAMPLE = """\
examples:
  isogloss varieties show wuu-shanghai
  isogloss varieties show zh-HK
  isogloss varieties show Ji-Lu --json
  isogloss varieties show SW --corpus ewave
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `varieties` with its verbs to the command line."""
    noun = subparsers.add_parser(
        "varieties",
        help="languages and dialects: codes, groups, places",
        description="Languages and dialects: codes, groups, places, labels of other corpora.",
        epilog=_LIST_EXAMPLE + _SHOW_EXAMPLE.partition("\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = noun.add_subparsers(dest="verb", metavar="VERB", required=True)

    listing = verbs.add_parser(
        "list",
        help="all varieties, or those of one group",
        epilog=_LIST_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    listing.add_argument("--group", metavar="GROUP", help="only this group, for example wu")
    _add_common(listing)
    listing.set_defaults(handler=_list)

    show = verbs.add_parser(
        "show",
        help="one variety, by code or by any label that names it",
        epilog=_SHOW_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    show.add_argument("code", metavar="CODE", help="a code, name or corpus label")
    show.add_argument("--corpus", metavar="NAME", help="whose label it is, for example ewave")
    _add_common(show)
    show.set_defaults(handler=_show)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--table",
        "--varieties-table",
        type=Path,
        metavar="TSV",
        help="varieties of your own beside the built-in ones",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _table(path: Path | None) -> VarietyTable:
    from isogloss.varieties import builtin_table, load_table

    return builtin_table() if path is None else builtin_table().merged(load_table(path))


def _list(args: argparse.Namespace) -> int:
    from isogloss.errors import UnknownName

    table = _table(args.table)
    groups = {code: table.group_of(code) for code in table}
    if args.group is not None and args.group not in groups.values():
        raise UnknownName("group", args.group, set(groups.values()))
    chosen = [code for code in table if args.group in (None, groups[code])]
    if args.json:
        print_json([_record(table, table[code]) for code in chosen])
        return 0
    rows: list[list[object]] = [
        [
            code,
            table[code].name,
            table[code].native_name,
            groups[code],
            table[code].parent,
            _place(table[code]),
        ]
        for code in chosen
    ]
    title = f"{len(rows)} varieties" + (f" of group {args.group}" if args.group else "")
    print_table(["code", "name", "native name", "group", "parent", "place"], rows, title=title)
    return 0


def _show(args: argparse.Namespace) -> int:
    table = _table(args.table)
    record = _record(table, table.resolve(args.code, corpus=args.corpus))
    if args.json:
        print_json(record)
        return 0
    rows: list[list[object]] = [
        [field, ", ".join(value) or None if isinstance(value, list) else _plain(value)]
        for field, value in record.items()
    ]
    print_table(["field", "value"], rows)
    return 0


def _record(table: VarietyTable, variety: Variety) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(variety) | {
        "group": table.group_of(variety.code),
        "ancestors": list(table.ancestors(variety.code)),
        "children": list(table.children(variety.code)),
        "aliases": list(table.aliases(variety.code)),
    }


def _plain(value: object) -> object:
    return value if value is None else str(value)


def _place(variety: Variety) -> str | None:
    if variety.latitude is None or variety.longitude is None:
        return None
    return f"{variety.latitude:.2f} {variety.longitude:.2f}"
