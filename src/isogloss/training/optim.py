"""Optimisers and learning-rate schedules: gradients in, parameters changed; used by `loop`.

`ScaledAdam` moves a tensor in proportion to its own size, `ClippedAdamW` is AdamW with the same
clipping. Schedules are plain functions of the batch and epoch counts, so they have no state.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = [
    "ClippedAdamW",
    "Cosine",
    "Eden",
    "Linear",
    "NonFiniteGradient",
    "ScaledAdam",
    "clip_factor",
    "set_learning_rate",
    "warm_up",
]

# While fewer norms than a whole window are known, the limit is set after so many steps, and is
# twice as wide because early norms change fast.
_EARLY_STEPS = (10, 20, 40)


class NonFiniteGradient(ArithmeticError):
    """The gradient holds NaN or infinity; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Eden:
    """Learning rate that falls as the -1/2 power of batches and of epochs, after a warm-up.

    lr * ((b^2 + B^2) / B^2)^-1/4 * ((e^2 + E^2) / E^2)^-1/4, times a line from `warmup_start` to 1
    over the first `warmup` batches.

    Source: Yao et al. 2024 (Zipformer), sec. 3.6; the defaults are those of icefall's
    LibriSpeech recipe.
    """

    base_lr: float
    lr_batches: float = 7500.0
    lr_epochs: float = 3.5
    warmup: int = 500
    warmup_start: float = 0.1

    def __call__(self, batch: int, epoch: float) -> float:
        """Learning rate of batch number `batch` (from 0 over all epochs) in epoch `epoch`."""
        by_batch = math.sqrt(math.hypot(1.0, batch / self.lr_batches))
        by_epoch = math.sqrt(math.hypot(1.0, epoch / self.lr_epochs))
        rise = warm_up(batch, self.warmup, self.warmup_start)
        return self.base_lr * rise / (by_batch * by_epoch)


@dataclass(frozen=True, slots=True)
class Cosine:
    """Learning rate that follows half a cosine from `base_lr` to 0 at `steps`, after a warm-up.

    Source: Loshchilov & Hutter 2017 (SGDR), eq. 5 with one period and a minimum of 0.
    """

    base_lr: float
    steps: int
    warmup: int = 500
    warmup_start: float = 0.1

    def __call__(self, batch: int, epoch: float) -> float:
        """Learning rate of batch number `batch` (from 0); the epoch plays no part."""
        share = min(1.0, max(0, batch - self.warmup) / max(1, self.steps - self.warmup))
        fall = 0.5 * (1.0 + math.cos(math.pi * share))
        return self.base_lr * fall * warm_up(batch, self.warmup, self.warmup_start)


@dataclass(frozen=True, slots=True)
class Linear:
    """Learning rate on a straight line from `base_lr` to 0 at `steps`, after a warm-up."""

    base_lr: float
    steps: int
    warmup: int = 500
    warmup_start: float = 0.1

    def __call__(self, batch: int, epoch: float) -> float:
        """Learning rate of batch number `batch` (from 0); the epoch plays no part."""
        share = min(1.0, max(0, batch - self.warmup) / max(1, self.steps - self.warmup))
        return self.base_lr * (1.0 - share) * warm_up(batch, self.warmup, self.warmup_start)


