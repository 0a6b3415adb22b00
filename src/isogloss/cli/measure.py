"""`isogloss measure`: how well a model aligns the varieties of a corpus, by layer and measure."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from isogloss.cli.measure_options import add_options
from isogloss.cli.tables import print_json, print_table, talk
from isogloss.errors import UnknownName

if TYPE_CHECKING:
    from isogloss.tasks.alignment_result import AlignmentResult

__all__ = ["add_parser"]

_EXAMPLE = """\
examples:
  isogloss measure hf:exp/encoder --corpus manifest.jsonl --out alignment
  isogloss measure hf:exp/encoder --corpus manifest.jsonl --site residual,mlp --items 100
  isogloss measure own:exp/a --corpus manifest.jsonl --measures retrieval,separation,cka --json
  isogloss measure hf:exp/encoder --corpus manifest.jsonl --split test --transform exp/zca
  isogloss measure --explain                    what every number means and where it misleads

Texts or recordings of one meaning in several varieties; items are translations when they share a
meaning. --out gets results.json, report.html and pictures (layers, map, tree). What cannot be
measured is left out and told, unless it was asked for by name.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `measure` to the command line."""
    parser = subparsers.add_parser(
        "measure",
        help="how well a model aligns varieties, by layer and measure",
        description="How well a model aligns varieties, at which layer, by which measure.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model", nargs="?", help="an encoder of text or speech: hf:FOLDER, own:FOLDER, ngram:, ..."
    )
    parser.add_argument(
        "--corpus", type=Path, metavar="MANIFEST", help="manifest.jsonl, or the folder that has it"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of results; default none")
    parser.add_argument(
        "--map",
        choices=("similarity", "places"),
        default="similarity",
        help="of the picture: by similarity, or on the globe where places are known",
    )
    parser.add_argument(
        "--explain", action="store_true", help="print what every number means, and stop"
    )
    add_options(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    parser.add_argument("--json", action="store_true", help="print results.json, not tables")
    parser.set_defaults(handler=_guarded)


def _guarded(args: argparse.Namespace) -> int:
    if args.explain:
        return _explain(args)
    if args.model is None or args.corpus is None:
        talk("isogloss measure: error: name a model and --corpus MANIFEST, or use --explain")
        return 2
    if args.map != "similarity" and args.out is None:
        talk("isogloss measure: error: --map draws a picture; name a folder with --out")
        return 2
    from isogloss.cli.measure_options import alignment_of

    try:
        task = alignment_of(args)
    except (UnknownName, ValueError) as error:
        talk(f"isogloss measure: error: {error}")
        return 2
    from isogloss.bench.alignment_run import run_alignment
    from isogloss.corpora.jsonl import read_corpus

    result, written = run_alignment(
        args.model,
        read_corpus(args.corpus),
        task,
        floor=None if args.floor == "none" else args.floor,
        device=args.device,
        out=args.out,
        map_of=args.map,
    )
    if args.json:
        print_json(result.to_dict())
    else:
        _print(result)
    for name, reason in result.notes.items():
        talk(f"{name}: {reason}")
    for reason, count in result.left_out.items():
        talk(f"left out {count} items: {reason}")
    for path in written:
        talk(f"wrote {path}")
    return _not_measured(args.measures, result)


def _not_measured(asked: tuple[str, ...], result: AlignmentResult) -> int:
    """1 when a measure that was asked for by name gave no number."""
    from isogloss.tasks.alignment_explain import explained

    there = {explained(row.name).measure for row in result.rows}
    missing = [name for name in asked if name not in there]
    for name in missing:
        talk(f"not measured: {name}")
    return 1 if missing else 0


def _explain(args: argparse.Namespace) -> int:
    from isogloss.tasks.alignment_explain import EXPLAINED, MEASURES

    asked = [name for name in args.measures if name not in MEASURES]
    if asked:
        talk(f"isogloss measure: error: {UnknownName('measure', asked[0], MEASURES)}")
        return 2
    chosen = [one for one in EXPLAINED if not args.measures or one.measure in args.measures]
    if args.json:
        print_json(
            [
                {
                    "name": one.name,
                    "measure": one.measure,
                    "means": one.means,
                    "misleads": one.misleads,
                }
                for one in chosen
            ]
        )
        return 0
    rows = [[one.measure, one.name, one.means, one.misleads] for one in chosen]
    print_table(["--measures", "number", "means", "misleads"], rows)
    return 0


def _print(result: AlignmentResult) -> None:
    """The best layer of every number, its value at the chosen layer, and the floor."""
    for site in result.sites:
        chosen = result.chosen_layer.get(site)
        rows: list[list[object]] = []
        for name in result.names(site):
            best = result.best(name, site)
            if best is None:
                continue
            at = next((row for row in result.means(name, site) if row.layer == chosen), None)
            floor = None if result.floor is None else result.floor.best(name, "residual")
            rows.append(
                [
                    name,
                    best.layer,
                    _number(best.value),
                    "-" if best.low is None else f"{_number(best.low)} to {_number(best.high)}",
                    "-" if at is None else _number(at.value),
                    "-" if floor is None else _number(floor.value),
                ]
            )
        heads = ["", "best layer", "there", "interval", f"at layer {chosen}", "floor"]
        print_table(heads, rows, title=f"site {site}, chosen layer {chosen}")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
