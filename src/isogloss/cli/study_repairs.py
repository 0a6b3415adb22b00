"""`isogloss study repairs`: transforms and objectives in one table, beside their controls."""

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

__all__ = ["add_repairs"]


def add_repairs(verbs: argparse._SubParsersAction[Any]) -> None:
    """Declare `study repairs`."""
    parser = add_verb(
        verbs,
        "repairs",
        _repairs,
        "which repair buys what at what cost: transforms and objectives in one table",
        "  isogloss study repairs models/mlm --corpus corpus --out repairs --jobs 2\n"
        "  isogloss study repairs models/mlm --corpus corpus --out repairs --jobs 2 \\\n"
        "      --steps 400 --transforms all --measures all --pair srp,srp-latn\n\n"
        "Objectives: infonce, translico (romanised views, no parallel data), tlm, word-mse,\n"
        "distillation, consistency, camlm, minotaur, distribution, adversary, or any of isogloss\n"
        "text train. Masked LM goes on beside each, and is the control on the same batches.\n"
        "Transforms: as isogloss adapt takes them; {pivot} stands for --pivot.",
    )
    parser.add_argument(
        "model", nargs="?", help="folder of an encoder to repair; else one is trained a seed"
    )
    parser.add_argument(
        "--transforms",
        metavar="A,B|all|none",
        help="default center, outliers, abtt, zca, subspace, procrustes, ridge",
    )
    parser.add_argument(
        "--objectives",
        metavar="A,B|none",
        help="with options parted by ';' where several have some; default infonce, translico, tlm, "
        "word-mse, distillation",
    )
    parser.add_argument(
        "--on",
        type=comma_list,
        metavar="A,B",
        help="what transforms are tried on: raw and objectives; default raw,infonce",
    )
    parser.add_argument(
        "--measures", metavar="A,B|all", help="of isogloss measure; default a short list"
    )
    parser.add_argument(
        "--layer", type=at_least(0), metavar="N", help="for all rows; default the middle"
    )
    parser.add_argument("--pool", default="mean", metavar="HOW", help="default mean")
    parser.add_argument(
        "--fit-meanings",
        type=at_least(2),
        default=500,
        metavar="N",
        help="that transforms are fitted on; default 500",
    )
    parser.add_argument("--pivot", default="eng", metavar="CODE", help="of maps; default eng")
    parser.add_argument("--pair", metavar="A,B", help="two varieties whose R@1 gets a column")
    add_data_options(parser)
    add_train_options(parser, steps=100)
    add_start_options(parser)
    add_run_options(parser)


def _repairs(args: argparse.Namespace) -> int:
    pair = tuple(comma_list(args.pair or ""))
    if args.pair is not None and len(pair) != 2:
        raise WrongUsageError(f"--pair takes two varieties, got '{args.pair}'")
    choice = choice_of(args, must=pair)
    start = start_of(args, args.model)
    from isogloss.adapt.registry import split_specs
    from isogloss.tasks.study_judge import ALL_MEASURES, SHORT_MEASURES
    from isogloss.tasks.study_repair_arms import (
        ALL_TRANSFORMS,
        SHORT_OBJECTIVES,
        SHORT_TRANSFORMS,
    )
    from isogloss.tasks.study_repairs import RAW, RepairsStudy, run_repairs
    from isogloss.tasks.study_repairs_table import repairs_report

    try:
        transforms = {None: SHORT_TRANSFORMS, "all": ALL_TRANSFORMS, "none": ()}.get(
            args.transforms
        )
        if transforms is None:
            transforms = tuple(split_specs(args.transforms))
        objectives = _objectives(args.objectives, SHORT_OBJECTIVES)
        default_on = tuple(name for name in (RAW, "infonce") if name in (RAW, *objectives))
        study = RepairsStudy(
            data=choice,
            start=start,
            transforms=transforms,
            objectives=objectives,
            on=args.on or default_on,
            options=options_of(args),
            seeds=args.seeds,
            layer=args.layer,
            pool=args.pool,
            measures={None: SHORT_MEASURES, "all": ALL_MEASURES}.get(args.measures)
            or comma_list(args.measures),
            fit_meanings=args.fit_meanings,
            pivot=args.pivot,
            pair=(pair[0], pair[1]) if pair else None,
            jobs=args.jobs,
        )
    except ValueError as error:
        raise WrongUsageError(str(error)) from error
    found = run_repairs(study, args.out, quiet=args.quiet, say=None if args.quiet else talk)
    report = repairs_report(study, found)
    return told(args, report) or int(any(row.problem for row in found.rows))


def _objectives(text: str | None, default: tuple[str, ...]) -> tuple[str, ...]:
    if text is None:
        return default
    if text == "none":
        return ()
    if ";" in text:
        return tuple(part.strip() for part in text.split(";") if part.strip())
    from isogloss.adapt.registry import split_specs

    return tuple(split_specs(text))
