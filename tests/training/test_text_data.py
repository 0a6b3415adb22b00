from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isogloss.corpora.jsonl import write_items
from isogloss.errors import BadRecord, IsoglossError, UnknownName
from isogloss.training.text_data import prepare_texts, read_links
from isogloss.training.text_sampling import plan_texts, shares_of
from isogloss.types import Corpus, Item
from text_training_makers import parallel_items, text_config, text_corpus

if TYPE_CHECKING:
    from pathlib import Path


def item(
    name: str, variety: str, text: str | None, meaning: str | None = None, **more: Any
) -> Item:
    return Item(id=name, variety=variety, text=text, meaning=meaning, **more)


def corpus(*items: Item) -> Corpus:
    return Corpus("c", items)


def test_what_cannot_be_used_is_counted() -> None:
    material = prepare_texts(
        text_config(pairs="none"),
        corpus(
            item("a", "eng", "cat"),
            item("b", "eng", "   "),
            item("c", "eng", None),
            item("d", "eng", "cat"),
            item("e", "deu", "cat"),
            item("f", "deu", None, transcript="Katze"),
        ),
    )
    assert material.ids == ("a", "e", "f")
    assert material.texts == ("cat", "cat", "Katze")
    assert material.skipped == {"double": 1, "no text": 2}


def test_bad_lines_of_a_manifest_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    write_items(parallel_items(2), path, name="c")
    with path.open("a", encoding="utf-8") as handle:
        handle.write('{"id": "x", "variety": "nowhere-at-all", "text": "a"}\n')
    material = prepare_texts(text_config(pairs="none"), path)
    assert len(material) == 6
    assert sum(material.skipped.values()) == 1
    other = prepare_texts(text_config(pairs="none"), tmp_path)
    assert other.sha == material.sha


def test_only_train_is_trained_on_where_there_are_splits() -> None:
    items = (
        item("a", "eng", "cat", split="train"),
        item("b", "eng", "dog", split="test"),
        item("c", "eng", "cow"),
    )
    assert prepare_texts(text_config(pairs="none"), corpus(*items)).ids == ("a",)
    with pytest.raises(IsoglossError, match="no item can be trained on"):
        prepare_texts(text_config(pairs="none"), corpus(items[1]))


def test_pairs_need_two_varieties() -> None:
    config = text_config(pairs="meaning")
    items = (
        item("a", "eng", "cat", "m1"),
        item("b", "deu", "Katze", "m1"),
        item("c", "eng", "dog", "m2"),
        item("d", "deu", "Hund", "m2"),
        item("e", "eng", "alone", "m3"),
        item("f", "eng", "twice", "m4"),
        item("g", "eng", "again", "m4"),
        item("h", "eng", "no meaning"),
        item("i", "fra", "chien", "m2"),
    )
    material = prepare_texts(config, corpus(*items))
    assert material.ids == ("a", "b", "c", "d")
    assert material.groups == ((0, 1), (2, 3))
    assert material.skipped == {
        "meaning in one variety": 3,
        "no meaning": 1,
        "variety with one item": 1,
    }
    with pytest.raises(IsoglossError, match="no meaning is there in two varieties"):
        prepare_texts(config, corpus(*items[4:8]))
    with pytest.raises(IsoglossError, match="variety with one item"):
        prepare_texts(config, corpus(*items[:2]))


def test_varieties_and_items_of_each() -> None:
    config = text_config(pairs="none", varieties=("deu", "spa"), items_per_variety=5)
    material = prepare_texts(config, text_corpus())
    assert Counter(material.varieties) == {"deu": 5, "spa": 5}
    again = prepare_texts(config, text_corpus())
    assert again.ids == material.ids
    other = prepare_texts(
        text_config(pairs="none", varieties=("deu", "spa"), items_per_variety=5, seed=1),
        text_corpus(),
    )
    assert other.ids != material.ids
    with pytest.raises(UnknownName, match="did you mean deu"):
        prepare_texts(text_config(varieties=("deo",)), text_corpus())