def warm_up(batch: int, batches: int, start: float = 0.0) -> float:
    """A line from `start` at batch 0 to 1 at batch `batches`, 1 from there on."""
    return 1.0 if batch >= batches else start + (1.0 - start) * batch / batches


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Give all parameters of `optimizer` the learning rate `rate`.

    A group with an `lr_scale` gets `rate` times that.
    """
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)


def clip_factor(record: dict[str, Any], norm: float, *, scale: float, window: int = 100) -> float:
    """What to multiply a gradient by, at most 1: `scale` times the median of recent norms / norm.

    The limit is renewed every `window` steps from the norms since the last renewal, and before the
    first renewal after 10, 20 and 40 steps with twice the width. Until step 10 nothing is clipped.

    Args:
        record: what is remembered between steps, plain numbers; start with an empty dict.
        norm: norm of this step's gradient, finite.
        scale: allowed ratio to the median.
        window: steps between renewals.

    Source: icefall's ScaledAdam (clipping_scale 2.0, clipping_update_period 100). The median of n
    sorted norms is taken at place 2 * (n // 4) as there.
    """
    step = record.get("step", 0)
    norms = record.setdefault("norms", [])
    record["step"] = step + 1
    if step > 0:
        norms.append(norm)
        early = step in _EARLY_STEPS and step < window
        if early or step % window == 0:
            ordered = sorted(norms[-window:])
            median = ordered[2 * (len(ordered) // 4)]
            record["limit"] = scale * median * (2.0 if early else 1.0)
            record["clipped"] = 0
        if step % window == 0:
            norms.clear()
    limit = record.get("limit")
    if limit is None or norm <= limit:
        return 1.0
    record["clipped"] += 1
    return float(limit / norm)


class ScaledAdam(Optimizer):
    """Adam whose step on a tensor is in proportion to the tensor's root mean square.

    Beside the direction of a tensor its size is learnt too, every `size_update_period` steps and
    `scalar_lr_scale` times slower. Tensors of the same shape are updated as one stack, which
    saves most of the calls: a Zipformer has hundreds of tensors in a few dozen shapes.

    Args:
        parameters: what to train, or groups of it, each clipped by its own norm; all float32
            (mixed precision keeps its own copies).
        lr: relative change of a tensor in one step, 0.045 in icefall.
        betas: decay of the momentum and of the mean square gradient.
        eps: added to the root mean square gradient.
        scalar_lr_scale: factor on `lr` for scalars and for the size of tensors.
        min_rms: a tensor moves as if its root mean square were at least this, and does not
            shrink below it.
        max_rms: a tensor whose root mean square is beyond this is led back to it.
        scalar_max: scalars stay within plus and minus this.
        size_update_period: steps between updates of the sizes.
        clip: limit for gradient norms, as a multiple of the median of recent ones, or None.

    Raises:
        NonFiniteGradient: from `step`, before anything is changed.

    Source: Yao et al. 2024 (Zipformer), sec. 3.6, and the constants of icefall's optim.py.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 0.045,
        *,
        betas: tuple[float, float] = (0.9, 0.98),
        eps: float = 1e-8,
        scalar_lr_scale: float = 0.1,
        min_rms: float = 1e-5,
        max_rms: float = 3.0,
        scalar_max: float = 10.0,
        size_update_period: int = 4,
        clip: float | None = 2.0,
    ) -> None:
        if not lr >= 0 or not 0 <= betas[0] < 1 or not 0 < betas[1] < 1:
            raise ValueError(f"lr must be >= 0 and betas in [0, 1), got {lr} and {betas}")
        if size_update_period < 1:
            raise ValueError(f"size_update_period must be at least 1, got {size_update_period}")
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "scalar_lr_scale": scalar_lr_scale,
            "min_rms": min_rms,
            "max_rms": max_rms,
            "scalar_max": scalar_max,
            "size_update_period": size_update_period,
            "clip": clip,
            "step": 0,
        }
        super().__init__(parameters, defaults)
        for group in self.param_groups:
            group["clip_record"] = {}

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Change the parameters once; a parameter without gradient counts as gradient 0."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        prepared = []
        for group in self.param_groups:
            shapes = self._by_shape(group)
            norm = _scaled_norm(group, [(m, self.state[m[0]]) for m in shapes])
            if not math.isfinite(norm):
                raise NonFiniteGradient(f"norm of the gradient is {norm}")
            prepared.append((group, shapes, norm))
        for group, shapes, norm in prepared:
            factor = 1.0
            if group["clip"] is not None:
                factor = clip_factor(group["clip_record"], norm, scale=group["clip"])
            # One at a time: all of them at once would be a second copy of the model and of its
            # gradient.
            for members in shapes:
                stack = _Stack(members, self.state[members[0]])
                if factor < 1.0:
                    stack.gradient.mul_(factor)
                stack.write_back(_changed(group, stack))
            group["step"] += 1
        return loss

    @staticmethod
    def _by_shape(group: dict[str, Any]) -> list[list[Tensor]]:
        by_shape: dict[tuple[str, torch.device, torch.Size], list[Tensor]] = defaultdict(list)
        for parameter in group["params"]:
            key = (str(parameter.dtype), parameter.device, parameter.shape)
            by_shape[key].append(parameter)
        return list(by_shape.values())


class _Stack:
    """Parameters of one shape along a new first axis; their state lies with the first of them."""

    def __init__(self, members: list[Tensor], state: dict[str, Any]) -> None:
        self.members = members
        self.state = state
        self.values = torch.stack(members).float()
        self.gradient = _stacked_gradient(members)
        self.is_scalar = members[0].numel() == 1
        self.axes = tuple(range(1, self.values.dim()))
        if state:
            return
        state["square"] = torch.zeros_like(self.values)
        state["momentum"] = torch.zeros_like(self.values)
        if not self.is_scalar:
            state["rms"] = _rms(self.values)
            state["size_square"] = torch.zeros_like(state["rms"])
            state["size_sum"] = torch.zeros_like(state["rms"])
            state["size_sum_square"] = torch.zeros_like(state["rms"])

    def write_back(self, values: Tensor) -> None:
        """Make `values` those of the parameters themselves."""
        torch._foreach_copy_(self.members, list(values.unbind()))


def _rms(values: Tensor) -> Tensor:
    """Root mean square of each member of (members, ...): (members, 1, ..., 1)."""
    axes = tuple(range(1, values.dim()))
    return values.square().mean(dim=axes, keepdim=True).sqrt()


def _stacked_gradient(members: list[Tensor]) -> Tensor:
    """Gradients of parameters of one shape along a new first axis; 0 where there is none."""
    return torch.stack([torch.zeros_like(p) if p.grad is None else p.grad for p in members]).float()


