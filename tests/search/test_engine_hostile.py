"""What others may do to an engine index: odd names, filters, races, passwords, many threads."""

from __future__ import annotations

import dataclasses
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("psycopg")
pytest.importorskip("numba")

import psycopg

from engine_makers import Server, need_servers, open_folder
from isogloss.errors import IsoglossError, UnknownName
from isogloss.search.engine import EngineIndex
from isogloss.search.engine_place import EnginePlace
from isogloss.search.index_protocol import IndexUnavailable
from isogloss.search.index_settings import IndexSettings
from isogloss.search.sequence_index import SequenceIndex
from isogloss.search.store_filter import Filter
from isogloss.types import Item, Sequences

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SETTINGS = IndexSettings(units=256, iterations=2)
ODD = [
    "'; DROP TABLE item; --",
    '"x"."y"',
    "%s %(id)s",
    "back\\slash \\N \\.",
    "tab\tnew\nline\r",
    "字 \U0001f642 e\u0301 \u202e",
    "{1:2}/3",
    "NULL",
    " ",
    "\x01\x7f\uffff",
]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    need_servers()
    made = Server(open_folder() / "one")
    yield made
    made.stop()


def some(names: list[str], dimensions: int = 12, seed: int = 0) -> Sequences:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(4, 9, len(names))
    steps = [rng.standard_normal((int(n), dimensions), dtype=np.float32) for n in lengths]
    return Sequences.from_list(names, steps, step_seconds=0.04, made_by="x")


def numbered(count: int) -> tuple[Sequences, list[Item]]:
    names = [f"i{number:03d}" for number in range(count)]
    return some(names), [Item(name, "cmn") for name in names]


@pytest.mark.parametrize("residuals", ["int8", "float16", "none"])
@pytest.mark.parametrize("dimensions", [4, 12])
def test_the_same_steps_and_answers_as_an_index_in_a_folder(
    server: Server, tmp_path: Path, residuals: str, dimensions: int
) -> None:
    settings = dataclasses.replace(SETTINGS, residuals=residuals)
    names = [f"i{number:03d}" for number in range(60)]
    sequences, items = some(names, dimensions), [Item(name, "cmn") for name in names]
    queries = some(["q0", "q1", "q2"], dimensions, seed=1)
    folder = SequenceIndex.build(tmp_path / "index", sequences, items, settings=settings)
    place = f"{server.url}#same_{residuals}_{dimensions}"
    with EngineIndex.build(place, sequences, items, settings=settings, units=folder.units) as index:
        for name in names:
            assert np.array_equal(index.steps(name), folder.steps(name))
            assert index.step_count(name) == folder.step_count(name)
        one, two = (i.search_ranked(queries, 7, candidates=60) for i in (folder, index))
        assert one.hits.ids == two.hits.ids
        assert np.allclose(one.hits.scores, two.hits.scores, atol=1e-6)
        assert index.verify(deep=True) == []
        assert index.ids() == sorted(folder.ids())


def test_names_of_any_letters_stay_names(server: Server) -> None:
    items = [Item(name, name, site=name, speaker=name, text=name) for name in ODD]
    with EngineIndex.build(f"{server.url}#odd", some(ODD), items, settings=SETTINGS) as index:
        assert index.items(ODD) == {item.id: item for item in items}
        assert index.ids() == sorted(ODD)
        assert index.known([*ODD, "else"]) == set(ODD)
        for name in ODD:
            wanted = Filter(varieties=(name,), sites=(name,), speakers=(name,))
            assert index.search(some(["q"]), 5, filter=wanted).ids == ((name,),)
        assert {group.example for group in index.groups()} == set(ODD)
        assert index.delete([ODD[0], ODD[0]]) == 1
        assert len(index) == len(ODD) - 1
        for bad in ("a\0b", "a\ud800"):
            with pytest.raises(ValueError, match="PostgreSQL cannot hold its id"):
                index.append(some([bad]), [Item(bad, "cmn")])
            with pytest.raises(ValueError, match="cannot hold its site"):
                index.append(some(["new"]), [Item("new", "cmn", site=bad)])
            with pytest.raises(ValueError, match="has no item"):
                index.item(bad)
            with pytest.raises(ValueError, match="has no item"):
                index.steps(bad)
            assert index.delete([bad]) == 0
            assert index.known([bad]) == set()
            with pytest.raises(UnknownName):
                index.search(some(["q"]), filter=Filter(sites=(bad,)))
        # What the description holds may have any letters.
        index.append(some(["new"]), [Item("new", "cmn", text="a\0b")])
        assert index.item("new").text == "a\0b"
        with pytest.raises(UnknownName, match="else"):
            index.search(some(["q"]), filter=Filter(varieties=(ODD[1], "else")))


