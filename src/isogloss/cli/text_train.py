"""`isogloss text train` and `merge`: options to a `TextTrainConfig`, gain beside compute out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.cli.corpus_options import add_table_options, varieties_table
from isogloss.cli.speech_options import settings_of
from isogloss.cli.tables import print_json, print_table, talk
from isogloss.cli.text_train_small import SMALL, train_small_kind
from isogloss.cli.verbs import WrongUsageError, add_verb, at_least

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from isogloss.training.text_config import TextTrainConfig
    from isogloss.training.text_result import TextTrainResult

__all__ = ["add_merge", "add_train"]

_NEW_STEPS, _MORE_STEPS = 1500, 400
_SHAPE = ("kind", "layers", "width", "heads", "vocabulary")
_SAME_NAME = (
    "parameters",
    "pairs",
    "ways",
    "items_per_variety",
    "links",
    "batch",
    "max_tokens",
    "seed",
    "threads",
    "device",
    "precision",
    "epochs",
    "minutes",
)
_OBJECTIVES = """\
objectives (NAME:key=value,...; each also takes weight=W):
  mlm       hidden tokens                 share=0.15 sides=both|first|second
  lm        the next token                sides=both|first|second
  tlm       both sides joined             share=0.15
  infonce   the other side among others   layer=middle|last|2|1+3|all|output, pooling=mean|first|
            last|weighted|class|word, similarity=cosine|dot, temperature=0.05, negatives=other|
            all|queue, queue=4096, momentum=0.999, hard=0, list=FILE, same=positives|ignore,
            sides=both|first|second
