"""The network of `pixel:`: grey patches in, states of every layer out; torch only."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["PixelShape", "PixelTransformer", "mean_of_real"]


@dataclass(frozen=True, slots=True)
class PixelShape:
    """Sizes of the network.

    Args:
        height: of a patch and of a line of text, in pixels.
        width: of a patch, in pixels.
        dimension: of a state.
        layers: blocks of attention.
        heads: of each.
        window: most patches that see each other; a longer text is read window by window.
    """

    height: int = 16
    width: int = 16
    dimension: int = 192
    layers: int = 3
    heads: int = 4
    window: int = 128

    def __post_init__(self) -> None:
        for name in ("width", "dimension", "layers", "heads", "window"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.height < 8:
            raise ValueError(f"height must be at least 8 pixels, got {self.height}")
        if self.dimension % (2 * self.heads):
            raise ValueError(
                f"dimension {self.dimension} must be an even number of times heads {self.heads}"
            )


class PixelTransformer(nn.Module):
    """A transformer over patches, normalised before each part, without a class token.

    Source: patches as in ViT (Dosovitskiy et al. 2021) and PIXEL (Rust et al. 2023), with fixed
    places of sines instead of learnt ones.
    """

    places: Tensor

    def __init__(self, shape: PixelShape, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Linear(shape.height * shape.width, shape.dimension)
        self.blocks = nn.ModuleList(
            _Block(shape.dimension, shape.heads, dropout) for _ in range(shape.layers)
        )
        self.norm = nn.LayerNorm(shape.dimension)
        self.register_buffer("places", _places(shape.window, shape.dimension), persistent=False)

    def forward(
        self, patches: Tensor, real: Tensor, *, instead: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, ...]:
        """States of every layer, each (N, L, D): input of block 1, each block's output, the end.

        Args:
            patches: (N, L, height x width), 1 is ink; L up to the window.
            real: (N, L) bool, False for padding, which no patch sees.
            instead: (N, L) bool and (D,): patches of which this vector is read.
        """
        states = self.embedding(patches)
        if instead is not None:
            states = torch.where(instead[0][..., None], instead[1], states)
        states = states + self.places[: patches.shape[1]]
        bias = torch.zeros(real.shape, dtype=states.dtype, device=states.device)
        bias = bias.masked_fill(~real, -torch.inf)[:, None, None, :]
        found = [states]
        for block in self.blocks:
            states = block(states, bias)
            found.append(states)
        return (*found, self.norm(states))


def mean_of_real(states: Tensor, real: Tensor) -> Tensor:
    """(N, D) means over the real steps of (N, L, D); padding never enters."""
    weights = real.to(states.dtype)[..., None]
    return states.masked_fill(~real[..., None], 0.0).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


class _Block(nn.Module):
    def __init__(self, dimension: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.before = nn.LayerNorm(dimension)
        self.mixed = nn.Linear(dimension, 3 * dimension)
        self.joined = nn.Linear(dimension, dimension)
        self.between = nn.LayerNorm(dimension)
        self.wide = nn.Linear(dimension, 4 * dimension)
        self.narrow = nn.Linear(4 * dimension, dimension)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, bias: Tensor) -> Tensor:
        rows, length, dimension = states.shape
        parts = self.mixed(self.before(states)).view(rows, length, 3, self.heads, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        seen = seen.transpose(1, 2).reshape(rows, length, dimension)
        states = states + self.dropout(self.joined(seen))
        inner = functional.gelu(self.wide(self.between(states)))
        changed: Tensor = states + self.dropout(self.narrow(inner))
        return changed


def _places(count: int, dimension: int) -> Tensor:
    """(count, dimension) sines and cosines of falling frequency."""
    rates = torch.exp(torch.arange(0, dimension, 2) * (-math.log(10000.0) / dimension))
    angles = torch.arange(count)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)
