"""One layer of the Zipformer and its modules; inputs are (N, T, C), attention weights (N, H, T, T).

Attention weights are computed once and used three times: by two self-attentions and, head 0, by
the gated non-linear attention. Source: Yao et al. 2024, sec. 3.2 and 3.3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isogloss.speech.fused import gated
from isogloss.speech.scaling import (
    ActivatedLinear,
    Balancer,
    BiasNorm,
    Rate,
    Schedule,
    Scheduled,
    Whiten,
    chance,
    keep_within,
    penalise_beyond,
    scaled,
)

__all__ = ["Bypass", "LayerShape", "RelativePosition", "StepMask", "Switches", "ZipformerLayer"]


@dataclass(frozen=True)
class StepMask:
    """Which steps of a padded batch are real; used only where an utterance is shorter than T."""

    lengths: Tensor
    steps: int

    @cached_property
    def is_real(self) -> Tensor:
        """(N, T) bool."""
        return torch.arange(self.steps, device=self.lengths.device) < self.lengths[:, None]

    @cached_property
    def keep(self) -> Tensor:
        """(N, T, 1) float32, 1 where real."""
        return self.is_real.float().unsqueeze(-1)

    @cached_property
    def key_bias(self) -> Tensor:
        """(N, 1, 1, T) added to attention scores: exp(-1000) is exactly 0 in float32."""
        return (self.is_real.float() - 1.0).mul_(1000.0)[:, None, None, :]

    def downsampled(self, factor: int) -> StepMask:
        """The mask after `factor` steps became one; a part of a group counts as a step."""
        lengths = torch.div(self.lengths + factor - 1, factor, rounding_mode="floor")
        return StepMask(lengths, -(-self.steps // factor))


@dataclass(frozen=True, slots=True)
class Switches:
    """Which training-time rules are on; none of them acts in evaluation."""

    layer_skip: bool = True
    score_penalty: bool = True
    limit_bypass: bool = True

    def skip(self, schedule: Schedule) -> Rate:
        """`schedule`, or 0 where skipping is off."""
        return schedule if self.layer_skip else 0.0


@dataclass(frozen=True, slots=True)
class LayerShape:
    """Widths of a layer."""

    dim: int
    feedforward: int
    heads: int
    kernel: int
    query_head: int = 32
    value_head: int = 12
    position_head: int = 4
    position: int = 48


def _whitening(limit: float, ratio: float = 2.0) -> Schedule:
    return Schedule(((0.0, limit), (20000.0, ratio * limit)), default=limit)


class RelativePosition(nn.Module):
    """Encodings of the offsets -(T - 1) to T - 1: (2 T - 1, P), the last channel constant 1.

    The offset is compressed logarithmically and then by arc tangent to an angle, of which cosines
    and sines of growing frequency are taken. Source: Yao et al. 2024, sec. 3.2 and icefall.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self._known = torch.empty(0, dim)

    def forward(self, steps: int, device: torch.device) -> Tensor:
        """(2 * steps - 1, P) float32 on `device`."""
        if len(self._known) < 2 * steps - 1 or self._known.device != device:
            # Kept for later calls, which may train: a tensor made in inference mode could not.
            with torch.inference_mode(False):
                self._known = self._encode(max(steps, 500), device)
        middle = len(self._known) // 2
        return self._known[middle - steps + 1 : middle + steps]

    def _encode(self, steps: int, device: torch.device) -> Tensor:
        offset = torch.arange(1 - steps, steps, device=device, dtype=torch.float32)[:, None]
        length = math.sqrt(self.dim)
        compressed = length * offset.sign() * ((offset.abs() + length).log() - math.log(length))
        angle = (compressed * (2.0 * math.pi / self.dim)).atan()
        angle = angle * torch.arange(1, self.dim // 2 + 1, device=device)
        encoding = torch.stack([angle.cos(), angle.sin()], dim=2).flatten(1)
        encoding[:, -1] = 1.0
        return encoding


class AttentionWeights(Scheduled):
    """Attention weights (N, H, T, T) of (N, T, C), rows summing to 1 over real steps."""

    def __init__(self, shape: LayerShape, switches: Switches) -> None:
        super().__init__()
        self.heads = shape.heads
        self.query_head = shape.query_head
        self.position_head = shape.position_head
        # No division by sqrt(d): the initial scale stands for it, split between query and key.
        self.in_proj = scaled(
            nn.Linear(shape.dim, shape.heads * (2 * shape.query_head + shape.position_head)),
            shape.query_head**-0.25,
        )
        self.linear_pos = scaled(
            nn.Linear(shape.position, shape.heads * shape.position_head, bias=False), 0.05
        )
        self.whiten_keys = Whiten(_whitening(3.0), strength=0.025, groups=shape.heads)
        # Keys may hold any constant; this keeps it from growing through rounding.
        self.balance_keys = Balancer(positive=(0.4, 0.6), absolute=(0.0, 100.0), rate=0.025)
        self.position_skip_rate = switches.skip(Schedule(((0.0, 0.5), (4000.0, 0.0))))
        self.penalty_rate = 0.1 if switches.score_penalty else 0.0

    def forward(self, x: Tensor, position: Tensor, mask: StepMask | None) -> Tensor:
        """`position` is (2 T - 1, P) from `RelativePosition`."""
        width = self.heads * self.query_head
        query, key, where = self.in_proj(x).split(
            [width, width, self.heads * self.position_head], dim=-1
        )
        key = self.whiten_keys(self.balance_keys(key))
        query = query.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        key = key.unflatten(-1, (self.heads, -1)).permute(0, 2, 3, 1)
        scores = query @ key
        if not (self.training and chance(self.now(self.position_skip_rate))):
            where = where.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            # In place: nothing keeps the scores, and they are the largest tensors here.
            scores.add_(self._position_scores(where, position))
        if self.training and chance(self.penalty_rate):
            # Before padding is excluded, which is far beyond any limit.
            scores = penalise_beyond(scores, 25.0, 1e-4)
        if mask is not None:
            scores = scores + mask.key_bias
        weights: Tensor = scores.softmax(dim=-1)
        return weights

    def _position_scores(self, where: Tensor, position: Tensor) -> Tensor:
        """(N, H, T, T) from (N, H, T, d): entry i, j takes the offset j - i."""
        batch, heads, steps, _ = where.shape
        encoded = self.linear_pos(position).unflatten(-1, (heads, -1)).permute(1, 2, 0)
        by_offset: Tensor = (where @ encoded).contiguous()
        # Row i starts i places further left, so the step from row to row is one place shorter.
        row = 2 * steps - 1
        return by_offset.as_strided(
            (batch, heads, steps, steps),
            (heads * steps * row, steps * row, row - 1, 1),
            by_offset.storage_offset() + steps - 1,
        )


class SelfAttention(nn.Module):
    """Values mixed by given attention weights."""

    def __init__(self, shape: LayerShape) -> None:
        super().__init__()
        self.heads = shape.heads
        width = shape.heads * shape.value_head
        self.in_proj = nn.Linear(shape.dim, width)
        self.out_proj = scaled(nn.Linear(width, shape.dim), 0.05)
        self.whiten = Whiten(_whitening(7.5, 3.0))

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """(N, T, C) with weights (N, H, T, T) to (N, T, C)."""
        values = self.in_proj(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        mixed = (weights @ values).transpose(1, 2).flatten(2)
        out: Tensor = self.whiten(self.out_proj(mixed))
        return out


class NonlinAttention(nn.Module):
    """Values gated before and after they are mixed by one head's attention weights."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        hidden = 3 * dim // 4
        self.in_proj = nn.Linear(dim, 3 * hidden)
        self.balancer = Balancer(
            positive=(
                Schedule(((0.0, 0.25), (20000.0, 0.05))),
                Schedule(((0.0, 0.75), (20000.0, 0.95))),
            ),
            absolute=(0.5, 5.0),
        )
        self.out_proj = scaled(nn.Linear(hidden, dim), 0.05)
        self.whiten1 = Whiten(_whitening(5.0))
        self.whiten2 = Whiten(_whitening(5.0, 3.0))

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """(N, T, C) with one head's weights (N, T, T) to (N, T, C)."""
        gate, values, after = self.in_proj(x).chunk(3, dim=-1)
        values = gated(self.whiten1(values), self.balancer(gate), kind="tanh")
        out: Tensor = self.whiten2(self.out_proj((weights @ values) * after))
        return out


class FeedForward(nn.Module):
    """Two linear layers with SwooshL between them."""

    def __init__(self, dim: int, hidden: int, dropout: Rate) -> None:
        super().__init__()
        self.in_proj = nn.Linear(dim, hidden)
        self.hidden_balancer = Balancer(positive=(0.3, 1.0), absolute=(0.75, 5.0))
        self.out_proj = ActivatedLinear(hidden, dim, kind="L", scale=0.1, dropout=dropout)
        self.out_whiten = Whiten(_whitening(7.5))

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, C) to (N, T, C)."""
        out: Tensor = self.out_whiten(self.out_proj(self.hidden_balancer(self.in_proj(x))))
        return out


class Convolution(nn.Module):
    """Gated linear unit, depthwise convolution over time, SwooshR, linear."""

    def __init__(self, dim: int, kernel: int) -> None:
        super().__init__()
        self.in_proj = nn.Linear(dim, 2 * dim)
        self.balancer1 = Balancer(
            positive=(Schedule(((0.0, 0.05), (8000.0, 0.025))), 1.0),
            absolute=(1.5, Schedule(((0.0, 5.0), (8000.0, 10.0)), default=1.0)),
        )
        self.depthwise_conv = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.balancer2 = Balancer(
            positive=(Schedule(((0.0, 0.1), (8000.0, 0.05))), 1.0),
            absolute=(Schedule(((0.0, 0.2), (20000.0, 0.5))), 10.0),
        )
        self.whiten = Whiten(_whitening(7.5))
        self.out_proj = ActivatedLinear(dim, dim, kind="R", scale=0.05)

    def forward(self, x: Tensor, mask: StepMask | None) -> Tensor:
        """(N, T, C) to (N, T, C); padded steps enter the convolution as zeros."""
        values, gate = self.in_proj(x).chunk(2, dim=-1)
        x = gated(values, self.balancer1(gate), kind="sigmoid")
        if mask is not None:
            x = x * mask.keep
        out: Tensor = self.out_proj(self.whiten(self.balancer2(self._over_time(x))))
        return out

    def _over_time(self, x: Tensor) -> Tensor:
        """The depthwise convolution on (N, T, C) as it lies in memory.

        Seen as an image of T rows and one column with the channels last, it takes a fifth of the
        time of `Conv1d`, which would turn the axes first (oneDNN, forward and backward).
        """
        image = x.unsqueeze(2).permute(0, 3, 1, 2)
        layer = self.depthwise_conv
        weight = layer.weight.unsqueeze(3)
        padding = (layer.kernel_size[0] // 2, 0)
        image = F.conv2d(image, weight, layer.bias, padding=padding, groups=layer.groups)
        return image.permute(0, 2, 3, 1).squeeze(2)


class Bypass(Scheduled):
    """Input plus a learnt share, per channel, of what a module changed.

    In training the share is kept above a limit that falls from 0.9 to 0.2, so that every module
    learns; whole utterances skip the module with probability `skip_rate`.
    """

    def __init__(self, dim: int, switches: Switches, *, skip_rate: Rate = 0.0) -> None:
        super().__init__()
        self.bypass_scale = nn.Parameter(torch.full((dim,), 0.5))
        self.skip_rate = skip_rate
        self.limited = switches.limit_bypass
        self.lowest: Rate = Schedule(((0.0, 0.9), (20000.0, 0.2)))

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Both (N, T, C)."""
        share: Tensor = self.bypass_scale
        if self.training:
            if self.limited:
                share = keep_within(share, self.now(self.lowest), 1.0)
            rate = self.now(self.skip_rate)
            if rate > 0.0:
                share = share * (torch.rand(len(before), 1, 1, device=before.device) > rate)
        return torch.lerp(before, after.to(before.dtype), share.to(before.dtype))


class ZipformerLayer(Scheduled):
    """One layer: (N, T, C) to (N, T, C)."""

    def __init__(
        self, shape: LayerShape, switches: Switches, *, dropout: Rate, layer_skip: Rate
    ) -> None:
        super().__init__()
        dim = shape.dim
        self.self_attn_weights = AttentionWeights(shape, switches)
        self.self_attn1 = SelfAttention(shape)
        self.self_attn2 = SelfAttention(shape)
        self.feed_forward1 = FeedForward(dim, shape.feedforward * 3 // 4, dropout)
        self.feed_forward2 = FeedForward(dim, shape.feedforward, dropout)
        self.feed_forward3 = FeedForward(dim, shape.feedforward * 5 // 4, dropout)
        self.nonlin_attention = NonlinAttention(dim)
        self.conv_module1 = Convolution(dim, shape.kernel)
        self.conv_module2 = Convolution(dim, shape.kernel)
        self.bypass = Bypass(dim, switches, skip_rate=layer_skip)
        self.bypass_mid = Bypass(dim, switches)
        # Unused; public checkpoints hold it, so it stays part of the state.
        self.bypass_scale = nn.Parameter(torch.full((dim,), 0.5))
        self.norm = BiasNorm(dim)
        self.balancer1 = Balancer(positive=(0.45, 0.55), absolute=(0.2, 4.0))
        self.balancer2 = Balancer(positive=(0.45, 0.55), absolute=(0.1, 4.0))
        self.balancer_na = Balancer(
            positive=(0.3, 0.7),
            absolute=(Schedule(((0.0, 0.004), (4000.0, 0.02))), 100.0),
            rate=0.05,
        )
        self.balancer_ff2 = Balancer(
            positive=(0.3, 0.7), absolute=(Schedule(((0.0, 0.0), (4000.0, 0.1))), 2.0), rate=0.05
        )
        self.balancer_ff3 = Balancer(
            positive=(0.3, 0.7), absolute=(Schedule(((0.0, 0.0), (4000.0, 0.2))), 4.0), rate=0.05
        )
        self.whiten = Whiten(_whitening(4.0, 3.0))
        dynamic = Schedule(((0.0, 0.2), (4000.0, 0.05), (16000.0, 0.0)))
        feedforward = Schedule(((0.0, 0.1), (4000.0, 0.01), (50000.0, 0.0)))
        self.attention_skip_rate = switches.skip(dynamic)
        self.conv_skip_rate = switches.skip(dynamic)
        self.ff2_skip_rate = switches.skip(feedforward)
        self.ff3_skip_rate = switches.skip(feedforward)
        self.constant_attention_rate = switches.skip(Schedule(((0.0, 0.25), (4000.0, 0.025))))

    def forward(self, x: Tensor, position: Tensor, mask: StepMask | None) -> Tensor:
        """`position` is (2 T - 1, P); `mask` is None when nothing is padded."""
        start = x
        weights = self.self_attn_weights(x, position, mask)
        keep_attention = self._kept(x, self.attention_skip_rate)
        x = x + self.feed_forward1(x)
        gated = self.nonlin_attention(x, self._first_head(weights))
        x = _added(x, self.balancer_na(gated), keep_attention)
        x = _added(x, self.self_attn1(x, weights), keep_attention)
        x = _added(x, self.conv_module1(x, mask), self._kept(x, self.conv_skip_rate))
        fed = self.balancer_ff2(self.feed_forward2(x))
        x = self.bypass_mid(start, _added(x, fed, self._kept(x, self.ff2_skip_rate)))
        x = _added(x, self.self_attn2(x, weights), keep_attention)
        x = _added(x, self.conv_module2(x, mask), self._kept(x, self.conv_skip_rate))
        fed = self.balancer_ff3(self.feed_forward3(x))
        x = _added(x, fed, self._kept(x, self.ff3_skip_rate))
        x = self.bypass(start, self.norm(self.balancer1(x)))
        out: Tensor = self.whiten(self.balancer2(x))
        return out

    def _kept(self, x: Tensor, rate: Rate) -> Tensor | None:
        """(N, 1, 1): 0 for the utterances that skip a module this time; None when none may."""
        value = self.now(rate) if self.training else 0.0
        if value == 0.0:
            return None
        return (torch.rand(x.shape[0], 1, 1, device=x.device) > value).to(x.dtype)

    def _first_head(self, weights: Tensor) -> Tensor:
        """(N, T, T) of head 0; now and then a plain average instead."""
        first = weights[:, 0]
        if self.training and chance(self.now(self.constant_attention_rate)):
            used = (first > 0.0).to(first.dtype)
            return used / used.sum(dim=-1, keepdim=True)
        return first


def _added(x: Tensor, y: Tensor, kept: Tensor | None) -> Tensor:
    return x + y if kept is None else torch.addcmul(x, y, kept)
