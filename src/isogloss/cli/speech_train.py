"""`isogloss speech train`: its options to a `TrainConfig`, its result to a table or JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.cli.corpus_options import add_table_options, varieties_table
from isogloss.cli.speech_options import launched_rank, settings_of
from isogloss.cli.tables import print_json, print_table, talk
from isogloss.cli.verbs import WrongUsageError, add_verb

if TYPE_CHECKING:
    import argparse

    from isogloss.training.config import TrainConfig
    from isogloss.training.loop import TrainResult

__all__ = ["add_train"]

_DEFAULT_EPOCHS = 30
_LENGTHS = ("epochs", "max_steps", "minutes")
_OBJECTIVES = (
    "inter_ctc",
    "inter_ctc_text",
    "pooled_teacher",
    "text_teacher",
    "teacher_text",
    "contrastive",
    "contrastive_text",
    "standard_share",
    "lexicon",
)


def add_train(verbs: argparse._SubParsersAction[Any]) -> None:
    """Add the verb `train`."""
    parser = add_verb(
        verbs,
        "train",
        _train,
        "a speech encoder from recordings with transcripts; the same command goes on after a kill",
        "  isogloss speech train manifest.jsonl --out runs/a --minutes 30\n"
        "  isogloss speech train manifest.jsonl --out runs/b --config train.toml\n"
        "  isogloss speech train manifest.jsonl --out runs/c --size small --objective cr-ctc \\\n"
        "      --epochs 50 --set base_lr=0.03 --set 'speeds=[0.9, 1.0, 1.1]'\n"
        "  isogloss speech train manifest.jsonl --out runs/d --transcripts dialect \\\n"
        "      --inter-ctc 3 --inter-ctc-text standard --standard-share 0.1\n\n"
        "exit code: 0 done; 1 failed, or done but items were left out (runs/a/skipped.json\n"
        "lists them; 0 when several processes were launched); 2 wrong settings",
    )
    parser.add_argument("manifest", type=Path, help="manifest.jsonl, or the folder that holds it")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--config", type=Path, metavar="TOML", help="any field of TrainConfig")
    parser.add_argument("--size", help="micro, tiny, small, medium, large, xlarge; default tiny")
    parser.add_argument(
        "--transcripts",
        choices=("standard", "dialect", "both", "tagged"),
        help="what is learnt: the standard wording, the variety's own characters, both with two "
        "outputs, or both with one output that begins with a tag; default standard",
    )
    _add_objectives(parser)
    parser.add_argument("--objective", choices=("ctc", "cr-ctc"), help="default ctc")
    parser.add_argument("--optimiser", choices=("scaled-adam", "adamw"), help="default scaled-adam")
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="default fp32")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), help="default auto")
    parser.add_argument("--threads", type=int, help="CPU threads; default one a core")
    parser.add_argument("--seed", type=int, help="default 0")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, help="wall-clock target for the whole command")
    length.add_argument(
        "--epochs", type=float, help=f"passes over the data; default {_DEFAULT_EPOCHS}"
    )
    length.add_argument("--max-steps", type=int, help="batches")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any other field of TrainConfig, the value as in TOML",
    )
    add_table_options(parser)


def _add_objectives(parser: argparse.ArgumentParser) -> None:
    """Losses beside CTC; see docs/objectives.md."""
    group = parser.add_argument_group("losses beside CTC, each with its weight; default none")
    group.add_argument("--inter-ctc", type=float, metavar="W", help="CTC on an inner stack")
    group.add_argument(
        "--pooled-teacher", type=float, metavar="W", help="utterance vector to a text's vector"
    )
    group.add_argument(
        "--text-teacher", metavar="T", help="ngram, vectors:FILE.npz or hf:NAME; default ngram"
    )
    group.add_argument(
        "--contrastive", type=float, metavar="W", help="utterance against its text, in the batch"
    )
    group.add_argument(
        "--standard-share", type=float, metavar="S", help="items whose standard text is used"
    )
    group.add_argument(
        "--lexicon", metavar="TSV", help="dialect and standard words, tied in transcripts"
    )
    for name in ("inter-ctc", "teacher", "contrastive"):
        group.add_argument(
            f"--{name}-text",
            choices=("same", "standard", "dialect"),
            help="text of that loss; default same as CTC",
        )


def _train(args: argparse.Namespace) -> int:
    from isogloss.training.loop import train
    from isogloss.training.result import RESULT

    config = _train_config(args)
    was_finished = (args.out / RESULT).is_file()
    table = varieties_table(args)
    result = train(config, corpus=args.manifest, folder=args.out, table=table)
    rank = launched_rank()
    if rank:
        return 0
    if was_finished:
        talk(f"{args.out} was finished before; nothing was trained")
    if args.json:
        print_json(result.to_dict())
    else:
        print_table(["figure", "value"], _train_rows(result))
    if result.skipped:
        talk(
            f"done, but {len(result.skipped)} items were left out: {result.skipped_counts}; "
            f"see {args.out / 'skipped.json'}"
        )
        return 1 if rank is None else 0
    return 0


def _train_config(args: argparse.Namespace) -> TrainConfig:
    """TOML file, then --set, then the named options; the last one wins.

    Raises:
        WrongUsageError: what is wrong with them.
    """
    import tomllib

    from isogloss._config import config_from_mapping
    from isogloss.training.config import TrainConfig

    values: dict[str, Any] = {}
    if args.config is not None:
        try:
            values |= tomllib.loads(args.config.read_text("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise WrongUsageError(f"{args.config}: not TOML: {error}") from error
        except OSError as error:
            raise WrongUsageError(f"--config {args.config}: {error.strerror}") from error
    values |= settings_of(args.set)
    names = ("size", "transcripts", "objective", "optimiser", "precision", "device", "threads")
    given = {name: getattr(args, name) for name in (*names, *_OBJECTIVES, "seed", *_LENGTHS)}
    given = {name: value for name, value in given.items() if value is not None}
    if any(name in given for name in _LENGTHS):
        values = {name: value for name, value in values.items() if name not in _LENGTHS}
    values |= given
    if not any(name in values for name in _LENGTHS):
        values["epochs"] = _DEFAULT_EPOCHS
    try:
        config = config_from_mapping(TrainConfig, values)
        config.encoder()
    except ValueError as error:
        raise WrongUsageError(str(error)) from error
    return config


def _train_rows(result: TrainResult) -> list[list[object]]:
    rows: list[list[object]] = [
        ["model", str(result.folder)],
        ["utterances", result.utterances],
        ["left out", len(result.skipped)],
        ["steps", result.steps],
        ["loss (nats a step of 40 ms)", result.loss],
        ["minutes in steps", result.train_seconds / 60],
        ["seconds of audio a second", result.audio_seconds / max(1e-9, result.train_seconds)],
    ]
    if result.dev_cer is not None:
        rows.append(["CER on dev (%)", 100 * result.dev_cer])
    return rows
