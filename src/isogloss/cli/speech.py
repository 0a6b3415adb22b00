"""`isogloss speech`: train, transcribe, evaluate, encode and import."""

from __future__ import annotations

import argparse
from typing import Any

from isogloss.cli.speech_encode import add_encode
from isogloss.cli.speech_evaluate import add_evaluate
from isogloss.cli.speech_export import add_export
from isogloss.cli.speech_finetune import add_finetune
from isogloss.cli.speech_import import add_import
from isogloss.cli.speech_train import add_train
from isogloss.cli.speech_transcribe import add_transcribe

__all__ = ["add_parser"]


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the noun `speech` with its verbs."""
    noun = subparsers.add_parser(
        "speech",
        help="train, transcribe, evaluate and encode speech",
        epilog="example:\n  isogloss speech train manifest.jsonl --out runs/a --minutes 30\n"
        "  isogloss speech transcribe runs/a recording.wav\n"
        "  isogloss speech <verb> --help",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = noun.add_subparsers(metavar="<verb>", required=True)
    add_train(verbs)
    add_finetune(verbs)
    add_transcribe(verbs)
    add_evaluate(verbs)
    add_encode(verbs)
    add_export(verbs)
    add_import(verbs)
