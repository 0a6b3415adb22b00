"""Made sentences and encoders of them, whose right answers are known by construction."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from isogloss.types import Corpus, Item, Sequences


def sentence(variety: str, meaning: str | None, text: str | None = None, **others) -> Item:
    """An item 'MEANING-VARIETY' that reads 'VARIETY MEANING' unless `text` is given."""
    said = f"{variety} {meaning}" if text is None else text
    return Item(f"{meaning}-{variety}", variety, meaning, said, **others)


def corpus_of(items, name: str = "made") -> Corpus:
    return Corpus(name, tuple(items), sha="0" * 64)


@dataclass(frozen=True)
class TableEncoder:
    """An encoder of text with the vector of each text given: one step an item.

    A vector may also be (T, D), several steps.
    """

    vectors: dict = field(default_factory=dict)
    made_by: str = "table"
    takes_text: bool = True

    def encode(self, items) -> Sequences:
        found = [np.atleast_2d(np.asarray(self.vectors[i.text], np.float32)) for i in items]
        return Sequences.from_list([i.id for i in items], found, made_by=self.made_by)


@dataclass(frozen=True)
class MeaningEncoder:
    """A noisy encoder: a direction for each meaning, one for each variety, and noise.

    `variety_share` is how strongly the variety shows, `noise` how strongly chance does; both
    against a meaning of length 1. Reads meaning and variety from texts 'VARIETY MEANING'.
    """

    variety_share: float = 0.0
    noise: float = 0.0
    dimensions: int = 32
    takes_text: bool = True

    @property
    def made_by(self) -> str:
        return f"meaning:{self.variety_share}:{self.noise}"

    def encode(self, items) -> Sequences:
        rows = []
        for item in items:
            variety, _, meaning = item.text.partition(" ")
            parts = ((meaning, 1.0), (variety, self.variety_share), (item.text + "!", self.noise))
            rows.append(sum(share * direction(name, self.dimensions) for name, share in parts))
        return Sequences.from_list(
            [i.id for i in items],
            [np.asarray(row, np.float32)[np.newaxis] for row in rows],
            made_by=self.made_by,
        )


def direction(name: str, dimensions: int) -> np.ndarray:
    """A unit vector that depends on `name` alone."""
    seed = int.from_bytes(name.encode(), "little") % 2**63
    row = np.random.default_rng(seed).standard_normal(dimensions)
    return row / np.linalg.norm(row)


def parallel_corpus(varieties: str | list[str], meanings: int, **others) -> Corpus:
    """Every one of `meanings` sentences in every variety."""
    names = varieties.split() if isinstance(varieties, str) else varieties
    return corpus_of([sentence(v, f"m{i:03d}", **others) for v in names for i in range(meanings)])
