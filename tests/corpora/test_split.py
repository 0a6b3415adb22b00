"""Splits that cannot leak, for any corpus and any combination of fields."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isogloss.corpora.split import find_leaks, prove_no_leak, split_items
from isogloss.errors import UnknownName
from isogloss.types import Item


def crossed(speakers=20, meanings=50):
    """All speakers say all meanings."""
    return [
        Item(f"{s}-{m}", "yue", meaning=f"m{m}", speaker=f"s{s}", site=f"p{s % 5}")
        for s in range(speakers)
        for m in range(meanings)
    ]


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 9), st.integers(0, 6)), min_size=30,
             max_size=80),
    st.sets(st.sampled_from(["meaning", "speaker", "site"]), min_size=1),
    st.integers(0, 5),
)  # fmt: skip
def test_no_value_stands_in_two_splits_and_nothing_gets_lost(values, by, seed):
    items = [
        Item(str(i), "yue", meaning=f"m{m}", speaker=f"s{s}", site=f"p{p}")
        for i, (m, s, p) in enumerate(values)
    ]
    try:
        result = split_items(items, by=sorted(by), seed=seed)
    except ValueError as error:
        assert "cannot fill" in str(error)
        return
    assert find_leaks(result.items, by=sorted(by)) == ()
    kept = {item.id for item in result.items}
    dropped = {item.item for item in result.dropped}
    assert kept | dropped == {item.id for item in items}
    assert not kept & dropped
    assert len(by) > 1 or not dropped
    assert Counter(item.split for item in result.items) == Counter(
        {name: count for name, count in result.counts.items() if count}
    )


def test_shares_are_those_asked_for_and_order_is_kept():
    items = crossed()
    result = split_items(items, by=["meaning"], fractions={"train": 70, "dev": 10, "test": 20})
    assert result.counts == {"train": 700, "dev": 100, "test": 200}
    assert [dataclasses.replace(item, split=None) for item in result.items] == items


def test_the_same_seed_gives_the_same_split_whatever_the_order():
    items = crossed()
    mixed = random.Random(3).sample(items, len(items))
    for by in (["meaning"], ["meaning", "speaker"]):
        first = {item.id: item.split for item in split_items(items, by=by, seed=1).items}
        assert {item.id: item.split for item in split_items(mixed, by=by, seed=1).items} == first
        assert {item.id: item.split for item in split_items(items, by=by, seed=2).items} != first


def test_crossed_fields_drop_what_straddles_and_say_so():
    result = split_items(crossed(), by=["meaning", "speaker"])
    # 0.8² + 0.1² + 0.1² of 1000
    assert result.counts == {"train": 640, "dev": 10, "test": 10}
    assert len(result.dropped) == 340
    assert all("meaning in " in item.reason for item in result.dropped)
    prove_no_leak(result.items, by=["meaning", "speaker"])


def test_nested_fields_drop_nothing():
    items = [
        Item(f"{s}-{i}", "yue", speaker=f"s{s}", site=f"p{s // 2}", meaning=f"{s // 2}.{i}")
        for s in range(40)
        for i in range(5)
    ]
    result = split_items(items, by=["speaker", "site", "meaning"])
    assert result.dropped == ()
    assert result.counts == {"train": 160, "dev": 20, "test": 20}


def test_every_split_gets_something_when_there_are_values_enough():
    items = [Item(str(i), "yue", speaker=f"s{i % 3}") for i in range(30)]
    assert split_items(items, by=["speaker"]).counts == {"train": 10, "dev": 10, "test": 10}


def test_items_without_a_meaning_stand_alone():
    items = [Item(str(i), "yue") for i in range(20)]
    assert split_items(items, by=["meaning"]).counts == {"train": 16, "dev": 2, "test": 2}


def test_two_splits_are_enough():
    result = split_items(crossed(), by=["speaker"], fractions={"train": 0.5, "test": 0.5})
    assert result.counts == {"train": 500, "test": 500}


def test_what_cannot_be_split_is_refused_with_the_reason():
    with pytest.raises(ValueError, match="no items"):
        split_items([])
    with pytest.raises(UnknownName, match="speaker"):
        split_items(crossed(), by=["speakers"])
    with pytest.raises(ValueError, match="at least one"):
        split_items(crossed(), by=[])
    with pytest.raises(UnknownName, match="dev"):
        split_items(crossed(), fractions={"train": 1, "devel": 1})
    with pytest.raises(ValueError, match="positive"):
        split_items(crossed(), fractions={"train": 1, "test": 0})
    with pytest.raises(ValueError, match="2 different values"):
        split_items(crossed(speakers=2), by=["speaker"])
    nameless = [*crossed(), Item("x", "yue")]
    with pytest.raises(ValueError, match="1 items have no speaker"):
        split_items(nameless, by=["speaker"])
    one_big = [Item(str(i), "yue", speaker="s0") for i in range(97)]
    one_big += [Item(f"o{i}", "yue", speaker=f"o{i}") for i in range(3)]
    assert split_items(one_big, by=["speaker"]).counts["train"] >= 97


def test_leaks_are_named():
    items = [
        Item("a", "yue", meaning="m", speaker="s", split="train"),
        Item("b", "cmn", meaning="m", speaker="t", split="test"),
        Item("c", "cmn", meaning="n", speaker="s", split=None),
    ]
    (leak,) = find_leaks(items, by=["meaning", "speaker"])
    assert (leak.field, leak.value, leak.splits) == ("meaning", "m", ("test", "train"))
    with pytest.raises(ValueError, match="meaning 'm' in test and train"):
        prove_no_leak(items)
    prove_no_leak(items, by=["speaker"])
