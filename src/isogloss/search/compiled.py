"""Loops compiled by numba, without the interpreter's lock; the one door to the extra `search`.

Only modules of compiled loops (`*_kernels.py`) import this file, and they are imported when the
first of their loops is wanted, so `import isogloss.search` works without numba.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from isogloss.errors import MissingExtra

try:
    from isogloss.scores.seqsim_preparation import compiled, compiled_with
except ImportError as error:
    raise MissingExtra("search", "numba") from error

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["compiled", "compiled_any_order"]

F = TypeVar("F", bound="Callable[..., Any]")


def compiled_any_order(function: F) -> F:
    """As `compiled`, in wide registers: NaN is taken to be absent, sums are in any order.

    The order is the same for every row of one length, so a row's result depends on nothing else.
    """
    return compiled_with(function, {"nnan", "nsz", "reassoc", "contract"})
