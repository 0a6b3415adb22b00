"""A corpus in, a table of varieties by meanings out, with what was left out and why.

For text and for speech: which one decides the encoder. Called by `alignment`.
"""

from __future__ import annotations

import zlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from isogloss.encoders.item_text import has_text
from isogloss.tasks.parallel import group_namer, splits_there

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from isogloss.types import Corpus, Item

__all__ = ["SETS_BY", "AlignedSets", "SetsBy", "aligned_sets"]

SetsBy = Literal["variety", "site", "speaker"]
SETS_BY: tuple[SetsBy, ...] = ("variety", "site", "speaker")

# With one item nothing in a set varies; with one meaning a search cannot fail.
_LEAST_ITEMS = 2


@dataclass(frozen=True, slots=True, eq=False)
class AlignedSets:
    """Parallel items of a corpus.

    `items[table[v, m]]` says meaning `meanings[m]` in variety `varieties[v]`; -1 where there is
    none. `groups[v]` is the family of variety v. `left_out` counts what was passed over, by
    reason.
    """

    varieties: tuple[str, ...]
    meanings: tuple[str, ...]
    items: tuple[Item, ...]
    table: npt.NDArray[np.int64]
    groups: tuple[str, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)

    def shared(self, a: int, b: int) -> npt.NDArray[np.int64]:
        """Meanings that varieties number `a` and `b` both have, (n,)."""
        return np.flatnonzero((self.table[a] >= 0) & (self.table[b] >= 0))

    def without(self, broken: Mapping[int, str]) -> AlignedSets:
        """The same less the items at these places, which could not be encoded (place to reason).

        Items keep their places; varieties with fewer than two items left fall out.
        """
        if not broken:
            return self
        table = self.table.copy()
        table[np.isin(table, list(broken))] = -1
        left_out = Counter(self.left_out)
        left_out.update(broken.values())
        keep = [v for v in range(len(table)) if (table[v] >= 0).sum() >= _LEAST_ITEMS]
        for v in set(range(len(table))) - set(keep):
            left_out["variety with one item"] += int((table[v] >= 0).sum())
        return AlignedSets(
            tuple(self.varieties[v] for v in keep),
            self.meanings,
            self.items,
            table[keep],
            tuple(self.groups[v] for v in keep),
            dict(left_out),
        )


def aligned_sets(
    corpus: Corpus,
    *,
    takes_text: bool,
    by: SetsBy = "variety",
    split: str | None = None,
    varieties: Sequence[str] = (),
    most: int | None = None,
    seed: int = 0,
) -> AlignedSets:
    """The items of `corpus` that have a translation in another variety, one for each meaning.

    Left out and counted: items without what the encoder takes (text or transcript; audio),
    without a meaning, further items of a meaning in one variety (the first by id is kept), items
    whose meaning nobody else has, and varieties of which a single item is left.

    Args:
        corpus: any corpus with meanings.
        takes_text: whether the encoder reads texts; else it hears recordings.
        by: what makes a set.
        split: only items of this split; None takes all.
        varieties: only these sets; none takes all.
        most: how many meanings; those that most varieties have come first, the rest in an order
            fixed by `seed`.
        seed: of that order.

    Raises:
        ValueError: fewer than two sets share two meanings (what was found is told), a set asked
            for is not there, or `most` is below 2.
    """
    if by not in SETS_BY:
        raise ValueError(f"by must be one of {', '.join(SETS_BY)}, got '{by}'")
    if most is not None and most < _LEAST_ITEMS:
        raise ValueError(f"at least {_LEAST_ITEMS} meanings are needed, got {most}")
    left_out: Counter[str] = Counter()
    chosen: dict[str, dict[str, Item]] = {}
    groups: dict[str, str] = {}
    group_of = group_namer(corpus.items)
    wanted = dict.fromkeys(varieties)
    for item in sorted(corpus.items, key=lambda item: item.id):
        if split is not None and item.split != split:
            continue
        name = _name(item, by)
        if name is None:
            left_out[f"no {by}"] += 1
        elif wanted and name not in wanted:
            continue
        elif item.meaning is None:
            left_out["no meaning"] += 1
        elif takes_text and not has_text(item):
            left_out["no text" if item.text is None else "empty text"] += 1
        elif not takes_text and item.audio is None:
            left_out["no audio"] += 1
        elif item.meaning in chosen.setdefault(name, {}):
            left_out["another item of its meaning comes first"] += 1
        else:
            chosen[name][item.meaning] = item
            groups.setdefault(name, group_of(item))
    place = {item.id: i for i, item in enumerate(corpus.items)}
    # As the corpus brings them.
    first = {name: min(place[i.id] for i in found.values()) for name, found in chosen.items()}
    chosen = {name: chosen[name] for name in sorted(chosen, key=first.__getitem__)}
    missing = [name for name in wanted if name not in chosen]
    if missing:
        raise ValueError(
            f"corpus '{corpus.name}' has no items of {', '.join(missing)} that can be measured; "
            f"it has {', '.join(chosen) or 'none'}{_told(left_out)}"
        )
    names = _with_company(chosen, left_out)
    if len(names) < _LEAST_ITEMS:
        found = ", ".join(f"{name} ({len(items)})" for name, items in list(chosen.items())[:8])
        raise ValueError(
            f"corpus '{corpus.name}' has no two sets by {by} that share {_LEAST_ITEMS} meanings; "
            f"sets found: {found or 'none'}{_told(left_out)}{splits_there(corpus.items, split)}"
        )
    return _table(names, chosen, groups, most, seed, left_out)


