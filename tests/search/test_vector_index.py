from __future__ import annotations

import dataclasses
import signal
from typing import TYPE_CHECKING

import numpy as np
import pytest

from index_makers import run_python
from isogloss.errors import IsoglossError, UnknownName
from isogloss.search.open import open_index
from isogloss.search.store import Filter, Store, verify
from isogloss.search.vector_index import VectorIndex
from isogloss.search.vector_settings import VectorSettings
from isogloss.types import Item, Vectors
from search_mining_makers import items_of, unit_grid

if TYPE_CHECKING:
    from pathlib import Path

FLAT = VectorSettings(graph="none")
# A graph from 40 rows on, so that small tests walk one.
GRAPH = VectorSettings(flat_below=40, segment_items=300, links=8, build_breadth=40, breadth=64)


def vectors(count: int, dimensions: int = 12, seed: int = 0, prefix: str = "u") -> Vectors:
    values = unit_grid(count, dimensions, seed) + 2
    return Vectors(tuple(f"{prefix}{i:04d}" for i in range(count)), values, "test;pool=mean")


def by_hand(index: Vectors, queries: Vectors, k: int, centre: np.ndarray) -> list[list[str]]:
    def unit(values: np.ndarray) -> np.ndarray:
        moved = values.astype(np.float64) - centre
        return moved / np.linalg.norm(moved, axis=1, keepdims=True)

    scores = unit(queries.values) @ unit(index.values).T
    return [[index.ids[i] for i in np.argsort(-row)[:k]] for row in scores]


def test_hits_are_the_cosines_from_the_centre(tmp_path: Path) -> None:
    inside, asked = vectors(60), vectors(5, seed=1, prefix="q")
    index = VectorIndex.build(tmp_path / "i", inside, items_of(inside.ids), settings=FLAT)
    ranking = index.search_ranked(asked, 7)
    centre = inside.values.mean(axis=0, dtype=np.float64)
    assert [list(ids) for ids in ranking.hits.ids] == by_hand(inside, asked, 7, centre)
    assert ranking.exact
    assert ranking.scored == (60,) * 5
    assert ranking.hits.query_ids == asked.ids
    again = VectorIndex.open(tmp_path / "i")
    assert again.search(asked, 7) == ranking.hits
    assert (len(again), again.made_by, again.dimensions) == (60, inside.made_by, 12)
    assert verify(tmp_path / "i") == []


def test_a_build_that_fails_or_is_killed_leaves_no_index(tmp_path: Path) -> None:
    inside = vectors(30)
    with pytest.raises(ValueError, match="'u0029' has no item"):
        VectorIndex.build(tmp_path / "i", inside, items_of(inside.ids[:29]), settings=FLAT)
    assert list(tmp_path.iterdir()) == []
    script = """
import os, signal, sys
from search_mining_makers import items_of
from isogloss.search.vector_index import VectorIndex
from isogloss.search.vector_settings import VectorSettings
from isogloss.types import Vectors
import numpy as np
ids = tuple(map(str, range(30)))
def items():
    yield from items_of(ids)
    os.kill(os.getpid(), signal.SIGKILL)
made = [Vectors(ids, np.eye(30, dtype=np.float32), "m")] * 1
VectorIndex.build(sys.argv[1], made, items(), settings=VectorSettings(segment_items=10))
"""
    assert run_python(script, str(tmp_path / "i")).returncode == -signal.SIGKILL
    assert not (tmp_path / "i").exists()
    index = VectorIndex.build(tmp_path / "i", inside, items_of(inside.ids), settings=FLAT)
    assert len(index) == 30
    assert [path.name for path in tmp_path.iterdir()] == ["i"]


def test_without_a_centre_cosines_are_plain(tmp_path: Path) -> None:
    inside, asked = vectors(30), vectors(3, seed=1, prefix="q")
    settings = dataclasses.replace(FLAT, center=False)
    index = VectorIndex.build(tmp_path / "i", inside, items_of(inside.ids), settings=settings)
    found = [list(ids) for ids in index.search(asked, 4).ids]
    assert found == by_hand(inside, asked, 4, np.zeros(12))


