"""`isogloss speech finetune`: its options to a `FinetuneConfig`, the rates before and after out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.cli.corpus_options import add_table_options, varieties_table
from isogloss.cli.speech_options import folder_of, launched_rank, settings_of
from isogloss.cli.tables import print_json, print_table, talk
from isogloss.cli.verbs import WrongUsageError, add_verb, at_least

if TYPE_CHECKING:
    import argparse

    from isogloss.training.finetune import Change, FinetuneConfig, Rate

__all__ = ["add_finetune"]

_DEFAULT_EPOCHS = 10
_LENGTHS = ("epochs", "max_steps", "minutes")
_TUNING = (
    "units",
    "replay_share",
    "replay_items",
    "layer_decay",
    "lora_rank",
    "lora_alpha",
    "keep_adapter",
)
_SETTINGS = ("objective", "precision", "device", "threads", "seed", *_LENGTHS)


def add_finetune(verbs: argparse._SubParsersAction[Any]) -> None:
    """Declare `speech finetune`."""
    parser = add_verb(
        verbs,
        "finetune",
        _finetune,
        "a trained or imported model learns a new variety; CER of old and new before and after",
        "  isogloss speech finetune models/public hokkien.jsonl --replay mandarin.jsonl \\\n"
        "      --out runs/hokkien --epochs 10\n"
        "  isogloss speech finetune models/public hokkien.jsonl --replay mandarin.jsonl \\\n"
        "      --out runs/lora --lora-rank 8 --keep-adapter --minutes 60\n"
        "  isogloss speech finetune models/public --apply-adapter runs/lora --out models/nan\n\n"
        "The same command goes on after a kill. Both manifests need the splits train and test;\n"
        "isogloss corpus split makes them.\n"
        "exit code: 0 done; 1 failed, or done but items were left out (skipped.json lists them);\n"
        "2 wrong settings",
    )
    parser.add_argument("model", type=Path, help="folder of a trained or imported model")
    parser.add_argument(
        "manifest", type=Path, nargs="?", help="manifest of the new variety, or its folder"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    _add_forgetting(parser)
    parser.add_argument(
        "--units",
        choices=("extend", "keep"),
        help="append characters that the model lacks, or leave out items that have them; default "
        "extend",
    )
    parser.add_argument(
        "--transcripts",
        choices=("standard", "dialect", "both", "tagged"),
        help="what is learnt; default what the model was trained with",
    )
    parser.add_argument("--objective", choices=("ctc", "cr-ctc"), help="default ctc")
    parser.add_argument("--optimiser", choices=("scaled-adam", "adamw"), help="default by LoRA")
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="default fp32")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), help="default auto")
    parser.add_argument("--threads", type=int, help="CPU threads; default one a core")
    parser.add_argument("--seed", type=int, help="default 0")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, help="wall-clock target of the training")
    length.add_argument(
        "--epochs", type=float, help=f"passes over the new items; default {_DEFAULT_EPOCHS}"
    )
    length.add_argument("--max-steps", type=int, help="batches")
    parser.add_argument("--split", choices=("dev", "test"), help="measured on; default test")
    parser.add_argument("--test-items", type=at_least(1), help="most items measured of each corpus")
    parser.add_argument("--bootstrap", type=at_least(0), help="resamples; default 1000")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any other field of TrainConfig, the value as in TOML",
    )
    parser.add_argument(
        "--apply-adapter",
        type=Path,
        metavar="DIR",
        help="train nothing: merge the adapter kept in DIR into MODEL and write it to --out",
    )
    add_table_options(parser)


def _add_forgetting(parser: argparse.ArgumentParser) -> None:
    """Options against forgetting; see docs/finetuning.md."""
    group = parser.add_argument_group("against forgetting")
    group.add_argument(
        "--replay", type=Path, metavar="MANIFEST", help="what the model could do before; mixed in"
    )
    group.add_argument(
        "--replay-share", type=float, metavar="S", help="of the seconds of an epoch; default 0.3"
    )
    group.add_argument(
        "--replay-items", type=int, metavar="N", help="most old items drawn from; default 20000"
    )
    group.add_argument(
        "--base-lr", type=float, help="default 0.004, a tenth of training's; 0.001 with LoRA"
    )
    group.add_argument(
        "--layer-decay", type=float, metavar="F", help="factor a stack, from the end; default 0.9"
    )
    group.add_argument(
        "--lora-rank", type=int, metavar="R", help="tune low-rank adapters only; default 0, off"
    )
    group.add_argument("--lora-alpha", type=float, metavar="A", help="default twice the rank")
    group.add_argument(
        "--keep-adapter",
        action="store_true",
        default=None,
        help="also write what LoRA learnt by itself",
    )


def _finetune(args: argparse.Namespace) -> int:
    from isogloss.training.finetune import finetune

    model = Path(folder_of(args.model))
    if args.apply_adapter is not None:
        return _apply(args, model)
    if args.manifest is None:
        raise WrongUsageError("the manifest of the new variety is missing")
    config = _config(args)
    found = finetune(
        config,
        model=model,
        corpus=args.manifest,
        folder=args.out,
        replay=args.replay,
        table=varieties_table(args),
    )
    rank = launched_rank()
    if rank:
        return 0
    if args.json:
        print_json(found.to_dict())
    else:
        columns = ["corpus", "variety", "items", "before CER %", "after CER %", "change"]
        print_table(columns, [_row(change) for change in found.changes])
    if found.added_units:
        talk(f"{len(found.added_units)} units were added: {' '.join(found.added_units[:40])}")
    for warning in found.warnings:
        talk(f"warning: {warning}")
    if found.unmeasured:
        talk(f"{len(found.unmeasured)} test recordings could not be measured; see finetune.json")
    if found.train.skipped:
        talk(
            f"done, but {len(found.train.skipped)} items were left out: "
            f"{found.train.skipped_counts}; see {args.out / 'skipped.json'}"
        )
    return 1 if rank is None and (found.train.skipped or found.unmeasured) else 0


def _apply(args: argparse.Namespace, model: Path) -> int:
    """Merge a kept adapter.

    Raises:
        WrongUsageError: a manifest is given too, or --out holds a model.
    """
    from isogloss.training.adapters import apply_adapter

    if args.manifest is not None:
        raise WrongUsageError("--apply-adapter trains nothing; leave the manifest out")
    if (args.out / "config.json").exists():
        raise WrongUsageError(f"{args.out} holds a model already; name another folder")
    revision = apply_adapter(model, args.apply_adapter, args.out)
    record = {"folder": str(args.out), "revision": revision}
    if args.json:
        print_json(record)
    else:
        print_table(["figure", "value"], [[name, value] for name, value in record.items()])
    return 0


def _config(args: argparse.Namespace) -> FinetuneConfig:
    """Options to a `FinetuneConfig`; named options win over --set.

    Raises:
        WrongUsageError: what is wrong with them.
    """
    from isogloss._config import config_from_mapping
    from isogloss.training.config import TrainConfig
    from isogloss.training.finetune import FinetuneConfig
    from isogloss.training.tuning import Tuning

    settings = settings_of(args.set)
    given = {name: getattr(args, name) for name in _SETTINGS if getattr(args, name) is not None}
    if any(name in given for name in _LENGTHS):
        settings = {name: value for name, value in settings.items() if name not in _LENGTHS}
    settings |= given
    if not any(name in settings for name in _LENGTHS):
        settings["epochs"] = _DEFAULT_EPOCHS
    tuning = {name: getattr(args, name) for name in _TUNING if getattr(args, name) is not None}
    names = ("transcripts", "optimiser", "base_lr", "split", "test_items", "bootstrap")
    own = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    try:
        config = FinetuneConfig(
            tuning=config_from_mapping(Tuning, tuning), settings=settings, **own
        )
        config_from_mapping(TrainConfig, settings)
    except ValueError as error:
        raise WrongUsageError(str(error)) from error
    return config


def _row(change: Change) -> list[object]:
    return [
        change.corpus,
        change.variety or "all",
        change.items,
        _percent(change.before),
        _percent(change.after),
        _percent(change.difference, signed=True),
    ]


def _percent(rate: Rate, *, signed: bool = False) -> str:
    """'12.3 (10.1 to 14.5)', in per cent."""
    sign = "+" if signed else ""
    value = f"{100 * rate.value:{sign}.1f}"
    if rate.low is None or rate.high is None:
        return value
    return f"{value} ({100 * rate.low:{sign}.1f} to {100 * rate.high:{sign}.1f})"
