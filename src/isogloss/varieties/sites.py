"""The recording places of the YuBao retrieval benchmark; called by its reader and its tasks."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from isogloss.errors import BadRecord
from isogloss.varieties.rows import read_tsv
from isogloss.varieties.table import builtin_table

__all__ = ["Site", "yubao_sites"]

_YUBAO = Path(__file__).with_name("data") / "yubao_sites.tsv"
_COLUMNS = ("group", "site", "site_id", "variety")


@dataclass(frozen=True, slots=True)
class Site:
    """A place where a survey recorded.

    `name` is as the platform writes it ('province_city_county'), `site_ids` are the platform's
    numbers for it (the first five characters of an utterance id; two where a place was recorded
    twice). `group` is the benchmark's own name for the row and column of its 8 x 8 table,
    `variety` our code: a sub-group where the place makes it certain, else the whole group.
    """

    name: str
    site_ids: tuple[str, ...]
    group: str
    variety: str


@functools.cache
def yubao_sites() -> tuple[Site, ...]:
    """The 78 sites of the benchmark: 1 of zh_standard, 11 of each of the seven other groups.

    Source: the site list published with the benchmark (github.com/kalvinchang/yubao); the
    varieties are ours, after the Language Atlas of China.
    """
    table = builtin_table()
    sites: list[Site] = []
    taken: set[str] = set()
    for line, cells in read_tsv(_YUBAO, columns=_COLUMNS, required=_COLUMNS):
        site_ids = tuple(cells["site_id"].split(","))
        for key in (cells["site"], *site_ids):
            if key in taken:
                raise BadRecord(_YUBAO, line, "site_id", f"'{key}' is in an earlier row")
            taken.add(key)
        if cells["variety"] not in table:
            raise BadRecord(_YUBAO, line, "variety", f"'{cells['variety']}' is not in the table")
        sites.append(Site(cells["site"], site_ids, cells["group"], cells["variety"]))
    return tuple(sites)
