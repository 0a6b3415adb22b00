"""`isogloss study scripts`: transliteration as data, as contrast and joined, at equal steps."""

from __future__ import annotations

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

__all__ = ["add_scripts"]

_ARMS = "control, both scripts, contrast, contrast+tlm"


def add_scripts(verbs: argparse._SubParsersAction[Any]) -> None:
    """Declare `study scripts`."""
    parser = add_verb(
        verbs,
        "scripts",
        _scripts,
        "what transliteration buys across scripts: as data, as contrast, and joined",
        "  isogloss study scripts --corpus corpus --pair srp,srp-latn --romanise --out scripts\n"
        "  isogloss study scripts --corpus corpus --start models/mlm --pair srp,srp-latn \\\n"
        "      --views serbian:to=latin --seeds 0,1,2 --steps 400 --out scripts\n\n"
        f"Arms: {_ARMS}. Every arm sees the\n"
        "same texts in the same order, and none is told which are translations. Judged by matched\n"
        "and random similarity, original and transliterated, and by R@1.",
    )
    parser.add_argument("--start", metavar="FOLDER", help="a model to start from; else one is made")
    parser.add_argument(
        "--pair", required=True, metavar="A,B", help="two varieties in different scripts"
    )
    views = parser.add_mutually_exclusive_group(required=True)
    views.add_argument("--romanise", action="store_true", help="transliterate by uroman")
    views.add_argument(
        "--views", metavar="SPEC", help="transliterate by a variation, such as serbian:to=latin"
    )
    parser.add_argument(
        "--arms", type=comma_list, metavar="A,B", help=f"default all: {_ARMS}; control always is"
    )
    parser.add_argument(
        "--layer",
        type=at_least(0),
        metavar="N",
        help="of the contrast and of what is judged; default the middle",
    )
    parser.add_argument(
        "--weight", type=float, default=0.5, metavar="W", help="of the contrast; default 0.5"
    )
    add_data_options(parser)
    add_train_options(parser, steps=400)
    add_start_options(parser)
    add_run_options(parser, seeds="0")


def _scripts(args: argparse.Namespace) -> int:
    pair = tuple(comma_list(args.pair))
    if len(pair) != 2:
        raise WrongUsageError(f"--pair takes two varieties, got '{args.pair}'")
    choice = choice_of(args, must=pair)
    start = start_of(args, args.start)
    from isogloss.tasks.study_scripts import SCRIPT_ARMS, ScriptsStudy, run_scripts
    from isogloss.variation import make_variation

    views = "romanise" if args.romanise else args.views
    try:
        make_variation(views)
        study = ScriptsStudy(
            data=choice,
            pair=pair,
            start=start,
            options=options_of(args, views=views),
            arms=args.arms or SCRIPT_ARMS,
            seeds=args.seeds,
            layer=args.layer,
            weight=args.weight,
            jobs=args.jobs,
        )
    except ValueError as error:
        raise WrongUsageError(str(error)) from error
    report = run_scripts(study, args.out, quiet=args.quiet, say=None if args.quiet else talk)
    return told(args, report)
