"""Parts from which the Zipformer is built: schedules, BiasNorm, gradient-only rules.

Source: Yao et al. 2024, "Zipformer: a faster and better encoder for automatic speech recognition"
(ICLR), and the constants of its public implementation in icefall. Random decisions draw from
torch's default CPU generator, so its state is all that a resumed run has to restore, together with
`regulariser_state`.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from isogloss.speech.fused import activated_linear

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ActivatedLinear",
    "BalanceRule",
    "Balancer",
    "BiasNorm",
    "Rate",
    "ScaleGradient",
    "Schedule",
    "Scheduled",
    "SharedDropout",
    "Whiten",
    "chance",
    "keep_within",
    "load_regulariser_state",
    "penalise_beyond",
    "regulariser_state",
    "scaled",
    "set_batch_count",
]


@dataclass(frozen=True, slots=True)
class Schedule:
    """A value that follows the batch count: straight lines between points, flat outside.

    `points` are (batch count, value) with rising counts; `default` is the value in evaluation and
    while no batch count is set. One batch counts as 600 seconds of audio; see `set_batch_count`.
    """

    points: tuple[tuple[float, float], ...]
    default: float = 0.0

    def __post_init__(self) -> None:
        counts = [count for count, _ in self.points]
        if not counts or any(a >= b for a, b in itertools.pairwise(counts)):
            raise ValueError(f"counts of a schedule must rise, got {self.points}")

    def at(self, count: float) -> float:
        """The value at a batch count."""
        before, value_before = self.points[0]
        if count <= before:
            return value_before
        for after, value_after in self.points[1:]:
            if count < after:
                share = (count - before) / (after - before)
                return value_before + share * (value_after - value_before)
            before, value_before = after, value_after
        return value_before


Rate = float | Schedule
"""A constant or a value that follows the batch count."""


class Scheduled(nn.Module):
    """A module whose rates may follow the batch count that `set_batch_count` writes into it."""

    batch_count: float | None = None

    def now(self, rate: Rate) -> float:
        """The present value of `rate`."""
        if not isinstance(rate, Schedule):
            return rate
        if self.batch_count is None or not self.training:
            return rate.default
        return rate.at(self.batch_count)


def set_batch_count(module: nn.Module, count: float) -> None:
    """Tell every scheduled part of `module` how far training is.

    `count` is the number of batches of 600 seconds of audio that the model has seen: seconds of
    audio trained on, divided by 600 (icefall's reference duration). Schedules reach from 4,000 to
    50,000, made for runs of thousands of hours; a short run may count faster.
    """
    for part in module.modules():
        if isinstance(part, Scheduled):
            part.batch_count = count


def chance(probability: float) -> bool:
    """True with this probability, from torch's default CPU generator."""
    if probability <= 0.0:
        return False
    return probability >= 1.0 or torch.rand(()).item() < probability


def scaled(layer: nn.Linear | nn.Conv2d, scale: float) -> Any:
    """`layer` with initial weights times `scale` and a small uniform bias."""
    with torch.no_grad():
        layer.weight.mul_(scale)
        if layer.bias is not None:
            nn.init.uniform_(layer.bias, -0.1 * scale, 0.1 * scale)
    return layer


_HALVES = (torch.float16, torch.bfloat16)


class _BiasNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor, log_scale: Tensor) -> Tensor:
        if x.dtype in _HALVES:
            x = x.float()
        power = (x - bias).square_().mean(dim=-1, keepdim=True).clamp_min_(1e-20)
        scale = power.rsqrt() * log_scale.exp()
        ctx.save_for_backward(x, bias, power, scale)
        return x * scale

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, bias, power, scale = ctx.saved_tensors
        gradient = gradient.to(x.dtype)
        # With s the scale of a row: ds/dx = -s (x - bias) / (C power), ds/dlog_scale = s.
        through_scale = (gradient * x).sum(dim=-1, keepdim=True) * scale
        pull = (x - bias).mul_(through_scale / (power * x.shape[-1]))
        bias_gradient = pull.reshape(-1, x.shape[-1]).sum(dim=0)
        return torch.addcmul(-pull, gradient, scale), bias_gradient, through_scale.sum()


