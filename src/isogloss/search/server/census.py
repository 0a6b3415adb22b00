"""How many items of each variety and site an index has, and where on the map those are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from isogloss.varieties.table import builtin_table

if TYPE_CHECKING:
    from isogloss.search.index_protocol import SearchIndex
    from isogloss.types import Item, Variety

__all__ = ["Census", "census_of", "place_of", "variety_of"]


@dataclass(frozen=True, slots=True)
class Census:
    """Rows of `/v1/info`: varieties and sites, those with most items first."""

    varieties: tuple[dict[str, Any], ...]
    sites: tuple[dict[str, Any], ...]


def census_of(index: SearchIndex) -> Census:
    """The census of one commit; reads counts, and one item of each site for its place."""
    varieties: dict[str, int] = {}
    sites: dict[tuple[str, str], int] = {}
    examples: dict[tuple[str, str], str] = {}
    for group in index.groups():
        varieties[group.variety] = varieties.get(group.variety, 0) + group.items
        if group.site is not None:
            sites[group.site, group.variety] = group.items
            examples[group.site, group.variety] = group.example
    items = index.items(list(examples.values()))
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
    return Census(tuple(variety_rows), tuple(site_rows))


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
