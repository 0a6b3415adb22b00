"""Options of an encoder's name, which are strings, in; checked values out."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from isogloss.errors import UnknownName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["refuse_unknown", "truth"]

# What every loader takes; whatever else it takes by name alone is an option of its kind.
_SETTINGS = ("layer", "device")


def refuse_unknown(kind: str, given: Iterable[str], loader: Callable[..., Any]) -> None:
    """Return when every option in `given` is a keyword-only argument of `loader`.

    A loader that takes any keyword (`**options`) checks for itself.

    Raises:
        UnknownName: it is none (near matches are offered).
    """
    parameters = inspect.signature(loader).parameters.values()
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        return
    known = [
        one.name for one in parameters if one.kind is one.KEYWORD_ONLY and one.name not in _SETTINGS
    ]
    for key in given:
        if key not in known:
            raise UnknownName(f"option of '{kind}:'", key, known)


def truth(key: str, value: str) -> bool:
    """True or False.

    Raises:
        ValueError: `value` is neither 'true' nor 'false'.
    """
    if value not in ("true", "false"):
        raise ValueError(f"option {key} must be true or false, got '{value}'")
    return value == "true"
