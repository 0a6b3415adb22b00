"""What every index offers: steps and vectors in a folder, and steps in an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("numba")

from isogloss.search.index_protocol import ItemGroup
from isogloss.search.index_settings import IndexSettings
from isogloss.search.open import is_index, open_index
from isogloss.search.sequence_index import SequenceIndex
from isogloss.search.store_filter import Filter
from isogloss.search.vector_index import VectorIndex
from isogloss.types import Item, Sequences, Vectors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from isogloss.search.index_protocol import SearchIndex

NAMES = [f"i{number:02d}" for number in range(40)]
ITEMS = [
    Item(name, ("cmn", "yue")[number % 2], site=(None, "a", "b")[number % 3])
    for number, name in enumerate(NAMES)
]
SETTINGS = IndexSettings(units=256, iterations=2)


def content(kind: str) -> Sequences | Vectors:
    rng = np.random.default_rng(0)
    steps = [rng.standard_normal((8, 12), dtype=np.float32) for _ in NAMES]
    if kind == "vectors":
        return Vectors(tuple(NAMES), np.concatenate([some[:1] for some in steps]))
    return Sequences.from_list(NAMES, steps, step_seconds=0.04)


@pytest.fixture(params=["sequences", "vectors", "engine"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SearchIndex]:
    given = content(request.param)
    place = tmp_path / "index"
    if isinstance(given, Vectors):
        VectorIndex.build(place, given, ITEMS)
    elif request.param == "sequences":
        SequenceIndex.build(place, given, ITEMS, settings=SETTINGS)
    else:
        pytest.importorskip("psycopg")
        from engine_makers import need_servers, open_folder
        from isogloss.search.engine import EngineIndex

        need_servers()
        place = open_folder() / "index"
        EngineIndex.build(place, given, ITEMS, settings=SETTINGS).close()
    assert is_index(place)
    assert not is_index(tmp_path / "else")
    opened = open_index(place)
    assert opened.shown == str(place)
    yield opened
    opened.close()


def test_every_index_answers_the_same_calls(index: SearchIndex) -> None:
    given = content(index.kind)
    vectors = index.kind == "vectors"
    assert index.step_seconds == (None if vectors else 0.04)
    assert (len(index), index.dimensions, index.made_by) == (40, 12, "")
    assert sorted(index.ids()) == NAMES
    assert index.ids() == index.ids()
    wanted = [item.id for item in ITEMS if item.variety == "yue" and item.site == "b"]
    assert sorted(index.ids(Filter(varieties=("yue",), sites=("b",)))) == wanted
    assert index.known([*NAMES[:3], "nobody"]) == set(NAMES[:3])
    assert index.items([NAMES[5], "nobody"]) == {NAMES[5]: ITEMS[5]}
    assert index.item(NAMES[5]) == ITEMS[5]
    assert index.step_count(NAMES[5]) == len(index.steps(NAMES[5])) == (1 if vectors else 8)
    for call in (index.item, index.steps, index.step_count):
        with pytest.raises(ValueError, match="no item 'nobody'"):
            call("nobody")
    groups = {(group.variety, group.site): group for group in index.groups()}
    assert len(groups) == 6
    for (variety, site), group in groups.items():
        alike = {item.id for item in ITEMS if (item.variety, item.site) == (variety, site)}
        assert group == ItemGroup(variety, site, len(alike), group.example)
        assert group.example in alike
    assert index.figures()["bytes"] > 40 * 12
    assert index.search(given, 1).ids == tuple((name,) for name in NAMES)
    assert index.search_ranked(given, 1, exact=True).exact
    assert index.check_exactness(given, k=3).value > 0.9


def test_a_write_of_another_object_shows_and_is_taken_over(index: SearchIndex) -> None:
    mark, stamp, version = index.mark(), index.stamp, index.version
    same = index.newest()
    assert (same.mark(), same.stamp, same.version) == (mark, stamp, version)
    other = open_index(index.shown)
    assert other.delete([NAMES[0]]) == 1
    other.compact()
    other.close()
    assert index.mark() != mark
    newest = index.newest()
    assert newest.version > version
    assert newest.stamp != stamp
    assert len(newest) == 39
    assert sum(group.items for group in newest.groups()) == 39
    assert newest.known(NAMES) == set(NAMES[1:])
