"""Text encoders whose alignment is known layer by layer, and parallel texts to measure them on."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from isogloss.types import Corpus, Item, Sequences

if TYPE_CHECKING:
    from collections.abc import Sequence

VARIETIES = ("eng", "deu", "nld", "fra", "ita")
WIDTH = 8
LAYERS = ("alike", "rotated", "unrelated", "shifted", "cone")
"""What the layers 0 to 4 of `Planted` are."""


def parallel_texts(
    varieties: Sequence[str] = VARIETIES, meanings: int = 40, *, split: str | None = None
) -> Corpus:
    """One sentence of five words for each meaning and variety; a third of the words is shared."""
    items = []
    for variety in varieties:
        for m in range(meanings):
            words = [f"w{m}", f"{variety}{m % 7}", f"w{m + 1}", f"{variety}x{m}", f"w{m % 5}"]
            items.append(
                Item(f"{variety}-{m:03}", variety, meaning=f"m{m:03}", text=" ".join(words),
                     split=split)
            )  # fmt: skip
    return Corpus("planted", tuple(items), sha="0" * 64)


def noise(name: str, width: int = WIDTH) -> np.ndarray:
    """Numbers that a name fixes, whatever the process."""
    return np.random.default_rng(zlib.crc32(name.encode())).normal(size=width)


@dataclass(frozen=True)
class Planted:
    """Steps are words: meaning plus a little of the word itself, changed from layer to layer.

    0 'alike': the same for every variety; 1 'rotated': turned by each variety's own rotation;
    2 'unrelated': numbers of the item alone; 3 'shifted': as 0 plus the variety's own offset;
    4 'cone': as 2 plus one large offset for all.
    """

    layer: int | None = None
    site: str = "residual"
    broken: tuple[str, ...] = ()
    takes_text = True
    layers: tuple[int, ...] = field(default=tuple(range(len(LAYERS))))

    @property
    def made_by(self) -> str:
        return f"planted;site={self.site};layer={self.layer}"

    def with_layer(self, layer: int | None) -> Planted:
        return replace(self, layer=layer)

    def with_site(self, site: str) -> Planted:
        layers = self.layers if site == "residual" else tuple(range(1, len(LAYERS)))
        return replace(self, site=site, layer=None, layers=layers)

    def encode(self, items: Sequence[Item]) -> Sequences:
        layer = self.layers[-1] if self.layer is None else self.layer
        return self._steps(items, layer)

    def encode_layers(self, items: Sequence[Item]) -> list[Sequences]:
        return [self._steps(items, layer) for layer in self.layers]

    def _steps(self, items: Sequence[Item], layer: int) -> Sequences:
        arrays = [self._item(item, layer).astype(np.float32) for item in items]
        return Sequences.from_list(
            [item.id for item in items],
            arrays,
            made_by=self.with_layer(layer).made_by,
            words=[np.arange(len(array), dtype=np.int64) for array in arrays],
        )

    def _item(self, item: Item, layer: int) -> np.ndarray:
        kind = LAYERS[layer]
        words = (item.text or "").split()
        if item.id in self.broken:
            return np.full((len(words), WIDTH), np.nan)
        base = noise(f"meaning {item.meaning}")
        if kind in ("unrelated", "cone"):
            base = noise(f"item {item.id}")
        # The part of a word's place says the same in every variety: words that translate each
        # other stand in one place.
        rows = np.stack(
            [base + 0.3 * noise(f"place {item.meaning} {i}") for i in range(len(words))]
        )
        if kind == "rotated":
            square = noise(f"rotation {item.variety}", WIDTH * WIDTH).reshape(WIDTH, WIDTH)
            rows = rows @ np.linalg.qr(square)[0]
        if kind == "shifted":
            rows = rows + 6 * noise(f"offset {item.variety}")
        if kind == "cone":
            rows = rows + 40
        return rows if self.site == "residual" else np.maximum(rows, 0) + 0.01 * rows


@dataclass(frozen=True)
class Spoken:
    """An encoder of recordings with one layer and no words; it opens nothing."""

    made_by: str = "spoken"

    def encode(self, items: Sequence[Item]) -> Sequences:
        rows = [
            np.stack([noise(f"{item.meaning} {t}") + noise(f"{item.id} {t}") for t in range(4)])
            for item in items
        ]
        return Sequences.from_list(
            [item.id for item in items], [row.astype(np.float32) for row in rows], made_by="spoken"
        )
