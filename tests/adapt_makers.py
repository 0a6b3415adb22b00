"""Made vectors whose right transform is known: meanings turned, moved or blurred by variety."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isogloss.types import Vectors

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Made:
    """Vectors with a variety and a meaning each."""

    vectors: Vectors
    varieties: list[str]
    meanings: list[str]

    def part(self, first: int, last: int) -> Made:
        """The items of meanings number `first` to `last` - 1."""
        chosen = [i for i, m in enumerate(self.meanings) if first <= int(m[1:]) < last]
        return Made(
            Vectors(
                tuple(self.vectors.ids[i] for i in chosen),
                self.vectors.values[chosen],
                self.vectors.made_by,
            ),
            [self.varieties[i] for i in chosen],
            [self.meanings[i] for i in chosen],
        )

    def of(self, variety: str) -> Doubles:
        """The rows of one variety, by meaning."""
        return self.vectors.values[np.array(self.varieties) == variety].astype(np.float64)


def made(rows: dict[str, Doubles]) -> Made:
    """Vectors of each variety; row i of each has meaning 'm{i}'."""
    ids, varieties, meanings = [], [], []
    for variety, values in rows.items():
        for number in range(len(values)):
            ids.append(f"{variety}-{number}")
            varieties.append(variety)
            meanings.append(f"m{number}")
    stacked = np.concatenate(list(rows.values())).astype(np.float32)
    return Made(Vectors(tuple(ids), stacked, "made"), varieties, meanings)


def meant(count: int = 60, dimensions: int = 10, seed: int = 0) -> Doubles:
    """Rows that differ more in the first dimensions than in the last."""
    draw = np.random.default_rng(seed)
    return draw.standard_normal((count, dimensions)) * np.linspace(2, 0.5, dimensions)


def turned(dimensions: int = 10, seed: int = 1) -> Doubles:
    """A random rotation."""
    draw = np.random.default_rng(seed)
    found: Doubles = np.linalg.qr(draw.standard_normal((dimensions, dimensions)))[0]
    return found
