from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest

from index_makers import (
    COUNT,
    MADE_BY,
    SMALL,
    answers_of,
    items_of,
    part_of,
    planted,
    sequences_of,
)
from isogloss.search.encoding import encode_segment
from isogloss.search.index_settings import IndexSettings
from isogloss.search.sequence_index import SequenceIndex
from isogloss.search.store import verify
from isogloss.search.units import train_units
from isogloss.types import Sequences

if TYPE_CHECKING:
    from pathlib import Path

FLOATS = IndexSettings(units=256, iterations=3, residuals="float16", first=100, candidates=60)


@pytest.fixture(scope="module")
def data() -> tuple[Sequences, Sequences]:
    return planted(COUNT)


class TestChanges:
    @pytest.mark.parametrize("chosen", [SMALL, FLOATS])
    def test_append_and_compact_equal_building_at_once(
        self, data: tuple[Sequences, Sequences], tmp_path: Path, chosen: IndexSettings
    ) -> None:
        sequences, queries = data
        units = train_units(sequences.values, chosen)
        whole = SequenceIndex.build(
            tmp_path / "whole", sequences, items_of(sequences), settings=chosen, units=units
        )
        items = items_of(sequences)
        pieces = SequenceIndex.build(
            tmp_path / "pieces",
            part_of(sequences, 0, 150),
            items[:150],
            settings=chosen,
            units=units,
        )
        for first, last in ((150, 151), (151, 390), (390, COUNT)):
            pieces.append(part_of(sequences, first, last), items[first:last])
        expected = answers_of(whole.search_ranked(queries, 5))
        assert len(pieces.store.segments) == 4
        assert answers_of(pieces.search_ranked(queries, 5)) == expected
        pieces.compact()
        assert len(pieces.store.segments) == 1
        assert answers_of(pieces.search_ranked(queries, 5)) == expected
        arrays, others = whole.store.segments[0].arrays, pieces.store.segments[0].arrays
        assert sorted(arrays) == sorted(others)
        for name, array in arrays.items():
            assert array.dtype == others[name].dtype
            assert np.array_equal(array, others[name]), name
        assert verify(tmp_path / "pieces") == []

    def test_deleted_items_answer_no_more(
        self, data: tuple[Sequences, Sequences], tmp_path: Path
    ) -> None:
        sequences, queries = data
        index = SequenceIndex.build(tmp_path / "i", sequences, items_of(sequences), settings=SMALL)
        before = index.search(queries, 1)
        gone = {ids[0] for ids in before.ids}
        assert index.delete([*gone, "never there"]) == len(gone)
        assert len(index) == COUNT - len(gone)
        rest = sequences.select([i for i, name in enumerate(sequences.ids) if name not in gone])
        for _ in range(2):
            hits = index.search(queries, 5)
            assert all(len(ids) == 5 and not gone & set(ids) for ids in hits.ids)
            assert index.sequences().ids == rest.ids
            with pytest.raises(ValueError, match="no item"):
                index.item(next(iter(gone)))
            everything = index.search_ranked(queries, 5, candidates=COUNT)
            assert everything.exact
            assert answers_of(everything) == answers_of(index.search_ranked(queries, 5, exact=True))
            index.compact()
        kept = [index.item(name) for name in rest.ids]
        anew = SequenceIndex.build(tmp_path / "anew", rest, kept, settings=SMALL, units=index.units)
        for name, array in anew.store.segments[0].arrays.items():
            assert np.array_equal(array, index.store.segments[0].arrays[name]), name

    def test_a_reader_keeps_its_snapshot(
        self, data: tuple[Sequences, Sequences], tmp_path: Path
    ) -> None:
        sequences, queries = data
        items = items_of(sequences)
        writer = SequenceIndex.build(
            tmp_path / "i", part_of(sequences, 0, 300), items[:300], settings=SMALL
        )
        reader = SequenceIndex.open(tmp_path / "i")
        expected = answers_of(reader.search_ranked(queries, 5))
        writer.append(part_of(sequences, 300, COUNT), items[300:])
        writer.delete([sequences.ids[0]])
        writer.compact()
        assert answers_of(reader.search_ranked(queries, 5)) == expected
        assert len(reader) == 300
        assert len(SequenceIndex.open(tmp_path / "i")) == COUNT - 1

    def test_an_id_is_refused_twice_unless_it_replaces(
        self, data: tuple[Sequences, Sequences], tmp_path: Path
    ) -> None:
        sequences, _ = data
        few, items = part_of(sequences, 0, 20), items_of(sequences)[:20]
        index = SequenceIndex.build(tmp_path / "i", few, items, settings=SMALL)
        new = Sequences(
            few.ids[:1], sequences[30], np.array([0, len(sequences[30])]), 0.04, MADE_BY
        )
        with pytest.raises(ValueError, match="item-00000"):
            index.append(new, items[:1])
        index.append(new, items[:1], replace=True)
        assert len(index) == 20
        assert index.steps("item-00000") == pytest.approx(sequences[30], abs=0.05)

    def test_parts_made_elsewhere_give_the_same_segment(
        self, data: tuple[Sequences, Sequences], tmp_path: Path
    ) -> None:
        sequences, _ = data
        items = items_of(sequences)
        units = train_units(sequences.values, SMALL)
        whole = SequenceIndex.build(
            tmp_path / "whole", sequences, items, settings=SMALL, units=units
        )
        parts = [
            (items[a:b], encode_segment(part_of(sequences, a, b), units, SMALL))
            for a, b in ((0, 1), (1, 250), (250, COUNT))
        ]
        index = SequenceIndex.create(
            tmp_path / "parts", units, SMALL, made_by=MADE_BY, step_seconds=0.04
        )
        index.append_parts(iter(parts))
        for name, array in whole.store.segments[0].arrays.items():
            assert np.array_equal(array, index.store.segments[0].arrays[name]), name

    def test_drift_is_reported(
        self,
        data: tuple[Sequences, Sequences],
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        sequences, _ = data
        items = items_of(sequences)
        index = SequenceIndex.build(
            tmp_path / "i", part_of(sequences, 0, 300), items[:300], settings=SMALL
        )
        with caplog.at_level(logging.WARNING):
            index.append(part_of(sequences, 300, COUNT), items[300:])
        assert not caplog.records
        rng = np.random.default_rng(0)
        alien = sequences_of(
            [rng.standard_normal((9, 16)).astype(np.float32) for _ in range(50)], prefix="alien"
        )
        training, before = index.drift()
        with caplog.at_level(logging.WARNING):
            index.append(alien, items_of(alien))
        assert "build the index anew" in caplog.text
        assert index.drift()[0] == training
        assert index.drift()[1] > before

    def test_units_of_equal_steps_advise_where_other_steps_come(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        same = sequences_of([np.ones((3, 4), np.float32)] * 5)
        index = SequenceIndex.build(tmp_path / "i", same, items_of(same))
        more = sequences_of([np.ones((2, 4), np.float32)] * 2, prefix="more")
        with caplog.at_level(logging.WARNING):
            index.append(more, items_of(more))
        assert not caplog.records
        odd = sequences_of([np.eye(4, dtype=np.float32)], prefix="odd")
        with caplog.at_level(logging.WARNING):
            index.append(odd, items_of(odd))
        assert "build the index anew" in caplog.text
        assert len(index) == 8

    def test_steps_of_another_length_in_time_are_refused(
        self, data: tuple[Sequences, Sequences], tmp_path: Path
    ) -> None:
        sequences = part_of(data[0], 0, 20)
        index = SequenceIndex.build(tmp_path / "i", sequences, items_of(sequences), settings=SMALL)
        more = part_of(data[0], 20, 30)
        slow = Sequences(more.ids, more.values, more.offsets, 0.02, MADE_BY)
        with pytest.raises(ValueError, match=r"'item-00020' is 0\.02 seconds, one of the"):
            index.append(slow, items_of(slow))
        unknown = Sequences(more.ids, more.values, more.offsets, None, MADE_BY)
        index.append(unknown, items_of(unknown))
        assert len(index) == 30

    def test_threads_may_search_while_one_changes_the_index(
        self, data: tuple[Sequences, Sequences], tmp_path: Path
    ) -> None:
        sequences, queries = data
        items = items_of(sequences)
        first = part_of(sequences, 0, 100)
        index = SequenceIndex.build(tmp_path / "i", first, items[:100], settings=SMALL)
        asked = part_of(queries, 0, 5)
        done = threading.Event()

        def search() -> int:
            searches = 0
            while not done.is_set():
                ranking = index.search_ranked(asked, 1, candidates=COUNT, first=COUNT)
                assert [ids[0] for ids in ranking.hits.ids] == first_hits
                # All were scored of one state or of another, never of a mixture.
                assert ranking.exact
                searches += 1
            return searches

        first_hits = [ids[0] for ids in index.search(asked, 1, candidates=COUNT).ids]
        with ThreadPoolExecutor(2) as pool:
            searching = [pool.submit(search) for _ in range(2)]
            try:
                for start in range(100, 200, 10):
                    last = start + 10
                    index.append(part_of(sequences, start, last), items[start:last])
                    index.delete([sequences.ids[start]])
                index.compact()
            finally:
                done.set()
            assert all(one.result() > 0 for one in searching)
