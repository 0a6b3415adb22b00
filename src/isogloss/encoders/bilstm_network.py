"""The network of `laser:`: token numbers in, states of every layer out; torch only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Bilstm", "BilstmShape", "most_of_each", "padded_ids"]


@dataclass(frozen=True, slots=True)
class BilstmShape:
    """Sizes of the network.

    Args:
        vocabulary: tokens; number 0 is padding.
        embedding: of a token.
        hidden: of each direction; a state has twice as many values.
        layers: of LSTM.
    """

    vocabulary: int
    embedding: int = 256
    hidden: int = 256
    layers: int = 1

    def __post_init__(self) -> None:
        for name in ("vocabulary", "embedding", "hidden", "layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    @property
    def dimension(self) -> int:
        """Values of a state of the last layer."""
        return 2 * self.hidden


class Bilstm(nn.Module):
    """LSTM layers in both directions over embedded tokens.

    Each row is read to its own end: the backward direction begins at the last real token, so what
    stands behind it changes nothing.
    """

    def __init__(self, shape: BilstmShape, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary, shape.embedding, padding_idx=0)
        nn.init.normal_(self.embedding.weight, std=0.1)
        with torch.no_grad():
            self.embedding.weight[0] = 0
        widths = [shape.embedding] + [shape.dimension] * (shape.layers - 1)
        self.layers = nn.ModuleList(
            nn.LSTM(width, shape.hidden, batch_first=True, bidirectional=True) for width in widths
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, ids: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        """States of (N, L) `ids` of which `lengths` (N,) are real, at least 1: (N, L, ...) a layer.

        The first are the embeddings, then the output of each layer. Values at padding are 0.
        """
        states = self.embedding(ids)
        found = [states]
        for layer in self.layers:
            packed = pack_padded_sequence(
                self.dropout(states), lengths.cpu(), batch_first=True, enforce_sorted=False
            )
            states, _ = pad_packed_sequence(
                layer(packed)[0], batch_first=True, total_length=ids.shape[1]
            )
            found.append(states)
        return tuple(found)


def most_of_each(states: Tensor, lengths: Tensor) -> Tensor:
    """(N, D) largest values over the first `lengths` of (N, L, D); the others never enter."""
    places = torch.arange(states.shape[1], device=states.device)
    is_padding = places[None, :] >= lengths.to(states.device)[:, None]
    return states.masked_fill(is_padding[..., None], -torch.inf).amax(dim=1)


def padded_ids(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """(N, L) int64 ids filled with 0 at the ends, and (N,) lengths."""
    lengths = torch.tensor([len(row) for row in rows])
    ids = torch.zeros(len(rows), int(lengths.max()), dtype=torch.int64)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.tensor(row, dtype=torch.int64)
    return ids, lengths
