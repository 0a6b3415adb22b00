from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_makers import part_of, planted, sequences_of
from isogloss._config import config_from_mapping
from isogloss.errors import UnknownName
from isogloss.search.index_settings import IndexSettings, units_for
from isogloss.search.step_sample import StepSample, blocks_of, sample_steps
from isogloss.search.units import Units, train_units
from isogloss.types import Sequences

SMALL = IndexSettings(units=256, iterations=5)


def clusters(count: int, each: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Steps near `count` far directions in random order, and which direction each is near."""
    rng = np.random.default_rng(seed)
    centres = np.eye(count, dtype=np.float32)
    labels = rng.permutation(np.repeat(np.arange(count), each))
    steps = centres[labels] * rng.uniform(0.5, 20, (len(labels), 1))
    return (steps + 0.01 * rng.standard_normal(steps.shape)).astype(np.float32), labels


def plain_units(units: Units, steps: np.ndarray) -> np.ndarray:
    """Best cosine after centring, in float64, one step at a time."""
    found = []
    for step in steps.astype(np.float64):
        moved = step - units.mean
        norm = np.linalg.norm(moved)
        if norm == 0 or not step.any():
            found.append(units.count)
        else:
            found.append(int(np.argmax(units.centroids.astype(np.float64) @ (moved / norm))))
    return np.array(found)


class TestUnitsFor:
    def test_is_the_nearest_power_of_two_within_bounds(self) -> None:
        assert units_for(0) == 256
        assert units_for(600_000) == 1024  # root 775, nearer to 1024 than to 512 as a ratio
        assert units_for(6_000_000) == 2048  # root 2449
        assert units_for(10**12) == 16384

    @given(st.integers(0, 10**10))
    def test_is_never_further_than_a_factor_of_root_two(self, steps: int) -> None:
        found = units_for(steps)
        assert found & (found - 1) == 0
        if 256 < found < 16384:
            assert found / 2**0.5 <= steps**0.5 <= found * 2**0.5 * (1 + 1e-9)


class TestSettings:
    def test_unknown_keys_and_bad_values_are_refused(self) -> None:
        assert config_from_mapping(IndexSettings, {"units": 512}).units == 512
        with pytest.raises(UnknownName, match="did you mean candidates"):
            config_from_mapping(IndexSettings, {"candidate": 10})
        with pytest.raises(ValueError, match="256 and 16384, got 17"):
            IndexSettings(units=17)
        with pytest.raises(ValueError, match="first must be at least 1, got 0"):
            IndexSettings(first=0)
        with pytest.raises(ValueError, match="'int8', 'float16' or 'none', got 'int4'"):
            IndexSettings(residuals="int4")  # type: ignore[arg-type]


class TestTraining:
    def test_planted_directions_are_never_joined(self) -> None:
        steps, labels = clusters(12, 200)
        units = train_units(steps, IndexSettings(units=256, center=False, iterations=20))
        found = units.assign(steps)
        for unit in np.unique(found):
            assert len(np.unique(labels[found == unit])) == 1
        assert units.error < 0.01

    def test_same_sample_and_seed_give_the_same_bytes(self) -> None:
        steps, _ = clusters(20, 100)
        first, second = train_units(steps, SMALL), train_units(steps.copy(), SMALL)
        assert np.array_equal(first.centroids, second.centroids)
        assert np.array_equal(first.prototypes, second.prototypes)
        other = train_units(steps, IndexSettings(units=256, iterations=5, seed=1))
        assert not np.array_equal(first.centroids, other.centroids)

    def test_no_unit_is_left_without_steps(self) -> None:
        rng = np.random.default_rng(1)
        # Nine steps in ten lie in one place: random first centroids fall together there.
        steps = rng.standard_normal((4000, 8)).astype(np.float32)
        steps[400:] = steps[0] + 1e-3 * rng.standard_normal((3600, 8)).astype(np.float32)
        units = train_units(rng.permutation(steps), SMALL)
        assert units.count == 256
        assert np.bincount(units.assign(steps), minlength=257)[:256].min() >= 1

    def test_prototypes_are_means_of_steps_at_length_one(self) -> None:
        steps, _ = clusters(6, 50)
        units = train_units(steps, SMALL)
        found = units.assign(steps)
        unit_steps = steps / np.linalg.norm(steps, axis=1, keepdims=True)
        for unit in np.unique(found):
            mean = unit_steps[found == unit].mean(axis=0)
            assert np.allclose(units.prototypes[unit], mean, atol=1e-6)
        assert not units.prototypes[-1].any()
        errors = ((unit_steps - units.prototypes[found]) ** 2).sum(axis=1)
        assert units.error == pytest.approx(errors.mean(), rel=1e-4)

    def test_there_are_no_more_units_than_distinct_steps(self) -> None:
        steps = np.repeat(np.eye(5, dtype=np.float32), 30, axis=0)
        units = train_units(steps, SMALL)
        assert units.count == 5
        assert len(np.unique(units.assign(steps))) == 5
        assert units.error == pytest.approx(0, abs=1e-6)

    @pytest.mark.parametrize("steps", [np.zeros((0, 7)), np.zeros((9, 7))])
    def test_nothing_to_learn_from_gives_random_directions(self, steps: np.ndarray) -> None:
        units = train_units(steps.astype(np.float32), SMALL)
        assert units.centroids.shape == (256, 7)
        assert np.allclose(np.linalg.norm(units.centroids, axis=1), 1, atol=1e-6)
        assert units.assign(np.zeros((2, 7), np.float32)).tolist() == [256, 256]

    def test_bad_samples_are_refused(self) -> None:
        with pytest.raises(ValueError, match=r"must be \(S, D\)"):
            train_units(np.zeros(4, np.float32), SMALL)
        with pytest.raises(ValueError, match="NaN or infinity"):
            train_units(np.full((4, 2), np.nan, np.float32), SMALL)

    def test_a_large_shared_mean_hides_nothing_when_centred(self) -> None:
        steps, labels = clusters(12, 200)
        steps = steps / np.linalg.norm(steps, axis=1, keepdims=True) + 100
        units = train_units(steps, IndexSettings(units=256, iterations=20))
        found = units.assign(steps)
        assert all(len(np.unique(labels[found == unit])) == 1 for unit in np.unique(found))


class TestAssign:
    @settings(max_examples=25, deadline=None)
    @given(st.integers(0, 2**32 - 1), st.booleans())
    def test_equals_a_plain_loop(self, seed: int, center: bool) -> None:
        rng = np.random.default_rng(seed)
        sample = rng.standard_normal((300, 5)).astype(np.float32) + 1
        units = train_units(sample, IndexSettings(units=256, center=center, iterations=2))
        steps = rng.standard_normal((40, 5)).astype(np.float32)
        steps[3] = 0
        assert np.array_equal(units.assign(steps), plain_units(units, steps))

    def test_does_not_depend_on_company_or_threads(self) -> None:
        rng = np.random.default_rng(3)
        steps = rng.standard_normal((5000, 24)).astype(np.float32)
        units = train_units(steps, SMALL)
        whole = units.assign(steps, threads=2)
        assert np.array_equal(whole, units.assign(steps, threads=1))
        for first in (0, 7, 123):
            assert np.array_equal(
                units.assign(steps[first : first + 11]), whole[first : first + 11]
            )

    def test_equal_cosines_go_to_the_first_centroid(self) -> None:
        centroids = np.eye(3, dtype=np.float32)
        units = Units(np.zeros(3), centroids, np.concatenate([centroids, [[0, 0, 0]]]), 0.0)
        assert units.assign(np.array([[0, 1, 1], [1, 1, 1]], np.float32)).tolist() == [1, 0]

    def test_huge_and_tiny_steps_have_directions(self) -> None:
        centroids = np.eye(2, dtype=np.float32)
        units = Units(np.zeros(2), centroids, np.zeros((3, 2), np.float32), 0.0)
        steps = np.array([[3e38, 1e38], [1e-40, 3e-40], [0, 0]], np.float32)
        assert units.assign(steps).tolist() == [0, 1, 2]

    def test_other_dimensions_are_refused(self) -> None:
        units = train_units(np.eye(4, dtype=np.float32), SMALL)
        with pytest.raises(ValueError, match=r"\(M, 4\).*got \(2, 3\)"):
            units.assign(np.zeros((2, 3), np.float32))


class TestNearest:
    def test_equals_sorting(self) -> None:
        rng = np.random.default_rng(5)
        units = train_units(rng.standard_normal((3000, 12)).astype(np.float32), SMALL)
        steps = rng.standard_normal((700, 12)).astype(np.float32)
        columns, values = units.nearest(steps, 6)
        moved = steps - units.mean
        table = (moved / np.linalg.norm(moved, axis=1, keepdims=True)) @ units.centroids.T.astype(
            float
        )
        assert np.allclose(values, -np.sort(-table, axis=1)[:, :6], atol=1e-5)
        assert np.allclose(np.take_along_axis(table, columns, axis=1), values, atol=1e-5)
        assert np.array_equal(columns[:, 0], units.assign(steps))

    def test_there_are_at_most_k_units_and_a_zero_step_is_near_none(self) -> None:
        units = train_units(np.eye(4, dtype=np.float32), IndexSettings(units=256, center=False))
        columns, values = units.nearest(np.array([[0, 0, 0, 0], [0, 2, 0, 0]], np.float32), 9)
        assert columns.shape == (2, 4)
        assert values[0].tolist() == [0, 0, 0, 0]
        assert values[1, 0] == pytest.approx(1)


class TestSample:
    def test_is_the_same_however_the_corpus_was_cut(self) -> None:
        sequences, _ = planted(300)
        whole = sample_steps(sequences, SMALL)
        pieces = [part_of(sequences, first, first + 70) for first in (210, 0, 140, 280, 70)]
        shards = [sample_steps(piece, SMALL) for piece in (pieces[0], pieces[3])]
        shards.append(sample_steps([pieces[1], pieces[4], pieces[2]], SMALL))
        merged = StepSample.merge(shards, SMALL)
        assert np.array_equal(merged.steps, whole.steps)
        assert merged.seen == whole.seen == len(sequences.values)

    def test_is_bounded_and_taken_from_everywhere(self) -> None:
        values = np.arange(90_000, dtype=np.float32)[:, np.newaxis]
        long = Sequences(("one", "two"), values, np.array([0, 45_000, 90_000]))
        sample = sample_steps(long, IndexSettings(units=256, sample_per_unit=8))
        assert len(sample.steps) == 2048
        assert len(np.unique(sample.steps)) == 2048
        assert abs(sample.steps.mean() - 45_000) < 3 * 90_000 / 12**0.5 / 2048**0.5
        # In random order: a part of it is a sample too.
        assert abs(sample.steps[:512].mean() - 45_000) < 3 * 90_000 / 12**0.5 / 512**0.5

    def test_no_step_is_cut_that_a_later_k_wants(self) -> None:
        arrays = [np.full((600, 1), number, np.float32) for number in range(600)]
        sequences = sequences_of(arrays)
        settings_ = IndexSettings(sample_per_unit=4)
        most = units_for(360_000) * 4
        by_shards = StepSample.merge(
            [
                sample_steps(part_of(sequences, first, first + 50), settings_)
                for first in range(0, 600, 50)
            ],
            settings_,
        )
        assert np.array_equal(
            sample_steps(sequences, settings_).steps[:most], by_shards.steps[:most]
        )

    def test_not_finite_is_refused_by_id(self) -> None:
        arrays = [np.ones((3, 2), np.float32), np.array([[1, 1], [np.inf, 1]], np.float32)]
        with pytest.raises(ValueError, match="'item-00001' holds NaN or infinity at step 1"):
            sample_steps(sequences_of(arrays), SMALL)
        with pytest.raises(ValueError, match="no sequences"):
            sample_steps([], SMALL)

    def test_blocks_are_whole_items_in_order(self) -> None:
        sequences = sequences_of([np.full((n, 1), n, np.float32) for n in (2, 3, 9, 1, 1)])
        blocks = list(blocks_of(sequences, 5))
        assert [block.ids for block in blocks] == [
            ("item-00000", "item-00001"),
            ("item-00002",),
            ("item-00003", "item-00004"),
        ]
        assert np.array_equal(np.concatenate([b.values for b in blocks]), sequences.values)
        empty = list(blocks_of(part_of(sequences, 0, 0), 5))
        assert [len(block) for block in empty] == [0]
        assert empty[0].values.shape == (0, 1)
