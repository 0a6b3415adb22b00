"""`isogloss study clones`: a language and its clone in one decoder, with controls."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.cli.study_options import add_run_options, told
from isogloss.cli.tables import talk
from isogloss.cli.verbs import WrongUsageError, add_verb, at_least

if TYPE_CHECKING:
    import argparse

__all__ = ["add_clones"]


def add_clones(verbs: argparse._SubParsersAction[Any]) -> None:
    """Declare `study clones`."""
    parser = add_verb(
        verbs,
        "clones",
        _clones,
        "whether a language helps its own clone, in which what should align is known",
        "  isogloss study clones --text lines.txt --p 0.5,0.1 --out clones\n"
        "  isogloss study clones --text corpus --variety eng --p 0.5 --prealign --out clones\n\n"
        "Controls: the original alone with all the steps, and with the share of steps that each\n"
        "language got in the mixture. Minutes show whether tokens align and what a mixture costs;\n"
        "not that unequal mixtures are better, which takes far longer.",
    )
    parser.add_argument(
        "--text", type=Path, required=True, metavar="FILE", help="a text a line, or a manifest"
    )
    parser.add_argument("--variety", help="of the items of a manifest; default all")
    parser.add_argument(
        "--p", default="0.5,0.1", metavar="P,P", help="shares that are cloned; default 0.5,0.1"
    )
    parser.add_argument(
        "--prealign",
        action="store_true",
        help="also with a first stage that contrasts words with their clones",
    )
    parser.add_argument(
        "--stage", type=float, metavar="S", help="of --prealign: share of the steps; default 0.2"
    )
    parser.add_argument("--steps", type=at_least(5), default=500, help="default 500")
    parser.add_argument("--batch", type=at_least(2), default=24, help="texts; default 24")
    parser.add_argument(
        "--texts", type=at_least(100), default=20_000, metavar="N", help="at most; default 20000"
    )
    parser.add_argument(
        "--items", type=at_least(2), default=200, metavar="N", help="held-out texts; default 200"
    )
    parser.add_argument("--blocks", type=at_least(1), default=3, help="default 3")
    parser.add_argument("--width", type=at_least(2), default=128, help="default 128")
    parser.add_argument(
        "--vocabulary", type=at_least(300), default=2500, metavar="N", help="pieces; default 2500"
    )
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="cpu", help="default cpu"
    )
    add_run_options(parser, seeds="0")


def _clones(args: argparse.Namespace) -> int:
    if args.stage is not None and not args.prealign:
        raise WrongUsageError("--stage is of --prealign")
    from isogloss.tasks.study_clones import ClonesStudy, run_clones
    from isogloss.training.text_config import Shape

    try:
        study = ClonesStudy(
            text=args.text,
            variety=args.variety,
            shares=tuple(float(part) for part in args.p.split(",")),
            prealign=args.prealign,
            stage=0.2 if args.stage is None else args.stage,
            shape=Shape(
                kind="decoder", layers=args.blocks, width=args.width, vocabulary=args.vocabulary
            ),
            steps=args.steps,
            batch=args.batch,
            texts=args.texts,
            judged=args.items,
            seeds=args.seeds,
            device=args.device,
        )
    except ValueError as error:
        raise WrongUsageError(str(error)) from error
    report = run_clones(study, args.out, quiet=args.quiet, say=None if args.quiet else talk)
    return told(args, report)
