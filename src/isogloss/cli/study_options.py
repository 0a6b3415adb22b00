"""What the verbs of `isogloss study` share: options, how results are told, exit codes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from isogloss.cli.measure_options import comma_list
from isogloss.cli.tables import print_json, print_table, talk
from isogloss.cli.verbs import WrongUsageError, at_least

if TYPE_CHECKING:
    from isogloss.tasks.study_data import DataChoice
    from isogloss.tasks.study_report import StudyReport
    from isogloss.tasks.study_start import StartChoice
    from isogloss.tasks.study_train import TrainOptions

__all__ = [
    "add_data_options",
    "add_run_options",
    "add_start_options",
    "add_train_options",
    "choice_of",
    "options_of",
    "seed_list",
    "start_of",
    "told",
]


def seed_list(text: str) -> tuple[int, ...]:
    """A type of argument: different whole numbers from 0 on, with commas between them."""
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"numbers such as 0,1,2, got '{text}'") from error
    if len(set(found)) < len(found) or min(found) < 0:
        raise argparse.ArgumentTypeError(f"seeds must be different and not negative, got '{text}'")
    return found


def add_data_options(parser: argparse.ArgumentParser, *, judged: int = 400) -> None:
    """Add --corpus, --varieties, --per-variety, --items and --data-seed."""
    group = parser.add_argument_group("texts")
    group.add_argument(
        "--corpus",
        type=Path,
        required=True,
        metavar="MANIFEST",
        help="manifest.jsonl, or its folder; items that share a meaning are translations",
    )
    group.add_argument(
        "--varieties",
        type=comma_list,
        default=(),
        metavar="A,B",
        help="these alone; default the 8 with most texts",
    )
    group.add_argument(
        "--per-variety",
        type=at_least(2),
        default=2000,
        metavar="N",
        help="texts of each to learn from; default 2000",
    )
    group.add_argument(
        "--items",
        type=at_least(2),
        default=judged,
        metavar="N",
        help=f"held-out meanings to judge on; default {judged}",
    )
    group.add_argument(
        "--data-seed", type=at_least(0), default=0, metavar="N", help="of the choice of texts"
    )


def add_start_options(parser: argparse.ArgumentParser) -> None:
    """Add --start-steps, --layers and --width of a start that is trained by the study."""
    group = parser.add_argument_group("the start, where no model is given")
    group.add_argument(
        "--start-steps",
        type=at_least(1),
        metavar="N",
        help="training steps of the model all arms start from; default 1500",
    )
    group.add_argument("--blocks", type=at_least(1), metavar="N", help="of its network; default 3")
    group.add_argument("--width", type=at_least(2), metavar="N", help="of its states; default 128")


def add_train_options(parser: argparse.ArgumentParser, *, steps: int) -> None:
    """Add --steps, --batch, --lr, --device and --jobs."""
    group = parser.add_argument_group("training")
    group.add_argument(
        "--steps", type=at_least(1), default=steps, help=f"of every arm; default {steps}"
    )
    group.add_argument(
        "--batch", type=at_least(2), default=32, metavar="N", help="rows; default 32"
    )
    group.add_argument("--lr", type=float, help="peak; default 0.0005")
    group.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="cpu", help="default cpu"
    )
    group.add_argument(
        "--jobs",
        type=at_least(1),
        default=1,
        metavar="N",
        help="arms trained at once, each on one thread; changes no result; default 1",
    )


def add_run_options(parser: argparse.ArgumentParser, *, seeds: str | None = "0,1,2") -> None:
    """Add --out, --seeds (unless None), --quiet and --json."""
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder of the study"
    )
    if seeds is not None:
        parser.add_argument(
            "--seeds",
            type=seed_list,
            default=seed_list(seeds),
            metavar="0,1,2",
            help=f"every arm is run with each; default {seeds}",
        )
    parser.add_argument("--quiet", action="store_true", help="say nothing on stderr")
    parser.add_argument("--json", action="store_true", help="print results.json, not tables")


def choice_of(args: argparse.Namespace, *, must: tuple[str, ...] = ()) -> DataChoice:
    """The texts that the arguments ask for.

    Raises:
        WrongUsageError: a variety that the study needs is not among those named.
    """
    from isogloss.tasks.study_data import DataChoice

    try:
        return DataChoice(
            args.corpus,
            args.varieties,
            must,
            per_variety=args.per_variety,
            judged=args.items,
            seed=args.data_seed,
        )
    except ValueError as error:
        raise WrongUsageError(str(error)) from error


def start_of(args: argparse.Namespace, model: str | None, *, kind: str = "encoder") -> StartChoice:
    """The start that the arguments ask for.

    Raises:
        WrongUsageError: a model is given, and how to train one too; or the shape cannot be.
    """
    from isogloss.tasks.study_start import StartChoice
    from isogloss.training.text_config import Shape

    given = {
        "--start-steps": args.start_steps,
        "--blocks": args.blocks,
        "--width": args.width,
    }
    if model is not None:
        idle = next((name for name, value in given.items() if value is not None), None)
        if idle is not None:
            raise WrongUsageError(f"{idle} is of a start that the study trains; {model} is given")
        return StartChoice(model)
    try:
        shape = Shape(kind=kind, layers=args.blocks or 3, width=args.width or 128)  # type: ignore[arg-type]
    except ValueError as error:
        raise WrongUsageError(str(error)) from error
    return StartChoice(None, args.start_steps or 1500, shape)


def options_of(args: argparse.Namespace, *, views: str = "romanise") -> TrainOptions:
    """How arms are trained.

    Raises:
        WrongUsageError: a rate that is none.
    """
    from isogloss.tasks.study_train import TrainOptions

    if args.lr is not None and not args.lr > 0:
        raise WrongUsageError(f"--lr must be above 0, got {args.lr}")
    return TrainOptions(
        steps=args.steps, batch=args.batch, lr=args.lr, device=args.device, views=views
    )


def told(args: argparse.Namespace, report: StudyReport) -> int:
    """Write what was found into --out, print it, and give the exit code."""
    from isogloss.bench.study_write import write_study

    written = write_study(report, args.out)
    if args.json:
        print_json(report.to_dict())
    else:
        for table in report.tables:
            rows = [
                [f"{cell:.3f}" if isinstance(cell, float) else cell for cell in row]
                for row in table.rows
            ]
            print_table(table.columns, rows, title=table.title)
    if not args.quiet:
        for sentence in report.says:
            talk(sentence)
        for name, reason in report.notes.items():
            talk(f"{name}: {reason}")
        for path in written:
            talk(f"wrote {path}")
    return 0
