"""Splits by meaning, speaker, site or several of them, in which no value stands in two splits."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isogloss.errors import UnknownName

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from isogloss.types import Item

__all__ = [
    "FRACTIONS",
    "Dropped",
    "Leak",
    "SplitResult",
    "find_leaks",
    "prove_no_leak",
    "split_items",
]

FRACTIONS: Mapping[str, float] = {"train": 0.8, "dev": 0.1, "test": 0.1}
KEYS = ("meaning", "speaker", "site", "variety")


@dataclass(frozen=True, slots=True)
class Dropped:
    """An item that belongs to no split: its values were given to different ones."""

    item: str
    reason: str


@dataclass(frozen=True, slots=True)
class Leak:
    """A value that stands in more than one split."""

    field: str
    value: str
    splits: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SplitResult:
    """Items with their `split` set, in the order given; dropped items; items in each split."""

    items: tuple[Item, ...]
    dropped: tuple[Dropped, ...]
    counts: Mapping[str, int]


def split_items(
    items: Sequence[Item],
    *,
    by: Sequence[str] = ("meaning",),
    fractions: Mapping[str, float] | None = None,
    seed: int = 0,
) -> SplitResult:
    """Items divided so that no value of any field in `by` stands in two splits.

    With one field every item is kept. With several, items tied together by any chain of shared
    values stay together while that leaves enough pieces to fill each split (each speaker belongs
    to one site, say). Where everything is tied to everything (all speakers read all sentences),
    each field is divided on its own, and an item whose values fall into different splits is
    dropped and listed: with two fields at 0.8 / 0.1 / 0.1 about 66 % are kept.

    The division depends on the seed and the values alone, not on the order of items. An item
    without a meaning shares its meaning with no other.

    Args:
        items: any items; a `split` they have is replaced.
        by: of "meaning", "speaker", "site", "variety".
        fractions: share of items (with several tied fields: of the items of each value) for each
            split; they are scaled to a sum of 1. None is 0.8 train, 0.1 dev, 0.1 test.
        seed: another seed gives another division.

    Raises:
        UnknownName: a field that cannot be split by, or a split that does not exist.
        ValueError: no items, a fraction that is not positive, items without a speaker or site when
            splitting by it, or fewer different values than splits.
    """
    shares = _scaled(fractions or FRACTIONS)
    _check_request(items, by, shares)
    tied = _tied_together(items, by)
    if len(by) == 1 or _fill_all(Counter(tied), shares):
        whole = _divide(tied, shares, seed, "+".join(by))
        chosen: list[str | None] = [whole[name] for name in tied]
        reasons = [""] * len(items)
    else:
        chosen, reasons = _divide_each(items, by, shares, seed)
    kept = tuple(
        dataclasses.replace(item, split=split)
        for item, split in zip(items, chosen, strict=True)
        if split is not None
    )
    dropped = tuple(
        Dropped(item.id, reason)
        for item, split, reason in zip(items, chosen, reasons, strict=True)
        if split is None
    )
    counts = Counter(item.split or "" for item in kept)
    prove_no_leak(kept, by=by)
    return SplitResult(kept, dropped, {name: counts[name] for name in shares})


def find_leaks(items: Iterable[Item], *, by: Sequence[str] = ("meaning",)) -> tuple[Leak, ...]:
    """Every value of the fields `by` that stands in more than one split, sorted; () when none.

    Items without a split, or without a value in the field, are in no one's way.
    """
    places: dict[tuple[str, str], set[str]] = defaultdict(set)
    for item in items:
        if item.split is None:
            continue
        for field in by:
            value = getattr(item, field)
            if value is not None:
                places[field, value].add(item.split)
    return tuple(
        Leak(field, value, tuple(sorted(splits)))
        for (field, value), splits in sorted(places.items())
        if len(splits) > 1
    )


def prove_no_leak(items: Iterable[Item], *, by: Sequence[str] = ("meaning",)) -> None:
    """Nothing, when no value of the fields `by` stands in two splits.

    Raises:
        ValueError: some do; the first ones are named.
    """
    leaks = find_leaks(items, by=by)
    if leaks:
        shown = "; ".join(f"{x.field} '{x.value}' in {' and '.join(x.splits)}" for x in leaks[:5])
        raise ValueError(f"{len(leaks)} values stand in two splits: {shown}")


def _scaled(fractions: Mapping[str, float]) -> dict[str, float]:
    for name, value in fractions.items():
        if name not in FRACTIONS:
            raise UnknownName("split", name, FRACTIONS)
        if not 0 < value < float("inf"):
            raise ValueError(f"fraction of '{name}' must be positive, got {value}")
    total = sum(fractions.values())
    # Smallest first, so that rounding is paid by the largest.
    return {k: v / total for k, v in sorted(fractions.items(), key=lambda x: (x[1], x[0]))}


def _check_request(items: Sequence[Item], by: Sequence[str], shares: Mapping[str, float]) -> None:
    if not items:
        raise ValueError("no items to split")
    if not by:
        raise ValueError(f"split by at least one of {', '.join(KEYS)}")
    for field in by:
        if field not in KEYS:
            raise UnknownName("field to split by", field, KEYS)
        values = {_value(item, field) for item in items}
        if len(values) < len(shares):
            raise ValueError(
                f"{len(values)} different values of {field} cannot fill {len(shares)} splits; "
                "ask for fewer splits or split by another field"
            )
        if field == "meaning":
            continue
        without = [item.id for item in items if getattr(item, field) is None]
        if without:
            raise ValueError(
                f"{len(without)} items have no {field} (first: '{without[0]}'), so nobody can say "
                f"that they do not leak; give them one or split by another field"
            )


def _value(item: Item, field: str) -> str:
    value = getattr(item, field)
    # "=" keeps given values apart from ids that stand in for absent ones.
    return f"?{item.id}" if value is None else f"={value}"


def _tied_together(items: Sequence[Item], by: Sequence[str]) -> list[str]:
    """For each item the name of its piece: the smallest value tied to it by shared values."""
    parent: dict[str, str] = {}

    def root(node: str) -> str:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    nodes = [[f"{field}{_value(item, field)}" for field in by] for item in items]
    for names in nodes:
        for name in names:
            parent.setdefault(name, name)
        first = root(names[0])
        for name in names[1:]:
            other = root(name)
            low, high = min(first, other), max(first, other)
            parent[high] = low  # the smaller name wins, whatever the order of items
            first = low
    return [root(names[0]) for names in nodes]


def _fill_all(weights: Mapping[str, int], shares: Mapping[str, float]) -> bool:
    """True when pieces of these weights can fill every split to about its share."""
    if len(weights) < len(shares):
        return False
    return max(weights.values()) <= max(shares.values()) * sum(weights.values())


def _divide(
    names: Sequence[str], shares: Mapping[str, float], seed: int, salt: str
) -> dict[str, str]:
    """A split for every name, near its share by weight; at least one name for each split."""
    weights = Counter(names)

    def order(name: str) -> str:
        return hashlib.sha256(f"{seed}\0{salt}\0{name}".encode()).hexdigest()

    waiting = sorted(weights, key=order)
    chosen: dict[str, str] = {}
    splits = list(shares)
    for place, split in enumerate(splits[:-1]):
        wanted, have = shares[split] * len(names), 0
        later_splits = len(splits) - place - 1
        rest: list[str] = []
        for at, name in enumerate(waiting):
            left_after = len(rest) + len(waiting) - at - 1
            # Take a name when half of it still fits and enough remain for the other splits.
            if have + weights[name] / 2 <= wanted and left_after >= later_splits:
                chosen[name] = split
                have += weights[name]
            else:
                rest.append(name)
        if not have:
            smallest = min(rest, key=lambda name: (weights[name], order(name)))
            chosen[smallest] = split
            rest.remove(smallest)
        waiting = rest
    chosen.update(dict.fromkeys(waiting, splits[-1]))
    return chosen


def _divide_each(
    items: Sequence[Item], by: Sequence[str], shares: Mapping[str, float], seed: int
) -> tuple[list[str | None], list[str]]:
    per_field: list[list[str]] = []
    for field in by:
        names = [_value(item, field) for item in items]
        chosen = _divide(names, shares, seed, field)
        per_field.append([chosen[name] for name in names])
    splits: list[str | None] = []
    reasons: list[str] = []
    for index in range(len(items)):
        placed = [column[index] for column in per_field]
        agreed = len(set(placed)) == 1
        splits.append(placed[0] if agreed else None)
        told = ", ".join(f"{field} in {split}" for field, split in zip(by, placed, strict=True))
        reasons.append("" if agreed else told)
    return splits, reasons
