from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from isogloss.bench.examples import pack_map, unpack_map
from isogloss.scores import similarity_map


@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 30), st.integers(1, 30)),
        elements=st.floats(-1, 1, width=32),
    )
)
def test_a_packed_map_comes_back(cosines) -> None:
    found = unpack_map(pack_map(cosines, 0.04))
    assert found.levels.shape == cosines.shape
    assert np.abs(found.values - cosines).max() <= 1 / 255 + 1e-6
    seconds = (cosines.shape[0] * 0.04, cosines.shape[1] * 0.04)
    assert (found.query_seconds, found.target_seconds) == pytest.approx(seconds)


def test_a_huge_map_keeps_its_peaks_and_its_seconds() -> None:
    cosines = np.full((1500, 700), -0.5, dtype=np.float32)
    cosines[1499, 699] = 1.0
    found = unpack_map(pack_map(cosines, 0.01))
    assert found.pooled == 3
    assert found.levels.shape == (500, 234)
    assert found.values[-1, -1] == 1.0
    assert (found.query_seconds, found.target_seconds) == pytest.approx((15.0, 7.0))


def test_examples_are_right_and_wrong_and_from_several_pairs(finished) -> None:
    examples = finished.results[0].examples
    assert [e["right"] for e in examples] == [True] * 3 + [False] * 3
    assert len({(e["query"], e["target"]) for e in examples}) >= 4
    for e in examples:
        assert e["right"] == (e["hit_id"] == e["target_id"])
        assert set(e["maps"]) == ({"target"} if e["right"] else {"target", "hit"})
        # Only hak confuses anything.
        assert e["right"] or "hak" in (e["query"], e["target"])


def test_maps_are_those_of_the_scores(finished) -> None:
    encoder = finished.encoders["own:exp/a"]
    items = {item.id: item for item in finished.corpus.items}
    for e in finished.results[0].examples:
        for which, stored in e["maps"].items():
            steps = encoder._steps([items[e["query_id"]], items[e[f"{which}_id"]]])
            true = similarity_map(steps[0], steps[1])
            assert np.abs(unpack_map(stored).values - true).max() <= 1 / 255 + 1e-6


def test_a_constant_encoder_shows_an_answer_it_tied_with(finished) -> None:
    for e in finished.results[1].examples:
        assert not e["right"]
        assert e["hit_id"] != e["target_id"]
        assert e["hit_score"] == e["score"]
