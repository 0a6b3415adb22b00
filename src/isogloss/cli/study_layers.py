"""`isogloss study layers`: every measure at every layer, several models side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from isogloss.cli.measure_options import comma_list
from isogloss.cli.study_options import add_data_options, add_run_options, choice_of, told
from isogloss.cli.tables import talk
from isogloss.cli.verbs import WrongUsageError, add_verb, at_least

if TYPE_CHECKING:
    import argparse

__all__ = ["add_layers"]


def add_layers(verbs: argparse._SubParsersAction[Any]) -> None:
    """Declare `study layers`."""
    parser = add_verb(
        verbs,
        "layers",
        _layers,
        "every measure at every layer, several models side by side",
        "  isogloss study layers hf:models/mlm hf:models/aligned --corpus corpus --out layers\n"
        "  isogloss study layers hf:models/mlm --corpus corpus --pools mean,last,weighted \\\n"
        "      --transforms center,zca --seeds 0,1,2 --out layers\n\n"
        "Transforms are fitted on other meanings than those judged. For speech: isogloss measure.",
    )
    parser.add_argument("models", nargs="+", help="encoders of text: hf:FOLDER, st:NAME, ngram:")
    parser.add_argument(
        "--measures", type=comma_list, default=(), metavar="A,B", help="default all"
    )
    parser.add_argument(
        "--layers", dest="numbers", metavar="N,N", help="0 the embedding, i block i; default all"
    )
    parser.add_argument(
        "--pools",
        type=comma_list,
        default=("mean",),
        metavar="A,B",
        help="mean, first, last, weighted, weighted-down, max; default mean",
    )
    parser.add_argument(
        "--transforms", metavar="A,B", help="tried at every layer; as isogloss adapt takes them"
    )
    parser.add_argument(
        "--fit-meanings", type=at_least(2), metavar="N", help="of --transforms; default 500"
    )
    parser.add_argument(
        "--pivot", default="eng", metavar="CODE", help="of maps and of --pairs pivot; default eng"
    )
    parser.add_argument(
        "--pairs",
        choices=("auto", "all", "pivot"),
        default="auto",
        help="auto is all pairs of up to 8 varieties, then those with the pivot",
    )
    parser.add_argument(
        "--bootstrap", type=at_least(0), default=200, metavar="N", help="resamples; default 200"
    )
    add_data_options(parser)
    add_run_options(parser, seeds="0")


def _layers(args: argparse.Namespace) -> int:
    choice = choice_of(args)
    if not args.transforms and (args.seeds != (0,) or args.fit_meanings is not None):
        raise WrongUsageError("--seeds and --fit-meanings draw what --transforms are fitted on")
    from isogloss.adapt.registry import split_specs
    from isogloss.tasks.alignment import Alignment
    from isogloss.tasks.study_layers import LayersStudy, run_layers

    try:
        layers = None
        if args.numbers is not None:
            layers = tuple(int(part) for part in args.numbers.split(","))
        study = LayersStudy(
            models=tuple(args.models),
            data=choice,
            task=Alignment(
                measures=args.measures,
                layers=layers,
                pivot=args.pivot,
                pairs=args.pairs,
                bootstrap=args.bootstrap,
                seed=args.data_seed,
            ),
            pools=args.pools,
            transforms=tuple(split_specs(args.transforms)) if args.transforms else (),
            fit_meanings=args.fit_meanings or 500,
            pivot=args.pivot,
            seeds=args.seeds,
        )
    except ValueError as error:
        raise WrongUsageError(str(error)) from error
    report = run_layers(study, args.out, quiet=args.quiet, say=None if args.quiet else talk)
    return told(args, report)
