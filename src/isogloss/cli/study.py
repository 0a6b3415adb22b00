"""`isogloss study`: published kinds of study, each one command with its controls."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import Any

__all__ = ["VERBS", "add_parser"]

VERBS = {
    "layers": "isogloss.cli.study_layers:add_layers",
    "repairs": "isogloss.cli.study_repairs:add_repairs",
    "scripts": "isogloss.cli.study_scripts:add_scripts",
    "clones": "isogloss.cli.study_clones:add_clones",
    "align-methods": "isogloss.cli.study_methods:add_methods",
    "vocabulary": "isogloss.cli.study_vocabulary:add_vocabulary",
}
"""Verb to the function that declares it."""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the noun `study` with its verbs."""
    noun = subparsers.add_parser(
        "study",
        help="published kinds of study, each one command with controls",
        epilog="examples:\n"
        "  isogloss study layers hf:models/a hf:models/b --corpus corpus --out layers\n"
        "  isogloss study repairs models/mlm --corpus corpus --seeds 0,1,2 --out repairs\n"
        "  isogloss study scripts --corpus corpus --pair srp,srp-latn --romanise --out scripts\n"
        "  isogloss study <verb> --help\n\n"
        "A study that was interrupted goes on when the command is repeated.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = noun.add_subparsers(metavar="<verb>", required=True)
    for place in VERBS.values():
        module, _, function = place.partition(":")
        getattr(import_module(module), function)(verbs)