def test_pieces_and_appends_find_what_one_build_finds(tmp_path: Path) -> None:
    inside, asked = vectors(90), vectors(4, seed=1, prefix="q")
    items = items_of(inside.ids)
    centre = inside.values.mean(axis=0)
    whole = VectorIndex.build(tmp_path / "a", inside, items, settings=FLAT, centre=centre)
    small = dataclasses.replace(FLAT, segment_items=16)
    pieces = [
        Vectors(inside.ids[i : i + 25], inside.values[i : i + 25], inside.made_by)
        for i in range(0, 50, 25)
    ]
    parts = VectorIndex.build(
        tmp_path / "b", iter(pieces), items[:50], settings=small, centre=centre
    )
    parts.append(Vectors(inside.ids[50:], inside.values[50:], inside.made_by), items[50:])
    assert len(parts.store.segments) > 3
    assert parts.search_ranked(asked, 10) == dataclasses.replace(
        whole.search_ranked(asked, 10), scored=(90,) * 4
    )
    parts.compact()
    assert parts.search_ranked(asked, 10).hits == whole.search(asked, 10)


def test_the_graph_finds_nearly_all_and_says_it_is_not_exact(tmp_path: Path) -> None:
    inside, asked = vectors(600), vectors(50, seed=1, prefix="q")
    index = VectorIndex.build(tmp_path / "i", inside, items_of(inside.ids), settings=GRAPH)
    assert len(index.store.segments) == 2
    ranking = index.search_ranked(asked, 10)
    assert not ranking.exact
    assert max(ranking.scored) < 600
    checked = index.check_exactness(asked, k=10, sample=30)
    assert checked.value >= 0.97
    assert (checked.n, len(checked.item_keys or ())) == (30, 30)
    exact = index.search_ranked(asked, 10, exact=True)
    assert exact.exact
    # A hit that both have has the very same score.
    for mine, theirs in zip(
        zip(*dataclasses.astuple(ranking.hits)[1:], strict=True),
        zip(*dataclasses.astuple(exact.hits)[1:], strict=True),
        strict=True,
    ):
        scores = dict(zip(*theirs, strict=True))
        assert all(scores.get(id, score) == score for id, score in zip(*mine, strict=True))


@pytest.mark.parametrize("share", [0.5, 0.05])
def test_filters_and_deletes_starve_nobody(tmp_path: Path, share: float) -> None:
    inside, asked = vectors(400), vectors(20, seed=1, prefix="q")
    settings = dataclasses.replace(GRAPH, segment_items=1000, flat_below=10)
    items = [
        Item(id, "yue" if i < share * 400 else "cmn", text=id) for i, id in enumerate(inside.ids)
    ]
    index = VectorIndex.build(tmp_path / "i", inside, items, settings=settings)
    gone = list(inside.ids[:4])
    assert index.delete(gone) == 4
    ranking = index.search_ranked(asked, 10, filter=Filter(varieties=("yue",)))
    allowed = {item.id for item in items if item.variety == "yue"} - set(gone)
    assert all(len(ids) == 10 and set(ids) <= allowed for ids in ranking.hits.ids)
    wanted = index.search(asked, len(allowed) + 5, filter=Filter(varieties=("yue",)))
    assert all(set(ids) == allowed for ids in wanted.ids)
    with pytest.raises(UnknownName):
        index.search(asked, filter=Filter(varieties=("hak",)))


def test_deleted_rows_go_at_compaction_and_readers_keep_theirs(tmp_path: Path) -> None:
    inside = vectors(50)
    index = VectorIndex.build(tmp_path / "i", inside, items_of(inside.ids), settings=FLAT)
    reader = VectorIndex.open(tmp_path / "i")
    index.delete(["u0003", "u0004", "not there"])
    index.append(vectors(5, seed=3, prefix="n"), items_of(vectors(5, prefix="n").ids))
    asked = Vectors(("u0003",), inside.values[3:4], inside.made_by)
    before = index.search_ranked(asked, 53)
    index.compact()
    assert len(index.store.segments) == 1
    assert index.store.segments[0].count == len(index) == 53
    assert index.search_ranked(asked, 53) == before
    assert reader.search(asked, 1).ids == (("u0003",),)
    with pytest.raises(ValueError, match="u0003"):
        index.item("u0003")


def test_an_id_twice_is_refused_or_replaced(tmp_path: Path) -> None:
    inside = vectors(10)
    index = VectorIndex.build(tmp_path / "i", inside, items_of(inside.ids), settings=FLAT)
    new = Vectors(("u0002",), -inside.values[2:3], inside.made_by)
    with pytest.raises(ValueError, match="u0002"):
        index.append(new, items_of(("u0002",)))
    assert len(index) == 10
    index.append(new, items_of(("u0002",)), replace=True)
    assert len(index) == 10
    assert np.allclose(index.steps("u0002"), new.values, atol=1e-5)


