from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_makers import planted, sequences_of
from isogloss.search import index_kernels
from isogloss.search.encoding import encode_segment, rebuilt_steps
from isogloss.search.index_settings import IndexSettings
from isogloss.search.interaction import UnitTable
from isogloss.search.postings import (
    document_counts,
    inverse_frequencies,
    postings_of,
    query_weights,
)
from isogloss.search.units import Units, train_units

if TYPE_CHECKING:
    from isogloss.types import Sequences


def encoded(
    count: int = 80, *, residuals: str = "int8", seed: int = 0
) -> tuple[Sequences, Sequences, Units, dict[str, np.ndarray]]:
    sequences, queries = planted(count, seed=seed)
    chosen = IndexSettings(units=256, iterations=3, residuals=residuals)  # type: ignore[arg-type]
    units = train_units(sequences.values, chosen)
    return sequences, queries, units, encode_segment(sequences, units, chosen)


def unit_length(steps: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(steps, axis=1, keepdims=True)
    return np.divide(steps, norms, out=np.zeros_like(steps), where=norms > 0)


def units_of_item(arrays: dict[str, np.ndarray], row: int) -> np.ndarray:
    first, last = arrays["run_offsets"][row], arrays["run_offsets"][row + 1]
    return np.repeat(arrays["run_units"][first:last], arrays["run_lengths"][first:last])


class TestInteraction:
    @pytest.mark.parametrize("steps", [1, 7, 1500])
    def test_equals_seqsim_with_centroids_for_steps(self, steps: int) -> None:
        _, _, units, arrays = encoded()
        rng = np.random.default_rng(1)
        query = unit_length(rng.standard_normal((steps, 16)).astype(np.float32) + 0.3)
        rows = np.array([3, 0, 79, 41])
        found = UnitTable(query, units).scores(arrays, rows)
        for row, score in zip(rows, found, strict=True):
            table = query @ units.directions[units_of_item(arrays, row)].T
            p, r = table.max(axis=0).mean(), table.max(axis=1).mean()
            expected = 2 * p * r / (p + r) if p > 0 and r > 0 else 0.0
            # Cosines are rounded to 1/255 of their span.
            assert score == pytest.approx(expected, abs=0.005)

    def test_is_zero_where_one_direction_is_not_positive(self) -> None:
        centroids = np.eye(2, dtype=np.float32)
        prototypes = np.concatenate([centroids, np.zeros((1, 2), np.float32)])
        units = Units(np.zeros(2), centroids, prototypes, 0.0)
        arrays = {
            "run_offsets": np.array([0, 1, 2, 3]),
            "run_units": np.array([0, 1, 2], np.uint16),
            "run_lengths": np.array([3, 1, 2], np.uint8),
        }
        query = np.array([[-1, 0]], np.float32)
        scores = UnitTable(query, units).scores(arrays, np.arange(3))
        # Opposite, at right angles, and an item of zero steps, whose cosine is 0 with everything.
        assert scores == pytest.approx([0, 0, 0], abs=0.005)
        scores = UnitTable(-query, units).scores(arrays, np.arange(3))
        assert scores == pytest.approx([1, 0, 0], abs=0.005)

    def test_a_query_of_zero_steps_scores_nothing(self) -> None:
        _, _, units, arrays = encoded()
        table = UnitTable(np.zeros((3, 16), np.float32), units)
        assert table.scores(arrays, np.arange(80)).tolist() == [0.0] * 80


class TestRuns:
    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.lists(st.integers(0, 3), max_size=700), max_size=5))
    def test_runs_say_the_same_as_steps(self, items: list[list[int]]) -> None:
        offsets = np.cumsum([0, *map(len, items)])
        flat = np.array([unit for item in items for unit in item], dtype=np.int64)
        units, lengths = np.zeros(len(flat), np.uint16), np.zeros(len(flat), np.uint8)
        run_offsets = np.empty(len(offsets), np.int64)
        runs = index_kernels.encode_runs(flat, offsets, units, lengths, run_offsets)
        assert run_offsets[-1] == runs
        for number, item in enumerate(items):
            part = slice(run_offsets[number], run_offsets[number + 1])
            assert np.repeat(units[part], lengths[part]).tolist() == item
            same = units[part][1:] == units[part][:-1]
            assert (lengths[part][:-1][same] == 255).all()
            assert (lengths[part] > 0).all()


