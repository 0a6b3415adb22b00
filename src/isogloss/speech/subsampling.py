"""The front end of the Zipformer: log-mel frames (N, T, 80) at 100 Hz to steps (N, T', D) at 50 Hz.

Three convolutions and one ConvNeXt block, as in the Zipformer paper (Yao et al. 2024, sec. 3.1).
Everything is kept with the channels last in memory, where a 1 x 1 convolution is one matrix
product and oneDNN's other convolutions are two to four times faster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isogloss.speech.scaling import (
    Balancer,
    BiasNorm,
    Rate,
    ScaleGradient,
    Schedule,
    Scheduled,
    SharedDropout,
    Whiten,
    scaled,
)
from isogloss.speech.swoosh import SwooshR, pointwise_network, swoosh_l

if TYPE_CHECKING:
    from isogloss.speech.zipformer_layers import StepMask

__all__ = ["MINIMUM_FRAMES", "Conv2dSubsampling", "ConvNeXt", "embedding_steps"]

MINIMUM_FRAMES = 9
"""Fewest log-mel frames that give one step."""


def embedding_steps(frames: Tensor) -> Tensor:
    """Steps that so many frames give: (T - 7) // 2, element by element."""
    return torch.div(frames - 7, 2, rounding_mode="floor")


class ConvNeXt(Scheduled):
    """Depthwise 7 x 7 convolution, then a two-layer network at every point, added to the input."""

    def __init__(self, channels: int, *, skip_rate: Rate, hidden_ratio: int = 3) -> None:
        super().__init__()
        hidden = channels * hidden_ratio
        self.skip_rate = skip_rate
        self.depthwise_conv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.pointwise_conv1 = nn.Conv2d(channels, hidden, 1)
        self.hidden_balancer = Balancer(positive=(0.3, 1.0), absolute=(0.75, 5.0))
        self.pointwise_conv2 = scaled(nn.Conv2d(hidden, channels, 1), 0.01)
        self.out_balancer = Balancer(positive=(0.4, 0.6), absolute=(1.0, 6.0))
        self.out_whiten = Whiten(5.0)

    def forward(self, x: Tensor, mask: StepMask | None) -> Tensor:
        """(N, T, F, C) to the same shape; padded steps enter the convolution as zeros."""
        if mask is not None:
            x = x * mask.keep[..., None]
        y = self.depthwise_conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        y = self._pointwise(y)
        if self.training and (rate := self.now(self.skip_rate)) > 0.0:
            kept = torch.rand(x.shape[0], 1, 1, 1, device=x.device) > rate
            y = torch.addcmul(x, y, kept.to(y.dtype))
        else:
            y = x + y
        out: Tensor = self.out_whiten(self.out_balancer(y))
        return out

    def _pointwise(self, x: Tensor) -> Tensor:
        """The two-layer network with SwooshL, at every point of (N, T, F, C)."""
        first, second = self.pointwise_conv1, self.pointwise_conv2
        weight1, weight2 = first.weight[:, :, 0, 0], second.weight[:, :, 0, 0]
        balances = x.requires_grad and self.hidden_balancer.fires()
        if x.is_cuda:
            hidden = F.linear(x, weight1, first.bias)
            if balances:
                hidden = self.hidden_balancer.balance(hidden)
            return F.linear(swoosh_l(hidden), weight2, second.bias)
        push = self.hidden_balancer.rule().push if balances else None
        rows = x.flatten(0, 2)
        out = pointwise_network(rows, weight1, first.bias, weight2, second.bias, push=push)
        return out.view(*x.shape[:3], -1)


class Conv2dSubsampling(nn.Module):
    """(N, T, 80) log-mel frames to (N, (T - 7) // 2, D) steps of 20 ms.

    Step t sees frames 2 t - 6 to 2 t + 14 (the ConvNeXt block reaches three steps to either side);
    frames after an utterance's end change nothing.
    """

    def __init__(
        self,
        bins: int,
        dim: int,
        *,
        channels: tuple[int, int, int] = (8, 32, 128),
        dropout: Rate = 0.1,
        skip_rate: Rate = 0.0,
    ) -> None:
        super().__init__()
        first, second, third = channels
        self.conv = nn.Sequential(
            nn.Conv2d(1, first, 3, padding=(0, 1)),
            ScaleGradient(0.2),
            Balancer(absolute=(0.2, 1.0)),
            SwooshR(),
            nn.Conv2d(first, second, 3, stride=2),
            Balancer(absolute=(0.2, 4.0)),
            SwooshR(),
            nn.Conv2d(second, third, 3, stride=(1, 2)),
            Balancer(absolute=(0.2, 4.0)),
            SwooshR(),
        )
        self.convnext = ConvNeXt(third, skip_rate=skip_rate)
        self.width = ((bins - 1) // 2 - 1) // 2
        self.out = nn.Linear(self.width * third, dim)
        self.out_whiten = Whiten(Schedule(((0.0, 4.0), (20000.0, 8.0)), default=4.0), strength=0.02)
        self.out_norm = BiasNorm(dim)
        self.dropout = SharedDropout(dropout)

    def forward(self, features: Tensor, mask: StepMask | None) -> Tensor:
        """(N, T, 80) to (N, (T - 7) // 2, D); `mask` tells which steps of the result are real."""
        # Channels last in memory. The first convolution has one channel, so that only the stride of
        # its axis tells oneDNN which layout is meant.
        x = features.contiguous().unsqueeze(3)
        for part in self.conv:
            if isinstance(part, nn.Conv2d):
                x = part(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
            else:
                x = part(x)
        x = self.convnext(x, mask)
        # The weight's columns run over (channel, frequency); turning it is cheaper than turning x.
        weight = self.out.weight.view(len(self.out.weight), -1, self.width)
        weight = weight.transpose(1, 2).flatten(1)
        x = F.linear(x.flatten(2), weight, self.out.bias)
        out: Tensor = self.dropout(self.out_norm(self.out_whiten(x)))
        return out
