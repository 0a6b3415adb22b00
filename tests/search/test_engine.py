"""EngineIndex: embedded, served by real PostgreSQL servers, in shards, with a replica."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("psycopg")
pytest.importorskip("numba")

from engine_makers import Server, need_servers, open_folder
from isogloss.corpora.synth.sequences import (
    StructuredSequences,
    StructuredSettings,
    structured_sequences,
)
from isogloss.errors import IsoglossError, MissingExtra, UnknownName
from isogloss.scores.seqsim import seqsim
from isogloss.search.engine import EngineIndex
from isogloss.search.engine_place import EnginePlace, is_engine_place
from isogloss.search.index_settings import IndexSettings
from isogloss.search.store_filter import Filter
from isogloss.types import Item, Sequences

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from isogloss.types import FloatArray

SETTINGS = IndexSettings(units=256, iterations=3)


@pytest.fixture(scope="module", autouse=True)
def startable() -> None:
    need_servers()


@pytest.fixture(scope="module")
def data() -> StructuredSequences:
    return structured_sequences(StructuredSettings(items=240, queries=8, dimensions=48, steps=20))


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Server, Server]]:
    folder = open_folder()
    both = Server(folder / "one"), Server(folder / "two")
    yield both
    for server in both:
        server.stop()


@pytest.fixture(scope="module")
def embedded(data: StructuredSequences) -> Iterator[EngineIndex]:
    folder = open_folder() / "index"
    with EngineIndex.build(folder, data.sequences, data.items, settings=SETTINGS) as index:
        yield index


def exact(data: StructuredSequences, index: EngineIndex) -> FloatArray:
    """Scores of all pairs, of the steps as they are stored."""
    stored = [index.steps(item.id) for item in data.items]
    return seqsim(data.queries, Sequences.from_list(data.sequences.ids, stored))


def test_answers_are_those_of_exhaustive_scoring(
    data: StructuredSequences, embedded: EngineIndex
) -> None:
    table = exact(data, embedded)
    ranking = embedded.search_ranked(data.queries, 5, candidates=240)
    for number, row in enumerate(table):
        order = np.argsort(-row, kind="stable")[:5]
        assert ranking.hits.ids[number] == tuple(data.sequences.ids[i] for i in order)
        assert ranking.hits.scores[number] == pytest.approx(row[order], abs=1e-5)
    assert ranking.hits.query_ids == data.queries.ids
    assert not ranking.exact
    assert ranking.scored == (240,) * 8
    # The codes cost less than a thousandth of a score.
    assert np.abs(table - seqsim(data.queries, data.sequences)).max() < 1e-3


def test_few_candidates_keep_the_best(data: StructuredSequences, embedded: EngineIndex) -> None:
    best = exact(data, embedded).argmax(axis=1)
    hits = embedded.search(data.queries, 1, candidates=20)
    found = [ids[0] == data.sequences.ids[i] for ids, i in zip(hits.ids, best, strict=True)]
    assert np.mean(found) >= 0.9
    measured = embedded.check_exactness(data.queries, k=1, sample=8)
    assert measured.value >= 0.9
    assert measured.n == 8
    assert embedded.search_ranked(data.queries, 5, exact=True).exact


def test_filters(data: StructuredSequences, embedded: EngineIndex) -> None:
    by_id = {item.id: item for item in data.items}
    site = data.items[0].site
    assert site is not None
    hits = embedded.search(data.queries, 5, filter=Filter(varieties=("yue", "hak")))
    assert all(by_id[name].variety in ("yue", "hak") for ids in hits.ids for name in ids)
    hits = embedded.search(data.queries, 50, filter=Filter(sites=(site,)), candidates=240)
    right = sum(item.site == site for item in data.items)
    assert {len(ids) for ids in hits.ids} == {min(50, right)}
    assert embedded.search(data.queries, 5, filter=Filter(before="2001-01-01")).ids == ((),) * 8
    with pytest.raises(UnknownName, match="did you mean yue"):
        embedded.search(data.queries, 5, filter=Filter(varieties=("yuee",)))


def test_items_come_back(data: StructuredSequences, embedded: EngineIndex) -> None:
    item = data.items[7]
    assert embedded.item(item.id) == item
    assert np.allclose(embedded.steps(item.id), data.sequences[7], atol=0.02)
    assert len(embedded) == 240
    with pytest.raises(ValueError, match="no item 'nobody'"):
        embedded.item("nobody")


def test_a_folder_is_opened_by_its_name(data: StructuredSequences, embedded: EngineIndex) -> None:
    folder = embedded.place.folder
    assert folder is not None
    assert is_engine_place(folder)
    with EngineIndex.open(folder) as again:
        assert again.search(data.queries, 3) == embedded.search(data.queries, 3)
        assert (again.made_by, again.step_seconds) == (data.sequences.made_by, 0.04)


def test_two_servers_answer_as_one_folder(
    data: StructuredSequences, embedded: EngineIndex, servers: tuple[Server, Server]
) -> None:
    place = f"{servers[0].url},{servers[1].url}#both"
    with EngineIndex.build(
        place, data.sequences, data.items, settings=SETTINGS, units=embedded.units
    ) as index:
        assert index.search(data.queries, 10) == embedded.search(data.queries, 10)
        sizes = index._asked("count")
        assert sum(sizes) == 240
        assert min(sizes) > 60
    with EngineIndex.open(place) as index:
        assert index.item(data.items[3].id) == data.items[3]
        assert index.search(data.queries, 10) == embedded.search(data.queries, 10)
    swapped = f"{servers[1].url},{servers[0].url}#both"
    with pytest.raises(IsoglossError, match="shard 2 of 2 of an index, not shard 1"):
        EngineIndex.open(swapped)
    with pytest.raises(IsoglossError, match="shard 1 of 2 of an index, not shard 1 of 1"):
        EngineIndex.open(f"{servers[0].url}#both")
    with pytest.raises(IsoglossError, match=r"holds an index .both. already"):
        EngineIndex.build(place, data.sequences, data.items, settings=SETTINGS)


def test_append_replace_and_delete(
    data: StructuredSequences, servers: tuple[Server, Server]
) -> None:
    place = f"{servers[0].url},{servers[1].url}#edited"
    half = list(range(120))
    index = EngineIndex.build(
        place, data.sequences.select(half), data.items[:120], settings=SETTINGS
    )
    with index, EngineIndex.open(place) as other:
        rest = data.sequences.select(range(120, 240))
        assert index.append(rest, data.items[120:]) == index.version
        assert len(other) == 240
        other.refresh()
        assert other.search(data.queries, 5) == index.search(data.queries, 5)
        with pytest.raises(ValueError, match=r"in the index already.*item-00001"):
            index.append(rest, data.items[120:])
        assert len(index) == 240
        other_words = dataclasses.replace(data.items[0], text="another")
        index.append(data.sequences.select([0]), [other_words], replace=True)
        assert index.item(other_words.id).text == "another"
        assert len(index) == 240
        gone = index.search(data.queries, 1).ids[0][0]
        assert index.delete([gone, "nobody"]) == 1
        assert gone not in {name for ids in index.search(data.queries, 20).ids for name in ids}
        # Counts of units are those of what is left.
        ids = [item.id for item in data.items if item.id != gone]
        held = np.concatenate([np.unique(index.units.assign(index.steps(name))) for name in ids])
        right = np.bincount(held, minlength=257)[:256]
        counts = [np.frombuffer(shard.get("counts"), "<i8") for shard in index._shards]
        assert np.abs(np.sum(counts, axis=0) - right).sum() <= 0.01 * right.sum()
        index.compact()
        assert len(index) == 239


def test_a_refused_append_leaves_nothing(data: StructuredSequences, embedded: EngineIndex) -> None:
    new = [dataclasses.replace(item, id=f"new-{item.id}") for item in data.items[:3]]
    steps = data.sequences.select([0, 1, 2])
    named = Sequences(
        tuple(item.id for item in new), steps.values, steps.offsets, 0.04, steps.made_by
    )
    twice = [named, data.sequences.select([5])]
    with pytest.raises(ValueError, match="in the index already"):
        embedded.append(twice, [*new, data.items[5]])
    assert len(embedded) == 240
    with pytest.raises(ValueError, match=r"the item is .item-0000000"):
        embedded.append(named, data.items[:3])
    with pytest.raises(ValueError, match="cosines between two encoders"):
        embedded.search(dataclasses.replace(named, made_by="another"))
    with pytest.raises(ValueError, match="48"):
        embedded.search(Sequences.from_list(["q"], [np.ones((3, 8), np.float32)]))
    for arguments in ({"k": 0}, {"candidates": 0}, {"budget_ms": 0.0}):
        with pytest.raises(ValueError, match=r"at least 1|positive"):
            embedded.search(data.queries, **arguments)  # type: ignore[arg-type]


def test_graphs_and_pooled_vectors(
    data: StructuredSequences, servers: tuple[Server, Server]
) -> None:
    place = f"{servers[0].url}#graphs"
    with EngineIndex.build(
        place, data.sequences, data.items, settings=SETTINGS, graphs=True
    ) as index:
        best = exact(data, index).argmax(axis=1)
        hits = index.search(data.queries, 1)
        assert [ids[0] for ids in hits.ids] == [data.sequences.ids[i] for i in best]
        pooled = index.search_ranked(data.queries, 1, by="pooled", candidates=240)
        assert pooled.hits.ids == hits.ids


def test_equal_items_are_reported(servers: tuple[Server, Server]) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((6, 16), dtype=np.float32) for _ in range(4)]
    arrays[2] = arrays[1].copy()
    arrays[3][:] = 0
    sequences = Sequences.from_list(list("abcd"), arrays)
    items = [Item(name, "cmn") for name in "abcd"]
    with EngineIndex.build(f"{servers[0].url}#ties", sequences, items) as index:
        ranking = index.search_ranked(Sequences.from_list(["q"], [arrays[1]]), 3)
        assert ranking.hits.ids[0][:2] == ("b", "c")
        assert ranking.tied[0] == (True, True, False)
        # Steps of norm 0 are like nothing.
        silent = index.search_ranked(Sequences.from_list(["q"], [arrays[3]]), 4)
        assert silent.hits.scores[0] == (0.0,) * 4
        assert all(silent.tied[0])


def test_a_server_killed_while_it_writes_loses_nothing_committed(
    data: StructuredSequences,
) -> None:
    server = Server(open_folder() / "one")
    try:
        place = f"{server.url}#durable"
        half = data.sequences.select(range(120))
        with EngineIndex.build(place, half, data.items[:120], settings=SETTINGS) as index:
            before = index.search(data.queries, 3)

            def cut_off() -> Iterator[Sequences]:
                yield data.sequences.select(range(120, 200))
                server.kill()
                yield data.sequences.select(range(200, 240))

            with pytest.raises(IsoglossError, match=r"127\.0\.0\.1"):
                index.append(cut_off(), data.items[120:])
            with pytest.raises(IsoglossError, match="no connection"):
                index.search(data.queries, 3)
            server.start()
            # The connection is made again by itself.
            assert index.search(data.queries, 3) == before
            assert len(index) == 120
    finally:
        server.stop()


def test_a_replica_answers_when_the_first_server_is_gone(
    data: StructuredSequences,
) -> None:
    folder = open_folder()
    first = Server(folder / "first")
    second = None
    try:
        with EngineIndex.build(
            f"{first.url}#copied", data.sequences, data.items, settings=SETTINGS
        ) as index:
            right = index.search(data.queries, 5)
        second = Server(folder / "second", source=first)
        both = f"postgresql://postgres@{first.address},{second.address}/postgres#copied"
        with EngineIndex.open(both) as index:
            end = time.monotonic() + 60
            with EngineIndex.open(f"{second.url}#copied") as copy:
                while len(copy) < 240 and time.monotonic() < end:
                    time.sleep(0.1)
            first.kill()
            assert index.search(data.queries, 5) == right
            with pytest.raises(IsoglossError, match="read-only"):
                index.delete([data.items[0].id])
    finally:
        first.stop()
        if second is not None:
            second.stop()


def test_places() -> None:
    place = EnginePlace.of("postgresql://u:secret@a:5432/b,postgresql://c/d#tales")
    assert (place.name, place.shards) == ("tales", 2)
    assert place.urls[1] == "postgresql://c/d"
    assert "secret" not in place.shown(0)
    assert EnginePlace.of("postgresql://a,b/d").shards == 1
    with pytest.raises(ValueError, match="cannot name an index"):
        EnginePlace.of('postgresql://a/b#x"; DROP TABLE item')
    with pytest.raises(ValueError, match="same URL"):
        EnginePlace.of("postgresql://a/b,postgresql://a/b")
    with pytest.raises(IsoglossError, match="no connection to postgresql://u:\\*\\*\\*@127"):
        EngineIndex.open("postgresql://u:secret@127.0.0.1:1/b")


def test_nothing_there(tmp_path: Path, servers: tuple[Server, Server]) -> None:
    with pytest.raises(IsoglossError, match="holds no engine index"):
        EngineIndex.open(tmp_path)
    with pytest.raises(IsoglossError, match="holds no index 'absent'"):
        EngineIndex.open(f"{servers[0].url}#absent")
    with pytest.raises(ValueError, match="no sequence"):
        EngineIndex.build(f"{servers[0].url}#absent", [], [])


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    with pytest.raises(MissingExtra, match=r"isogloss\[engine\]"):
        EngineIndex.open("postgresql://127.0.0.1/b")
