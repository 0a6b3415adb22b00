"""The benchmark's sites against the published list and against the table."""

from __future__ import annotations

import csv
import os
from collections import Counter
from pathlib import Path

import pytest

from isogloss.varieties import builtin_table, yubao_sites

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("ISOGLOSS_DATA", ROOT / "../shared/data"))

GROUPS = {
    "zh_standard": "mandarin",
    "zh_dialect": "mandarin",
    "gan": "gan",
    "hsn": "xiang",
    "min": "min",
    "hak": "hakka",
    "wuu": "wu",
    "yue": "yue",
}


def test_there_are_78_in_8_groups() -> None:
    counts = Counter(site.group for site in yubao_sites())
    assert counts == {group: 1 if group == "zh_standard" else 11 for group in GROUPS}


def test_every_variety_lies_in_the_group_of_its_site() -> None:
    table = builtin_table()
    for site in yubao_sites():
        assert table.group_of(site.variety) == GROUPS[site.group], site
        head = table.resolve(site.group, corpus="yubao").code
        assert head in (site.variety, *table.ancestors(site.variety)) or head == "cmn-standard"


def test_names_and_numbers_are_unique_and_well_formed() -> None:
    sites = yubao_sites()
    numbers = [number for site in sites for number in site.site_ids]
    assert len({site.name for site in sites}) == len(sites)
    assert len(set(numbers)) == len(numbers)
    assert all(len(number) == 5 for number in numbers)
    assert all(site.name.count("_") == 2 for site in sites)


def test_the_published_list_is_kept() -> None:
    path = DATA / "yubao-sites.tsv"
    if not path.exists():
        pytest.skip(f"{path} is absent; set ISOGLOSS_DATA to the folder of evaluation data")
    with path.open(encoding="utf-8", newline="") as file:
        published = {
            (row["group"], row["site"], row["site_id"])
            for row in csv.DictReader(file, delimiter="\t")
        }
    assert published == {(s.group, s.name, ",".join(s.site_ids)) for s in yubao_sites()}
