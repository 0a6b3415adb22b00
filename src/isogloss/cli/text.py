"""`isogloss text`: encode, train and vary texts."""

from __future__ import annotations

import argparse
import importlib
from typing import Any

__all__ = ["add_parser"]

# Verb to the function that declares it.
_VERBS = {
    "encode": "isogloss.cli.text_encode:add_encode",
    "train": "isogloss.cli.text_train:add_train",
    "merge": "isogloss.cli.text_train:add_merge",
    "vary": "isogloss.cli.text_vary:add_vary",
}


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the noun `text` with its verbs."""
    noun = subparsers.add_parser(
        "text",
        help="encode, train and vary texts",
        epilog="example:\n  isogloss text encode hf:xlm-roberta-base manifest.jsonl --layer 8 "
        "--pool mean --out vectors.npz\n  isogloss text <verb> --help",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = noun.add_subparsers(metavar="<verb>", required=True)
    for place in _VERBS.values():
        module, _, attribute = place.partition(":")
        getattr(importlib.import_module(module), attribute)(verbs)