def test_vectors_come_back_as_they_went_in(tmp_path: Path) -> None:
    inside = vectors(20)
    index = VectorIndex.build(tmp_path / "i", inside, items_of(inside.ids), settings=FLAT)
    out = index.vectors()
    assert out.ids == inside.ids
    assert np.allclose(out.values, inside.values, atol=1e-5)
    assert index.steps("u0007").shape == (1, 12)
    assert index.item("u0007").speaker == "s1"
    assert index.vectors(Filter(speakers=("s2",))).ids == inside.ids[2::3]


def test_ties_are_told_and_stand_in_the_order_of_ids(tmp_path: Path) -> None:
    values = np.array([[1, 0], [2, 0], [0, 1], [3, 0], [4, 0]], np.float32)
    inside = Vectors(("d", "a", "x", "c", "b"), values, "test")
    settings = dataclasses.replace(FLAT, center=False, segment_items=2)
    index = VectorIndex.build(tmp_path / "i", inside, items_of(inside.ids), settings=settings)
    asked = Vectors(("q", "zero"), np.array([[1, 0], [0, 0]], np.float32), "test")
    ranking = index.search_ranked(asked, 2)
    assert ranking.hits.ids == (("a", "b"), ("a", "b"))
    assert ranking.tied == ((True, True), (True, True))
    assert ranking.hits.scores == ((1.0, 1.0), (0.0, 0.0))
    every = index.search_ranked(asked, 9)
    assert every.hits.ids[0] == ("a", "b", "c", "d", "x")
    assert every.tied[0] == (True, True, True, True, False)


def test_an_empty_index_answers_with_nothing(tmp_path: Path) -> None:
    inside = vectors(3)
    index = VectorIndex.build(tmp_path / "i", inside, items_of(inside.ids), settings=FLAT)
    index.delete(inside.ids)
    assert index.search(inside, 5).ids == ((), (), ())
    index.compact()
    assert len(index) == 0
    assert index.search(inside, 5).scores == ((), (), ())
    assert index.check_exactness(inside).value == 1


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    inside = vectors(5)
    items = items_of(inside.ids)
    index = VectorIndex.build(tmp_path / "i", inside, items, settings=FLAT)
    with pytest.raises(ValueError, match="made by 'other'"):
        index.search(Vectors(inside.ids, inside.values, "other"))
    with pytest.raises(ValueError, match="3 dimensions, the index 12"):
        index.search(vectors(2, 3))
    with pytest.raises(ValueError, match="k and candidates must be at least 1"):
        index.search(inside, 0)
    with pytest.raises(ValueError, match="budget_ms"):
        index.search(inside, budget_ms=0)
    broken = Vectors(("q",), np.full((1, 12), np.inf, np.float32), inside.made_by)
    with pytest.raises(ValueError, match="item 'q' holds NaN"):
        index.search(broken)
    with pytest.raises(ValueError, match="meets item 'u0001'"):
        VectorIndex.build(tmp_path / "j", inside, items[1:], settings=FLAT)
    with pytest.raises(ValueError, match="have no vector"):
        VectorIndex.build(tmp_path / "k", vectors(4), items, settings=FLAT)
    with pytest.raises(ValueError, match="pass centre"):
        VectorIndex.build(tmp_path / "l", iter([inside]), items, settings=FLAT)
    with pytest.raises(ValueError, match="no vector"):
        VectorIndex.build(tmp_path / "m", [], [], settings=FLAT)


def test_either_kind_is_opened_and_no_other(tmp_path: Path) -> None:
    inside = vectors(5)
    VectorIndex.build(tmp_path / "i", inside, items_of(inside.ids), settings=FLAT)
    assert isinstance(open_index(tmp_path / "i"), VectorIndex)
    Store.create(tmp_path / "other", kind="spectra", settings={}, shared={})
    with pytest.raises(UnknownName, match="spectra"):
        open_index(tmp_path / "other")
    with pytest.raises(IsoglossError, match="spectra"):
        VectorIndex.open(tmp_path / "other")
    with pytest.raises(FileNotFoundError):
        open_index(tmp_path / "nothing")
