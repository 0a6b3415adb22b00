"""Pairs of operations that keep less for the backward pass than autograd would by itself.

`activated_linear` is Swoosh, channel dropout and a linear layer; `gated` is a product with a
squashed gate. Both keep their inputs only, which are there anyway, and compute the rest again in
backward, some rows at a time so that it stays in the cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from isogloss.speech.swoosh import SWOOSH_L, SWOOSH_R, swoosh_into, swoosh_slope_

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["activated_linear", "gated"]

# Elements of the hidden layer that are worked on at once: 4 MB. They stay in the outer cache, and
# the products are still large enough to run at full speed.
_BLOCK = 1 << 20
_HALVES = (torch.float16, torch.bfloat16)


def activated_linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, *, kind: str, mask: Tensor | None = None
) -> Tensor:
    """Linear layer of (Swoosh of `x` times `mask`): (N, T, C) to (N, T, D).

    The same as `F.linear(swoosh(x) * mask, weight, bias)` in value and gradient, but only `x` is
    kept for backward, a third of the memory. Follows autocast.

    Args:
        x: (N, T, C).
        weight: (D, C).
        bias: (D,) or None.
        kind: "L" for SwooshL, "R" for SwooshR.
        mask: (N, 1, C) without gradient, or None for ones.

    Raises:
        ValueError: `x` has not three axes, or `kind` is neither L nor R.

    Source: the trade of memory for time is that of icefall's ActivationDropoutAndLinear; Yao et al.
    2024 (Zipformer), sec. 3.4.
    """
    if kind not in ("L", "R"):
        raise ValueError(f"kind of Swoosh must be L or R, got {kind!r}")
    if x.dim() != 3:
        raise ValueError(f"expected (N, T, C), got {tuple(x.shape)}")
    if torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
        x, weight = x.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    with torch.autocast(x.device.type, enabled=False):
        out: Tensor = _ActivatedLinear.apply(x, weight, bias, mask, kind)  # type: ignore[no-untyped-call]
        return out


class _ActivatedLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, mask: Tensor | None, kind: str
    ) -> Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x, weight, mask)
        ctx.swoosh = SWOOSH_L if kind == "L" else SWOOSH_R
        ctx.has_bias = bias is not None
        out = x.new_empty(*x.shape[:2], len(weight))
        buffers = _Buffers(x)
        for place in _blocks(x):
            active, _ = buffers.activate(x, mask, place, ctx.swoosh, with_slope=False)
            into = out[place].view(-1, len(weight))
            if bias is None:
                torch.mm(active, weight.t(), out=into)
            else:
                torch.addmm(bias, active, weight.t(), out=into)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mask = ctx.saved_tensors
        with torch.autocast(x.device.type, enabled=False):
            return _gradients(ctx, gradient.to(x.dtype).contiguous(), x, weight, mask)


def _gradients(
    ctx: Any, gradient: Tensor, x: Tensor, weight: Tensor, mask: Tensor | None
) -> tuple[Tensor | None, ...]:
    for_x, for_weight, for_bias = ctx.needs_input_grad[:3]
    # Sums over many blocks are kept in float32 at least.
    wide = torch.promote_types(x.dtype, torch.float32)
    x_gradient = torch.empty_like(x) if for_x else None
    weight_gradient = torch.zeros_like(weight, dtype=wide) if for_weight else None
    buffers = _Buffers(x)
    for place in _blocks(x) if for_x or for_weight else ():
        active, slope = buffers.activate(x, mask, place, ctx.swoosh, with_slope=for_x)
        pull = gradient[place].view(-1, len(weight))
        if weight_gradient is not None:
            if active.dtype == wide:
                weight_gradient.addmm_(pull.t(), active)
            else:
                weight_gradient.add_(pull.t() @ active)
        if x_gradient is not None and slope is not None:
            # `active` is not needed any more: its memory takes the gradient of what it held.
            torch.mm(pull, weight, out=active)
            torch.mul(active, slope, out=x_gradient[place].view(-1, x.shape[2]))
    bias_gradient = None
    if for_bias and ctx.has_bias:
        bias_gradient = gradient.sum(dim=(0, 1), dtype=wide).to(x.dtype)
    if weight_gradient is not None:
        weight_gradient = weight_gradient.to(x.dtype)
    return x_gradient, weight_gradient, bias_gradient, None, None


def _blocks(x: Tensor) -> Iterator[tuple[slice, slice]]:
    """Places of (N, T, C) that are worked on at once: whole utterances, or parts of a long one."""
    count, steps, channels = x.shape
    rows = max(1, _BLOCK // channels)
    if x.is_cuda or count * steps <= rows:
        yield slice(0, count), slice(0, steps)
        return
    together = rows // steps
    if together:
        for first in range(0, count, together):
            yield slice(first, min(first + together, count)), slice(0, steps)
        return
    for one in range(count):
        for start in range(0, steps, rows):
            yield slice(one, one + 1), slice(start, min(start + rows, steps))


class _Buffers:
    """Memory for the activations of one block and for the slope at them, used for all blocks."""

    def __init__(self, x: Tensor) -> None:
        # Half precision is too coarse for x - 4; there the Swoosh is computed in float32.
        self.dtype = torch.float32 if x.dtype in _HALVES else x.dtype
        # No block after the first is larger.
        rows = next(((n.stop - n.start) * (t.stop - t.start) for n, t in _blocks(x)), 0)
        self.active = x.new_empty(rows * x.shape[2], dtype=self.dtype)
        self.shifted = torch.empty_like(self.active)

    def activate(
        self,
        x: Tensor,
        mask: Tensor | None,
        place: tuple[slice, slice],
        swoosh: tuple[float, float],
        *,
        with_slope: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """Swoosh times mask of x[place] and, if asked, its slope times mask, both (rows, C)."""
        block = x[place].to(self.dtype)
        active, slope = (t[: block.numel()].view(block.shape) for t in (self.active, self.shifted))
        swoosh_into(active, block, slope, *swoosh)
        if with_slope:
            swoosh_slope_(slope)
        if mask is not None:
            own = mask[place[0]]
            active.mul_(own)
            if with_slope:
                slope.mul_(own)
        flat = active.view(-1, x.shape[2]).to(x.dtype)
        return flat, slope.view(-1, x.shape[2]) if with_slope else None


def gated(values: Tensor, gate: Tensor, *, kind: str) -> Tensor:
    """`values` times the sigmoid or the hyperbolic tangent of `gate`, element by element.

    The squashed gate is computed again in backward instead of being kept.

    Args:
        values: any shape.
        gate: the same shape.
        kind: "sigmoid" or "tanh".

    Raises:
        ValueError: `kind` is another one, or the shapes differ.
    """
    if kind not in ("sigmoid", "tanh"):
        raise ValueError(f"kind of gate must be sigmoid or tanh, got {kind!r}")
    if values.shape != gate.shape:
        raise ValueError(f"values {tuple(values.shape)} and gate {tuple(gate.shape)} differ")
    out: Tensor = _Gated.apply(values, gate, kind)  # type: ignore[no-untyped-call]
    return out


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, gate: Tensor, kind: str) -> Tensor:
        ctx.save_for_backward(values, gate)
        ctx.kind = kind
        return values * (gate.sigmoid() if kind == "sigmoid" else gate.tanh())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        values, gate = ctx.saved_tensors
        through = gradient * values
        if ctx.kind == "sigmoid":
            squashed = gate.sigmoid()
            through = torch.ops.aten.sigmoid_backward(through, squashed)
        else:
            squashed = gate.tanh()
            through = torch.ops.aten.tanh_backward(through, squashed)
        return squashed.mul_(gradient), through, None