def test_views_of_each_item() -> None:
    config = text_config(pairs="views")
    items = (item("a", "eng", "cat", "m"), item("b", "eng", " "), item("c", "deu", "Katze", "m"))
    material = prepare_texts(config, corpus(*items), views=["CAT", "", "KATZE"])
    assert material.views == ("CAT", "KATZE")
    rows = material.rows([(0, 0), (1, 1)], kind="views")
    assert rows.texts == (("cat", "Katze"), ("CAT", "KATZE"))
    # Which of them are translations of each other is not told.
    assert rows.names == (None, None)
    made = prepare_texts(config, corpus(*items), views=lambda texts: [t.upper() for t in texts])
    assert made.views == material.views
    assert made.sha == material.sha
    other = prepare_texts(config, corpus(*items), views=["CAT", "", "Katze"])
    assert other.sha != material.sha
    one = prepare_texts(config, corpus(*items), views=["CAT", "", " "])
    assert one.ids == ("a",)
    assert one.skipped == {"empty view": 1, "no text": 1}
    with pytest.raises(ValueError, match="2 views for 3 items"):
        prepare_texts(config, corpus(*items), views=["a", "b"])
    with pytest.raises(ValueError, match="1 views were made of 2 texts"):
        prepare_texts(config, corpus(*items), views=lambda texts: ["a"])


def test_rows_of_a_meaning_carry_its_name_and_links(tmp_path: Path) -> None:
    path = tmp_path / "links.tsv"
    path.write_text("0-eng\t0-deu\t0-0 1-2\n", encoding="utf-8")
    config = text_config(pairs="meaning", links=str(path))
    material = prepare_texts(config, text_corpus())
    places = {name: i for i, name in enumerate(material.ids)}
    pairs = [(places["0-deu"], places["0-eng"]), (places["1-eng"], places["1-spa"])]
    rows = material.rows(pairs, kind="meaning")
    assert rows.names == ("m0", "m1")
    assert rows.varieties == (("deu", "eng"), ("eng", "spa"))
    assert rows.links == (((0, 0), (2, 1)), ())


@pytest.mark.parametrize("line", ["a\tb", "a\tb\t0-x", "a\tb\t3", "a\tb\t0-1-2"])
def test_links_that_cannot_be_read(tmp_path: Path, line: str) -> None:
    path = tmp_path / "links.tsv"
    path.write_text(f"a\tb\t0-0\n{line}\n", encoding="utf-8")
    with pytest.raises(BadRecord, match=r"links\.tsv:2:links"):
        read_links(path)
    with pytest.raises(IsoglossError, match="no such file"):
        read_links(tmp_path / "absent")
    path.write_bytes(b"a\tb\t0-0\xff")
    with pytest.raises(IsoglossError, match="not UTF-8"):
        read_links(path)


def uneven(counts: dict[str, int]) -> Corpus:
    return corpus(
        *(
            item(f"{variety}{i}", variety, f"text {i} {'x' * (i % 17)}")
            for variety, count in counts.items()
            for i in range(count)
        )
    )


def drawn(config: Any, material: Any, kind: str, epoch: int = 0) -> Counter[str]:
    plan = plan_texts(config, material, kind, epoch)
    return Counter(material.varieties[i] for batch in plan for i, _ in batch)


def test_varieties_are_drawn_in_balance() -> None:
    data = uneven({"eng": 90, "deu": 30, "spa": 10})
    config = text_config(pairs="none")
    material = prepare_texts(config, data)
    assert sorted(drawn(config, material, "none").values()) == [43, 43, 44]
    config = text_config(pairs="none", sampling_temperature=1.0)
    assert drawn(config, material, "none") == {"eng": 90, "deu": 30, "spa": 10}
    config = text_config(pairs="none", sampling_temperature=2.0)
    found = drawn(config, material, "none")
    roots = {"eng": 90**0.5, "deu": 30**0.5, "spa": 10**0.5}
    for variety, root in roots.items():
        assert found[variety] == pytest.approx(130 * root / sum(roots.values()), abs=1)


