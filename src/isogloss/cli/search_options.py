"""What the verbs of `isogloss search` share: the index, filters, names of encoders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.cli.tables import talk
from isogloss.cli.verbs import WrongUsageError, add_verb

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from isogloss.search.store import Filter

__all__ = [
    "add_encoder_options",
    "add_filter_options",
    "add_index_verb",
    "add_json_option",
    "filter_of",
    "index_place",
    "printable",
    "talk_of_skipped",
]


def add_index_verb(
    verbs: argparse._SubParsersAction[Any],
    name: str,
    handler: Callable[[argparse.Namespace], int],
    summary: str,
    example: str,
    *,
    index: bool = True,
) -> argparse.ArgumentParser:
    """A verb whose help ends in `example`; with `index` its first argument is an index."""
    parser = add_verb(verbs, name, handler, summary, example)
    if index:
        parser.add_argument(
            "index", type=index_place, help="folder or postgresql://... of an index"
        )
    return parser


def index_place(text: str) -> Path | str:
    """A folder; a URL stays as it is, for a Path would lose one of its slashes."""
    return text if text.startswith(("postgresql://", "postgres://")) else Path(text)


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """Add --json."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def add_encoder_options(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """Add --encoder, --layer and --device."""
    names = "own:FOLDER, hf:NAME_OR_PATH, onnx:FILE, mel:, random:tiny"
    parser.add_argument(
        "--encoder",
        required=required,
        metavar="NAME",
        help=names if required else f"{names}; default the one that the index was built with",
    )
    parser.add_argument(
        "--layer", type=int, help="0 the embedding, i stack or block i; default the last"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1; default cpu")


def add_filter_options(parser: argparse.ArgumentParser) -> None:
    """Add --variety, --site, --speaker, --after and --before."""
    for name, what in (
        ("variety", "code of a variety"),
        ("site", "name of a site"),
        ("speaker", "name of a speaker"),
    ):
        parser.add_argument(
            f"--{name}",
            action="append",
            default=[],
            metavar="NAME",
            help=f"{what} that may answer; may be repeated; default all",
        )
    times = "2024-05-01 or 2024-05-01T13:30:00+08:00"
    parser.add_argument(
        "--after",
        metavar="TIME",
        help=f"only items recorded (or else appended) then or later: {times}, UTC without a zone",
    )
    parser.add_argument("--before", metavar="TIME", help="only items from before that time")


def filter_of(args: argparse.Namespace) -> Filter | None:
    """The filter of the options, None when nothing is filtered.

    Raises:
        WrongUsageError: a time is no time.
    """
    from isogloss.search.store import Filter

    try:
        wanted = Filter(
            tuple(args.variety), tuple(args.site), tuple(args.speaker), args.after, args.before
        )
    except ValueError as error:
        raise WrongUsageError(str(error)) from error
    return wanted or None


def printable(text: str) -> str:
    """`text` on one line: what would move a terminal's cursor or change its colours is escaped.

    Ids and transcripts come from other people's files.
    """
    from unicodedata import category

    return "".join(
        mark.encode("unicode_escape").decode("ascii")
        if category(mark) in ("Cc", "Zl", "Zp")
        else mark
        for mark in text
    )


def talk_of_skipped(skipped: Sequence[tuple[str, str]]) -> None:
    """Name what was left out, on stderr."""
    for name, problem in skipped:
        talk(f"{printable(name)}: {problem}")
