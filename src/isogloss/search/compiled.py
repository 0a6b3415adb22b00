"""Loops compiled by numba, without the interpreter's lock; the one door to the extra `search`.

Only modules of compiled loops (`*_kernels.py`) import this file, and they are imported when the
first of their loops is wanted, so `import isogloss.search` works without numba.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from isogloss.errors import MissingExtra

try:
    import numba
except ImportError as error:
    raise MissingExtra("search", "numba") from error

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["compiled", "compiled_any_order"]

F = TypeVar("F", bound="Callable[..., Any]")


def compiled(function: F) -> F:
    """`function` compiled when first called and kept on disk; sums keep their written order."""
    return cast("F", numba.njit(cache=True, nogil=True)(function))


def compiled_any_order(function: F) -> F:
    """As `compiled`, in wide registers: NaN is taken to be absent, sums are in any order.

    The order is the same for every row of one length, so a row's result depends on nothing else.
    """
    fast = {"nnan", "nsz", "reassoc", "contract"}
    return cast("F", numba.njit(cache=True, nogil=True, fastmath=fast)(function))
