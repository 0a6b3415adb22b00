from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isogloss.measures import v_measure


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40))
def test_equals_the_peer(pairs: list[tuple[int, int]]) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    classes, clusters = zip(*pairs, strict=True)
    expected = metrics.homogeneity_completeness_v_measure(classes, clusters)
    found = v_measure(classes, clusters)
    assert (found.homogeneity, found.completeness, found.v) == pytest.approx(expected, abs=1e-9)


def test_by_hand() -> None:
    assert v_measure(["a", "a", "b", "b"], [7, 7, 1, 1]).v == 1.0
    merged = v_measure(["a", "a", "b", "b"], [0, 0, 0, 0])
    assert (merged.homogeneity, merged.completeness, merged.v) == (0.0, 1.0, 0.0)
    single = v_measure(["a", "a", "b", "b"], [0, 1, 2, 3])
    assert (single.homogeneity, single.completeness) == pytest.approx((1.0, 0.5))
    assert v_measure([], []).v == 1.0
    with pytest.raises(ValueError, match="2 classes for 1"):
        v_measure([1, 2], [1])
