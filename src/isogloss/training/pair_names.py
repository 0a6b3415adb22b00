"""Names of the rows of a batch as `info_nce` takes them; for `hash`, `laser` and `pixel`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["pair_names"]


def pair_names(names: Sequence[str | None]) -> list[object]:
    """Each row's meaning; a row without one is like no other, and gets its number."""
    return [number if name is None else name for number, name in enumerate(names)]
