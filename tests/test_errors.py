"""Errors carry what was found and what to do."""

from __future__ import annotations

import pytest

from isogloss.errors import AudioError, BadRecord, IsoglossError, MissingExtra, UnknownName


def test_missing_extra_is_the_command_that_installs_it() -> None:
    error = MissingExtra("speech", "lhotse")
    assert str(error) == "lhotse is not installed; run: pip install 'isogloss[speech]'"
    assert (error.extra, error.package) == ("speech", "lhotse")
    assert isinstance(error, ImportError)


def test_bad_record_says_where() -> None:
    error = BadRecord("m.jsonl", 7, "split", "no such split")
    assert str(error) == "m.jsonl:7:split: no such split"
    assert (error.path, error.line, error.field) == ("m.jsonl", 7, "split")


def test_audio_error_names_the_file() -> None:
    error = AudioError("a.wav", "is empty")
    assert str(error) == "a.wav: is empty"
    assert error.problem == "is empty"


def test_unknown_name_offers_near_ones() -> None:
    error = UnknownName("reader", "flurs", ["fleurs", "mdcc", "aishell"])
    assert str(error) == "unknown reader 'flurs'; did you mean fleurs?"
    assert error.near == ("fleurs",)


def test_unknown_name_without_a_near_one_lists_what_there_is() -> None:
    error = UnknownName("reader", "zzz", ["mdcc", "aishell"])
    assert str(error) == "unknown reader 'zzz'; known: aishell, mdcc"
    assert error.near == ()


def test_unknown_name_where_there_is_no_name_at_all() -> None:
    error = UnknownName("site", "here", [])
    assert str(error) == "unknown site 'here'; there are none to choose from"


def test_a_long_list_is_cut() -> None:
    error = UnknownName("code", "999", [f"x{i:02d}" for i in range(30)])
    assert str(error).endswith("x11, ...")


@pytest.mark.parametrize("kind", [BadRecord, AudioError, UnknownName])
def test_bad_values_are_value_errors_that_the_command_line_shows(kind: type[Exception]) -> None:
    assert issubclass(kind, ValueError)
    assert issubclass(kind, IsoglossError)
