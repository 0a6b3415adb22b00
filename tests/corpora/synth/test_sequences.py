"""Structured sequences: seeded, the same whole and streamed, with the planted answer inside."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isogloss.corpora.synth import (
    StructuredSettings,
    sequence_blocks,
    sequence_queries,
    structured_sequences,
)
from isogloss.corpora.synth.sequences import BLOCK_ITEMS

if TYPE_CHECKING:
    from isogloss.types import Sequences

SMALL = StructuredSettings(items=600, queries=40, dimensions=64, steps=30, rank=32)


def unit(values: np.ndarray, mean: np.ndarray) -> np.ndarray:
    centred = values - mean
    return centred / np.linalg.norm(centred, axis=1, keepdims=True)


def by_hand(query: np.ndarray, items: Sequences, mean: np.ndarray) -> np.ndarray:
    """SeqSim of one query with every item, written out once more."""
    cosines = unit(query, mean) @ unit(items.values, mean).T
    scores = []
    for start, stop in zip(items.offsets[:-1], items.offsets[1:], strict=True):
        block = cosines[:, start:stop]
        recall, precision = block.max(axis=1).mean(), block.max(axis=0).mean()
        positive = recall > 0 and precision > 0
        scores.append(2 * precision * recall / (precision + recall) if positive else 0.0)
    return np.array(scores)


def places_of(scores: np.ndarray, right: np.ndarray) -> np.ndarray:
    return (scores > scores[np.arange(len(right)), right][:, None]).sum(axis=1)


def test_shapes_and_labels() -> None:
    made = structured_sequences(SMALL)
    assert made.sequences.values.shape == (int(made.sequences.offsets[-1]), 64)
    assert made.sequences.values.dtype == np.float32
    assert len(made.sequences) == len(made.items) == len(set(made.sequences.ids)) == 600
    assert made.sequences.ids == tuple(item.id for item in made.items)
    assert made.queries.ids == tuple(item.id for item in made.query_items)
    assert made.sequences.lengths.min() >= 3
    assert 25 < made.sequences.lengths.mean() < 35
    assert {item.variety for item in made.items} == {"cmn", "yue", "hak", "nan"}
    assert {item.variety for item in made.query_items} == {"wuu"}
    meanings = [item.meaning for item in made.items]
    assert len(set(meanings)) == len(meanings)
    assert {item.meaning for item in made.query_items} <= set(meanings)
    assert len({item.meaning for item in made.query_items}) == 40
    for item in made.items:
        assert item.speaker is not None and item.site is not None
        assert item.speaker.startswith(item.variety) and item.site.startswith(item.variety)
        assert item.translation


def test_the_answer_is_planted_and_pooling_loses_it() -> None:
    made = structured_sequences(replace(SMALL, items=1000))
    place = {item.meaning: i for i, item in enumerate(made.items)}
    right = np.array([place[item.meaning] for item in made.query_items])
    mean = made.sequences.values.mean(axis=0)
    late = np.stack([by_hand(made.queries[q], made.sequences, mean) for q in range(40)])
    pooled = [
        unit(np.add.reduceat(s.values - mean, s.offsets[:-1]) / s.lengths[:, None], 0 * mean)
        for s in (made.queries, made.sequences)
    ]
    first_by_steps = (places_of(late, right) == 0).mean()
    first_by_mean = (places_of(pooled[0] @ pooled[1].T, right) == 0).mean()
    assert first_by_steps >= 0.9
    assert first_by_mean <= 0.6


def test_one_seed_one_collection() -> None:
    first, again = structured_sequences(SMALL), structured_sequences(SMALL)
    other = structured_sequences(replace(SMALL, seed=2))
    assert np.array_equal(first.sequences.values, again.sequences.values)
    assert np.array_equal(first.queries.values, again.queries.values)
    assert first.items == again.items and first.query_items == again.query_items
    assert first.sequences.values.shape != other.sequences.values.shape


def test_streamed_equals_whole_and_can_start_late() -> None:
    whole = structured_sequences(SMALL)
    blocks = list(sequence_blocks(SMALL))
    assert [len(block) for block, _ in blocks] == [BLOCK_ITEMS, 600 - BLOCK_ITEMS]
    streamed = np.concatenate([block.values for block, _ in blocks])
    assert np.array_equal(streamed, whole.sequences.values)
    assert tuple(item for _, items in blocks for item in items) == whole.items
    ((late, late_items),) = sequence_blocks(SMALL, start=1)
    assert np.array_equal(late.values, blocks[1][0].values)
    assert late_items == blocks[1][1]


@settings(max_examples=5, deadline=None)
@given(items=st.integers(1, 900))
def test_a_small_collection_begins_a_large_one(items: int) -> None:
    small = structured_sequences(replace(SMALL, items=items, queries=0))
    large = structured_sequences(replace(SMALL, items=900, queries=0))
    assert small.items == large.items[:items]
    steps = int(small.sequences.offsets[-1])
    assert np.array_equal(small.sequences.values, large.sequences.values[:steps])
    assert small.sequences.made_by == large.sequences.made_by


def test_no_query_and_one_item() -> None:
    made = structured_sequences(replace(SMALL, items=1, queries=0))
    assert len(made.sequences) == 1
    assert len(made.queries) == 0 and made.queries.values.shape == (0, 64)
    queries, items = sequence_queries(replace(SMALL, items=1, queries=1))
    assert len(queries) == 1 and items[0].meaning == made.items[0].meaning


def test_noise_and_offsets_can_be_switched_off() -> None:
    """Without them an utterance of one variety is its concepts alone."""
    plain = replace(
        SMALL, noise=0.0, speaker_offset=0.0, variety_offset=0.0, variety_map=0.0, substituted=0.0
    )
    made = structured_sequences(replace(plain, items=1000, exchanged=0.0))
    place = {item.meaning: i for i, item in enumerate(made.items)}
    right = np.array([place[item.meaning] for item in made.query_items])
    scores = np.stack(
        [by_hand(made.queries[q], made.sequences, np.zeros(64, np.float32)) for q in range(40)]
    )
    assert (places_of(scores, right) == 0).all()
    assert scores[np.arange(40), right].min() > 0.9
    for q, item in enumerate(made.query_items):
        assert item.translation == made.items[right[q]].translation


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("items", 0, "items must be at least 1, got 0"),
        ("queries", 601, "queries must be from 0 to the number of items, 600, got 601"),
        ("rank", 65, "rank 65 must be at most dimensions 64"),
        ("query_variety", "cmn", "none of them"),
        ("varieties", (), "must be some"),
        ("noise", float("nan"), "noise must not be negative, got nan"),
        ("substituted", 1.5, "substituted is a share from 0 to 1, got 1.5"),
        ("steps_a_concept", 31.0, "steps_a_concept must be from 1 to steps, 30, got 31.0"),
        ("concepts", 379, "concepts must be at least function_words"),
    ],
)
def test_settings_that_make_no_sense_are_refused(field: str, value: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(SMALL, **{field: value})