def _scaled_norm(group: dict[str, Any], shapes: list[tuple[list[Tensor], dict[str, Any]]]) -> float:
    """Norm of the whole gradient, each tensor's weighted by what it can move the tensor."""
    squares = []
    for members, state in shapes:
        gradient = _stacked_gradient(members)
        square = gradient.mul_(gradient).reshape(len(members), -1).sum(dim=1)
        if members[0].numel() == 1:
            weight = square.new_full((), group["scalar_lr_scale"])
        else:
            weight = (state["rms"] if state else _rms(torch.stack(members).float())).flatten()
        squares.append((square * weight.square()).sum())
    return float(torch.stack([s.to(squares[0].device) for s in squares]).sum().sqrt())


def _changed(group: dict[str, Any], stack: _Stack) -> Tensor:
    """New values: moved by a running mean of single steps, without bias correction."""
    beta = group["betas"][0]
    momentum: Tensor = stack.state["momentum"]
    momentum.mul_(beta).add_(_single_step(group, stack), alpha=1.0 - beta)
    values = stack.values.add_(momentum)
    return values.clamp_(-group["scalar_max"], group["scalar_max"]) if stack.is_scalar else values


def _single_step(group: dict[str, Any], stack: _Stack) -> Tensor:
    step, state = group["step"], stack.state
    beta: float = group["betas"][1]
    lr = group["lr"] * (group["scalar_lr_scale"] if stack.is_scalar else 1.0)
    square: Tensor = state["square"]
    square.mul_(beta).addcmul_(stack.gradient, stack.gradient, value=1.0 - beta)
    correction = 1.0 - beta ** (step + 1)
    # Close to 1 the correction changes nothing that matters and costs a pass over memory.
    change: Tensor = square / correction if correction < 0.99 else square.clone()
    # -lr g / (sqrt(square) + eps), without further copies.
    torch.div(stack.gradient, change.sqrt_().add_(group["eps"]), out=change).mul_(-lr)
    if stack.is_scalar:
        return change
    # The gradient itself is not needed any more.
    along = stack.gradient.mul_(stack.values).sum(dim=stack.axes, keepdim=True)
    state["size_sum"].add_(along)
    state["size_sum_square"].add_(along.square())
    is_size_step = (step + 1) % group["size_update_period"] == 0
    if is_size_step:
        state["rms"].copy_(_rms(stack.values))
    change.mul_(state["rms"].clamp(min=group["min_rms"]))
    if is_size_step:
        if step > 0:
            change.addcmul_(stack.values, _size_change(group, state))
        state["size_sum"].zero_()
        state["size_sum_square"].zero_()
    return change


def _size_change(group: dict[str, Any], state: dict[str, Tensor]) -> Tensor:
    """Relative change of each tensor's size, (members, 1, ..., 1), within [-0.1, 0.1]."""
    period = group["size_update_period"]
    beta = group["betas"][1] ** period
    state["size_square"].mul_(beta).add_(state["size_sum_square"] / period, alpha=1.0 - beta)
    correction = 1.0 - beta ** ((group["step"] + 1) // period)
    lr = group["lr"] * group["scalar_lr_scale"] * math.sqrt(correction)
    change = state["size_sum"] / (state["size_square"].sqrt() + group["eps"]) * -lr
    rms = state["rms"]
    change = change.masked_fill(rms < group["min_rms"], 0.0).clamp_(-0.1, 0.1)
    return torch.minimum(change, (group["max_rms"] - rms) / rms)


class ClippedAdamW(AdamW):
    """torch's AdamW with the clipping and the finite check of `ScaledAdam`.

    Args:
        parameters: what to train.
        lr: learning rate, about 1e-3.
        betas: decay of the momentum and of the mean square gradient.
        weight_decay: decoupled weight decay.
        clip: limit for gradient norms, as a multiple of the median of recent ones, or None.

    Raises:
        NonFiniteGradient: from `step`, before anything is changed.

    Source: Loshchilov & Hutter 2019 (AdamW).
    """

    def __init__(
        self,
        parameters: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.98),
        weight_decay: float = 0.01,
        clip: float | None = 2.0,
    ) -> None:
        super().__init__(parameters, lr=lr, betas=betas, weight_decay=weight_decay)
        for group in self.param_groups:
            group["clip"] = clip
            group["clip_record"] = {}

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Change the parameters once."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            gradients = [p.grad for p in group["params"] if p.grad is not None]
            if not gradients:
                continue
            norm = float(torch.nn.utils.get_total_norm(gradients))
            if not math.isfinite(norm):
                raise NonFiniteGradient(f"norm of the gradient is {norm}")
            if group["clip"] is None:
                continue
            factor = clip_factor(group["clip_record"], norm, scale=group["clip"])
            if factor < 1.0:
                torch._foreach_mul_(gradients, factor)
        super().step()
        return loss
