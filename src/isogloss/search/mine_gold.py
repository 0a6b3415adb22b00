"""Known pairs in: which mined pairs are right, and a threshold with an honest figure for it out."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from isogloss.errors import BadRecord, IsoglossError
from isogloss.measures.bootstrap import bootstrap_ratio_interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from isogloss.search.mine_pairs import PairTable
    from isogloss.types import Item

__all__ = [
    "Gold",
    "Judged",
    "Truth",
    "best_threshold",
    "cross_fitted",
    "gold_from_items",
    "gold_from_tsv",
    "judged",
    "truth_of",
]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_FOLDS = 5


@dataclass(frozen=True, slots=True)
class Gold:
    """Known right pairs between two sides.

    Attributes:
        key_a: id of an item of the first side to what it means; items that are not there are
            unknown.
        key_b: likewise of the second side. A pair is right when both keys are equal.
        complete: an item without a key has no partner. Otherwise nothing is known of it, and pairs
            of two unknown items are not judged.
    """

    key_a: dict[str, str]
    key_b: dict[str, str]
    complete: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Pairs that gold has something to say about, best margin first, and what there was to find.

    Attributes:
        margin: (P,) descending.
        right: (P,) whether both items mean the same.
        found: (P,) right, and the first such pair of its first item.
        fold: (P,) part of the cross-fit, by meaning.
        findable: (folds,) items of the first side whose partner is on the second side.
    """

    margin: Floats
    right: Flags
    found: Flags
    fold: npt.NDArray[np.int64]
    findable: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Truth:
    """Precision, recall and F1 of judged pairs, with 95 % bootstrap intervals over pairs.

    Attributes:
        judged: pairs that were judged.
        findable: items of the first side that have a partner.
        precision: share of right pairs; None when no pair was judged.
        precision_interval: of it; None where nothing can be resampled.
        recall: share of `findable` that are in a right pair; None when there is none.
        f1: harmonic mean; None when one of the two is.
    """

    judged: int
    findable: int
    precision: float | None
    precision_interval: tuple[float, float] | None
    recall: float | None
    f1: float | None


def gold_from_items(a: Iterable[Item], b: Iterable[Item], *, complete: bool = False) -> Gold:
    """Items that share a `meaning` are right pairs.

    Args:
        a: items of the first side.
        b: of the second.
        complete: an item without a meaning has no partner; otherwise nothing is known of it.

    Raises:
        IsoglossError: no meaning is on both sides.
    """
    keys = [{i.id: i.meaning for i in side if i.meaning is not None} for side in (a, b)]
    if not set(keys[0].values()) & set(keys[1].values()):
        raise IsoglossError(
            "no meaning is on both sides, so there is no known pair; give them as a file of two "
            "columns, or mine without gold"
        )
    return Gold(keys[0], keys[1], complete)


def gold_from_tsv(
    path: Path, ids_a: Sequence[str], ids_b: Sequence[str], *, complete: bool = False
) -> Gold:
    """Right pairs from the first two columns of a TSV file: id of the first side, id of the second.

    Items that are linked, directly or by way of others, mean the same. Lines with ids that are on
    neither side are left out (a list may be longer than the corpora); empty lines and lines that
    begin with '#' too, and a first line of which no side knows an id.

    Args:
        path: UTF-8.
        ids_a: of the first side.
        ids_b: of the second.
        complete: all right pairs are listed, so an item that is not listed has no partner.

    Raises:
        BadRecord: a line has fewer than two columns.
        IsoglossError: no line names an item of each side.
    """
    known_a, known_b = set(ids_a), set(ids_b)
    parent: dict[tuple[str, str], tuple[str, str]] = {}

    def root(node: tuple[str, str]) -> tuple[str, str]:
        parent.setdefault(node, node)
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    with path.open(encoding="utf-8", newline="") as handle:
        for number, row in enumerate(csv.reader(handle, "excel-tab", quoting=csv.QUOTE_NONE), 1):
            if not row or row[0].startswith("#"):
                continue
            if len(row) < 2:
                raise BadRecord(path, number, "pair", "needs two ids, separated by a tab")
            if row[0] in known_a and row[1] in known_b:
                parent[root(("a", row[0]))] = root(("b", row[1]))
    if not parent:
        raise IsoglossError(
            f"{path}: no line names an item of the first side and one of the second; the first "
            f"side has ids such as '{ids_a[0]}', the second '{ids_b[0]}'"
        )
    keys = [
        {id: "\t".join(root((side, id))) for at, id in tuple(parent) if at == side}
        for side in ("a", "b")
    ]
    return Gold(keys[0], keys[1], complete)


