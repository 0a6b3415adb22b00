"""`isogloss speech evaluate`: the character error rate of a model, with its edits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.cli.speech_options import folder_of
from isogloss.cli.tables import print_json, print_table, talk
from isogloss.cli.verbs import add_verb, at_least

if TYPE_CHECKING:
    import argparse

    from isogloss.types import Measurement

__all__ = ["add_evaluate"]


def add_evaluate(verbs: argparse._SubParsersAction[Any]) -> None:
    """Declare `speech evaluate`."""
    parser = add_verb(
        verbs,
        "evaluate",
        _evaluate,
        "character error rate of a model, overall and for each variety, with its edits",
        "  isogloss speech evaluate runs/a manifest.jsonl --split test\n"
        "  isogloss speech evaluate runs/a manifest.jsonl --transcripts dialect --json\n\n"
        "exit code: 1 when recordings could not be read",
    )
    parser.add_argument("model", type=Path, help="folder of a trained model")
    parser.add_argument("manifest", type=Path, help="manifest.jsonl, or the folder that holds it")
    parser.add_argument("--split", default="test", help="split to measure on, or all; default test")
    parser.add_argument(
        "--transcripts",
        choices=("standard", "dialect"),
        default="standard",
        help="what is right: the standard wording or the variety's own; default standard",
    )
    parser.add_argument("--head", choices=("standard", "dialect"), help="output that reads")
    parser.add_argument(
        "--bootstrap", type=at_least(0), default=1000, help="resamples; default 1000"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1; default cpu")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _evaluate(args: argparse.Namespace) -> int:
    from isogloss.corpora.jsonl import read_corpus
    from isogloss.encoders.registry import load_encoder
    from isogloss.tasks.transcription import Transcription

    task = Transcription(
        transcripts=args.transcripts,
        head=args.head,
        split=None if args.split == "all" else args.split,
        bootstrap=args.bootstrap,
    )
    encoder = load_encoder(f"own:{folder_of(args.model)}", device=args.device)
    found = task.run(read_corpus(args.manifest), encoder)
    if args.json:
        print_json([_measurement_record(entry) for entry in found])
    else:
        print_table(
            ["measure", "CER %", "low", "high", "items", "S", "D", "I", "characters"],
            [_cer_row(entry) for entry in found],
        )
    unreadable = int(found[0].signature.get("unreadable", 0))
    if unreadable:
        talk(
            f"{unreadable} recordings could not be read and are not counted; "
            f"isogloss corpus check {args.manifest} names them"
        )
    return 1 if unreadable else 0


def _measurement_record(found: Measurement) -> dict[str, Any]:
    names = ("name", "value", "low", "high", "n", "higher_is_better")
    return {
        **{name: getattr(found, name) for name in names},
        "signature": dict(found.signature),
    }


def _cer_row(found: Measurement) -> list[object]:
    edits = ("substitutions", "deletions", "insertions", "reference_length")
    percent = [None if x is None else 100 * x for x in (found.value, found.low, found.high)]
    return [found.name, *percent, found.n, *(found.signature[name] for name in edits)]