class BiasNorm(Scheduled):
    """Rows scaled to a learnt root mean square: x * mean((x - bias)^2)^-1/2 * exp(log_scale).

    Unlike LayerNorm it subtracts nothing from what it passes on. The log scale starts at 1 and its
    gradient keeps it within [-1.5, 1.5]. Input and output are (..., C); half precision comes out
    as float32.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(1.0))
        self.bias = nn.Parameter(torch.randn(channels) * 1e-4)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) scaled along its last axis."""
        log_scale: Tensor = self.log_scale
        if self.training:
            log_scale = keep_within(log_scale, -1.5, 1.5)
        out: Tensor = _BiasNorm.apply(x, self.bias, log_scale)  # type: ignore[no-untyped-call]
        return out


class SharedDropout(Scheduled):
    """Dropout of whole channels of an utterance: one mask for all steps of a (N, T, C) input."""

    def __init__(self, rate: Rate) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """`x` with channels dropped, in training."""
        mask = self.mask(x)
        return x if mask is None else x * mask

    def mask(self, x: Tensor) -> Tensor | None:
        """(N, 1, C) of 0 and 1 / (1 - rate), or None when nothing is dropped."""
        rate = self.now(self.rate) if self.training else 0.0
        if rate == 0.0:
            return None
        kept = torch.rand(x.shape[0], 1, x.shape[2], device=x.device) > rate
        return kept.to(x.dtype) / (1.0 - rate)


class ActivatedLinear(nn.Linear):
    """A linear layer that first applies Swoosh and, optionally, channel dropout to its input."""

    def __init__(
        self, channels_in: int, channels_out: int, *, kind: str, scale: float, dropout: Rate = 0.0
    ) -> None:
        super().__init__(channels_in, channels_out)
        if kind not in ("L", "R"):
            raise ValueError(f"kind of Swoosh must be L or R, got {kind!r}")
        self.kind = kind
        self.dropout = SharedDropout(dropout)
        scaled(self, scale)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, channels_in) to (N, T, channels_out)."""
        mask = self.dropout.mask(x)
        return activated_linear(x, self.weight, self.bias, kind=self.kind, mask=mask)


class _ScaleGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.scale, None


class ScaleGradient(nn.Module):
    """Passes its input on and multiplies the gradient, in training."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """`x`, unchanged."""
        if not self.training:
            return x
        out: Tensor = _ScaleGradient.apply(x, self.scale)  # type: ignore[no-untyped-call]
        return out


class _KeepWithin(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.limits = (low, high)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        low, high = ctx.limits
        turned = torch.where(x < low, -gradient.abs(), gradient)
        return torch.where(x > high, turned.abs(), turned), None, None


def keep_within(x: Tensor, low: float, high: float) -> Tensor:
    """`x` unchanged; six times of ten its gradient leads every value outside back into the limits.

    Only the sign of a gradient that leads further out is turned. Six of ten is enough to hold a
    parameter and saves time.
    """
    if not chance(0.6):
        return x
    out: Tensor = _KeepWithin.apply(x, low, high)  # type: ignore[no-untyped-call]
    return out


class _PenaliseBeyond(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, limit: float, penalty: float) -> Tensor:
        ctx.save_for_backward((x > limit).to(torch.int8).sub_((x < -limit).to(torch.int8)))
        ctx.penalty = penalty
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (direction,) = ctx.saved_tensors
        return gradient + ctx.penalty * direction, None, None


def penalise_beyond(x: Tensor, limit: float, penalty: float) -> Tensor:
    """`x` unchanged; adds penalty * (|x| - limit) of what is beyond to the loss's gradient."""
    out: Tensor = _PenaliseBeyond.apply(x, limit, penalty)  # type: ignore[no-untyped-call]
    return out


def _mean_over_deviation(positive_share: float) -> float:
    """Mean / deviation of normal data of which this share is positive, roughly.

    Source: icefall's Balancer, which approximates the inverse error function with atanh.
    """
    x = 2.0 * positive_share - 1.0
    return 0.8139535143 * (math.log(1 + x + 1e-10) - math.log(1 - x + 1e-10)) / 2.0


