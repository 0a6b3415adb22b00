"""Errors a caller would act on; everything else is a `ValueError` with the value found."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["AudioError", "BadRecord", "IsoglossError", "MissingExtra", "TextError", "UnknownName"]


class IsoglossError(Exception):
    """Base of the errors that the command line prints without a traceback."""


class MissingExtra(IsoglossError, ImportError):
    """An optional dependency is absent; the message is the command that installs it."""

    def __init__(self, extra: str, package: str) -> None:
        super().__init__(f"{package} is not installed; run: pip install 'isogloss[{extra}]'")
        self.extra = extra
        self.package = package


class BadRecord(IsoglossError, ValueError):
    """A line of a file that cannot be read: where, which field, what to do."""

    def __init__(self, path: str | Path, line: int, field: str, problem: str) -> None:
        super().__init__(f"{path}:{line}:{field}: {problem}")
        self.path = str(path)
        self.line = line
        self.field = field
        self.problem = problem


class AudioError(IsoglossError, ValueError):
    """An audio file that cannot be used."""

    def __init__(self, path: str | Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = str(path)
        self.problem = problem


class TextError(IsoglossError, ValueError):
    """An item whose text cannot be used."""

    def __init__(self, item_id: str, problem: str) -> None:
        super().__init__(f"item '{item_id}': {problem}")
        self.item_id = item_id
        self.problem = problem


class UnknownName(IsoglossError, ValueError):
    """A name that is not in a table or registry; the message offers near matches."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        listed = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
        # Nothing to choose from is said as such: "known:" with nothing behind it reads like a bug.
        said = f"known: {listed}" if names else "there are none to choose from"
        super().__init__(f"unknown {kind} '{name}'{hint or f'; {said}'}")
        self.kind = kind
        self.name = name
        self.near = tuple(near)
