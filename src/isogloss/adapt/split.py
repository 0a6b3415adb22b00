"""Items divided by meaning into those to fit on and those to judge on."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.types import Item

__all__ = ["divide_by_meaning", "draw_meanings", "everywhere"]


def divide_by_meaning(
    meanings: Sequence[str | None], *, share: float = 0.5, seed: int = 0
) -> tuple[list[int], list[int]]:
    """Places of the items to fit on and of those to judge on; no meaning is on both sides.

    The side of a meaning hangs on the seed and the other meanings, not on the order of items. Items
    without a meaning are on neither side.

    Args:
        meanings: one an item.
        share: of the meanings to fit on; at least one is on each side.
        seed: another seed gives another division.

    Raises:
        ValueError: `share` is not between 0 and 1, or fewer than two meanings.
    """
    if not 0 < share < 1:
        raise ValueError(f"share must lie between 0 and 1, got {share}")
    known = {meaning for meaning in meanings if meaning is not None}
    if len(known) < 2:
        raise ValueError(
            f"{len(known)} meanings cannot be divided; items that share a meaning are translations"
        )
    count = min(max(round(share * len(known)), 1), len(known) - 1)
    first = set(_drawn(known, count, seed))
    fit = [i for i, meaning in enumerate(meanings) if meaning in first]
    judge = [
        i for i, meaning in enumerate(meanings) if meaning is not None and meaning not in first
    ]
    return fit, judge


def draw_meanings(items: Sequence[Item], most: int, *, seed: int = 0) -> list[Item]:
    """The items of at most `most` meanings that two varieties have, in their order.

    Raises:
        ValueError: `most` is below 2.
    """
    if most < 2:
        raise ValueError(f"at least 2 meanings are needed, got {most}")
    found: dict[str, set[str]] = {}
    for item in items:
        if item.meaning is not None:
            found.setdefault(item.meaning, set()).add(item.variety)
    shared = {meaning for meaning, varieties in found.items() if len(varieties) > 1}
    chosen = set(_drawn(shared, most, seed))
    return [item for item in items if item.meaning in chosen]


def everywhere(items: Sequence[Item]) -> list[Item]:
    """The items of the meanings that every variety among them has, in their order.

    Raises:
        ValueError: there is no such meaning.
    """
    found: dict[str, set[str]] = {}
    for item in items:
        if item.meaning is not None:
            found.setdefault(item.meaning, set()).add(item.variety)
    varieties = {item.variety for item in items}
    kept = [item for item in items if item.meaning and found[item.meaning] == varieties]
    if not kept:
        raise ValueError(
            f"no meaning is there in all {len(varieties)} varieties; name fewer of them"
        )
    return kept


def _drawn(meanings: set[str], count: int, seed: int) -> list[str]:
    def order(meaning: str) -> str:
        return hashlib.sha256(f"{seed}\0{meaning}".encode()).hexdigest()

    return sorted(meanings, key=order)[:count]
