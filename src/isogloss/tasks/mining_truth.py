"""Mined pairs and what is known to be right in; what a threshold keeps, finds and misses out.

Called by `text_mining`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from isogloss.encoders.item_text import text_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from isogloss.search.mine_pairs import PairTable
    from isogloss.types import Item

__all__ = ["Judged", "best_threshold", "curve_of", "judge", "keys_of"]

Floats = npt.NDArray[np.float64]
_CURVE_POINTS = 40


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Pairs of one way of mining, best margin first, and the sentences of the first side.

    Attributes:
        margin: (P,) descending.
        found: (P,) right, and the first such pair of its sentence of the first side.
        counted: (P,) all but further right pairs of a sentence that is found already; these are
            neither right nor wrong.
        asker: (P,) the sentence of the first side.
        units: (N,) the meaning (or id) of each sentence of the first side.
        gold: (N,) whether it has a partner.
    """

    margin: Floats
    found: npt.NDArray[np.bool_]
    counted: npt.NDArray[np.bool_]
    asker: npt.NDArray[np.int64]
    units: tuple[str, ...]
    gold: npt.NDArray[np.bool_]

    def rate(self, threshold: float | None, measure: str) -> tuple[Floats, Floats]:
        """What a rate is made of, (N,) each, at a threshold; None keeps no pair.

        'f1' is 2 found / (kept + to be found), 'precision' found / kept, 'recall' found / to be
        found.
        """
        above = np.zeros(len(self.margin), bool) if threshold is None else self.margin >= threshold
        size = len(self.units)
        found = np.bincount(self.asker[above & self.found], minlength=size).astype(np.float64)
        kept = np.bincount(self.asker[above & self.counted], minlength=size).astype(np.float64)
        gold = self.gold.astype(np.float64)
        if measure == "precision":
            return found, kept
        if measure == "recall":
            return found, gold
        return 2 * found, kept + gold


def keys_of(a: Sequence[Item], b: Sequence[Item]) -> tuple[list[str], list[str]]:
    """What each sentence of both sides means; sentences of one side with one text mean the same.

    A sentence without a meaning gets one of its own.
    """
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        parent.setdefault(key, key)
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    keys: tuple[list[str], list[str]] = ([], [])
    for side, own in zip((a, b), keys, strict=True):
        of_text: dict[str, str] = {}
        for item in side:
            key = f"id {item.id}" if item.meaning is None else f"meaning {item.meaning}"
            own.append(key)
            text = " ".join(text_of(item).split())
            parent[root(of_text.setdefault(text, key))] = root(key)
    return [root(key) for key in keys[0]], [root(key) for key in keys[1]]


def judge(pairs: PairTable, keys_a: Sequence[str], keys_b: Sequence[str]) -> Judged:
    """Which of `pairs` are right; every right pair between the sides is known.

    Args:
        pairs: rows of both sides, best margin first.
        keys_a: (N,) meanings of the first side.
        keys_b: (M,) of the second.
    """
    there = set(keys_b)
    seen: set[int] = set()
    found = np.zeros(len(pairs), np.bool_)
    counted = np.ones(len(pairs), np.bool_)
    for place, (a, b) in enumerate(zip(pairs.a.tolist(), pairs.b.tolist(), strict=True)):
        if keys_a[a] != keys_b[b]:
            continue
        if a in seen:
            counted[place] = False
        else:
            found[place] = True
            seen.add(a)
    gold = np.array([key in there for key in keys_a])
    return Judged(pairs.margin, found, counted, pairs.a, tuple(keys_a), gold)


def best_threshold(judged: Judged) -> float | None:
    """The threshold of the largest F1, of equal ones the strictest; None when no pair is right.

    It lies half-way between the last margin that is kept and the next, as in LASER's scoring of
    BUCC: the last margin itself would cut off what is a little lower elsewhere.
    """
    last = np.flatnonzero(np.diff(judged.margin, append=-np.inf) < 0)
    if not judged.found.any():
        return None
    found, kept = np.cumsum(judged.found)[last], np.cumsum(judged.counted)[last]
    f1 = 2 * found / (kept + int(judged.gold.sum()))
    best = int(np.argmax(f1))
    following = judged.margin[last[min(best + 1, len(last) - 1)]]
    return float((judged.margin[last[best]] + following) / 2)


def curve_of(tests: Mapping[tuple[str, str], Judged]) -> list[list[float]]:
    """[threshold, precision, recall] over the pairs of all varieties together, strictest first."""
    margin = np.concatenate([test.margin for test in tests.values()])
    order = np.argsort(-margin, kind="stable")
    found = np.concatenate([test.found for test in tests.values()])[order]
    counted = np.concatenate([test.counted for test in tests.values()])[order]
    wanted = sum(int(test.gold.sum()) for test in tests.values())
    last = np.flatnonzero(np.diff(margin[order], append=-np.inf) < 0)
    if len(last) > _CURVE_POINTS:
        last = last[np.linspace(0, len(last) - 1, _CURVE_POINTS).round().astype(np.int64)]
    hits, kept = np.cumsum(found)[last], np.cumsum(counted)[last]
    points: list[list[Any]] = [
        [float(margin[order[place]]), float(hit / max(count, 1)), float(hit / max(wanted, 1))]
        for place, hit, count in zip(last, hits, kept, strict=True)
    ]
    return points