others and what each needs: docs/text-objectives.md, docs/text-training.md
"""


def add_train(verbs: argparse._SubParsersAction[Any]) -> None:
    """Declare `text train`."""
    parser = add_verb(
        verbs,
        "train",
        _train,
        "train a text model from nothing or on from a folder, beside an equal-steps control",
        "  isogloss text train corpus --out models/mlm --steps 1500\n"
        "  isogloss text train corpus --out models/aligned --start models/mlm \\\n"
        "      --objective infonce:layer=2 --objective mlm --steps 400\n"
        "  isogloss text train corpus --out models/translico --start models/mlm \\\n"
        "      --views romanise --objective infonce:layer=2,weight=0.5 --objective mlm\n"
        "  isogloss text train corpus --out models/lm --kind decoder --varieties eng,deu,spa\n\n"
        f"{_OBJECTIVES}\n"
        "The same command goes on after a kill. The model is a folder of transformers: hf:DIR\n"
        "loads it. Its control, trained with mlm or lm alone on the same batches, is in\n"
        "DIR/control.\n"
        "exit code: 0 done; 1 failed; 2 wrong settings",
    )
    parser.add_argument("corpus", type=Path, help="manifest.jsonl, or the folder that holds it")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--start", metavar="FOLDER", help="a transformers folder to train on from")
    new = parser.add_argument_group("a new model (without --start)")
    new.add_argument(
        "--kind",
        choices=("encoder", "decoder", *SMALL),
        help="default encoder; hash, laser and pixel: docs/own-text-encoders.md",
    )
    new.add_argument("--layers", type=at_least(1), help="default 3")
    new.add_argument("--width", type=at_least(1), help="default 128")
    new.add_argument("--heads", type=at_least(1), help="default 4")
    new.add_argument(
        "--vocabulary", type=at_least(1), metavar="N", help="pieces; default 6000, decoder 2500"
    )
    what = parser.add_argument_group("what is learnt")
    what.add_argument(
        "--objective",
        action="append",
        default=[],
        metavar="NAME:K=V,...",
        help="repeat for a weighted sum; default mlm, for a decoder lm",
    )
    what.add_argument(
        "--alternate", action="store_true", help="one objective a step, in turn, not the sum"
    )
    what.add_argument(
        "--parameters", metavar="P", help="full, layers:2-3, lora[:rank[,alpha]], embeddings"
    )
    what.add_argument(
        "--no-control", action="store_true", help="leave out the run with mlm or lm alone"
    )
    _add_rows(parser.add_argument_group("rows of a batch"))
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, help="wall-clock target, control not counted")
    length.add_argument("--epochs", type=float, help="passes over the texts, or meanings")
    length.add_argument(
        "--steps",
        type=at_least(1),
        help=f"batches; default {_NEW_STEPS}, with --start {_MORE_STEPS}",
    )
    parser.add_argument("--lr", type=float, help="peak; default 0.003, with --start 0.0005")
    parser.add_argument("--seed", type=at_least(0), help="default 0")
    parser.add_argument("--threads", type=at_least(1), help="CPU threads; default one a core")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), help="default auto")
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="default fp32")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any other field of TextTrainConfig, the value as in TOML",
    )
    add_table_options(parser)


def _add_rows(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--pairs",
        choices=("auto", "meaning", "views", "none"),
        help="two varieties of a meaning, a text and its view, or single texts; default auto: "
        "views where given, meanings where an objective needs pairs",
    )
    group.add_argument(
        "--views",
        metavar="FILE|romanise",
        help="a second text of each item: a line of FILE for each line of the manifest, or its "
        "romanisation by uroman (kept in DIR/romanised.sqlite)",
    )
    group.add_argument(
        "--ways", type=at_least(2), metavar="K", help="varieties drawn of a meaning; default 2"
    )
    group.add_argument("--varieties", metavar="A,B", help="these alone; default all")
    group.add_argument(
        "--items-per-variety", type=at_least(1), metavar="N", help="at most; default all"
    )
    group.add_argument(
        "--temperature",
        type=float,
        metavar="T",
        help="varieties are drawn by n^(1/T): 1 as they come; default all alike",
    )
    group.add_argument("--links", metavar="FILE", help="word links: ID, ID, '0-0 1-2' by tabs")
    group.add_argument("--batch", type=at_least(1), metavar="N", help="rows; default 32")
    group.add_argument(
        "--max-tokens", type=at_least(4), metavar="N", help="longer texts are cut; default 128"
    )


def add_merge(verbs: argparse._SubParsersAction[Any]) -> None:
    """Declare `text merge`."""
    parser = add_verb(
        verbs,
        "merge",
        _merge,
        "add LoRA adapters, each with a weight, to the model they were trained on",
        "  isogloss text merge models/mlm runs/a/adapter runs/b/adapter=0.5 --out models/both",
    )
    parser.add_argument("start", type=Path, help="folder of the model without adapters")
    parser.add_argument(
        "adapters", nargs="+", metavar="ADAPTER[=WEIGHT]", help="adapter/ of runs; weight 1"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the merged model")
    parser.add_argument("--json", action="store_true", help="what was merged, on stdout")


def _train(args: argparse.Namespace) -> int:
    if args.kind in SMALL:
        result = train_small_kind(args, _config, _views)
    else:
        config = _config(args)
        from isogloss.training.text_loop import train_text

        result = train_text(
            config,
            corpus=args.corpus,
            folder=args.out,
            views=_views(args),
            table=varieties_table(args),
        )
    if args.json:
        print_json(result.to_dict())
    else:
        _show(result)
    return 0


def _config(args: argparse.Namespace) -> TextTrainConfig:
    """The settings of the arguments.

    Raises:
        WrongUsageError: they contradict each other.
    """
    from isogloss._config import config_from_mapping
    from isogloss.training.text_config import TextTrainConfig

    values = settings_of(args.set)
    values |= {name: found for name in _SAME_NAME if (found := getattr(args, name)) is not None}
    shape = {name: found for name in _SHAPE if (found := getattr(args, name)) is not None}
    if shape and args.start is not None:
        raise WrongUsageError(f"--{next(iter(shape))} is for a new model; --start has its own")
    if shape:
        values["shape"] = {**values.get("shape", {}), **shape}
    for name, found in (
        ("start", args.start),
        ("base_lr", args.lr),
        ("max_steps", args.steps),
        ("sampling_temperature", args.temperature),
    ):
        if found is not None:
            values[name] = found
    if args.varieties is not None:
        values["varieties"] = [code for code in args.varieties.split(",") if code]
    if args.objective:
        values["objectives"] = args.objective
    values |= {"alternate": True} if args.alternate else {}
    values |= {"control": False} if args.no_control else {}
    if not {"epochs", "minutes", "max_steps"} & values.keys():
        values["max_steps"] = _NEW_STEPS if args.start is None else _MORE_STEPS
    try:
        return config_from_mapping(TextTrainConfig, values)
    except ValueError as error:
        raise WrongUsageError(str(error)) from error


def _views(args: argparse.Namespace) -> Any:
    """The views of `--views`: None, the lines of a file, or a function that romanises."""
    if args.views is None:
        return None
    if args.views == "romanise":
        from isogloss.variation.transliterate import romanise

        def romanised(texts: Sequence[str]) -> list[str]:
            return romanise(texts, cache=args.out / "romanised.sqlite")

        return romanised
    path = Path(args.views)
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: byte {error.start} is no UTF-8; convert it first") from error
    return lines[:-1] if lines[-1] == "" else lines


def _show(result: TextTrainResult) -> None:
    """Run and control side by side: what was spent, and the losses at the end."""
    columns = ["", "run"]
    runs = [result]
    if result.control is not None:
        columns.append("control")
        runs.append(result.control)
    rows: list[list[object]] = [
        ["objectives", *(" + ".join(run.model.get("objectives", [])) for run in runs)],
        ["steps", *(run.steps for run in runs)],
        ["forward passes", *(int(run.spent.get("passes", 0)) for run in runs)],
        ["tokens", *(int(run.spent.get("tokens", 0)) for run in runs)],
        ["FLOPs (estimate)", *(f"{run.spent.get('flops', 0.0):.3g}" for run in runs)],
        ["seconds in steps", *(round(run.train_seconds, 1) for run in runs)],
        ["weights that learn", *(run.model.get("learning") for run in runs)],
    ]
    for name in result.losses:
        rows.append([f"{name}, last steps", *(_number(run.losses.get(name)) for run in runs)])
    rows.append(["folder", *(str(run.folder) for run in runs)])
    print_table(columns, [[str(cell) for cell in row] for row in rows])
    if result.skipped:
        talk("left out: " + ", ".join(f"{n} {reason}" for reason, n in result.skipped.items()))
    if result.cut:
        talk(f"{result.cut} texts were cut to the length that is read")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _merge(args: argparse.Namespace) -> int:
    named: list[tuple[Path, float]] = []
    for text in args.adapters:
        folder, equals, weight = text.rpartition("=")
        if not equals:
            named.append((Path(text), 1.0))
            continue
        try:
            named.append((Path(folder), float(weight)))
        except ValueError:
            raise WrongUsageError(f"{text}: the weight {weight!r} is not a number") from None
    from isogloss.training.text_parameters import merge_adapters

    merged = merge_adapters(args.start, named, args.out)
    found = {
        "out": str(args.out),
        "start": str(args.start),
        "adapters": [
            {"folder": folder, "weight": weight}
            for folder, (_, weight) in zip(merged, named, strict=True)
        ],
    }
    if args.json:
        print_json(found)
    else:
        print_table(
            ["adapter", "weight"], [[f, w] for f, (_, w) in zip(merged, named, strict=True)]
        )
    return 0
