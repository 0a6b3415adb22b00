from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import numpy as np
import pytest

from index_makers import (
    COUNT,
    MADE_BY,
    SMALL,
    items_of,
    part_of,
    planted,
    run_python,
)
from isogloss.search.sequence_index import SequenceIndex
from isogloss.search.units import train_units

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from isogloss.types import Sequences


@pytest.fixture(scope="module")
def data() -> tuple[Sequences, Sequences]:
    return planted(COUNT)


@pytest.fixture(scope="module")
def index(
    data: tuple[Sequences, Sequences], tmp_path_factory: pytest.TempPathFactory
) -> SequenceIndex:
    folder = tmp_path_factory.mktemp("index") / "whole"
    return SequenceIndex.build(folder, data[0], items_of(data[0]), settings=SMALL)


class Twice:
    """Sequences that are there each time one asks, a piece at a time, as from a large file."""

    def __init__(self, sequences: Sequences, at_once: int) -> None:
        self._sequences, self._at_once = sequences, at_once

    def __iter__(self) -> Iterator[Sequences]:
        for first in range(0, len(self._sequences), self._at_once):
            yield part_of(self._sequences, first, first + self._at_once)


class TestBuild:
    def test_pieces_give_the_same_index(
        self, data: tuple[Sequences, Sequences], index: SequenceIndex, tmp_path: Path
    ) -> None:
        sequences, _ = data
        streamed = SequenceIndex.build(
            tmp_path / "i", Twice(sequences, 33), iter(items_of(sequences)), settings=SMALL
        )
        assert np.array_equal(streamed.units.centroids, index.units.centroids)
        for name, array in index.store.segments[0].arrays.items():
            assert np.array_equal(array, streamed.store.segments[0].arrays[name]), name

    def test_an_iterator_needs_units(
        self, data: tuple[Sequences, Sequences], tmp_path: Path
    ) -> None:
        sequences, _ = data
        with pytest.raises(ValueError, match="read only once"):
            SequenceIndex.build(tmp_path / "i", iter([sequences]), items_of(sequences))
        units = train_units(sequences.values, SMALL)
        index = SequenceIndex.build(
            tmp_path / "i", iter([sequences]), items_of(sequences), settings=SMALL, units=units
        )
        assert len(index) == COUNT

    def test_occupied_folders_are_left_alone(
        self, data: tuple[Sequences, Sequences], tmp_path: Path
    ) -> None:
        sequences, _ = data
        (tmp_path / "i").mkdir()
        (tmp_path / "i" / "notes.txt").write_text("mine", encoding="utf-8")
        with pytest.raises(FileExistsError, match="not empty"):
            SequenceIndex.build(tmp_path / "i", sequences, items_of(sequences), settings=SMALL)
        assert [path.name for path in tmp_path.rglob("*")] == ["i", "notes.txt"]

    def test_a_killed_build_leaves_nothing_and_can_be_repeated(self, tmp_path: Path) -> None:
        script = """
import itertools, os, signal, sys
from index_makers import items_of, planted
from isogloss.search.index_settings import IndexSettings
from isogloss.search.sequence_index import SequenceIndex
from isogloss.search.units import train_units
sequences, _ = planted(40)
settings = IndexSettings(units=256, iterations=1)
def items():
    yield from items_of(sequences)
    os.kill(os.getpid(), signal.SIGKILL)
SequenceIndex.build(sys.argv[1], sequences, items(), settings=settings)
"""
        done = run_python(script, str(tmp_path / "i"))
        assert done.returncode == -signal.SIGKILL
        assert not (tmp_path / "i").exists()
        assert (tmp_path / ".i.building").is_dir()
        sequences, queries = planted(40)
        index = SequenceIndex.build(tmp_path / "i", sequences, items_of(sequences), settings=SMALL)
        assert [path.name for path in tmp_path.iterdir()] == ["i"]
        assert len(index.search(queries, 2).ids) == len(queries)

    def test_what_is_needed_to_ask_is_kept(self, index: SequenceIndex) -> None:
        opened = SequenceIndex.open(index.store.folder)
        assert opened.settings == SMALL
        assert (opened.made_by, opened.step_seconds, opened.dimensions) == (MADE_BY, 0.04, 16)
        assert opened.item("item-00007").variety == "yue"
        assert json.loads(json.dumps(dict(opened.store.settings)))
        assert opened.steps("item-00007").shape == index.sequences()[7].shape

    def test_bytes_without_residuals(self, index: SequenceIndex) -> None:
        files = [path for path in index.store.folder.rglob("*") if path.is_file()]
        kept = sum(path.stat().st_size for path in files if not path.name.startswith("residual"))
        assert index.bytes_per_item() == pytest.approx(kept / COUNT)
        assert kept < sum(path.stat().st_size for path in files)
