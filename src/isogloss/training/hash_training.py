"""Parallel texts in, a bag of hashed n-grams whose vectors carry meaning out (`hash:FOLDER`).

A `TextLearner` of `text_loop`; see `encoders.hash_bag` for what the model is.
"""

from __future__ import annotations

import unicodedata
from collections import OrderedDict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from isogloss.encoders.hash_bag import BagShape, bag_of, random_table
from isogloss.encoders.own_text_files import write_own_text
from isogloss.training.objectives.contrastive import info_nce
from isogloss.training.objectives.text import TextLoss
from isogloss.training.pair_names import pair_names
from isogloss.training.row_adam import RowAdam

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from isogloss.training.text_batch import TextRows

__all__ = ["HashLearner", "HashTraining"]

# Rows of texts are kept in memory up to this many n-grams (4 bytes each).
_MOST_KEPT = 50_000_000


@dataclass(frozen=True, slots=True)
class HashTraining:
    """How a bag of hashed n-grams is trained.

    Args:
        buckets: rows of the table.
        dimension: of the vectors.
        low: least characters of an n-gram.
        high: most.
        low_unspaced: least characters in scripts without spaces between words.
        temperature: that cosines are divided by.
    """

    buckets: int = 1 << 18
    dimension: int = 256
    low: int = 3
    high: int = 5
    low_unspaced: int = 1
    temperature: float = 0.05

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature must be above 0, got {self.temperature}")
        self.shape()

    def shape(self) -> BagShape:
        """Of the model."""
        return BagShape(self.buckets, self.dimension, self.low, self.high, self.low_unspaced)


class HashLearner:
    """The table of vectors, and the loss that moves it: symmetric InfoNCE within the batch.

    Attributes:
        kind: the name of its encoder, without the colon.
        needs: rows of two sides.
        module: all that is learnt.
        spent: passes, tokens (n-grams) and floating-point operations, estimated, since emptied.
    """

    kind: ClassVar[str] = "hash"
    needs: ClassVar[frozenset[str]] = frozenset({"pairs"})

    def __init__(self, options: HashTraining, *, seed: int) -> None:
        self.options = options
        self.shape = options.shape()
        table = torch.from_numpy(random_table(self.shape, seed))
        self.module: nn.Module = nn.EmbeddingBag.from_pretrained(
            table, freeze=False, mode="mean", sparse=True
        )
        self.spent: dict[str, float] = {}
        self._kept: OrderedDict[str, npt.NDArray[Any]] = OrderedDict()
        self._size = 0

    def optimizer(self, rate: float, clip: float | None) -> torch.optim.Optimizer:
        """Adam that moves the rows that a batch has and no other; nothing is clipped."""
        del clip
        return RowAdam(list(self.module.parameters()), lr=rate)

    def loss(self, rows: TextRows, *, draw: torch.Generator, step: int, steps: int) -> TextLoss:
        """Nats a row: how hard each side's partner is to tell from the others of the batch.

        log N for a table of equal rows; 0 where the batch has one meaning.
        """
        del draw, step, steps
        first, second = (self.vectors(texts) for texts in rows.texts)
        total = info_nce(first, second, pair_names(rows.names), 1.0 / self.options.temperature)
        return TextLoss(total, {"infonce": total.detach()})

    def count_cut(self, texts: Sequence[str]) -> int:
        """0: texts are read whole."""
        del texts
        return 0

    def describe(self) -> dict[str, Any]:
        """Kind and size."""
        weights = self.shape.buckets * self.shape.dimension
        return {"kind": self.kind, "weights": weights, "learning": weights, **asdict(self.options)}

    def vectors(self, texts: Sequence[str]) -> Tensor:
        """(N, D) means over the n-grams of each text."""
        device = next(self.module.parameters()).device
        bags = [self._rows(text) for text in texts]
        offsets = torch.tensor([0, *(len(bag) for bag in bags[:-1])]).cumsum(0)
        joined = torch.cat([torch.from_numpy(bag) for bag in bags]).long()
        vectors: Tensor = self.module(joined.to(device), offsets.to(device))
        # A sum forwards, the same backwards, and the update of what was read.
        work = {
            "passes": 1,
            "tokens": len(joined),
            "flops": 12 * len(joined) * self.shape.dimension,
        }
        for name, amount in work.items():
            self.spent[name] = self.spent.get(name, 0.0) + amount
        return vectors

    def save(self, folder: Path) -> None:
        """Write `hash:FOLDER`."""
        table = next(self.module.parameters()).detach().cpu().numpy()
        extra = {"options": asdict(self.options)}
        write_own_text(folder, self.kind, asdict(self.shape), {"table": table}, extra=extra)

    def _rows(self, text: str) -> npt.NDArray[Any]:
        found = self._kept.get(text)
        if found is None:
            found = bag_of(unicodedata.normalize("NFC", text), self.shape)[0].astype("int32")
            self._kept[text] = found
            self._size += len(found)
            while self._size > _MOST_KEPT:
                self._size -= len(self._kept.popitem(last=False)[1])
        return found
