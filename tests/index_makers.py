"""Small sequences with a planted neighbour: what tests of the sequence index search among."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from isogloss.search.index_settings import IndexSettings
from isogloss.types import Item, Sequences

if TYPE_CHECKING:
    from isogloss.search.ranking import Ranking

MADE_BY = "planted"
COUNT = 400
SMALL = IndexSettings(units=256, iterations=3, soft=4, first=100, candidates=60)


def sequences_of(
    arrays: list[np.ndarray], *, prefix: str = "item", made_by: str = MADE_BY
) -> Sequences:
    """Sequences called `item-00000` and so on."""
    ids = [f"{prefix}-{number:05d}" for number in range(len(arrays))]
    return Sequences.from_list(ids, arrays, step_seconds=0.04, made_by=made_by)


def items_of(
    sequences: Sequences, varieties: tuple[str, ...] = ("cmn", "yue", "hak")
) -> list[Item]:
    """An item for each sequence, varieties by turns."""
    return [
        Item(name, varieties[number % len(varieties)], speaker=f"s{number % 5}")
        for number, name in enumerate(sequences.ids)
    ]


def planted(
    count: int, *, dimensions: int = 16, steps: tuple[int, int] = (4, 12), seed: int = 0
) -> tuple[Sequences, Sequences]:
    """Random sequences around a shared mean, and a noisy, stretched copy of every fifth."""
    rng = np.random.default_rng(seed)
    words = rng.standard_normal((60, dimensions)) + 0.5
    arrays, queries = [], []
    for number in range(count):
        said = words[rng.integers(0, len(words), rng.integers(*steps))]
        arrays.append((said + 0.3 * rng.standard_normal(said.shape)).astype(np.float32))
        if number % 5 == 0:
            slow = np.repeat(said, rng.integers(1, 4, len(said)), axis=0)
            queries.append((slow + 0.3 * rng.standard_normal(slow.shape)).astype(np.float32))
    return sequences_of(arrays), sequences_of(queries, prefix="query")


def part_of(sequences: Sequences, first: int, last: int) -> Sequences:
    """Items `first` to `last`, copied."""
    return sequences.select(range(first, min(last, len(sequences))))


def answers_of(ranking: Ranking) -> list[list[tuple[str, float]]]:
    """(id, score) of the hits of every query."""
    hits = ranking.hits
    return [list(zip(*pair, strict=True)) for pair in zip(hits.ids, hits.scores, strict=True)]


def run_python(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script that may import the makers of the tests."""
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        check=False,
        timeout=240,
        capture_output=True,
        text=True,
    )
