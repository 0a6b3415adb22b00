"""The activation functions of the Zipformer, SwooshL and SwooshR, fast on a CPU.

Swoosh(x) = log(1 + exp(x - offset)) - 0.08 x - constant: no zero slope anywhere, so no unit dies.
Source: Yao et al. 2024, "Zipformer", sec. 3.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "SWOOSH_L",
    "SWOOSH_R",
    "SwooshL",
    "SwooshR",
    "pointwise_network",
    "swoosh_into",
    "swoosh_l",
    "swoosh_r",
    "swoosh_slope_",
]

# Swoosh(x) = log(1 + exp(x - offset)) - 0.08 x - constant.
_SLOPE = 0.08
SWOOSH_L = (4.0, 0.035)
"""Offset and constant of SwooshL."""
SWOOSH_R = (1.0, 0.313261687)
"""Offset and constant of SwooshR."""
# Rows of the ConvNeXt block's hidden layer computed at once: 1.5 MB of them at 384 channels.
_ROWS = 1024
# Elements that are worked on at once: in and out of them stay in a core's cache.
_BLOCK = 65536


def swoosh_into(out: Tensor, x: Tensor, shifted: Tensor, offset: float, constant: float) -> None:
    """Swoosh of `x` into `out`, without autograd; leaves x - offset in `shifted`.

    All three have the same shape; `swoosh_slope_` makes the slope of `shifted`.
    """
    torch.sub(x, offset, out=shifted)
    # One pass over memory, where logaddexp with a tensor of zeros needs two.
    torch.ops.aten.softplus.out(shifted, out=out)
    out.sub_(x, alpha=_SLOPE).sub_(constant)


def swoosh_slope_(shifted: Tensor) -> Tensor:
    """Slope of the Swoosh, in place of what `swoosh_into` left in `shifted`."""
    return shifted.sigmoid_().sub_(_SLOPE)


class _Swoosh(torch.autograd.Function):
    """Keeps the input only; the derivative is sigmoid(x - offset) - 0.08."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, offset: float, constant: float) -> Tensor:
        ctx.offset = offset
        if x.is_cuda or x.numel() <= _BLOCK or not x.is_contiguous():
            ctx.save_for_backward(x)
            return F.softplus(x - offset).sub_(x, alpha=_SLOPE).sub_(constant)
        ctx.save_for_backward(x)
        out = torch.empty_like(x)
        shifted = x.new_empty(_BLOCK)
        for into, block in zip(*(torch.split(t.view(-1), _BLOCK) for t in (out, x)), strict=True):
            swoosh_into(into, block, shifted[: len(block)], offset, constant)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        if x.is_cuda or x.numel() <= _BLOCK or not (x.is_contiguous() and gradient.is_contiguous()):
            slope = torch.sub(x, ctx.offset).sigmoid_().sub_(_SLOPE)
            return slope.mul_(gradient), None, None
        out = torch.empty_like(x)
        parts = (torch.split(t.view(-1), _BLOCK) for t in (out, x, gradient))
        for into, block, pull in zip(*parts, strict=True):
            torch.sub(block, ctx.offset, out=into)
            into.sigmoid_().sub_(_SLOPE).mul_(pull)
        return out, None, None


def swoosh_l(x: Tensor) -> Tensor:
    """SwooshL of every element: log(1 + exp(x - 4)) - 0.08 x - 0.035, same shape and dtype."""
    out: Tensor = _Swoosh.apply(x, *SWOOSH_L)  # type: ignore[no-untyped-call]
    return out


def swoosh_r(x: Tensor) -> Tensor:
    """SwooshR of every element: log(1 + exp(x - 1)) - 0.08 x - 0.313261687; 0 at 0."""
    out: Tensor = _Swoosh.apply(x, *SWOOSH_R)  # type: ignore[no-untyped-call]
    return out


class SwooshL(nn.Module):
    """`swoosh_l` as a module."""

    def forward(self, x: Tensor) -> Tensor:
        """SwooshL of every element."""
        return swoosh_l(x)


class SwooshR(nn.Module):
    """`swoosh_r` as a module."""

    def forward(self, x: Tensor) -> Tensor:
        """SwooshR of every element."""
        return swoosh_r(x)


