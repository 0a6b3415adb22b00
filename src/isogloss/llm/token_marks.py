"""Which tokens of a forward pass belong to the prompt; `hf_causal` says it, hooks read it.

A hook sees states alone. Whether a column is a prompt or was generated is known to the loop that
feeds the model, with or without a cache of keys and values.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

__all__ = ["prompt_columns", "prompt_columns_are"]

_COLUMNS: ContextVar[Tensor | None] = ContextVar("prompt_columns", default=None)


def prompt_columns() -> Tensor | None:
    """(N, 1) int64: columns before it are the prompt of each row, padding on the left included.

    None where no loop of ours runs the model; then all is prompt until there is a cache.
    """
    return _COLUMNS.get()


@contextmanager
def prompt_columns_are(columns: Tensor) -> Iterator[None]:
    """Within the block, forward passes are of rows whose prompts end at `columns` (N, 1)."""
    before = _COLUMNS.set(columns)
    try:
        yield
    finally:
        _COLUMNS.reset(before)
