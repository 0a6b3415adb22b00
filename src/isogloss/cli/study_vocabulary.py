"""`isogloss study vocabulary`: fertility, ALP curve, bits per character by initialisation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.cli.measure_options import comma_list
from isogloss.cli.study_options import add_run_options, told
from isogloss.cli.tables import talk
from isogloss.cli.verbs import WrongUsageError, add_verb, at_least

if TYPE_CHECKING:
    import argparse

__all__ = ["add_vocabulary"]


def add_vocabulary(verbs: argparse._SubParsersAction[Any]) -> None:
    """Declare `study vocabulary`."""
    parser = add_verb(
        verbs,
        "vocabulary",
        _vocabulary,
        "a decoder for another tokenizer: every way to guess its embeddings, before and after",
        "  isogloss study vocabulary models/lm --corpus corpus --variety deu --out vocabulary\n"
        "  isogloss study vocabulary models/lm --tokenizer models/new --corpus lines.txt \\\n"
        "      --init random,fvt,clp --steps 100 --seeds 0,1,2 --out vocabulary\n\n"
        "Control: the model with its old tokenizer, trained as long on the same texts.",
    )
    parser.add_argument("model", help="folder of a decoder")
    parser.add_argument(
        "--corpus", type=Path, required=True, metavar="FILE", help="a manifest, or a text a line"
    )
    parser.add_argument("--variety", help="of the items of a manifest; default all")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--tokenizer", metavar="T", help="the new one: folder or tokenizer.json")
    source.add_argument(
        "--size", type=at_least(300), metavar="N", help="train one of N tokens; default 2000"
    )
    parser.add_argument("--init", type=comma_list, metavar="A,B", help="default all")
    helper = parser.add_mutually_exclusive_group()
    helper.add_argument("--helper", metavar="FOLDER", help="a model of the new tokenizer")
    helper.add_argument(
        "--helper-steps", type=at_least(1), metavar="N", help="train one so long; default 200"
    )
    parser.add_argument(
        "--steps", type=at_least(1), default=100, help="of every rebuilt model; default 100"
    )
    parser.add_argument("--batch", type=at_least(2), default=24, help="texts; default 24")
    parser.add_argument(
        "--texts", type=at_least(100), default=20_000, metavar="N", help="at most; default 20000"
    )
    parser.add_argument(
        "--items", type=at_least(2), default=200, metavar="N", help="held-out texts; default 200"
    )
    parser.add_argument(
        "--sizes",
        default="500,500,6000",
        metavar="FIRST,STEP,MOST",
        help="of the ALP curve; default 500,500,6000",
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1; default cpu")
    add_run_options(parser, seeds="0")


def _vocabulary(args: argparse.Namespace) -> int:
    from isogloss.adapt.vocabulary_inits import INITS
    from isogloss.tasks.study_vocabulary import VocabularyStudy, run_vocabulary

    try:
        first, step, most = (int(part) for part in args.sizes.split(","))
    except ValueError as error:
        raise WrongUsageError(f"--sizes are three numbers, got '{args.sizes}'") from error
    try:
        study = VocabularyStudy(
            model=args.model,
            corpus=args.corpus,
            variety=args.variety,
            tokenizer=args.tokenizer,
            size=args.size or 2000,
            inits=args.init or INITS,
            helper=args.helper,
            helper_steps=args.helper_steps or 200,
            steps=args.steps,
            batch=args.batch,
            sizes=(first, step, most),
            texts=args.texts,
            judged=args.items,
            seeds=args.seeds,
            device=args.device,
        )
    except ValueError as error:
        raise WrongUsageError(str(error)) from error
    report = run_vocabulary(study, args.out, quiet=args.quiet, say=None if args.quiet else talk)
    return told(args, report)
