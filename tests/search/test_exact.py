from __future__ import annotations

import importlib
import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isogloss.errors import UnknownName
from isogloss.scores import seqsim
from isogloss.search import exact
from isogloss.search.exact import fast_int8, nearest
from isogloss.types import Sequences
from sequence_makers import KINDS, awkward_sequences

METHODS = ("int8", "float32")


def by_hand(queries: Sequences, items: Sequences, k: int) -> tuple[list, list, list]:
    """Ids, scores and ties of the k best, by sorting whole rows of scores."""
    ids, scores, tied = [], [], []
    for row in seqsim(queries, items):
        order = sorted(range(len(items)), key=lambda i: (-row[i], items.ids[i]))
        ids.append(tuple(items.ids[i] for i in order[:k]))
        scores.append(tuple(float(row[i]) for i in order[:k]))
        near = [{*order[max(n - 1, 0) : n + 2]} - {i} for n, i in enumerate(order)]
        tied.append(tuple(any(row[j] == row[i] for j in near[n]) for n, i in enumerate(order[:k])))
    return ids, scores, tied


def joined(parts: list[Sequences]) -> Sequences:
    return Sequences.from_list(
        [name for part in parts for name in part.ids],
        [part[i] for part in parts for i in range(len(part))],
    )


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from(KINDS), min_size=1, max_size=4, unique=True),
    st.sampled_from(KINDS),
    st.integers(0, 100_000),
    st.integers(1, 25),
    st.sampled_from([1, 2, 3, 4, 17, 96]),
    st.sampled_from([256.0, 0.001]),
)
def test_int8_is_float32_is_sorting_by_hand(
    kinds: list[str], query: str, seed: int, k: int, dimensions: int, budget: float
) -> None:
    queries = awkward_sequences(query, 5, dimensions, seed)
    items = joined(
        [awkward_sequences(kind, 15, dimensions, seed + n + 1) for n, kind in enumerate(kinds)]
    )
    ids, scores, tied = by_hand(queries, items, k)
    for method in METHODS:
        ranking = nearest(queries, items, k, method=method, memory_budget_mb=budget)
        assert ranking.hits.query_ids == queries.ids
        assert list(ranking.hits.ids) == ids
        assert list(ranking.hits.scores) == scores
        assert list(ranking.tied) == tied
        assert ranking.exact


@pytest.mark.parametrize("kind", KINDS)
def test_queries_among_the_items(kind: str) -> None:
    items = awkward_sequences(kind, 30, 12, 5)
    rankings = [nearest(items, items, 4, method=method, threads=2) for method in METHODS]
    assert rankings[0].hits == rankings[1].hits
    assert rankings[0].tied == rankings[1].tied
    assert list(rankings[0].hits.ids) == by_hand(items, items, 4)[0]


def test_ties_by_hand() -> None:
    east, north = np.array([[1, 0]], np.float32), np.array([[0, 1]], np.float32)
    both = np.array([[1, 0], [0, 1]], np.float32)
    items = Sequences.from_list(list("dcbae"), [both, east * 3, east, both * 2, north])
    queries = Sequences.from_list(["q"], [east])
    for method in METHODS:
        ranking = nearest(queries, items, 3, method=method)
        assert ranking.hits.ids == (("b", "c", "a"),)
        assert ranking.hits.scores[0] == pytest.approx((1, 1, 2 / 3))
        # 'a' ties with 'd', which is just behind the answer.
        assert ranking.tied == ((True, True, True),)
        every = nearest(queries, items, 9, method=method)
        assert every.hits.ids == (("b", "c", "a", "d", "e"),)
        assert every.hits.scores[0][-1] == 0
        assert every.tied == ((True, True, True, True, False),)


