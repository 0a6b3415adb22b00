"""An encoder whose answers are known, and a corpus for it: what a run must then find."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from isogloss.corpora import read_corpus
from isogloss.types import Corpus, Sequences
from makers import melody_corpus

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from isogloss.types import Item

MEANINGS = 4


@dataclass
class Planted:
    """Item m<i> of a variety is a one-hot path; hak confuses m0 and m1 when heard from others.

    In every layer but the last all items are alike, so nothing is found there. `calls` counts
    encoded items by layer.
    """

    name: str = "own:planted"
    layer: int | None = None
    calls: list[str] = field(default_factory=list)
    tokenizer: str | None = None

    layers = (0, 1, 2)

    @property
    def made_by(self) -> str:
        return f"{self.name};layer={self.layer}"

    def with_layer(self, layer: int | None) -> Planted:
        return Planted(self.name, None if layer == self.layers[-1] else layer, self.calls)

    def encode(self, items: Sequence[Item]) -> Sequences:
        self.calls += [item.id for item in items]
        return self._steps(items)

    def encode_layers(self, items: Sequence[Item]) -> list[Sequences]:
        self.calls += [item.id for item in items]
        return [self.with_layer(layer)._steps(items) for layer in self.layers]

    def _steps(self, items: Sequence[Item]) -> Sequences:
        arrays = []
        for item in items:
            meaning = int((item.meaning or "m0")[1:])
            if item.variety == "hak" and meaning < 2:
                meaning = 1 - meaning
            steps = np.ones((20, MEANINGS), dtype=np.float32)
            if self.layer is None:
                steps = np.zeros((20, MEANINGS), dtype=np.float32)
                steps[:, meaning] = 1
                steps[:10, (meaning + 1) % MEANINGS] = 0.5
            arrays.append(steps)
        ids = [item.id for item in items]
        return Sequences.from_list(ids, arrays, step_seconds=0.04, made_by=self.made_by)


@dataclass
class Constant:
    """A floor: every item is the same, so the pessimistic rank is the last."""

    made_by: str = "mel:;planted"
    calls: list[str] = field(default_factory=list)

    def encode(self, items: Sequence[Item]) -> Sequences:
        self.calls += [item.id for item in items]
        arrays = [np.ones((80, 3), dtype=np.float32)] * len(items)
        ids = [item.id for item in items]
        return Sequences.from_list(ids, arrays, step_seconds=0.01, made_by=self.made_by)


def planted_corpus(folder: Path) -> Corpus:
    """The 12-item corpus of tones: 4 meanings in cmn, yue and hak."""
    return read_corpus(melody_corpus(folder))
