"""Options in the name of an encoder, which are strings, in; numbers and choices out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isogloss.errors import UnknownName

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["choice", "whole_number"]


def whole_number(option: str, value: str, *, least: int = 0) -> int:
    """`value` as an int.

    Raises:
        ValueError: it is none, or less than `least` (the option is named).
    """
    # int() would also take '1_000' and digits of other scripts.
    if not (value.isascii() and value.isdigit()) or int(value) < least:
        raise ValueError(f"option '{option}' must be a whole number from {least}, got '{value}'")
    return int(value)


def choice(option: str, value: str, known: Sequence[str]) -> str:
    """`value` itself when it is one of `known`.

    Raises:
        UnknownName: it is not (near matches are offered).
    """
    if value not in known:
        raise UnknownName(f"value of option '{option}'", value, known)
    return value
