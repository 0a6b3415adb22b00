"""Configuration: frozen dataclasses read from TOML; unknown keys are refused with near matches."""

from __future__ import annotations

import dataclasses
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from isogloss.errors import IsoglossError, UnknownName

__all__ = ["config_from_mapping", "read_config"]

C = TypeVar("C")


def read_config(cls: type[C], path: Path) -> C:
    """A `cls` from the TOML file at `path`.

    Raises:
        IsoglossError: the file is not TOML.
        UnknownName: a key is no field of `cls`.
        ValueError: a value has the wrong type.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise IsoglossError(f"{path}: not TOML: {error}") from error
    return config_from_mapping(cls, values)


def config_from_mapping(cls: type[C], values: Mapping[str, Any]) -> C:
    """A `cls` (a dataclass) from plain values; nested dataclasses take nested mappings."""
    hints = typing.get_type_hints(cls)
    known = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    arguments = {}
    for key, value in values.items():
        if key not in known:
            raise UnknownName(f"key of {cls.__name__}", key, known)
        arguments[key] = _converted(f"{cls.__name__}.{key}", hints[key], value)
    return cls(**arguments)


def _converted(name: str, hint: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return config_from_mapping(typing.cast("type[Any]", hint), value)
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        options = typing.get_args(hint)
        if value is None and type(None) in options:
            return None
        options = tuple(option for option in options if option is not type(None))
        if len(options) == 1:
            return _converted(name, options[0], value)
        for option in options:
            try:
                return _converted(name, option, value)
            except ValueError:
                continue
        raise ValueError(f"{name}: {value!r} is none of {options}")
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"{name}: expected a list, got {value!r}")
        arguments = typing.get_args(hint)
        inner = arguments[0]
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(_converted(name, inner, v) for v in value)
        if len(value) != len(arguments):
            raise ValueError(f"{name}: expected {len(arguments)} values, got {len(value)}: {value}")
        return tuple(_converted(name, h, v) for h, v in zip(arguments, value, strict=True))
    if origin is typing.Literal:
        allowed = typing.get_args(hint)
        if value not in allowed:
            raise ValueError(f"{name}: {value!r} is not one of {', '.join(map(str, allowed))}")
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if isinstance(hint, type) and (
        not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool)
    ):
        raise ValueError(f"{name}: expected {hint.__name__}, got {value!r}")
    return value