class _Balance(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, limits: tuple[float, ...], strength: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.limits = limits
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (saved,) = ctx.saved_tensors
        x = saved.float().reshape(-1, saved.shape[-1])
        # In double precision: near-constant channels reach 1e30 here.
        square = x.square().mean(dim=0).double()
        constant, factor = _direction(x.mean(dim=0).double(), square, ctx.limits)
        push = torch.addcmul(constant.float(), x, factor.float())
        push.mul_(ctx.strength / push.square().mean(dim=0).sqrt_().clamp_min_(_LEAST_PUSH))
        push = push.reshape(saved.shape)
        return (gradient + gradient.abs() * push).to(gradient.dtype), None, None


# A direction that is all rounding (a constant channel) stays as small as that.
_LEAST_PUSH = 1e-5


def _direction(mean: Tensor, square: Tensor, limits: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    """Numbers a and b per channel such that a + b x is the direction of the loss's gradient.

    The loss is |ratio - clamp(ratio)| + |log(clamp(rms) / rms)| of mean / deviation and root mean
    square. `mean` and `square`, the mean square, are (C,) in double precision.
    """
    low_mean, high_mean, low_rms, high_rms = limits
    variance = (square - mean * mean).clamp_min(1e-20)
    ratio = mean * variance.rsqrt()
    side = (ratio > high_mean).double() - (ratio < low_mean).double()
    rms = square.clamp_min(1e-20).sqrt()
    extent = (rms > high_rms).double() - (rms < low_rms).double()
    a = side * square * variance.pow(-1.5)
    b = extent / square.clamp_min(1e-20) - side * mean * variance.pow(-1.5)
    # Only the direction matters: sizes that float32 holds.
    size = torch.maximum(a.abs(), b.abs() * rms).clamp_min(1e-30)
    return a / size, b / size


@dataclass(frozen=True, slots=True)
class BalanceRule:
    """What a `Balancer` does to gradients at the present place of its schedules."""

    limits: tuple[float, float, float, float]
    strength: float = 0.04

    def push(self, mean: Tensor, square: Tensor) -> tuple[Tensor, Tensor]:
        """Numbers a and b per channel: the gradient g of x becomes g + |g| (a + b x).

        The same rule as `Balancer.balance` from statistics alone, for data that are never in memory
        as a whole. `mean` and `square`, the mean square, are (C,) in double precision; so are a
        and b.
        """
        a, b = _direction(mean, square, self.limits)
        size = (a * a + 2.0 * a * b * mean + b * b * square).clamp_min(0.0).sqrt()
        scale = self.strength / size.clamp_min(_LEAST_PUSH)
        return a * scale, b * scale


class Balancer(Scheduled):
    """Passes (..., C) on; changes gradients where a channel's statistics leave their limits.

    `positive` bounds the share of positive values, `absolute` the mean absolute value (both as
    they would be for normal data). Applied with probability `rate` to save time. `enabled` False
    makes it do nothing.

    Source: Zipformer paper, sec. 3.5; icefall scaling.py.
    """

    def __init__(
        self,
        *,
        positive: tuple[Rate, Rate] = (0.05, 0.95),
        absolute: tuple[Rate, Rate] = (0.2, 100.0),
        rate: Rate = Schedule(((0.0, 0.5), (8000.0, 0.125)), default=0.4),
    ) -> None:
        super().__init__()
        self.positive = positive
        self.absolute = absolute
        self.rate = rate
        self.enabled = True

    def fires(self) -> bool:
        """Whether this call is one on which gradients are changed; draws a random number."""
        return self.enabled and self.training and chance(self.now(self.rate))

    def forward(self, x: Tensor) -> Tensor:
        """`x`, unchanged."""
        if x.requires_grad and self.fires():
            return self.balance(x)
        return x

    def balance(self, x: Tensor) -> Tensor:
        """`x`, unchanged, with the rule applied to its gradient."""
        rule = self.rule()
        out: Tensor = _Balance.apply(x, rule.limits, rule.strength)  # type: ignore[no-untyped-call]
        return out

    def rule(self) -> BalanceRule:
        """The rule with the present limits of mean / deviation and of the root mean square."""
        low, high = (_mean_over_deviation(self.now(share)) for share in self.positive)
        # The root mean square of normal data is sqrt(pi / 2) times its mean absolute value.
        small, large = (math.sqrt(math.pi / 2) * self.now(value) for value in self.absolute)
        return BalanceRule((low, high, small, large))


class _Whitening(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, module: Whiten) -> Tensor:
        ctx.save_for_backward(x)
        ctx.module = module
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (saved,) = ctx.saved_tensors
        with torch.autocast(saved.device.type, enabled=False):
            return _Whitening.changed(gradient, saved, ctx.module), None

    @staticmethod
    def changed(gradient: Tensor, saved: Tensor, module: Whiten) -> Tensor:
        """`gradient` with the term that makes `saved` whiter, where its measure is too high."""
        groups = module.groups
        channels = saved.shape[-1] // groups
        x = saved.float().reshape(-1, groups, channels).transpose(0, 1)
        x = x - x.mean(dim=1, keepdim=True)
        covariance = x.transpose(1, 2) @ x
        diagonal = covariance.diagonal(dim1=1, dim2=2).mean()
        below = diagonal.square() + 1e-20
        metric = covariance.square().sum() / (groups * channels) / below
        if metric.item() < module.now(module.limit):
            module.rate = _WHITEN_RATES[0]
            return gradient
        module.rate = _WHITEN_RATES[1]
        # d metric / d covariance is symmetric, so d metric / dx = 2 x (that).
        slope = covariance * (2.0 / (groups * channels * below))
        shrink = 2.0 * metric * diagonal / (below * groups * channels)
        slope.diagonal(dim1=1, dim2=2).sub_(shrink)
        push = (2.0 * (x @ slope)).transpose(0, 1).reshape(saved.shape)
        factor: Tensor = module.strength * gradient.float().norm() / (push.norm() + 1e-20)
        return (gradient + factor * push).to(gradient.dtype)


_WHITEN_RATES = (0.025, 0.25)


class Whiten(Scheduled):
    """Passes (..., C) on; its gradient term keeps the covariance of the channels near a sphere.

    The measure is C * trace(S^2) / trace(S)^2 of the covariance S, 1 for white data; above `limit`
    the gradient gets a term of `strength` times its own norm that lowers the measure. Looked at
    in a quarter of the calls while the limit is broken, else in one of forty. `enabled` False
    makes it do nothing.

    Source: icefall scaling.py (the paper names it in appendix A).
    """

    def __init__(self, limit: Rate, *, strength: float = 0.01, groups: int = 1) -> None:
        super().__init__()
        self.limit = limit
        self.strength = strength
        self.groups = groups
        self.rate = _WHITEN_RATES[1]
        self.enabled = True

    def forward(self, x: Tensor) -> Tensor:
        """`x`, unchanged."""
        if not (self.enabled and self.training and x.requires_grad and chance(self.rate)):
            return x
        out: Tensor = _Whitening.apply(x, self)  # type: ignore[no-untyped-call]
        return out


def regulariser_state(module: nn.Module) -> dict[str, float]:
    """What training changes in `module` beside its parameters: name of each Whiten to its rate.

    Save it with a checkpoint: without it a resumed run draws other random numbers.
    """
    return {name: part.rate for name, part in module.named_modules() if isinstance(part, Whiten)}


def load_regulariser_state(module: nn.Module, state: Mapping[str, float]) -> None:
    """Undo of `regulariser_state`; ValueError when the names differ."""
    parts = {name: part for name, part in module.named_modules() if isinstance(part, Whiten)}
    if parts.keys() != state.keys():
        different = sorted(parts.keys() ^ state.keys())
        raise ValueError(
            f"regulariser state of another model; {len(different)} names differ, "
            f"first: {different[0]}"
        )
    for name, part in parts.items():
        part.rate = float(state[name])
