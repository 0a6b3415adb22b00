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
  isogloss demo --text                          the same for text: train, align, measure

With --text the translations of this machine's programs are read (where there are too few, those of
some Debian packages are fetched), a small multilingual encoder is trained on them, and its
alignment is measured by layer. Its page is isogloss-demo-text/report.html.

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
        "--text", action="store_true", help="on the text of this machine, not on synthetic speech"
    )
    parser.add_argument(
        "--transcripts",
        choices=("standard", "dialect", "both"),
        help="what CTC learns to write; standard",
    )
    parser.add_argument(
        "--varieties",
        metavar="CODES",
        help="of cmn,yue,hak,nan, first three; with --text any of the catalogues, 16",
    )
    parser.add_argument(
        "--sentences", type=int, metavar="N", help="training sentences of each variety"
    )
    parser.add_argument(
        "--test-sentences", type=int, metavar="N", help="in every variety; 100, with --text 200"
    )
    parser.add_argument(
        "--seed", type=int, default=1, metavar="N", help="of sentences, voices and weights; 1"
    )
    parser.add_argument(
        "--catalogues",
        type=Path,
        metavar="DIR",
        help="with --text: gettext catalogues instead of this machine's",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="isogloss-demo, with --text isogloss-demo-text"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    parser.add_argument("--json", action="store_true", help="print results.json, not tables")
    parser.set_defaults(handler=_demo)


def _demo(args: argparse.Namespace) -> int:
    if args.text:
        return _demo_of_text(args)
    if args.catalogues is not None:
        talk("isogloss demo: --catalogues has no effect without --text")
        return 2
    from isogloss.bench.demo import DemoConfig, run_demo

    try:
        config = DemoConfig(
            minutes=args.minutes,
            transcripts=args.transcripts or "standard",
            varieties=_codes(args.varieties or "cmn,yue,hak"),
            train_sentences=args.sentences,
            test_sentences=100 if args.test_sentences is None else args.test_sentences,
            seed=args.seed,
        )
    except ValueError as error:
        talk(f"isogloss demo: {error}")
        return 2
    out = args.out or Path("isogloss-demo")
    result = run_demo(config, out, progress=not args.quiet, say=talk)
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


def _demo_of_text(args: argparse.Namespace) -> int:
    from isogloss.bench.demo_text import DEMO_VARIETIES, TextDemoConfig, run_text_demo

    for option in ("transcripts", "sentences"):
        if getattr(args, option) is not None:
            talk(f"isogloss demo: --{option} has no effect with --text")
            return 2
    try:
        config = TextDemoConfig(
            minutes=args.minutes,
            varieties=_codes(args.varieties) if args.varieties else DEMO_VARIETIES,
            items=200 if args.test_sentences is None else args.test_sentences,
            seed=args.seed,
            catalogues=args.catalogues,
        )
    except ValueError as error:
        talk(f"isogloss demo: {error}")
        return 2
    out = args.out or Path("isogloss-demo-text")
    result = run_text_demo(config, out, progress=not args.quiet, say=talk)
    if args.json:
        print_json(result.summary)
        return 0
    named = {
        "trained": "masked LM, then contrast",
        "control": "control, masked LM alone",
        "mlm": "masked LM, where both began",
        "random": "random weights",
        "ngram": "character n-grams",
    }
    rows: list[list[object]] = []
    for kind, told in named.items():
        value = result.summary.get(f"r_at_1_{kind}")
        if value is None:
            continue
        low, high = (result.summary[f"r_at_1_{kind}_{end}"] for end in ("low", "high"))
        between = "" if low is None else f"{100 * low:.1f} to {100 * high:.1f}"
        rows.append([told, f"{100 * value:.1f} %", between])
    print_table(["model", "R@1", "interval"], rows)
    talk(f"page {result.report}")
    talk(f"numbers {result.json}")
    talk(f"models {out / 'models'}; next: isogloss measure hf:{out / 'models' / 'encoder'} --help")
    return 0


def _codes(text: str) -> tuple[str, ...]:
    return tuple(code.strip() for code in text.split(",") if code.strip())