def pointwise_network(
    x: Tensor,
    weight1: Tensor,
    bias1: Tensor | None,
    weight2: Tensor,
    bias2: Tensor | None,
    *,
    push: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
) -> Tensor:
    """Linear, SwooshL, linear: (M, C) to (M, D) through a hidden layer that never leaves the cache.

    The same as `F.linear(swoosh_l(F.linear(x, weight1, bias1)), weight2, bias2)` in value and
    gradient, in three quarters of the time on a CPU and without (M, H) of memory. Follows autocast.

    Args:
        x: (M, C).
        weight1: (H, C).
        bias1: (H,), or None for zeros.
        weight2: (D, H).
        bias2: (D,), or None for zeros.
        push: a rule for the gradient of the hidden layer h: takes its mean and mean square (H,) in
            double precision, gives a and b (H,); the gradient g becomes g + |g| (a + b h).
    """
    bias1 = weight1.new_zeros(len(weight1)) if bias1 is None else bias1
    bias2 = weight2.new_zeros(len(weight2)) if bias2 is None else bias2
    parts = [x, weight1, bias1, weight2, bias2]
    if torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
        parts = [part.to(dtype) for part in parts]
    with torch.autocast(x.device.type, enabled=False):
        out: Tensor = _PointwiseNetwork.apply(*parts, push)  # type: ignore[no-untyped-call]
        return out


class _PointwiseNetwork(torch.autograd.Function):
    """Linear, SwooshL, linear on rows (M, C), some rows at a time.

    The hidden layer is three times as wide as the input and there is a row for every frequency, so
    writing it to memory and reading it back, several times, costs as much as the products. Here it
    lives in the cache only, and backward computes it again.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight1: Tensor,
        bias1: Tensor,
        weight2: Tensor,
        bias2: Tensor,
        push: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None,
    ) -> Tensor:
        sums = weight1.new_zeros(2, len(weight1), dtype=torch.float64)
        out = x.new_empty(len(x), len(weight2))
        hidden, shifted, active = (x.new_empty(_ROWS, len(weight1)) for _ in range(3))
        for rows, into in zip(torch.split(x, _ROWS), torch.split(out, _ROWS), strict=True):
            count = len(rows)
            torch.addmm(bias1, rows, weight1.t(), out=hidden[:count])
            if push is not None:
                torch.square(hidden[:count], out=active[:count])
                for total, part in zip(sums, (hidden, active), strict=True):
                    total.add_(part[:count].sum(dim=0, dtype=torch.float64))
            swoosh_into(active[:count], hidden[:count], shifted[:count], *SWOOSH_L)
            torch.addmm(bias2, active[:count], weight2.t(), out=into)
        pushes: tuple[Tensor | None, ...] = (None, None)
        if push is not None:
            pushes = tuple(part.to(x.dtype) for part in push(*(sums / max(1, len(x)))))
        ctx.save_for_backward(x, weight1, bias1, weight2, *pushes)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        with torch.autocast(gradient.device.type, enabled=False):
            return *_pointwise_gradients(gradient.contiguous(), *ctx.saved_tensors), None


def _pointwise_gradients(
    gradient: Tensor,
    x: Tensor,
    weight1: Tensor,
    bias1: Tensor,
    weight2: Tensor,
    constant: Tensor | None,
    factor: Tensor | None,
) -> tuple[Tensor, ...]:
    x_gradient = torch.empty_like(x)
    # Sums over many blocks are kept in float32 at least.
    wide = torch.promote_types(x.dtype, torch.float32)
    sums = [torch.zeros_like(part, dtype=wide) for part in (weight1, bias1, weight2)]
    hidden, slope, active = (x.new_empty(_ROWS, len(weight1)) for _ in range(3))
    blocks = zip(
        torch.split(x, _ROWS),
        torch.split(gradient, _ROWS),
        torch.split(x_gradient, _ROWS),
        strict=True,
    )
    for rows, pull, into in blocks:
        h, s, a = hidden[: len(rows)], slope[: len(rows)], active[: len(rows)]
        torch.addmm(bias1, rows, weight1.t(), out=h)
        swoosh_into(a, h, s, *SWOOSH_L)
        _add_product(sums[2], pull, a)
        swoosh_slope_(s)
        # The activations are not needed any more: their memory takes a + b h.
        if constant is not None and factor is not None:
            torch.addcmul(constant, h, factor, out=a)
        torch.mm(pull, weight2, out=h)
        h.mul_(s)
        if constant is not None:
            h.addcmul_(torch.abs(h, out=s), a)
        _add_product(sums[0], h, rows)
        sums[1].add_(h.sum(dim=0, dtype=wide))
        torch.mm(h, weight1, out=into)
    weight1_sum, bias1_sum, weight2_sum = (total.to(x.dtype) for total in sums)
    bias2_sum = gradient.sum(dim=0, dtype=wide).to(x.dtype)
    return x_gradient, weight1_sum, bias1_sum, weight2_sum, bias2_sum


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Adds left^T right, (M, A) and (M, B), to `total` (A, B)."""
    if left.dtype == total.dtype:
        total.addmm_(left.t(), right)
    else:
        total.add_(left.t() @ right)
