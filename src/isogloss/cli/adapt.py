"""`isogloss adapt`: fit, apply and compare transforms of an encoder's vectors; steer models."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import Any

__all__ = ["VERBS", "add_parser"]

VERBS = {
    "fit": "isogloss.cli.adapt_fit:add_fit",
    "apply": "isogloss.cli.adapt_apply:add_apply",
    "compare": "isogloss.cli.adapt_compare:add_compare",
    "steer": "isogloss.cli.adapt_steer:add_steer",
    "vocabulary": "isogloss.cli.adapt_vocabulary:add_vocabulary",
}
"""Verb to the function that declares it."""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the noun `adapt` with its verbs."""
    noun = subparsers.add_parser(
        "adapt",
        help="change a model's vectors or states without training it",
        epilog="examples:\n"
        "  isogloss adapt compare hf:models/a --corpus manifest.jsonl --out compared\n"
        "  isogloss adapt fit hf:models/a --corpus manifest.jsonl --transform zca --out zca\n"
        "  isogloss adapt apply zca hf:models/a --corpus other.jsonl --out vectors\n"
        "  isogloss adapt <verb> --help",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = noun.add_subparsers(metavar="<verb>", required=True)
    for place in VERBS.values():
        module, _, function = place.partition(":")
        getattr(import_module(module), function)(verbs)
