"""A hook of mkdocs: the page of commands, written from the commands' own help texts."""

from __future__ import annotations

import argparse
import importlib
import os
from typing import Any

PAGE = "cli.md"
_WIDTH = "96"


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page's text; that of the commands has the reference below it."""
    return markdown + reference() if page.file.src_uri == PAGE else markdown


def reference() -> str:
    """Markdown with the help text of every command, nouns in the order of the command line."""
    from isogloss.cli.main import NOUNS

    os.environ["COLUMNS"] = _WIDTH  # argparse folds help texts to the terminal's width
    parts = []
    for noun, (module, summary) in NOUNS.items():
        subparsers = argparse.ArgumentParser(prog="isogloss").add_subparsers()
        importlib.import_module(module).add_parser(subparsers)
        parser = subparsers.choices[noun]
        parts.append(f"\n## isogloss {noun}\n\n{summary[0].upper()}{summary[1:]}.\n")
        verbs = _verbs(parser)
        if not verbs:
            parts.append(_fenced(parser))
        for verb, verb_parser in verbs.items():
            parts.append(f"\n### isogloss {noun} {verb}\n")
            parts.append(_fenced(verb_parser))
    return "".join(parts)


def _verbs(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _fenced(parser: argparse.ArgumentParser) -> str:
    return f"\n```text\n{parser.format_help().rstrip()}\n```\n"
