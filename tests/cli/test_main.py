"""The command line's frame: which module runs, exit codes, one line for an expected error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
import warnings
from pathlib import Path

import pytest

from isogloss import __version__
from isogloss.cli import tables
from isogloss.cli.main import NOUNS, main
from isogloss.errors import IsoglossError, UnknownName


@pytest.fixture
def noun(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A noun `try` whose handler does what `module.act` does."""
    module = types.ModuleType("planted_noun")

    def add_parser(subparsers) -> None:
        parser = subparsers.add_parser("try")
        parser.add_argument("words", nargs="*")
        parser.set_defaults(handler=lambda args: module.act(args))

    module.add_parser = add_parser
    monkeypatch.setitem(sys.modules, "planted_noun", module)
    monkeypatch.setitem(NOUNS, "try", ("planted_noun", "a planted noun"))
    return module


def raising(error: BaseException):
    """A handler that fails with `error`."""

    def act(args) -> int:
        raise error

    return act


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"isogloss {__version__}\n"


def test_help_names_every_noun(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert all(f"{name} " in text and summary in text for name, (_, summary) in NOUNS.items())


@pytest.mark.parametrize("arguments", [[], ["corpse"], ["--unknown"], ["corpus", "chek"]])
def test_wrong_usage_is_2_and_goes_to_stderr(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "usage: isogloss" in captured.err


def test_handler_gets_its_arguments_and_gives_the_exit_code(noun: types.ModuleType) -> None:
    seen = []
    noun.act = lambda args: seen.append(args.words) or 1
    assert main(["try", "a", "b"]) == 1
    assert seen == [["a", "b"]]


def test_options_before_the_noun_do_not_hide_it(noun: types.ModuleType) -> None:
    noun.act = lambda args: 0
    assert main(["--traceback", "try"]) == 0


@pytest.mark.parametrize(
    "error",
    [
        IsoglossError("it broke"),
        UnknownName("reader", "fleur", ["fleurs"]),
        ValueError("it broke"),
        FileNotFoundError("x.wav: choose another"),
    ],
)
def test_an_expected_error_is_one_line_and_1(
    error: Exception, noun: types.ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    noun.act = raising(error)
    assert main(["try"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"isogloss: error: {error}\n"


@pytest.mark.parametrize("name", ["x.wav", b"x.wav"])
def test_what_the_system_says_of_a_file_comes_behind_its_name(
    name: str | bytes, noun: types.ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    noun.act = raising(PermissionError(13, "Permission denied", name))
    assert main(["try"]) == 1
    assert capsys.readouterr().err == "isogloss: error: x.wav: Permission denied\n"


def test_interruption_while_the_noun_is_read(
    noun: types.ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(noun, "add_parser", raising(KeyboardInterrupt()))
    assert main(["try"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_traceback_on_request(noun: types.ModuleType) -> None:
    noun.act = raising(IsoglossError("it broke"))
    with pytest.raises(IsoglossError, match="it broke"):
        main(["--traceback", "try"])


def test_a_mistake_of_ours_is_not_hidden(noun: types.ModuleType) -> None:
    noun.act = raising(KeyError("a programming error"))
    with pytest.raises(KeyError):
        main(["try"])


def test_interruption_is_130_and_says_how_to_go_on(
    noun: types.ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    noun.act = raising(KeyboardInterrupt())
    assert main(["try"]) == 130
    assert "repeated" in capsys.readouterr().err


def test_a_reader_that_leaves_is_no_traceback() -> None:
    command = "import sys; from isogloss.cli import main; sys.exit(main(sys.argv[1:]))"
    read, write = os.pipe()
    os.close(read)
    result = subprocess.run(
        [sys.executable, "-c", command, "varieties", "list"],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr


# tables -------------------------------------------------------------------------------------------


def test_table_lines_up_wide_characters(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.cells import cell_len

    tables.print_table(["text", "n"], [["佢去咗", 1], ["abc", 20]])
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert [line.split() for line in lines] == [["text", "n"], ["佢去咗", "1"], ["abc", "20"]]
    assert cell_len(lines[1]) == cell_len(lines[2])  # numbers end in one column


def test_table_shows_absent_floats_and_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    tables.print_table(["a", "b"], [[None, 0.126], ["[red]", 3.0]])
    assert [line.split() for line in capsys.readouterr().out.splitlines()[1:]] == [
        ["-", "0.13"],
        ["[red]", "3.00"],
    ]


def test_a_pipe_gets_every_cell_whole(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 500
    tables.print_table(["a", "b"], [[long, long]])
    assert f"{long}  {long}" in capsys.readouterr().out


def test_empty_table_has_its_header(capsys: pytest.CaptureFixture[str]) -> None:
    tables.print_table(["first", "second"], [])
    assert capsys.readouterr().out.split() == ["first", "second"]


def test_json_keeps_characters_and_refuses_nan(capsys: pytest.CaptureFixture[str]) -> None:
    tables.print_json({"variety": "粵語", "value": 0.5})
    text = capsys.readouterr().out
    assert "粵語" in text
    assert json.loads(text) == {"variety": "粵語", "value": 0.5}
    with pytest.raises(ValueError, match="JSON"):
        tables.print_json({"value": float("nan")})


def test_talk_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    tables.talk("said")
    assert capsys.readouterr() == ("", "said\n")


def test_console_script_and_function_agree() -> None:
    script = Path(sys.executable).with_name("isogloss")
    if not script.exists():
        pytest.skip(f"isogloss is not installed beside {sys.executable}")
    result = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert result.stdout == f"isogloss {__version__}\n"


def test_a_warning_for_users_is_one_line(
    noun: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    noun.act = lambda args: 0
    assert main(["try"]) == 0
    told = warnings.formatwarning(UserWarning("2 words"), UserWarning, "table.py", 3)
    assert told == "isogloss: warning: 2 words\n"
    # What programmers are warned of keeps its place.
    assert "table.py:3" in warnings.formatwarning(
        DeprecationWarning("old"), DeprecationWarning, "table.py", 3
    )
