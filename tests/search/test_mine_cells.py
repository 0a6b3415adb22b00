from __future__ import annotations

import numpy as np
import pytest

from isogloss.search.mine import MiningSettings, mine
from isogloss.search.mine_cells import CellSide, cells_for
from isogloss.search.mine_sides import VectorSide, check_sides
from isogloss.search.mine_sources import SourceOptions, open_source
from isogloss.types import Vectors

pytest.importorskip("faiss")


def vectors(count: int, seed: int, side: str = "a") -> Vectors:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((count, 8)).astype(np.float32)
    return Vectors(tuple(f"{side}{i:04d}" for i in range(count)), values, "made")


def test_all_cells_give_what_exact_search_gives() -> None:
    known, questions = vectors(200, 0), vectors(30, 1, "q")
    exact = VectorSide(known)
    cells = CellSide(known, cells=7, probes=7)
    asked = VectorSide(questions).asked(0, 30)
    for k in (1, 5):
        wanted, found = exact.nearest(asked, k), cells.nearest(asked, k)
        np.testing.assert_array_equal(found.columns, wanted.columns)
        np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-6)


def test_fewer_cells_miss_some_and_more_find_more() -> None:
    known, questions = vectors(2000, 0), vectors(100, 1, "q")
    asked = VectorSide(questions).asked(0, 100)
    best = VectorSide(known).nearest(asked, 1).columns
    share = [
        (CellSide(known, cells=40, probes=p).nearest(asked, 1).columns == best).mean()
        for p in (1, 8, 40)
    ]
    assert share[0] < share[1] <= share[2] == 1


def test_the_block_does_not_change_a_score_and_centring_does() -> None:
    side = CellSide(vectors(300, 0), cells=10, probes=3)
    asked = VectorSide(vectors(20, 1, "q")).asked(0, 20)
    whole = side.nearest(asked, 4)
    one = side.nearest(Vectors(asked.ids[7:8], asked.values[7:8], "made"), 4)
    np.testing.assert_array_equal(one.columns[0], whole.columns[7])
    np.testing.assert_array_equal(one.scores[0], whole.scores[7])
    centred = CellSide(vectors(300, 0), center=True, cells=10, probes=10)
    assert not np.array_equal(centred.nearest(asked, 4).scores, whole.scores)


def test_equal_rows_come_in_the_order_of_ids_and_short_lists_are_padded() -> None:
    values = np.tile(np.array([[1.0, 0.0]], np.float32), (3, 1))
    side = CellSide(Vectors(("c", "a", "b"), values, "made"), cells=1, probes=1)
    found = side.nearest(side.asked(0, 1), 5)
    assert found.columns.tolist() == [[1, 2, 0, -1, -1]]
    assert found.scores.tolist() == [[1, 1, 1, 0, 0]]


def test_mining_between_cells_finds_planted_pairs(tmp_path) -> None:
    rng = np.random.default_rng(5)
    values = rng.standard_normal((600, 24)).astype(np.float32)
    near = (values + 0.1 * rng.standard_normal(values.shape)).astype(np.float32)
    a = CellSide(Vectors(tuple(f"a{i:04d}" for i in range(600)), values, "made"), probes=8)
    b = CellSide(Vectors(tuple(f"b{i:04d}" for i in range(600)), near, "made"), probes=8)
    settings = MiningSettings(block_items=100)
    mined = mine(a, b, tmp_path / "work", settings=settings)
    assert (mined.pairs.a == mined.pairs.b).mean() > 0.99 and len(mined.pairs) > 550
    # The same job goes on with what is there; another number of cells is another job.
    again = mine(a, b, tmp_path / "work", settings=settings)
    np.testing.assert_array_equal(again.pairs.margin, mined.pairs.margin)
    assert a.described["probes"] == 8 and a.described["cells"] == cells_for(600)
    check_sides(a, b)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="probes must be at least 1"):
        CellSide(vectors(10, 0), probes=0)
    with pytest.raises(ValueError, match="cells from 1 to 10"):
        CellSide(vectors(10, 0), cells=11)
    bad = vectors(10, 0)
    bad.values[3, 2] = np.nan
    with pytest.raises(ValueError, match="a0003"):
        CellSide(bad)
    assert cells_for(1) == 1 and cells_for(1_000_000) == 4000


def test_a_folder_of_steps_is_divided_when_probes_are_named(tmp_path) -> None:
    from isogloss.encoders.shards import encode_to_folder
    from isogloss.types import Item

    items = [Item(f"i{n}", "eng", None, text=f"sentence number {n}") for n in range(40)]
    encode_to_folder("ngram:?dimension=64", items, tmp_path / "steps")
    divided = SourceOptions(pool=True, probes=2)
    side = open_source(tmp_path / "steps", tmp_path / "work", divided).side
    assert isinstance(side, CellSide) and side.described["probes"] == 2
    whole = open_source(tmp_path / "steps", tmp_path / "work", SourceOptions(pool=True)).side
    assert not isinstance(whole, CellSide)
    with pytest.raises(ValueError, match="probes are for pooled vectors"):
        open_source(tmp_path / "steps", tmp_path / "work", SourceOptions(probes=2))