class TestPostings:
    def test_equal_counting_by_hand(self) -> None:
        parts = [
            {
                "run_offsets": np.array([0, 3, 4]),
                "run_units": np.array([5, 1, 5, 300], np.uint16),
                "run_lengths": np.array([2, 1, 4, 9], np.uint8),
            },
            {
                "run_offsets": np.array([0, 3]),
                "run_units": np.array([1, 1, 400], np.uint16),
                "run_lengths": np.array([255, 30, 1], np.uint8),
            },
        ]
        found = postings_of(parts, 400)
        assert found["posting_units"].tolist() == [1, 5, 300]
        assert found["posting_offsets"].tolist() == [0, 2, 3, 4]
        assert found["posting_rows"].tolist() == [0, 2, 0, 1]
        # 285 steps are written as 255; unit 400 holds steps of norm 0 and has no postings.
        assert found["posting_counts"].tolist() == [1, 255, 6, 9]
        assert document_counts([found], 400)[[1, 5, 300]].tolist() == [2, 1, 1]

    def test_weights_by_hand(self) -> None:
        inverse = inverse_frequencies(np.array([1, 3, 0]), 3)
        assert inverse == pytest.approx(np.log([4, 2, 4]))
        nearest = np.array([[0, 1], [0, 2], [1, 2]])
        cosines = np.array([[0.6, 0.3], [0.5, -0.5], [-0.1, -0.2]], np.float32)
        units, weights = query_weights(nearest, cosines, inverse)
        # Votes: step 0 gives .36 / .45 and .09 / .45, step 1 all to unit 0, step 2 none.
        assert units.tolist() == [0, 1]
        expected = [1.8 * np.log(4) ** 2, 0.2 * np.log(2) ** 2]
        assert weights == pytest.approx(expected, rel=1e-5)

    def test_sums_equal_a_plain_loop(self) -> None:
        _, queries, units, arrays = encoded(200)
        arrays = {**arrays, **postings_of([arrays], units.count)}
        counts = np.array([len(np.unique(units_of_item(arrays, row))) for row in range(200)])
        assert len(arrays["posting_rows"]) == counts.sum()
        inverse = inverse_frequencies(document_counts([arrays], units.count), 200)
        of_count = np.sqrt(np.arange(256)).astype(np.float32)
        for query in range(5):
            asked, weights = query_weights(*units.nearest(queries[query], 3), inverse)
            scores = np.zeros(200, np.float32)
            touched = index_kernels.tf_idf(
                asked,
                weights,
                arrays["posting_units"],
                arrays["posting_offsets"],
                arrays["posting_rows"],
                arrays["posting_counts"],
                of_count,
                scores,
            )
            plain = np.zeros(200)
            holders = 0
            for row in range(200):
                held, times = np.unique(units_of_item(arrays, row), return_counts=True)
                for unit, weight in zip(asked, weights, strict=True):
                    for other, count in zip(held, times, strict=True):
                        if unit == other:
                            plain[row] += weight * count**0.5
                            holders += 1
            assert scores == pytest.approx(plain, rel=1e-5)
            assert touched == holders


class TestSelect:
    @settings(max_examples=100, deadline=None)
    @given(
        st.lists(
            st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1e-7, 3.0, 2.9999998]), st.booleans()),
            max_size=40,
        ),
        st.integers(1, 50),
    )
    def test_equals_sorting(self, given_: list[tuple[float, bool]], wanted: int) -> None:
        scores = np.array([score for score, _ in given_], np.float32)
        allowed = np.array([is_allowed for _, is_allowed in given_], np.bool_)
        chosen = np.empty(wanted, np.int64)
        count = index_kernels.select(scores, allowed, wanted, chosen)
        rows = np.flatnonzero(allowed)
        expected = np.sort(rows[np.lexsort((rows, -scores[rows]))[:wanted]])
        assert chosen[:count].tolist() == expected.tolist()


class TestEncoding:
    @pytest.mark.parametrize(("residuals", "error"), [("int8", 0.01), ("float16", 5e-4)])
    def test_steps_come_back(self, residuals: str, error: float) -> None:
        sequences, _, units, arrays = encoded(residuals=residuals)
        rows = np.array([5, 0, 77])
        steps, offsets = rebuilt_steps(arrays, rows, units.prototypes, with_norms=True)
        unit, _ = rebuilt_steps(arrays, rows, units.prototypes)
        for number, row in enumerate(rows):
            part = slice(offsets[number], offsets[number + 1])
            norms = np.linalg.norm(sequences[row], axis=1, keepdims=True)
            assert np.abs(steps[part] - sequences[row]).max() < error * norms.max()
            assert np.linalg.norm(unit[part], axis=1) == pytest.approx(1, abs=1e-6)

    def test_without_residuals_a_step_is_its_unit(self) -> None:
        _, _, units, arrays = encoded(residuals="none")
        assert not any(name.startswith("residual") for name in arrays)
        steps, _ = rebuilt_steps(arrays, np.array([4]), units.prototypes)
        assert steps == pytest.approx(units.directions[units_of_item(arrays, 4)], abs=1e-6)

    @pytest.mark.parametrize("residuals", ["int8", "float16", "none"])
    def test_zero_steps_stay_zero(self, residuals: str) -> None:
        array = np.array([[1, 2], [0, 0], [0, 0], [3, 1]], np.float32)
        chosen = IndexSettings(residuals=residuals)  # type: ignore[arg-type]
        units = train_units(array + 5, chosen)
        arrays = encode_segment(sequences_of([array]), units, chosen)
        steps, _ = rebuilt_steps(arrays, np.array([0]), units.prototypes)
        assert not steps[1:3].any()
        assert steps[[0, 3]].any(axis=1).all()

    def test_what_cannot_be_held_is_refused_by_id(self) -> None:
        _, _, units, _ = encoded()
        good = np.ones((2, 16), np.float32)
        for bad, message in (
            (np.zeros((0, 16), np.float32), "'item-00001' has no steps"),
            (np.full((1, 16), np.nan, np.float32), "'item-00001' holds NaN or infinity"),
        ):
            with pytest.raises(ValueError, match=message):
                encode_segment(sequences_of([good, bad]), units, IndexSettings())
        with pytest.raises(ValueError, match="steps have 3 dimensions, the index has 16"):
            encode_segment(sequences_of([good[:, :3]]), units, IndexSettings())
