"""`isogloss demo`: the whole chain on synthetic dialects, in one command."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from isogloss.cli.bench import print_matrices
from isogloss.cli.tables import print_json, print_table, talk

if TYPE_CHECKING:
    from isogloss.bench.demo import DemoResult

__all__ = ["add_parser"]

_EXAMPLE = """\
examples:
  isogloss demo                                 15 minutes on 2 cores
  isogloss demo --minutes 60                    better numbers
  isogloss demo --transcripts dialect           what the varieties' own characters tie together

The page is isogloss-demo/report.html, the numbers are in isogloss-demo/results.json. A demo that
was interrupted goes on when the command is repeated; one that is complete is shown again.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `demo` to the command line."""
    parser = subparsers.add_parser(
        "demo",
        help="train, retrieve and report on synthetic dialects, in one go",
        description="Speak, train, retrieve and report on synthetic dialects, in one go.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--minutes", type=float, default=15.0, help="the whole command's, on any machine; 15"
    )
    parser.add_argument(
        "--transcripts",
        choices=("standard", "dialect", "both"),
        default="standard",
        help="what CTC learns to write; standard",
    )
    parser.add_argument(
        "--varieties", default="cmn,yue,hak", metavar="CODES", help="of cmn,yue,hak,nan"
    )
    parser.add_argument(
        "--sentences", type=int, metavar="N", help="training sentences of each variety"
    )
    parser.add_argument(
        "--test-sentences", type=int, default=100, metavar="N", help="in every variety; 100"
    )
    parser.add_argument(
        "--seed", type=int, default=1, metavar="N", help="of sentences, voices and weights; 1"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("isogloss-demo"), metavar="DIR", help="isogloss-demo"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    parser.add_argument("--json", action="store_true", help="print results.json, not tables")
    parser.set_defaults(handler=_demo)


def _demo(args: argparse.Namespace) -> int:
    from isogloss.bench.demo import DemoConfig, run_demo

    try:
        config = DemoConfig(
            minutes=args.minutes,
            transcripts=args.transcripts,
            varieties=tuple(code.strip() for code in args.varieties.split(",") if code.strip()),
            train_sentences=args.sentences,
            test_sentences=args.test_sentences,
            seed=args.seed,
        )
    except ValueError as error:
        talk(f"isogloss demo: {error}")
        return 2
    result = run_demo(config, args.out, progress=not args.quiet, say=talk)
    if args.json:
        print_json(result.summary)
    else:
        _print(result)
    return 0


def _print(result: DemoResult) -> None:
    print_matrices(result.results)
    summary = result.summary
    rows: list[list[object]] = [
        ["character error rate", f"{100 * summary['cer']:.1f} %"],
        ["seconds", f"{summary['seconds']:.0f}"],
        ["page", str(result.report)],
        ["numbers", str(result.json)],
    ]
    print_table(["", ""], rows)