def judged(pairs: PairTable, ids_a: Sequence[str], ids_b: Sequence[str], gold: Gold) -> Judged:
    """Which of `pairs` are right, as far as is known, in folds that keep a meaning together.

    A pair with one known item is judged: its other item cannot be the partner unless it has the
    same key. That counts an unknown item of equal meaning as wrong, so give all keys you have.
    """
    kept, right, fold = [], [], []
    for place, (a, b) in enumerate(zip(pairs.a.tolist(), pairs.b.tolist(), strict=True)):
        key_a, key_b = gold.key_a.get(ids_a[a]), gold.key_b.get(ids_b[b])
        known = key_a if key_a is not None else key_b
        if known is None and not gold.complete:
            continue
        kept.append(place)
        right.append(key_a is not None and key_a == key_b)
        fold.append(_fold(known if known is not None else ids_a[a]))
    places = np.array(kept, np.int64)
    flags = np.array(right, np.bool_)
    seen: set[int] = set()
    found = np.zeros(len(places), np.bool_)
    for place, a in enumerate(pairs.a[places].tolist()):
        found[place] = bool(flags[place]) and a not in seen
        if found[place]:
            seen.add(a)
    there = set(gold.key_b.values())
    findable = [_fold(key) for key in gold.key_a.values() if key in there]
    return Judged(
        pairs.margin[places],
        flags,
        found,
        np.array(fold, np.int64),
        np.bincount(np.array(findable, np.int64), minlength=_FOLDS),
    )


def best_threshold(
    margin: Floats, right: Flags, found: Flags, findable: int, precision: float | None = None
) -> float | None:
    """The margin at which F1 is largest, or the lowest at which precision is at least as wanted.

    Args:
        margin: (P,) descending.
        right: (P,).
        found: (P,).
        findable: what recall is a share of.
        precision: wanted; None for F1.

    Returns:
        One of the margins; None when there is no pair, no pair is right, or none reaches the
        precision.
    """
    last = np.flatnonzero(np.diff(margin, append=-np.inf) < 0)
    if not len(last) or not right.any():
        return None
    shares = np.cumsum(right)[last] / (last + 1)
    if precision is not None:
        enough = np.flatnonzero(shares >= precision)
        return float(margin[last[enough[-1]]]) if len(enough) else None
    recalls = np.cumsum(found)[last] / max(findable, 1)
    both = shares + recalls
    f1 = np.divide(2 * shares * recalls, both, out=np.zeros(len(last)), where=both > 0)
    # Of equal F1 the stricter threshold.
    return float(margin[last[int(np.argmax(f1))]])


def cross_fitted(pairs: Judged, precision: float | None = None) -> Truth:
    """What a threshold fitted as `best_threshold` does to pairs that it was not fitted on.

    Each fold of meanings is cut at the threshold of the other four; the counts are added. Where
    the others reach no threshold, the fold keeps no pair.
    """
    kept = np.zeros(len(pairs.margin), np.bool_)
    for fold in range(_FOLDS):
        others, own = pairs.fold != fold, pairs.fold == fold
        threshold = best_threshold(
            pairs.margin[others],
            pairs.right[others],
            pairs.found[others],
            int(pairs.findable.sum() - pairs.findable[fold]),
            precision,
        )
        if threshold is not None:
            kept |= own & (pairs.margin >= threshold)
    return truth_of(pairs, kept)


def truth_of(pairs: Judged, kept: Flags) -> Truth:
    """Precision and recall of the pairs where `kept`, by what gold says."""
    count, findable = int(kept.sum()), int(pairs.findable.sum())
    precision = float(pairs.right[kept].mean()) if count else None
    recall = float((pairs.found & kept).sum() / findable) if findable else None
    f1 = None
    if precision is not None and recall is not None:
        f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    ones = np.ones(count)
    interval = bootstrap_ratio_interval(pairs.right[kept].astype(np.float64), ones)
    return Truth(count, findable, precision, interval, recall, f1)


def _fold(key: str) -> int:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[0] % _FOLDS
