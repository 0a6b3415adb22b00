"""Which items a filter chooses, by hand and beside a loop."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isogloss.errors import UnknownName
from isogloss.search.store import Filter, Store, Writer, seconds_of
from isogloss.types import Item
from store_makers import delete

if TYPE_CHECKING:
    from pathlib import Path

ITEMS = [
    Item("a", "cmn", site="北京", speaker="s1", extra={"recorded": "2020-01-01"}),
    Item("b", "yue", site="廣州", speaker="s2", extra={"recorded": "2021-06-01T12:00:00Z"}),
    Item("c", "yue", site="廣州", speaker="s1", extra={"recorded": "2022-01-01T00:00:00+08:00"}),
    Item("d", "yue", speaker="s3", extra={"recorded": "2022-01-01"}),
    Item("e", "hak", site="梅縣", extra={"recorded": "2023-01-01"}),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("filter") / "index"
    Store.create(folder, kind="t", settings={}, shared={})
    with Writer(folder) as writer:
        writer.append(ITEMS[:3], {})
        writer.append(ITEMS[3:], {})
        writer.commit()
    return Store.open(folder)


def chosen(store: Store, wanted: Filter | None) -> str:
    found = ""
    for segment, mask in zip(store.segments, store.chosen(wanted), strict=True):
        rows = range(segment.count) if mask is None else np.flatnonzero(mask)
        found += "".join(segment.id(int(row)) for row in rows)
    return found


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        (None, "abcde"),
        (Filter(), "abcde"),
        (Filter(varieties=("yue",)), "bcd"),
        (Filter(varieties=("yue", "hak")), "bcde"),
        (Filter(varieties=["cmn"], speakers=["s1"]), "a"),
        (Filter(sites=("廣州",)), "bc"),
        (Filter(sites=("廣州", "梅縣"), varieties=("hak",)), "e"),
        (Filter(speakers=("s1",)), "ac"),
        (Filter(speakers=("s1",), varieties=("hak",)), ""),
        (Filter(after="2022-01-01"), "de"),
        (Filter(before="2022-01-01"), "abc"),
        (Filter(after="2021-12-31T16:00:00Z", before="2022-01-01T00:00:00Z"), "c"),
        (Filter(after=datetime(2022, 6, 1, tzinfo=UTC)), "e"),
        (Filter(after=0.0, before=4e9), "abcde"),
        (Filter(after="1999-01-01", before="2000-01-01"), ""),
    ],
)
def test_by_hand(store: Store, wanted: Filter | None, ids: str) -> None:
    assert chosen(store, wanted) == ids
    assert chosen(store, wanted) == ids  # the second answer is a remembered one


def test_none_stands_for_every_row_and_masks_are_read_only(store: Store) -> None:
    assert store.chosen() == (None, None)
    assert store.chosen(Filter(before="2022-06-01"))[0] is None
    mask = store.chosen(Filter(before="2022-06-01"))[1]
    assert mask is not None
    with pytest.raises(ValueError, match="read-only"):
        mask[0] = False


@pytest.mark.parametrize(
    ("wanted", "kind", "near"),
    [
        (Filter(varieties=("yeu",)), "variety", "yue"),
        (Filter(sites=("廣",)), "site", "廣州"),
        (Filter(speakers=("S1",)), "speaker", "s1"),
    ],
)
def test_an_unknown_name_gets_near_ones(store: Store, wanted: Filter, kind: str, near: str) -> None:
    with pytest.raises(UnknownName, match=f"unknown {kind} .*did you mean.*{near}"):
        store.chosen(wanted)


def test_an_unknown_name_among_very_many_is_refused_soon(tmp_path: Path) -> None:
    Store.create(tmp_path / "index", kind="t", settings={}, shared={})
    with Writer(tmp_path / "index") as writer:
        writer.append((Item(f"i{n}", "cmn", speaker=f"{n:05}-voice") for n in range(5000)), {})
        writer.commit()
    with pytest.raises(UnknownName, match="04242-voice"):
        Store.open(tmp_path / "index").chosen(Filter(speakers=("04242-voic",)))


def test_deleted_items_are_never_chosen(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "index"
    Store.create(folder, kind="t", settings={}, shared={})
    with Writer(folder) as writer:
        writer.append(ITEMS, {})
        writer.commit()
    left = delete(folder, ["b"])
    assert chosen(left, None) == "acde"
    assert chosen(left, Filter(varieties=("yue",))) == "cd"


def test_an_item_without_a_time_has_that_of_its_append(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    Store.create(folder, kind="t", settings={}, shared={})
    began = datetime.now(UTC)
    with Writer(folder) as writer:
        writer.append([Item("now", "cmn"), ITEMS[0]], {})
        writer.commit()
    store = Store.open(folder)
    assert chosen(store, Filter(after=began)) == "now"
    assert chosen(store, Filter(before=began)) == "a"


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"varieties": "yue"}, r"varieties is the string 'yue'; give a tuple"),
        ({"sites": (1,)}, "sites must be strings"),
        ({"after": "yesterday"}, "after 'yesterday' is not ISO 8601"),
        ({"before": float("nan")}, "before nan is no time"),
        ({"before": True}, "before True is no time"),
        ({"after": "2022-01-01", "before": "2021-01-01"}, "before 2021-01-01T00:00:00"),
        ({"after": 5.0, "before": 5.0}, "no time is at or after"),
    ],
)
def test_filters_that_make_no_sense(fields: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Filter(**fields)


def test_times_are_seconds_since_1970() -> None:
    assert seconds_of("1970-01-02") == 86400.0
    assert seconds_of(" 1970-01-01T08:00:00+08:00 ") == 0.0
    assert seconds_of("1970-01-01T00:00:01.5Z") == 1.5
    assert seconds_of(datetime(1970, 1, 1, 1)) == 3600.0
    assert seconds_of(datetime(1970, 1, 1, tzinfo=timezone(timedelta(hours=-1)))) == 3600.0
    assert seconds_of(7) == 7.0


def test_equal_filters_are_equal_however_they_were_written() -> None:
    assert Filter(varieties=["yue"], after="1970-01-02") == Filter(("yue",), after=86400)
    assert len({Filter(sites=("a",)), Filter(sites=["a"])}) == 1
    assert not Filter()
    assert Filter(after=0.0)


@given(
    varieties=st.lists(st.sampled_from(["cmn", "yue", "hak"]), max_size=3),
    sites=st.lists(st.sampled_from(["北京", "廣州", "梅縣"]), max_size=3),
    speakers=st.lists(st.sampled_from(["s1", "s2", "s3"]), max_size=3),
    years=st.lists(st.integers(2019, 2024), min_size=2, max_size=2, unique=True),
)
def test_a_filter_chooses_what_a_loop_would(
    store: Store, varieties: list[str], sites: list[str], speakers: list[str], years: list[int]
) -> None:
    after, before = (f"{year}-01-01" for year in sorted(years))
    expected = [
        one.id
        for one in ITEMS
        if (not varieties or one.variety in varieties)
        and (not sites or one.site in sites)
        and (not speakers or one.speaker in speakers)
        and seconds_of(after) <= seconds_of(one.extra["recorded"]) < seconds_of(before)
    ]
    wanted = Filter(tuple(varieties), tuple(sites), tuple(speakers), after, before)
    assert chosen(store, wanted) == "".join(expected)
