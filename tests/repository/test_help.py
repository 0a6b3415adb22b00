"""Every command explains itself: an example in each help text, --json where a table is printed."""

from __future__ import annotations

import argparse
import importlib
import re
from typing import Any

import pytest

from isogloss.cli.main import NOUNS, main


def parser_of(noun: str) -> argparse.ArgumentParser:
    """The parser of one noun, made as the command line makes it."""
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
    """Every command with the words that call it."""
    found = []
    for noun in NOUNS:
        parser = parser_of(noun)
        verbs = verbs_of(parser)
        found += [(f"{noun} {verb}", verbs[verb]) for verb in verbs] or [(noun, parser)]
    return found


COMMANDS = commands()
by_command = pytest.mark.parametrize(
    ("words", "parser"), COMMANDS, ids=[words.replace(" ", "-") for words, _ in COMMANDS]
)


@by_command
def test_help_ends_with_an_example_of_this_command(
    words: str, parser: argparse.ArgumentParser, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*words.split(), "--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert re.search(r"^examples?:", text, re.MULTILINE)
    assert f"  isogloss {words}" in (parser.epilog or "")


@by_command
def test_every_option_says_what_it_does(words: str, parser: argparse.ArgumentParser) -> None:
    silent = [action.dest for action in parser._actions if not action.help]
    assert silent == [], words


@by_command
def test_examples_parse(words: str, parser: argparse.ArgumentParser) -> None:
    """What stands in an example is accepted by the command itself."""
    import shlex

    text = (parser.epilog or "").replace("\\\n", " ")
    for line in re.findall(rf"^  isogloss {words}(.*)$", text, re.MULTILINE):
        # What follows several blanks explains the example.
        arguments = re.split(r"\s{3,}|\s[|>]", line.strip())[0] if line.strip() else ""
        parser.parse_args(shlex.split(arguments))


@by_command
def test_tables_can_be_had_as_json(words: str, parser: argparse.ArgumentParser) -> None:
    assert "--json" in parser._option_string_actions, words


@pytest.mark.parametrize("noun", NOUNS)
def test_a_noun_alone_is_wrong_usage_or_runs(noun: str) -> None:
    if verbs_of(parser_of(noun)):
        with pytest.raises(SystemExit) as stopped:
            main([noun])
        assert stopped.value.code == 2