def _with_company(chosen: dict[str, dict[str, Item]], left_out: Counter[str]) -> list[str]:
    """Names of sets with two meanings that others have; lonely meanings are dropped from them."""
    names = list(chosen)
    while True:
        count = Counter(meaning for name in names for meaning in chosen[name])
        for name in names:
            lonely = [m for m in chosen[name] if count[m] < _LEAST_ITEMS]
            left_out["no other variety has its meaning"] += len(lonely)
            for meaning in lonely:
                del chosen[name][meaning]
        small = [name for name in names if len(chosen[name]) < _LEAST_ITEMS]
        if not small:
            return names
        for name in small:
            left_out["variety with one item"] += len(chosen[name])
            names.remove(name)


def _table(
    names: list[str],
    chosen: dict[str, dict[str, Item]],
    groups: dict[str, str],
    most: int | None,
    seed: int,
    left_out: Counter[str],
) -> AlignedSets:
    count = Counter(meaning for name in names for meaning in chosen[name])
    order = sorted(
        count, key=lambda m: (-count[m], zlib.crc32(f"{seed}:{m}".encode(errors="replace")), m)
    )
    if most is not None and len(order) > most:
        left_out[f"beyond the {most} meanings that are measured"] += sum(
            count[m] for m in order[most:]
        )
        order = order[:most]
    column = {meaning: i for i, meaning in enumerate(order)}
    table = np.full((len(names), len(order)), -1, dtype=np.int64)
    items: list[Item] = []
    for row, name in enumerate(names):
        for meaning, item in chosen[name].items():
            if meaning in column:
                table[row, column[meaning]] = len(items)
                items.append(item)
    kept = [row for row in range(len(names)) if (table[row] >= 0).sum() >= _LEAST_ITEMS]
    for row in set(range(len(names))) - set(kept):
        left_out["variety with one item"] += int((table[row] >= 0).sum())
    if len(kept) < _LEAST_ITEMS:
        raise ValueError(f"fewer than two varieties are left{_told(left_out)}; allow more meanings")
    return AlignedSets(
        tuple(names[row] for row in kept),
        tuple(order),
        tuple(items),
        table[kept],
        tuple(groups[names[row]] for row in kept),
        {reason: n for reason, n in left_out.items() if n},
    )


def _name(item: Item, by: SetsBy) -> str | None:
    if by == "speaker":
        return None if item.speaker is None else f"{item.variety}/{item.speaker}"
    return item.site if by == "site" else item.variety


def _told(left_out: Mapping[str, int]) -> str:
    reasons = ", ".join(f"{count} x {reason}" for reason, count in left_out.items() if count)
    return f"; left out: {reasons}" if reasons else ""
