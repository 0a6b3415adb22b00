from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isogloss.training.batches import duration_bins, make_batch, plan_epoch
from isogloss.training.examples import Example
from isogloss.training.store import FeatureStore

SECONDS = st.lists(st.floats(0.3, 20.0), min_size=1, max_size=60)


@given(seconds=SECONDS, seed=st.integers(0, 5), epoch=st.integers(0, 5))
@settings(max_examples=30)
def test_every_utterance_once_and_no_batch_too_long(
    seconds: list[float], seed: int, epoch: int
) -> None:
    plan = plan_epoch(seconds, max_batch_seconds=40.0, buckets=4, seed=seed, epoch=epoch)
    assert sorted(i for batch in plan for i in batch) == list(range(len(seconds)))
    for batch in plan:
        assert sum(seconds[i] for i in batch) <= 40.0 + 1e-6


def test_the_order_follows_seed_and_epoch_alone() -> None:
    seconds = np.random.default_rng(0).uniform(1, 5, 80).tolist()
    plans = {
        (seed, epoch): plan_epoch(seconds, max_batch_seconds=15, seed=seed, epoch=epoch)
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    for (seed, epoch), plan in plans.items():
        assert plan_epoch(seconds, max_batch_seconds=15, seed=seed, epoch=epoch) == plan
    assert len({tuple(plan) for plan in plans.values()}) == 4


def test_batches_hold_utterances_of_like_length() -> None:
    seconds = np.random.default_rng(1).uniform(1, 10, 400).tolist()
    plan = plan_epoch(seconds, max_batch_seconds=60, buckets=10, seed=0)
    real = sum(seconds)
    padded = sum(len(batch) * max(seconds[i] for i in batch) for batch in plan)
    shuffled = np.random.default_rng(2).permutation(seconds)
    random_padded = sum(len(part) * part.max() for part in np.array_split(shuffled, len(plan)))
    assert padded < 1.12 * real < random_padded


def test_processes_share_an_epoch_in_equally_many_batches() -> None:
    seconds = np.random.default_rng(3).uniform(1, 5, 51).tolist()
    plans = [
        plan_epoch(seconds, max_batch_seconds=12, buckets=3, rank=rank, world_size=2)
        for rank in (0, 1)
    ]
    assert len(plans[0]) == len(plans[1])
    seen = [i for plan in plans for batch in plan for i in batch]
    assert set(seen) == set(range(51))
    assert len(seen) <= 52


@given(SECONDS, st.integers(1, 30))
def test_bins_rise_and_are_never_none(seconds: list[float], buckets: int) -> None:
    bins = duration_bins(seconds, buckets)
    assert 1 <= len(bins) <= max(1, buckets - 1)
    assert all(a < b for a, b in itertools.pairwise(bins))


def test_a_batch_is_padded_with_zeros_and_keeps_its_targets() -> None:
    values = np.arange(7 * 80, dtype=np.float32).reshape(7, 80) + 1
    store = FeatureStore(values, np.array([0, 3, 7]), {"a": (0,), "b": (1,)}, ())
    examples = [
        Example("a", 0, 0.03, ((1, 2), (3,))),
        Example("b", 1, 0.04, ((2,), (4, 4))),
    ]
    batch = make_batch(examples, store)
    assert batch.ids == ("a", "b")
    assert batch.features.shape == (2, 4, 80)
    assert batch.lengths.tolist() == [3, 4]
    torch.testing.assert_close(batch.features[0, :3], torch.from_numpy(values[:3]))
    assert not batch.features[0, 3:].any()
    assert batch.targets == (((1, 2), (2,)), ((3,), (4, 4)))
    assert batch.seconds == pytest.approx(0.07)
    assert len(batch) == 2
