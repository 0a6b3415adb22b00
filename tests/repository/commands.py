"""The parsers of the command line, as the command line itself makes them."""

from __future__ import annotations

import argparse
import importlib
from typing import Any

from isogloss.cli.main import NOUNS


def parser_of(noun: str) -> argparse.ArgumentParser:
    """The parser of one noun."""
    subparsers = argparse.ArgumentParser(prog="isogloss").add_subparsers()
    importlib.import_module(NOUNS[noun][0]).add_parser(subparsers)
    return subparsers.choices[noun]


def verbs_of(parser: argparse.ArgumentParser) -> dict[str, Any]:
    """Verb to its parser; empty for a noun that is a command itself."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def commands() -> list[tuple[str, argparse.ArgumentParser]]:
    """Every command: the words that call it, and its parser."""
    found = []
    for noun in NOUNS:
        parser = parser_of(noun)
        verbs = verbs_of(parser)
        found += [(f"{noun} {verb}", verbs[verb]) for verb in verbs] or [(noun, parser)]
    return found
