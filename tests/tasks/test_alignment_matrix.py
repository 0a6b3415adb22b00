from __future__ import annotations

import numpy as np
import pytest

from alignment_makers import parallel_texts
from isogloss.tasks.alignment_matrix import (
    VarietySimilarity,
    distance_estimates,
    map_places,
    similarity_matrix,
    source_choice,
    variety_tree,
)
from isogloss.tasks.alignment_pairs import make_draws
from isogloss.tasks.alignment_sets import AlignedSets, aligned_sets

NAMES = ("a", "b", "c", "d", "e")


def of_places(places: np.ndarray, samples: int = 3) -> VarietySimilarity:
    distances = np.linalg.norm(places[:, None] - places, axis=2)
    values = 1 - distances
    names = tuple(f"v{i}" for i in range(len(places)))
    shared = np.full(distances.shape, 9)
    return VarietySimilarity(names, values, np.tile(values, (samples, 1, 1)), shared)


def test_matrix_by_hand() -> None:
    sets = aligned_sets(parallel_texts(("eng", "deu"), 2), takes_text=True)
    place = {item.id: i for i, item in enumerate(sets.items)}
    vectors = np.zeros((4, 2), dtype=np.float32)
    for id_, row in (("eng-000", (1, 0)), ("deu-000", (2, 0)), ("eng-001", (0, 1)),
                     ("deu-001", (3, 3))):  # fmt: skip
        vectors[place[id_]] = row
    found = similarity_matrix(vectors, sets, make_draws(2, resamples=10))
    assert found.values[0, 1] == pytest.approx((1 + np.sqrt(0.5)) / 2)
    assert found.shared.tolist() == [[2, 2], [2, 2]]
    allowed = np.round([1.0, np.sqrt(0.5), (1 + np.sqrt(0.5)) / 2], 6)
    assert set(np.round(found.samples[:, 0, 1], 6)) <= set(allowed)


def test_varieties_that_share_nothing_fall_out_of_tree_and_map() -> None:
    table = np.array([[0, 1, -1, -1], [2, 3, 4, 5], [-1, -1, 6, 7]])
    corpus = parallel_texts(("eng", "deu", "fra"), 4)
    sets = AlignedSets(
        ("eng", "deu", "fra"), ("m", "n", "o", "p"), corpus.items[:8], table, NAMES[:3]
    )
    found = similarity_matrix(np.eye(8, dtype=np.float32), sets, make_draws(4, resamples=4))
    assert np.isnan(found.values[0, 2])
    tree = variety_tree(found)
    assert tree is not None and len(tree["names"]) == 2
    assert len(tree["left_out"]) == 1
    assert len(map_places(found)[0]) == 2


def test_planted_tree_and_map() -> None:
    places = np.array([[0.0, 0], [0.01, 0], [0.3, 0], [0.3, 0.02], [0.1, 0.2]])
    similar = of_places(places)
    tree = variety_tree(similar)
    assert tree is not None
    assert tree["linkage"][0][:3] == pytest.approx([0, 1, 0.01])
    assert tree["linkage"][1][:3] == pytest.approx([2, 3, 0.02])
    names, found = map_places(similar)
    assert names == list(similar.names)
    again = np.linalg.norm(found[:, None] - found, axis=2)
    assert again == pytest.approx(1 - similar.values, abs=1e-7)


def test_correlation_with_planted_distances() -> None:
    places = np.random.default_rng(0).normal(size=(8, 2)) / 10
    similar = of_places(places)
    notes: dict[str, str] = {}
    gaps = 100 * (1 - similar.values)
    gaps[7] = gaps[:, 7] = np.nan
    few = np.full((8, 8), np.nan)
    few[:3, :3] = 1
    found = distance_estimates(
        similar,
        {"geographic": gaps, "phones": few, "flat": np.ones((8, 8))},
        permutations=199,
        notes=notes,
    )
    assert [one.name for one in found] == ["correlation with geographic distance"]
    assert found[0].value == pytest.approx(1.0)
    assert found[0].n == 7
    assert "Mantel p 0.005" in found[0].note
    assert notes == {
        "distance phones": "known for 3 varieties that can be compared; 4 are needed",
        "distance flat": "all equal among these varieties",
    }


def test_sources_in_order_with_how_firm_they_are() -> None:
    values = np.array([[1, 0.9, 0.5], [0.9, 1, 0.6], [0.5, 0.6, 1]])
    samples = np.stack([values, values, values])
    samples[2, 0] = [1, 0.4, 0.5]
    similar = VarietySimilarity(("a", "b", "c"), values, samples, np.full((3, 3), 5))
    rows, stability = source_choice(similar)
    assert [(row["target"], row["source"]) for row in rows] == [("a", "b"), ("b", "a"), ("c", "b")]
    assert rows[0]["ranks"] == ["b", "c"]
    assert [row["stability"] for row in rows] == pytest.approx([2 / 3, 1, 1])
    assert stability is not None and stability.value == pytest.approx(8 / 9)
    assert source_choice(of_places(np.eye(2)))[1] is None
