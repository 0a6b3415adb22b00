"""Configuration from TOML: unknown keys and wrong types are refused, near names offered."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from isogloss._config import config_from_mapping, read_config
from isogloss.errors import IsoglossError, UnknownName


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5


@dataclass(frozen=True)
class Config:
    name: str = "a"
    steps: int = 10
    rate: float = 0.1
    quick: bool = False
    mode: Literal["ctc", "cr-ctc"] = "ctc"
    speeds: tuple[float, ...] = (1.0,)
    pair: tuple[int, str] = (1, "x")
    limit: int | None = None
    folder: Path | None = None
    inner: Inner = field(default_factory=Inner)


def test_no_values_are_the_defaults() -> None:
    assert config_from_mapping(Config, {}) == Config()


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("name", "b", "b"),
        ("steps", 3, 3),
        ("rate", 1, 1.0),
        ("quick", True, True),
        ("mode", "cr-ctc", "cr-ctc"),
        ("speeds", [1, 0.9], (1.0, 0.9)),
        ("speeds", [], ()),
        ("pair", [2, "y"], (2, "y")),
        ("limit", 4, 4),
        ("limit", None, None),
        ("folder", "a/b", Path("a/b")),
        ("inner", {"rate": 2}, Inner(2.0)),
    ],
)
def test_a_value_arrives_in_the_field_s_type(key: str, value: object, expected: object) -> None:
    found = getattr(config_from_mapping(Config, {key: value}), key)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", 1),
        ("steps", 1.5),
        ("steps", True),
        ("steps", "3"),
        ("rate", "fast"),
        ("rate", True),
        ("quick", 1),
        ("mode", "rnnt"),
        ("speeds", 1.0),
        ("speeds", ["fast"]),
        ("limit", "none"),
    ],
)
def test_a_wrong_type_is_refused_by_name(key: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"Config.{key}"):
        config_from_mapping(Config, {key: value})


def test_a_wrong_type_inside_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"Inner\.rate"):
        config_from_mapping(Config, {"inner": {"rate": "x"}})


@pytest.mark.parametrize("value", [[1], [1, "x", "y"]])
def test_a_tuple_of_another_length_is_refused(value: list[object]) -> None:
    with pytest.raises(ValueError, match=r"Config\.pair: expected 2 values, got [13]"):
        config_from_mapping(Config, {"pair": value})


def test_an_unknown_key_offers_near_ones() -> None:
    with pytest.raises(UnknownName, match="unknown key of Config 'step'; did you mean steps"):
        config_from_mapping(Config, {"step": 3})
    with pytest.raises(UnknownName, match="key of Inner 'ratte'; did you mean rate"):
        config_from_mapping(Config, {"inner": {"ratte": 3}})


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('name = "粵"\nsteps = 3\nspeeds = [0.9, 1.1]\n[inner]\nrate = 2\n', "utf-8")
    expected = Config(name="粵", steps=3, speeds=(0.9, 1.1), inner=Inner(2.0))
    assert read_config(Config, path) == expected


def test_a_file_that_is_not_toml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("steps: 3\n")
    with pytest.raises(IsoglossError, match=r"config\.toml: not TOML"):
        read_config(Config, path)
