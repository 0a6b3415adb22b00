"""Every command explains itself: an example in each help text, --json where a table is printed."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import pytest

from isogloss.cli.main import NOUNS, main
from repository.commands import commands, parser_of, verbs_of

if TYPE_CHECKING:
    import argparse

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
    text = re.sub(r"\\\n\s*", "", parser.epilog or "")
    for line in re.findall(rf"^  isogloss {words}(.*)$", text, re.MULTILINE):
        # What follows several blanks explains the example.
        arguments = re.split(r"\s{3,}|\s[|>]", line)[0]
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
