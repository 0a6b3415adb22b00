"""How many items of each variety and site an index has, and where on the map those are."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice, zip_longest
from typing import TYPE_CHECKING, Any

from isogloss.varieties.table import builtin_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.search.index_protocol import SearchIndex
    from isogloss.types import Item, Variety

MOST_EXAMPLES = 6
"""Items that a client is offered to begin with."""

__all__ = ["MOST_EXAMPLES", "Census", "census_of", "place_of", "variety_of"]


@dataclass(frozen=True, slots=True)
class Census:
    """Rows of `/v1/info`: varieties and sites, those with most items first, and some items."""

    varieties: tuple[dict[str, Any], ...]
    sites: tuple[dict[str, Any], ...]
    examples: tuple[Item, ...] = ()


def census_of(index: SearchIndex) -> Census:
    """The census of one commit; reads counts, and one item of each site for its place."""
    varieties: dict[str, int] = {}
    sites: dict[tuple[str, str], int] = {}
    examples: dict[tuple[str, str], str] = {}
    firsts: dict[str, list[str]] = {}
    for group in index.groups():
        firsts.setdefault(group.variety, []).append(group.example)
        varieties[group.variety] = varieties.get(group.variety, 0) + group.items
        if group.site is not None:
            sites[group.site, group.variety] = group.items
            examples[group.site, group.variety] = group.example
    to_try = _in_turns([firsts[code] for code, _ in _most_first(varieties)])
    items = index.items([*examples.values(), *to_try])
    variety_rows = []
    for code, count in _most_first(varieties):
        row = variety_of(code)
        variety_rows.append(
            {
                "code": code,
                "name": row.name if row else None,
                "native_name": row.native_name if row else None,
                "group": row.group if row else None,
                "items": count,
                "latitude": row.latitude if row else None,
                "longitude": row.longitude if row else None,
            }
        )
    site_rows = []
    for key, count in _most_first(sites):
        example = items.get(examples[key])
        latitude, longitude = place_of(example) if example else (None, None)
        site_rows.append(
            {
                "site": key[0],
                "variety": key[1],
                "items": count,
                "latitude": latitude,
                "longitude": longitude,
            }
        )
    shown = (items[name] for name in to_try if name in items and items[name].audio is not None)
    return Census(tuple(variety_rows), tuple(site_rows), tuple(islice(shown, MOST_EXAMPLES)))


def _in_turns(lists: Sequence[Sequence[str]]) -> list[str]:
    """The first of each list, then the second of each; more than are shown, in case some go."""
    turns = (entry for row in zip_longest(*lists) for entry in row if entry is not None)
    return list(islice(turns, 4 * MOST_EXAMPLES))


def variety_of(code: str) -> Variety | None:
    """The row of the built-in table, None for a code that it does not have."""
    return builtin_table().get(code)


def place_of(item: Item) -> tuple[float | None, float | None]:
    """Latitude and longitude of an item in degrees: its own (`extra`), else its variety's."""
    own = _degrees(item.extra.get("latitude"), 90), _degrees(item.extra.get("longitude"), 180)
    if None not in own:
        return own
    row = variety_of(item.variety)
    return (row.latitude, row.longitude) if row else (None, None)


def _degrees(text: str | None, most: float) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if -most <= value <= most else None


def _most_first(counts: dict[Any, int]) -> list[tuple[Any, int]]:
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