def test_each_text_comes_before_any_comes_again() -> None:
    config = text_config(pairs="none")
    material = prepare_texts(config, uneven({"eng": 90, "spa": 10}))
    plan = plan_texts(config, material, "none", 0)
    times = Counter(i for batch in plan for i, _ in batch)
    spanish = [times[i] for i in range(100) if material.varieties[i] == "spa"]
    assert spanish == [5] * 10
    assert max(times[i] for i in range(100) if material.varieties[i] == "eng") == 1


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.integers(1, 5000), min_size=1, max_size=6),
    st.one_of(st.none(), st.floats(0.05, 100)),
)
def test_shares_add_up_and_keep_the_order(counts: list[int], temperature: float | None) -> None:
    shares = shares_of(counts, temperature)
    assert sum(shares) == pytest.approx(1.0)
    ranked = sorted(zip(counts, shares, strict=True))
    assert all(a[1] <= b[1] + 1e-12 for a, b in pairwise(ranked))


def test_a_plan_follows_from_seed_and_epoch() -> None:
    config = text_config(pairs="none")
    material = prepare_texts(config, text_corpus())
    first = plan_texts(config, material, "none", 0)
    assert plan_texts(config, material, "none", 0) == first
    assert plan_texts(config, material, "none", 1) != first
    assert plan_texts(text_config(pairs="none", seed=1), material, "none", 0) != first
    assert all(len(batch) <= 8 for batch in first)


def test_lengths_stand_together() -> None:
    data = uneven({"eng": 400})
    wide, narrow = (text_config(pairs="none", buckets=n) for n in (1, 20))
    material = prepare_texts(wide, data)

    def spread(config: Any) -> float:
        plan = plan_texts(config, material, "none", 0)
        lengths = [[len(material.texts[i]) for i, _ in batch] for batch in plan]
        return sum(max(batch) - min(batch) for batch in lengths) / len(lengths)

    assert spread(narrow) < 0.3 * spread(wide)


def test_two_varieties_of_each_meaning() -> None:
    config = text_config(pairs="meaning")
    material = prepare_texts(config, text_corpus())
    plan = plan_texts(config, material, "meaning", 0)
    rows = [row for batch in plan for row in batch]
    assert len(rows) == 40
    assert len({material.meanings[i] for i, _ in rows}) == 40
    for i, j in rows:
        assert material.meanings[i] == material.meanings[j]
        assert material.varieties[i] != material.varieties[j]


@pytest.mark.parametrize(("ways", "rows_each"), [(2, 1), (3, 2), (9, 2)])
def test_more_varieties_of_a_meaning_are_rows_of_one_batch(ways: int, rows_each: int) -> None:
    config = text_config(pairs="meaning", ways=ways)
    material = prepare_texts(config, text_corpus())
    plan = plan_texts(config, material, "meaning", 0)
    for batch in plan:
        times = Counter(material.meanings[i] for i, _ in batch)
        assert set(times.values()) == {rows_each}
        assert len(batch) <= 8
    rows = [row for batch in plan for row in batch]
    if ways > 2:
        varieties = {material.varieties[i] for pair in rows[:2] for i in pair}
        assert len(varieties) == 3
    assert all(material.varieties[i] != material.varieties[j] for i, j in rows)


def test_rare_varieties_are_drawn_more_often_than_they_come() -> None:
    items = list(parallel_items(60))
    items = [x for x in items if x.variety != "spa" or int(x.id.partition("-")[0]) % 4 == 0]
    data = corpus(*items)
    balanced, plain = (text_config(pairs="meaning", sampling_temperature=t) for t in (None, 1.0))
    material = prepare_texts(balanced, data)

    def spanish(config: Any) -> int:
        plans = [plan_texts(config, material, "meaning", epoch) for epoch in range(10)]
        return sum(
            material.varieties[n] == "spa" for p in plans for b in p for row in b for n in row
        )

    # Of 15 meanings with three varieties two are drawn: 10 of them by chance.
    assert spanish(plain) == pytest.approx(100, abs=20)
    assert spanish(balanced) > 1.2 * spanish(plain)


def test_a_tokenizer_sees_each_variety_as_much() -> None:
    material = prepare_texts(text_config(pairs="none"), uneven({"eng": 50, "spa": 5}))
    assert len(list(material.sample())) == 55
    views = prepare_texts(
        text_config(pairs="views"), uneven({"eng": 2}), views=["VIEW 1", "VIEW 2"]
    )
    assert sorted(views.sample()) == ["VIEW 1", "VIEW 2", "text 0 ", "text 1 x"]
