"""A corpus in, its parallel sets out, one recording or sentence for each meaning in each.

Sets are varieties, sites, groups, speakers, or two takes of one variety by different speakers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from isogloss.encoders.item_text import has_text
from isogloss.varieties import builtin_table, yubao_sites

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from isogloss.types import Corpus, Item

__all__ = [
    "BYS",
    "By",
    "Medium",
    "Parallel",
    "ParallelSet",
    "group_namer",
    "parallel_sets",
    "splits_there",
]

Medium = Literal["audio", "text", "either"]
"""What an item needs to take part; 'either' takes its recording where it has one."""

By = Literal["variety", "site", "group", "speaker", "take"]

BYS: tuple[By, ...] = ("variety", "site", "group", "speaker", "take")
"""What can make a set."""

_TAKES = 2


@dataclass(frozen=True, slots=True)
class ParallelSet:
    """What one variety, site, group or voice says: `items` by meaning. `group` is its table row."""

    name: str
    group: str
    items: Mapping[str, Item]


@dataclass(frozen=True, slots=True)
class Parallel:
    """The sets in corpus order, sets of one group together, and items left out, by reason."""

    sets: tuple[ParallelSet, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def items(self) -> tuple[Item, ...]:
        """Every item of every set; an item is in one set."""
        return tuple(item for s in self.sets for item in s.items.values())


def parallel_sets(
    corpus: Corpus,
    *,
    by: By = "variety",
    split: str | None = "test",
    medium: Medium = "audio",
) -> Parallel:
    """The items of `corpus` that can be compared across varieties, sites or groups.

    An item takes part when it has audio (or text, as `medium` says) and a meaning, is of `split`,
    and another set has its meaning too. Where a set holds several items of one meaning, the first
    by id is taken, so that each set has one right answer for each meaning; the others are counted
    under left out.

    The group of an item is `extra['group']` when it has one; else, when every site of the corpus
    is one of the YuBao benchmark, the benchmark's group of its site; else that of its variety in
    the built-in table, or its variety itself when the table does not know it.

    Args:
        corpus: any corpus with meanings.
        by: what makes a set: 'variety' its code, 'site' the recording place, 'group' the group,
            'speaker' one speaker's recordings in one variety (named 'yue/anna'), 'take' the first
            and the second recording of each meaning in one variety, by different speakers where
            speakers are known (named 'yue/1' and 'yue/2'), which serves corpora in which every
            sentence has other speakers.
        split: only items of this split; where no item of the corpus has a split, all are taken.
            None takes all items whatever their split.
        medium: 'audio' takes items with a recording, 'text' those with a text or transcript,
            'either' both: what is heard is then a set of its own ('yue/speech') beside what is
            read ('yue').

    Raises:
        ValueError: `by` is unknown, or fewer than two sets share a meaning (what was found is
            named).
    """
    if by not in BYS:
        raise ValueError(f"by must be one of {', '.join(BYS)}, got '{by}'")
    left_out: dict[str, int] = {}

    def leave_out(reason: str) -> None:
        left_out[reason] = left_out.get(reason, 0) + 1

    with_splits = any(item.split is not None for item in corpus.items)
    chosen: dict[str, dict[str, Item]] = {}
    groups: dict[str, str] = {}
    group_of = group_namer(corpus.items)
    for item in sorted(corpus.items, key=lambda item: item.id):
        if split is not None and with_splits and item.split != split:
            continue
        lacking = _lacking(item, medium)
        if lacking is not None or item.meaning is None:
            leave_out(lacking or "no meaning")
            continue
        group = group_of(item)
        name = _take(item, chosen) if by == "take" else _set_name(item, by, group)
        if name is not None and medium == "either" and item.audio is not None:
            name = f"{name}/speech"
        if name is None:
            leave_out(f"no {by}" if by != "take" else "another recording by the same speaker")
        elif item.meaning in chosen.setdefault(name, {}):
            what = "sentence" if medium == "text" else "recording"
            leave_out(f"another {what} of its meaning comes first")
        else:
            chosen[name][item.meaning] = item
            groups.setdefault(name, group)
    shared = _shared_meanings(chosen)
    if not shared:
        found = ", ".join(f"{name} ({len(items)})" for name, items in list(chosen.items())[:8])
        reasons = ", ".join(f"{count} x {reason}" for reason, count in left_out.items())
        raise ValueError(
            f"corpus '{corpus.name}' has no two sets by {by} that share a meaning"
            + (f" in split '{split}'" if split is not None and with_splits else "")
            + f"; sets found: {found or 'none'}; left out: {reasons or 'nothing'}"
            + splits_there(corpus.items, split)
        )
    sets = []
    for name in _in_corpus_order(corpus.items, chosen, groups):
        items = {m: item for m, item in chosen[name].items() if m in shared}
        for _ in range(len(chosen[name]) - len(items)):
            leave_out("no other set has its meaning")
        if items:
            sets.append(ParallelSet(name, groups[name], items))
    return Parallel(tuple(sets), left_out)


def _lacking(item: Item, medium: Medium) -> str | None:
    """What `item` lacks to take part; None where it lacks nothing."""
    if item.audio is not None and medium != "text":
        return None
    if medium == "audio":
        return "no audio"
    if has_text(item):
        return None
    return "no text" if item.text is None and item.transcript is None else "empty text"


def group_namer(items: Sequence[Item]) -> Callable[[Item], str]:
    """What names the group of an item of a corpus; see `parallel_sets`."""
    benchmark = _yubao_groups(items)
    return lambda item: _group_of(item, benchmark)


def _set_name(item: Item, by: By, group: str) -> str | None:
    if by == "speaker":
        return None if item.speaker is None else f"{item.variety}/{item.speaker}"
    return {"variety": item.variety, "site": item.site, "group": group}[by]


def _take(item: Item, chosen: Mapping[str, Mapping[str, Item]]) -> str | None:
    """The first take of the item's variety that lacks its meaning; None for a speaker again."""
    meaning = str(item.meaning)
    names = [f"{item.variety}/{number}" for number in range(1, _TAKES + 1)]
    for name in names:
        other = chosen.get(name, {}).get(meaning)
        if other is None:
            return name
        if item.speaker is not None and item.speaker == other.speaker:
            return None
    return names[-1]


