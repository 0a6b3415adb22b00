"""`isogloss adapt compare`: what does the cheapest repair buy, by model, layer and transform."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.cli.adapt_options import (
    MODEL_HELP,
    add_encoding_options,
    comma_numbers,
    items_of,
    share,
    talk_of_left_out,
)
from isogloss.cli.tables import print_json, print_table, talk
from isogloss.cli.verbs import WrongUsageError, add_verb, at_least

if TYPE_CHECKING:
    from isogloss.adapt.compare import ComparedTransform, Comparison

__all__ = ["add_compare"]


def add_compare(verbs: argparse._SubParsersAction[Any]) -> None:
    """Declare `adapt compare`."""
    parser = add_verb(
        verbs,
        "compare",
        _compare,
        "what does the cheapest repair buy, judged on what it was not fitted on",
        "  isogloss adapt compare hf:models/a hf:models/b --corpus manifest.jsonl --out compared\n"
        "  isogloss adapt compare hf:models/a --corpus manifest.jsonl --layers all \\\n"
        "      --transforms center,zca:eps=1e-5,center+procrustes:target=eng --out compared\n"
        "  isogloss adapt compare steps/ --corpus manifest.jsonl --score seqsim --on steps \\\n"
        "      --transforms center,zca --out compared\n\n"
        "The meanings are divided once for each seed; a transform is fitted on one part and\n"
        "judged on the other. --out gets results.json and compare.png.\n\n"
        "exit code: 1 when a transform could not be fitted, or items were left out",
    )
    parser.add_argument("models", nargs="+", metavar="model", help=MODEL_HELP)
    add_encoding_options(parser)
    parser.add_argument(
        "--transforms",
        metavar="SPECS",
        help="specs with commas between them; default the cheap ones",
    )
    parser.add_argument(
        "--layers", metavar="L", help="numbers with commas, or all; default the model's own"
    )
    parser.add_argument(
        "--seeds", type=comma_numbers, default=(0, 1, 2), metavar="N,N", help="default 0,1,2"
    )
    parser.add_argument(
        "--share", type=share, default=0.5, help="of the meanings to fit on; default 0.5"
    )
    parser.add_argument(
        "--score",
        choices=("cosine", "seqsim"),
        default="cosine",
        help="cosine of pooled vectors, or SeqSim of steps; default cosine",
    )
    parser.add_argument(
        "--on",
        choices=("pooled", "steps"),
        default="pooled",
        help="fit on one vector an item, or on all its steps; default pooled",
    )
    parser.add_argument(
        "--meanings",
        type=at_least(4),
        default=1000,
        metavar="N",
        help="take at most so many meanings, drawn once; default 1000",
    )
    parser.add_argument(
        "--shared", action="store_true", help="only meanings that every variety has"
    )
    parser.add_argument(
        "--resamples",
        type=at_least(0),
        default=1000,
        help="of the intervals over meanings; 0 for none; default 1000",
    )
    parser.add_argument(
        "--no-floor", action="store_true", help="leave character n-grams out of tables of text"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")


def _compare(args: argparse.Namespace) -> int:
    if (args.score == "seqsim" or args.on == "steps") and args.pool != "mean":
        raise WrongUsageError("--pool has no say where steps are compared or fitted on")
    from isogloss.adapt.compare import CompareSettings
    from isogloss.adapt.compare_models import (
        DEFAULT_TRANSFORMS,
        compare_models,
        write_comparison,
    )
    from isogloss.adapt.registry import split_specs
    from isogloss.adapt.split import everywhere
    from isogloss.corpora.jsonl import read_corpus

    settings = CompareSettings(
        tuple(split_specs(args.transforms)) if args.transforms else DEFAULT_TRANSFORMS,
        args.share,
        args.seeds,
        args.score,
        args.on,
        args.resamples,
    )
    corpus = read_corpus(args.corpus)
    items = items_of(corpus, args.split, args.varieties)
    found = compare_models(
        corpus,
        args.models,
        settings,
        items=everywhere(items) if args.shared else items,
        most_meanings=args.meanings,
        layers=_layers(args.layers),
        pool=args.pool,
        device=args.device,
        cache=args.cache,
        floor=not args.no_floor,
    )
    write_comparison(found, args.out)
    if args.json:
        print_json(found.as_json())
    else:
        _print(found)
        talk(f"{args.out / 'results.json'} and {args.out / 'compare.png'}")
    talk_of_left_out(found.skipped)
    failed = [row for row in found.rows if row.problem]
    for row in failed:
        talk(f"{row.model} {row.transform}: {row.problem}")
    return 1 if failed or found.skipped else 0


def _layers(text: str | None) -> tuple[int, ...] | str | None:
    if text is None or text == "all":
        return text
    try:
        return comma_numbers(text)
    except (ValueError, argparse.ArgumentTypeError) as error:
        raise WrongUsageError(
            f"--layers {text}: {error}; write numbers with commas, or all"
        ) from error


def _print(found: Comparison) -> None:
    columns = ["model", "layer", "transform", "R@1", "interval", "gain", "interval of gain"]
    columns += ["matched", "random", "CKA", "probe", "fitted", "judged", "fit s", "numbers"]
    print_table(columns, [_cells(row) for row in found.rows])
    for row in found.rows:
        for note in row.notes[:1]:
            talk(f"note: {row.model} {note}" + (" ..." if len(row.notes) > 1 else ""))


def _cells(row: ComparedTransform) -> list[object]:
    gain = row.gain
    return [
        row.model,
        "-" if row.layer is None else str(row.layer),
        row.transform,
        _number(row.r_at_1, ".3f"),
        "-" if row.low is None or row.high is None else f"{row.low:.3f} to {row.high:.3f}",
        "-" if gain is None else f"{gain.difference:+.3f}",
        "-" if gain is None else f"{gain.low:+.3f} to {gain.high:+.3f}",
        _number(row.matched, ".3f"),
        _number(row.random, ".3f"),
        _number(row.cka, ".3f"),
        "-" if row.probe is None else f"{row.probe:.2f} ({row.probe_chance:.2f})",
        str(row.fitted_meanings),
        f"{row.judged_meanings:.0f}",
        f"{row.seconds:.2f}",
        str(row.parameters),
    ]


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