def clustered(count: int, seed: int) -> Sequences:
    """Sequences around 10 far-apart centres, so that most items cannot be among the best."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((10, 64))
    arrays = [
        centres[n % 10] + 0.3 * rng.standard_normal((rng.integers(5, 20), 64)) for n in range(count)
    ]
    return Sequences.from_list(
        [f"{seed}-{n:04d}" for n in range(count)], [array.astype(np.float32) for array in arrays]
    )


def test_int8_rescores_few() -> None:
    if not fast_int8():
        pytest.skip("int8 is float32 on this processor")
    queries, items = clustered(150, 1), clustered(400, 2)
    ranking = nearest(queries, items, 5, method="int8")
    assert max(ranking.scored) <= 80
    assert min(ranking.scored) >= 5
    whole = nearest(queries, items, 5, method="float32")
    assert whole.hits == ranking.hits
    assert whole.scored == (400,) * 150


def test_scores_that_are_all_alike_go_to_float32_at_once() -> None:
    rng = np.random.default_rng(0)
    noise = Sequences(
        tuple(f"{n:03d}" for n in range(150)),
        rng.standard_normal((150 * 60, 256)).astype(np.float32),
        np.arange(0, 150 * 60 + 1, 60),
    )
    items = noise.select(range(100, 140))
    queries = Sequences(noise.ids, rng.permuted(noise.values, axis=1), noise.offsets)
    ranking = nearest(queries, items, 2, method="int8")
    assert ranking.scored == (40,) * 150


def test_nothing_to_find_and_nothing_to_seek() -> None:
    items = awkward_sequences("noise", 5, 8, 0)
    none = items.select([])
    for method in METHODS:
        assert nearest(items, none, 3, method=method).hits.ids == ((),) * 5
        assert nearest(items, none, 3, method=method).tied == ((),) * 5
        assert nearest(none, items, 3, method=method).hits.ids == ()


def test_steps_of_no_dimensions_score_nothing() -> None:
    items = Sequences(("b", "a"), np.zeros((3, 0), np.float32), np.array([0, 2, 3]))
    for method in METHODS:
        ranking = nearest(items, items, 1, method=method)
        assert ranking.hits.ids == (("a",), ("a",))
        assert ranking.hits.scores == ((0.0,), (0.0,))
        assert ranking.tied == ((True,), (True,))


def test_bad_input() -> None:
    items = awkward_sequences("noise", 5, 8, 0)
    with pytest.raises(UnknownName, match="unknown method 'int4'; did you mean int8"):
        nearest(items, items, 3, method="int4")
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        nearest(items, items, 0)
    with pytest.raises(ValueError, match="8 and 9 dimensions"):
        nearest(items, awkward_sequences("noise", 5, 9, 0), 1)
    with pytest.raises(ValueError, match="memory_budget_mb must be positive"):
        nearest(items, items, 1, memory_budget_mb=-1)
    with pytest.raises(ValueError, match="positive and finite, got inf"):
        nearest(items, items, 1, memory_budget_mb=float("inf"))
    with pytest.raises(ValueError, match="threads must be at least 1"):
        nearest(items, items, 1, threads=0)
    hollow = Sequences(("hollow",), items.values[:0], np.zeros(2, np.int64))
    items.values[3, 1] = np.nan
    for method in METHODS:
        with pytest.raises(ValueError, match="NaN or infinity"):
            nearest(hollow.select([]), items, 1, method=method)
        with pytest.raises(ValueError, match="'hollow' has no steps"):
            nearest(hollow, hollow, 1, method=method)


def test_without_fast_int8_it_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    queries, items = awkward_sequences("noise", 4, 8, 0), awkward_sequences("zero steps", 9, 8, 1)
    expected = nearest(queries, items, 3, method="float32")
    for module in ("isogloss.scores.seqsim", "isogloss.search.exact"):
        monkeypatch.setattr(importlib.import_module(module), "compiled_loops", lambda: False)
    assert not fast_int8()
    with caplog.at_level(logging.WARNING, logger="isogloss.search.exact"):
        ranking = nearest(queries, items, 3, method="int8", memory_budget_mb=0.001)
    assert "int8 is not fast here" in caplog.text
    assert ranking.hits.ids == expected.hits.ids
    np.testing.assert_allclose(ranking.hits.scores, expected.hits.scores, atol=1e-6)


def test_on_another_device(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="needs the extra speech").set_num_threads(1)
    queries, items = awkward_sequences("noise", 4, 8, 0), awkward_sequences("zero steps", 9, 8, 1)
    expected = nearest(queries, items, 3, method="float32")
    tables = exact._tables_elsewhere(queries, items, 0.0003, 1, "cpu:0")
    scores = np.concatenate(list(tables))
    np.testing.assert_allclose(scores, seqsim(queries, items), atol=1e-6)
    ranking = nearest(queries, items, 3, device="cpu:0")
    assert ranking.hits.ids == expected.hits.ids
    np.testing.assert_allclose(ranking.hits.scores, expected.hits.scores, atol=1e-6)