def test_a_narrow_filter_gets_its_items_from_a_graph_that_gives_up(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    sequences, items = numbered(300)
    rare = [f"i{number:03d}" for number in range(0, 300, 60)]
    items = [dataclasses.replace(i, site="rare" if i.id in rare else "s") for i in items]
    place = f"{server.url}#narrow"
    EngineIndex.build(place, sequences, items, settings=SETTINGS, graphs=True).close()
    # The graph is left after some rows, and the planner takes it whenever it can.
    monkeypatch.setattr("isogloss.search.engine_shard._MOST_LOOKED_AT", 10)
    given = "-c hnsw.max_scan_tuples=20 -c enable_seqscan=off -c enable_sort=off"
    poor = place.replace("#", f"?options={given.replace(' ', '%20').replace('=', '%3D')}#")
    with EngineIndex.open(poor) as index:
        [shard] = index._shards
        graph = "SELECT id FROM narrow.item ORDER BY bag <#> '{1:1}/256'::sparsevec LIMIT 300"
        assert len(shard._read(graph)) < 300
        hits = index.search(some(["q"]), 5, filter=Filter(sites=("rare",)))
        assert sorted(hits.ids[0]) == rare
        every = index.search(some(["q"]), 300, candidates=300)
        assert len(every.ids[0]) == 300


def test_more_than_there_is_and_nothing_at_all(server: Server) -> None:
    sequences, items = numbered(40)
    with EngineIndex.build(f"{server.url}#few", sequences, items, settings=SETTINGS) as index:
        assert len(index.search(sequences, 1000).ids[3]) == 40
        assert index.delete(index.ids()) == 40
        assert index.search(sequences.select([0]), 3).ids == ((),)
        assert index.search_ranked(sequences.select([0]), 3, exact=True).hits.ids == ((),)
        assert index.check_exactness(sequences.select([0]), k=3).value == 1.0
        assert (len(index), index.ids(), index.groups()) == (0, [], [])
        index.append(sequences, items)
        assert index.search(sequences.select([7]), 1).ids == (("i007",),)
        assert index.verify(deep=True) == []
        units = index.units
    nothing = sequences.select([])
    place = f"{server.url}#nothing"
    with EngineIndex.build(place, nothing, [], settings=SETTINGS, units=units) as index:
        assert index.search(sequences.select([0]), 3).ids == ((),)


def test_one_of_two_builders_of_a_name_is_refused(server: Server) -> None:
    sequences, items = numbered(40)
    place = f"{server.url}#race"
    first_is_inside, may_go_on = threading.Event(), threading.Event()

    def slowly() -> Iterator[Item]:
        first_is_inside.set()
        may_go_on.wait(60)
        yield from items

    def build() -> None:
        EngineIndex.build(place, [sequences], slowly(), settings=SETTINGS).close()

    thread = threading.Thread(target=build)
    thread.start()
    assert first_is_inside.wait(60)
    with pytest.raises(IsoglossError, match=r"another process builds the index .race."):
        EngineIndex.build(place, sequences, items, settings=SETTINGS)
    may_go_on.set()
    thread.join(60)
    with pytest.raises(IsoglossError, match=r"holds an index .race. already"):
        EngineIndex.build(place, sequences, items, settings=SETTINGS)
    with EngineIndex.open(place) as index:
        assert len(index) == 40


def test_nobody_sees_or_ends_a_write_before_its_end(server: Server) -> None:
    sequences, items = numbered(80)
    place = f"{server.url}#seen"
    half = sequences.select(range(40))
    index = EngineIndex.build(place, half, items[:40], settings=SETTINGS)
    seen: list[int] = []
    wrong: list[str] = []

    def pieces() -> Iterator[Sequences]:
        yield sequences.select(range(40, 60))
        # By the same object, as a server does, and by another.
        with EngineIndex.open(place) as other:
            seen.extend([len(index), len(other)])
            mark = other.mark()
        seen.append(len(index.search(half, 80).ids[0]))
        try:
            index._shards[0]._read("SELECT 1 / 0")
        except IsoglossError as error:
            wrong.append(str(error))
        yield sequences.select(range(60, 80))
        assert index.mark() == mark

    before, stamp = index.mark(), index.stamp
    with index:
        index.append(pieces(), items[40:])
        assert seen == [40, 40, 40]
        assert "division by zero" in wrong[0]
        assert len(index) == 80
        assert index.mark() != before
        assert index.stamp != stamp
        assert index.verify(deep=True) == []


def test_many_threads_search_while_one_writes(server: Server) -> None:
    sequences, items = numbered(60)
    with EngineIndex.build(f"{server.url}#many", sequences, items, settings=SETTINGS) as index:
        trouble: list[BaseException] = []
        stop = threading.Event()

        def ask() -> None:
            try:
                while not stop.is_set():
                    assert index.search(sequences.select([5]), 1).ids[0][0] == "i005"
            except BaseException as error:
                trouble.append(error)

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for number in range(10, 20):
            index.delete([f"i{number:03d}"])
            index.append(sequences.select([number]), [items[number]])
        # The connections of all threads are lost at once.
        with psycopg.connect(server.url, autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
        index.append(some(["new"]), [Item("new", "cmn")])
        stop.set()
        for thread in threads:
            thread.join(60)
        assert trouble == []
        assert len(index) == 61


def test_damaged_rows_are_named(server: Server) -> None:
    sequences, items = numbered(40)
    with EngineIndex.build(f"{server.url}#hurt", sequences, items, settings=SETTINGS) as index:
        with psycopg.connect(server.url, autocommit=True) as other:
            other.execute("UPDATE hurt.item SET steps = '\\x00' WHERE id = 'i003'")
            other.execute("DELETE FROM hurt.item WHERE id = 'i004'")
        found = index.verify(deep=True)
        assert len(found) == 2
        assert "item 'i003'" in found[0]
        assert "the rows are damaged" in found[0]
        assert "other units than were counted" in found[1]
        with pytest.raises(ValueError, match="the rows are damaged"):
            index.steps("i003")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:secret@127.0.0.1:1/b",
        "postgresql://u:sec%40ret@127.0.0.1:1/b",
        "postgresql://u:pa@secret@127.0.0.1:1/b",
        "postgresql://u:pa/secret@127.0.0.1:1/b",
        "postgresql://u:%zzsecret@127.0.0.1:1/b",
        "postgresql://u@127.0.0.1:1/b?password=secret",
        "postgresql://127.0.0.1:1/b?user=u&PASSWORD=secret&sslpassword=secret",
        "postgresql://u@127.0.0.1:1/b,postgresql://u:secret@127.0.0.1:1/b",
    ],
)
def test_a_password_is_never_shown(url: str) -> None:
    assert "secret" not in str(EnginePlace.of(url)).replace("sec%40ret", "secret")
    with pytest.raises((IndexUnavailable, ValueError)) as caught:
        EngineIndex.open(url)
    error: BaseException | None = caught.value
    while error is not None:
        assert "secret" not in str(error).replace("sec%40ret", "secret")
        error = None if error.__suppress_context__ else error.__context__
