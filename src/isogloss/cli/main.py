"""Arguments in, exit code out: finds the noun's module and imports that one alone.

Exit codes: 0 done, 1 done but failed (or something was skipped), 2 wrong usage.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import warnings
from typing import TYPE_CHECKING

from isogloss import __version__
from isogloss.errors import IsoglossError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["NOUNS", "main"]

NOUNS = {
    "demo": ("isogloss.cli.demo", "train, retrieve and report on synthetic dialects, in one go"),
    "corpus": ("isogloss.cli.corpus", "make, check, count, convert, prepare and split corpora"),
    "varieties": ("isogloss.cli.varieties", "languages and dialects: codes, groups, places"),
    "speech": ("isogloss.cli.speech", "train, transcribe, evaluate and encode speech"),
    "measure": ("isogloss.cli.measure", "how well a model aligns varieties, layer by layer"),
    "adapt": ("isogloss.cli.adapt", "transform vectors, steer models, rebuild vocabularies"),
    "text": ("isogloss.cli.text", "encode, train and vary texts"),
    "study": ("isogloss.cli.study", "published kinds of study, each one command with controls"),
    "search": ("isogloss.cli.search", "build, query, mine, verify and serve a search index"),
    "bench": ("isogloss.cli.bench", "run retrieval benchmarks and report on them"),
}
"""Noun to its module and one line of help. A module is imported when its noun is named."""

_FORMAT_WARNING = warnings.formatwarning

_EXAMPLE = """\
examples:
  isogloss demo                               cross-dialect retrieval from nothing, 15 minutes
  isogloss corpus check manifest.jsonl        what is wrong with these recordings
  isogloss speech train manifest.jsonl --out exp/a
  isogloss bench run manifest.jsonl --encoder own:exp/a --out results

isogloss <noun> --help lists the verbs of a noun.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; expected errors are one line on stderr."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parsed = argparse.Namespace(traceback=False)
    warnings.formatwarning = _as_a_line
    try:
        # Inside, because reading the noun's module takes long enough to be interrupted.
        parser = _parser(arguments)
        parsed = parser.parse_args(arguments)
        if not hasattr(parsed, "handler"):
            parser.parse_args([*arguments, "--help"])
        code = int(parsed.handler(parsed))
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (head, less) has gone: not an error, and nothing more can be written.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\nisogloss: interrupted; long jobs go on when the command is repeated\n")
        return 130
    except (IsoglossError, ValueError, OSError) as error:
        if parsed.traceback:
            raise
        sys.stderr.write(f"isogloss: error: {_said(error)}\n")
        return 1
    return code


def _as_a_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int,
    line: str | None = None,
) -> str:  # fmt: skip
    """A warning for the user as one line; one for programmers as Python prints it."""
    if category is UserWarning:
        return f"isogloss: warning: {message}\n"
    return _FORMAT_WARNING(message, category, filename, lineno, line)


def _said(error: Exception) -> str:
    """The message; what the system says of a file comes behind its name, without a number."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return str(error)


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="isogloss",
        description="Meaning that survives the crossing between dialects and languages.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"isogloss {__version__}")
    parser.add_argument(
        "--traceback", action="store_true", help="show the full traceback of an error"
    )
    nouns = parser.add_subparsers(metavar="<noun>", required=True)
    named = next((word for word in arguments if not word.startswith("-")), None)
    for noun, (module, summary) in NOUNS.items():
        if noun == named:
            importlib.import_module(module).add_parser(nouns)
        else:
            nouns.add_parser(noun, help=summary)
    return parser
