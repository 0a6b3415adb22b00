"""How much of what a corpus holds: hours, items, speakers, meanings per variety and split."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from isogloss.corpora.audio import probe_audio
from isogloss.corpora.progress import with_progress
from isogloss.errors import AudioError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from isogloss.types import Item

__all__ = ["StatsRow", "character_inventory", "corpus_stats", "item_seconds"]


@dataclass(frozen=True, slots=True)
class StatsRow:
    """One variety in one split; `split` is None for items without one.

    `hours` is the sum over items whose length could be told; `unmeasured` counts the others that
    have audio. `characters` counts different characters of the transcripts, spaces left out.
    """

    variety: str
    split: str | None
    items: int
    hours: float
    unmeasured: int
    speakers: int
    sites: int
    meanings: int
    characters: int


@dataclass
class _Tally:
    items: int = 0
    seconds: float = 0.0
    unmeasured: int = 0
    speakers: set[str] = field(default_factory=set)
    sites: set[str] = field(default_factory=set)
    meanings: set[str] = field(default_factory=set)
    characters: set[str] = field(default_factory=set)


def item_seconds(item: Item) -> float | None:
    """Length of an item's sound from its times or the file's header; None without audio.

    Raises:
        AudioError: the file is needed and broken.
    """
    if item.audio is None:
        return None
    if item.end_seconds is not None:
        return item.end_seconds - (item.start_seconds or 0.0)
    return max(0.0, probe_audio(item.audio).duration_seconds - (item.start_seconds or 0.0))


def corpus_stats(
    items: Iterable[Item],
    *,
    durations: Mapping[str, float] | None = None,
    progress: bool = True,
) -> tuple[StatsRow, ...]:
    """One row for each variety and split, sorted; () for no items.

    Args:
        items: any items; a generator is read once and not kept.
        durations: seconds by item id (`CheckReport.durations`); the rest is read from headers.
        progress: a bar on stderr when it takes longer than 2 s.
    """
    known = durations or {}
    tallies: dict[tuple[str, str | None], _Tally] = defaultdict(_Tally)
    for item in with_progress(items, "measuring") if progress else items:
        tally = tallies[item.variety, item.split]
        tally.items += 1
        seconds = known.get(item.id)
        if seconds is None:
            try:
                seconds = item_seconds(item)
            except AudioError:
                tally.unmeasured += 1
        tally.seconds += seconds or 0.0
        for name in ("speaker", "site", "meaning"):
            value = getattr(item, name)
            if value is not None:
                getattr(tally, f"{name}s").add(value)
        tally.characters.update(c for c in item.transcript or item.text or "" if not c.isspace())
    order = {"train": 0, "dev": 1, "test": 2, None: 3}
    return tuple(
        StatsRow(
            variety,
            split,
            tally.items,
            tally.seconds / 3600,
            tally.unmeasured,
            len(tally.speakers),
            len(tally.sites),
            len(tally.meanings),
            len(tally.characters),
        )
        for (variety, split), tally in sorted(
            tallies.items(), key=lambda entry: (entry[0][0], order.get(entry[0][1], 4))
        )
    )


def character_inventory(items: Iterable[Item]) -> dict[str, Counter[str]]:
    """How often each variety writes each character in its transcripts (or text), spaces left out.

    Varieties are sorted; one that writes nothing has an empty counter.
    """
    inventory: dict[str, Counter[str]] = defaultdict(Counter)
    for item in items:
        written = item.transcript or item.text or ""
        inventory[item.variety].update(c for c in written if not c.isspace())
    return dict(sorted(inventory.items()))