def splits_there(items: Sequence[Item], split: str | None) -> str:
    """What to add to a message when `split` was asked for and no item has it: the splits there."""
    counts: dict[str, int] = {}
    for item in items:
        if item.split is not None:
            counts[item.split] = counts.get(item.split, 0) + 1
    if split is None or not counts or split in counts:
        return ""
    return "; splits there are: " + ", ".join(f"{name} ({n})" for name, n in counts.items())


def _shared_meanings(chosen: Mapping[str, Mapping[str, Item]]) -> set[str]:
    count: dict[str, int] = {}
    for items in chosen.values():
        for meaning in items:
            count[meaning] = count.get(meaning, 0) + 1
    return {meaning for meaning, sets in count.items() if sets > 1}


def _in_corpus_order(
    items: Sequence[Item], chosen: Mapping[str, Mapping[str, Item]], groups: Mapping[str, str]
) -> list[str]:
    """Names of sets as the corpus brings them, sets of one group together."""
    place = {item.id: i for i, item in enumerate(items)}
    first = {name: min(place[i.id] for i in found.values()) for name, found in chosen.items()}
    group_first: dict[str, int] = {}
    for name, position in first.items():
        group_first[groups[name]] = min(position, group_first.get(groups[name], position))
    return sorted(first, key=lambda name: (group_first[groups[name]], first[name]))


def _yubao_groups(items: Sequence[Item]) -> dict[str, str]:
    """Site to group of the benchmark's table; empty unless every site of the corpus is in it."""
    sites = {item.site for item in items}
    known = {site.name: site.group for site in yubao_sites()}
    known |= {key: site.group for site in yubao_sites() for key in site.site_ids}
    return known if sites and all(site in known for site in sites) else {}


def _group_of(item: Item, benchmark: Mapping[str, str]) -> str:
    if "group" in item.extra:
        return item.extra["group"]
    if item.site is not None and item.site in benchmark:
        return benchmark[item.site]
    table = builtin_table()
    return table.group_of(item.variety) if item.variety in table else item.variety
