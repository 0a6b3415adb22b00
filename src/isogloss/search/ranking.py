"""What a search answers: `Hits`, with the ties that an order alone would hide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from isogloss.types import Hits

__all__ = ["Ranking"]


@dataclass(frozen=True, slots=True)
class Ranking:
    """Hits of every query, and which of them share their score with a neighbour in the order.

    Equal scores are ordered by id, so that an answer can be repeated; `tied` says where that
    happened.

    Attributes:
        hits: best first.
        tied: for every query, one flag a hit: another item, in the answer or just behind it, has
            the same score.
        exact: the hits are those of exhaustive scoring, not of an index.
        scored: for every query, how many items were scored exactly.
    """

    hits: Hits
    tied: tuple[tuple[bool, ...], ...]
    exact: bool
    scored: tuple[int, ...]
