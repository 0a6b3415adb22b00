"""How far two sets of vectors are apart as distributions: MMD, Gaussian W2, Sinkhorn.

Differentiable in both sets, no pairs needed; `distribution` makes an objective of them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import torch

from isogloss.errors import UnknownName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["SCALES", "gaussian_w2", "mmd", "sinkhorn", "squared_distances"]

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Widths of the kernels of a mixture, as multiples of the mean squared distance."""


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """(N, M) squared Euclidean distances of (N, D) and (M, D), never below 0.

    Source: the expansion of the square, after moving both sets by one vector near their middle,
    which keeps digits where the sets lie far from 0.
    """
    middle = torch.cat([x, y]).detach().mean(0)
    x, y = x - middle, y - middle
    squares = (x * x).sum(1)[:, None] + (y * y).sum(1)[None] - 2 * (x @ y.T)
    return squares.clamp_min(0.0)


def mmd(
    x: Tensor,
    y: Tensor,
    *,
    kernel: Literal["imq", "rbf"] = "imq",
    scales: Sequence[float] = SCALES,
    width: float | None = None,
) -> Tensor:
    """Squared maximum mean discrepancy of two sets, a scalar in [0, 2]; 0 where they are equal.

    mean k(x, x') + mean k(y, y') - 2 mean k(x, y), over all pairs, an element with itself too (the
    biased estimate, which is never negative). The kernel is the mean over `scales` s of
    sw / (sw + |a - b|²) ("imq") or exp(-|a - b|² / sw) ("rbf").

    Args:
        x: (N, D), N >= 1.
        y: (M, D), M >= 1.
        kernel: inverse multiquadratic, whose tails keep a gradient between far sets, or Gaussian.
        scales: widths as multiples of w.
        width: w; None takes the mean squared distance between different rows of both sets
            together, held constant, so that the result does not depend on the unit of the states.

    Returns:
        0 with gradient 0 where all vectors are equal.

    Raises:
        UnknownName: no such kernel.
        ValueError: a set is empty, or widths differ.

    Source: Gretton et al. 2012, eq. 5; mixtures of inverse multiquadratics as Tolstikhin et al.
    2018 (Wasserstein auto-encoders).
    """
    if kernel not in ("imq", "rbf"):
        raise UnknownName("kernel", kernel, ("imq", "rbf"))
    x, y = _two_sets(x, y)
    within_x, within_y, across = (squared_distances(a, b) for a, b in ((x, x), (y, y), (x, y)))
    if width is None:
        count = len(x) + len(y)
        total = within_x.detach().sum() + within_y.detach().sum() + 2 * across.detach().sum()
        unit = total / max(count * (count - 1), 1)
        # All in one place: any unit gives 0.
        unit = torch.where(unit > 0, unit, torch.ones_like(unit))
    else:
        unit = x.new_tensor(width)

    def mean_kernel(squares: Tensor) -> Tensor:
        values = [
            (s * unit / (s * unit + squares)) if kernel == "imq" else (-squares / (s * unit)).exp()
            for s in scales
        ]
        return torch.stack([value.mean() for value in values]).mean()

    return mean_kernel(within_x) + mean_kernel(within_y) - 2 * mean_kernel(across)


