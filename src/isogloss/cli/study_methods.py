"""`isogloss study align-methods`: rotation or fine-tuning, sentence pairs or a dictionary."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.cli.measure_options import comma_list
from isogloss.cli.study_options import (
    add_data_options,
    add_run_options,
    add_start_options,
    add_train_options,
    choice_of,
    options_of,
    start_of,
    told,
)
from isogloss.cli.tables import talk
from isogloss.cli.verbs import WrongUsageError, add_verb, at_least

if TYPE_CHECKING:
    import argparse

__all__ = ["add_methods"]


def add_methods(verbs: argparse._SubParsersAction[Any]) -> None:
    """Declare `study align-methods`."""
    parser = add_verb(
        verbs,
        "align-methods",
        _methods,
        "rotation or fine-tuning, sentence pairs or a dictionary, at equal data",
        "  isogloss study align-methods models/mlm --corpus corpus --out methods\n"
        "  isogloss study align-methods models/mlm --corpus corpus --lexicon words.tsv \\\n"
        "      --supervision dictionary --method rotate,finetune --seeds 0,1,2 --out methods\n\n"
        "rotate: normalisation and orthogonal Procrustes. finetune: contrast of sentence pairs,\n"
        "or squared distance of word pairs, beside masked LM on the same batches.",
    )
    parser.add_argument(
        "model", nargs="?", help="folder of an encoder to align; else one is trained a seed"
    )
    parser.add_argument(
        "--lexicon",
        type=Path,
        metavar="TSV",
        help="columns source, target [, source_variety, target_variety]; without it words written "
        "alike are pairs",
    )
    parser.add_argument(
        "--supervision",
        type=comma_list,
        default=("parallel", "dictionary"),
        metavar="A,B",
        help="parallel, dictionary; default both",
    )
    parser.add_argument(
        "--method",
        type=comma_list,
        default=("rotate", "finetune"),
        metavar="A,B",
        help="rotate, finetune; default both",
    )
    parser.add_argument(
        "--meanings",
        type=at_least(2),
        default=500,
        metavar="N",
        help="that every cell learns from; default 500",
    )
    parser.add_argument(
        "--layer", type=at_least(0), metavar="N", help="of all cells; default the middle"
    )
    parser.add_argument("--pivot", default="eng", metavar="CODE", help="of maps; default eng")
    add_data_options(parser)
    add_train_options(parser, steps=200)
    add_start_options(parser)
    add_run_options(parser, seeds="0")


def _methods(args: argparse.Namespace) -> int:
    choice = choice_of(args)
    start = start_of(args, args.model)
    if args.lexicon is not None and not args.lexicon.is_file():
        raise WrongUsageError(f"--lexicon {args.lexicon}: there is no such file")
    from isogloss.tasks.study_methods import MethodsStudy, run_methods

    try:
        study = MethodsStudy(
            data=choice,
            start=start,
            lexicon=None if args.lexicon is None else args.lexicon.resolve(),
            supervisions=args.supervision,
            methods=args.method,
            meanings=args.meanings,
            options=options_of(args),
            seeds=args.seeds,
            layer=args.layer,
            pivot=args.pivot,
            jobs=args.jobs,
        )
    except ValueError as error:
        raise WrongUsageError(str(error)) from error
    report = run_methods(study, args.out, quiet=args.quiet, say=None if args.quiet else talk)
    return told(args, report)