def gaussian_w2(
    x: Tensor, y: Tensor, *, covariance: Literal["diagonal", "full"] = "diagonal"
) -> Tensor:
    """Squared 2-Wasserstein distance of the Gaussians fitted to two sets, in units of the states².

    "diagonal": |m - n|² + |s - t|² with means and standard deviations (over N, not N - 1) of each
    dimension. "full": |m - n|² + tr(S) + tr(T) - 2 tr((S½ T S½)½); the last trace is the nuclear
    norm of the (N, M) matrix of products of centred rows over √(NM), so no D x D root is taken.

    Args:
        x: (N, D), N >= 1; one row has no spread.
        y: (M, D), M >= 1.
        covariance: see above. The full one costs an SVD of an (N, M) matrix.

    Raises:
        UnknownName: no such covariance.
        ValueError: a set is empty, or widths differ.

    Source: Dowson and Landau 1982; as an alignment loss in Minotaur (Sherborne et al. 2023).
    """
    if covariance not in ("diagonal", "full"):
        raise UnknownName("covariance", covariance, ("diagonal", "full"))
    x, y = _two_sets(x, y)
    m, n = x.mean(0), y.mean(0)
    between = (m - n).square().sum()
    a, b = x - m, y - n
    if covariance == "diagonal":
        # A root of 0 has an infinite slope; the tiny term makes it 0, and cancels between sets.
        tiny = torch.finfo(x.dtype).tiny
        s, t = ((c.square().mean(0) + tiny).sqrt() for c in (a, b))
        return between + (s - t).square().sum()
    a, b = a / math.sqrt(len(x)), b / math.sqrt(len(y))
    shared: Tensor = torch.linalg.svdvals(a @ b.T).sum()
    return (between + a.square().sum() + b.square().sum() - 2 * shared).clamp_min(0.0)


def sinkhorn(
    x: Tensor,
    y: Tensor,
    *,
    regularisation: float = 0.1,
    iterations: int = 50,
    debiased: bool = True,
    relative: bool = True,
) -> Tensor:
    """Entropic optimal transport between two sets of equal weights, in units of the states².

    min over plans P of sum P |x - y|² + ε KL(P | uniform), by `iterations` of Sinkhorn's algorithm
    in log space. Debiased, half the cost of each set to itself is taken off, so that equal sets
    give 0 and the result is never negative (but for what the iterations leave). The gradient is
    that of the optimum: the plan is held constant.

    Args:
        x: (N, D), N >= 1.
        y: (M, D), M >= 1.
        regularisation: ε; smaller is nearer to exact transport and takes more iterations.
        iterations: of both potentials.
        debiased: see above.
        relative: whether ε is a multiple of the mean squared distance of the two sets (held
            constant), or absolute.

    Raises:
        ValueError: a set is empty, widths differ, or `regularisation` or `iterations` is not
            positive.

    Source: Cuturi 2013; debiased as Feydy et al. 2019, eq. 3; the gradient is Danskin's theorem.
    """
    if not regularisation > 0 or iterations < 1:
        raise ValueError(
            f"regularisation and iterations must be positive, got {regularisation}, {iterations}"
        )
    x, y = _two_sets(x, y)
    across = squared_distances(x, y)
    unit = across.detach().mean() if relative else across.new_tensor(1.0)
    epsilon = regularisation * torch.where(unit > 0, unit, torch.ones_like(unit))
    cost = _transport(across, epsilon, iterations)
    if not debiased:
        return cost
    own = [_transport(squared_distances(a, a), epsilon, iterations) for a in (x, y)]
    return cost - 0.5 * (own[0] + own[1])


def _transport(cost: Tensor, epsilon: Tensor, iterations: int) -> Tensor:
    """The regularised cost of the plan that Sinkhorn's iterations find, with the plan constant."""
    n, m = cost.shape
    fixed = cost.detach() / epsilon
    rows, columns = -math.log(n), -math.log(m)
    f, g = fixed.new_zeros(n), fixed.new_zeros(m)
    for _ in range(iterations):
        g = -torch.logsumexp(f[:, None] - fixed + rows, dim=0)
        f = -torch.logsumexp(g[None] - fixed + columns, dim=1)
    relative_log = f[:, None] + g[None] - fixed
    plan = (relative_log + rows + columns).exp()
    # KL of measures: the last two terms vanish once the plan sums to 1.
    entropy = (plan * relative_log).sum() - plan.sum() + 1
    cheapest: Tensor = (plan * cost).sum() + epsilon * entropy
    return cheapest


def _two_sets(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Both in float32 or wider.

    Raises:
        ValueError: not two non-empty sets of one width.
    """
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or not len(x) or not len(y):
        raise ValueError(
            f"expected (N, D) and (M, D) with N, M >= 1, got {tuple(x.shape)} and {tuple(y.shape)}"
        )
    wide = torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
    return x.to(wide), y.to(wide)
