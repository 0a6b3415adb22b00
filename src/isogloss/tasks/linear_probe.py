"""Vectors and labels in, a linear classifier out: multinomial logistic regression in numpy.

Used by `probe` and `intent`. Deterministic: it starts at zero and follows L-BFGS, so there is no
seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable

    from isogloss.types import FloatArray

__all__ = ["LinearProbe", "fit_probe"]

Doubles = npt.NDArray[np.float64]
_MEMORY = 10
_STEPS = 200
_HALVINGS = 30
# Largest entry of the gradient of the mean loss at which the fit is done.
_FLAT = 1e-5
# Above this many dimensions the inverse that speeds the fit would cost more than it saves.
_MOST_CURVED = 512


@dataclass(frozen=True, slots=True, eq=False)
class LinearProbe:
    """Class scores ((x - `mean`) / `spread`) @ `weights` + `bias`: (N, D) to (N, C)."""

    mean: Doubles
    spread: Doubles
    weights: Doubles
    bias: Doubles

    def guess(self, values: FloatArray) -> npt.NDArray[np.int64]:
        """The class with the highest score for each row, (N,); of equal ones the first."""
        scores = (values - self.mean) / self.spread @ self.weights + self.bias
        best: npt.NDArray[np.int64] = np.argmax(scores, axis=1).astype(np.int64)
        return best


def fit_probe(
    values: FloatArray,
    labels: npt.NDArray[np.int64],
    classes: int,
    *,
    penalty: float = 1.0,
    least_spread: float = 0.0,
    one_scale: bool = False,
    shares: Doubles | None = None,
    curved: bool = False,
    steps: int = _STEPS,
) -> LinearProbe:
    """Multinomial logistic regression of `labels` on `values`, dimensions scaled to variance 1.

    Minimises the sum of the cross-entropies plus penalty / 2 times the squared weights (not the
    bias). A dimension that does not vary by more than `least_spread` is left alone.

    Args:
        values: (N, D) float32, N at least 1.
        labels: (N,) from 0 to `classes` - 1.
        classes: how many classes there are, at least 2.
        penalty: strength of the penalty; the inverse of scikit-learn's C.
        least_spread: standard deviation up to which a dimension counts as constant.
        one_scale: scale all dimensions by one number, to variance 1 on average. For counts: scaled
            each for itself, what occurs once would weigh as much as what occurs everywhere.
        shares: (C,) how large each class is to count, whatever its number of rows; None counts
            rows. In cross-validation each fold lacks other items, and what it lacks would tell
            which classes are judged.
        curved: begin each step from a bound of the curvature, the same for all classes, instead of
            a circle: less than half the steps where dimensions go together, to the same minimum.
            Used up to 512 dimensions.
        steps: at most; the fit ends where it then is.

    Raises:
        ValueError: shapes do not fit, a label is no class, values are not finite, or `penalty` is
            not above 0 (without it separable classes have no solution).

    Source: Nocedal and Wright 2006, L-BFGS with backtracking; Böhning 1992 for the bound.
    """
    if values.ndim != 2 or not len(values) or labels.shape != (len(values),):
        raise ValueError(
            f"expected (N, D) values and (N,) labels, got {values.shape}, {labels.shape}"
        )
    if classes < 2 or labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels run from {labels.min()} to {labels.max()} of {classes} classes")
    if not np.isfinite(values).all():
        raise ValueError("values hold NaN or infinity")
    if penalty <= 0:
        raise ValueError(f"penalty must be above 0, got {penalty}")
    x = values.astype(np.float64)
    mean, spread = x.mean(axis=0), x.std(axis=0)
    # Rounding leaves a constant dimension a spread of its own.
    varies = spread > np.maximum(least_spread, 1e-9 * np.abs(mean))
    if one_scale:
        spread = np.full_like(spread, np.sqrt(np.mean(np.square(spread))))
    spread = np.where(varies, spread, np.inf)
    # In place: thousands of texts by thousands of n-grams fill gigabytes.
    x -= mean
    x /= spread
    truth = np.eye(classes)[labels]
    counts = truth.sum(axis=0)
    weight = np.ones(len(x))
    if shares is not None:
        weight = (shares / np.maximum(counts, 1))[labels]
        weight *= len(x) / weight.sum()

    def loss(flat: Doubles) -> tuple[float, Doubles]:
        table = flat.reshape(-1, classes)
        weights, bias = table[:-1], table[-1]
        scores = x @ weights + bias
        scores -= scores.max(axis=1, keepdims=True)
        logs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        value = -(weight @ (truth * logs)).sum() + penalty / 2 * np.square(weights).sum()
        surplus = weight[:, np.newaxis] * (np.exp(logs) - truth)
        gradient = np.vstack([x.T @ surplus + penalty * weights, surplus.sum(axis=0)])
        return float(value) / len(x), gradient.ravel() / len(x)

    bound = None
    if curved and x.shape[1] <= _MOST_CURVED:
        extended = np.hstack([x, np.ones((len(x), 1))])
        curvature = (extended.T * (weight / 2)) @ extended
        curvature[np.arange(x.shape[1]), np.arange(x.shape[1])] += penalty
        bound = np.asarray(np.linalg.inv(curvature / len(x)), dtype=np.float64)
    table = _minimum(loss, np.zeros((x.shape[1] + 1) * classes), bound, steps)
    table = table.reshape(-1, classes)
    return LinearProbe(mean, spread, table[:-1], table[-1])


def _minimum(
    loss: Callable[[Doubles], tuple[float, Doubles]],
    start: Doubles,
    bound: Doubles | None,
    steps: int,
) -> Doubles:
    """Where a smooth convex `loss` (value and gradient) is least, by L-BFGS.

    `bound` (D, D) is the inverse of a bound of the curvature along the first axis of the (D, C)
    table that the arguments of `loss` are.
    """
    place, (value, gradient) = start, loss(start)
    moves: list[tuple[Doubles, Doubles]] = []
    for _ in range(steps):
        if np.abs(gradient).max() < _FLAT:
            break
        direction = _direction(gradient, moves, bound)
        slope = float(direction @ gradient)
        # The first step knows no curvature: a full one along the gradient may be far too long.
        size = 1.0 if moves or bound is not None else min(1.0, 1 / np.abs(gradient).sum())
        for _ in range(_HALVINGS):
            next_value, next_gradient = loss(place + size * direction)
            if next_value <= value + 1e-4 * size * slope:
                break
            size /= 2
        else:
            break
        move, change = size * direction, next_gradient - gradient
        place, value, gradient = place + move, next_value, next_gradient
        if move @ change > 1e-12:
            moves = [*moves[-_MEMORY + 1 :], (move, change)]
    return place


def _direction(
    gradient: Doubles, moves: list[tuple[Doubles, Doubles]], bound: Doubles | None
) -> Doubles:
    """Downhill direction from the gradient and recent moves with their changes of gradient."""
    found = -gradient
    shares = []
    for move, change in reversed(moves):
        share = (move @ found) / (move @ change)
        shares.append(share)
        found = found - share * change
    if bound is not None:
        found = (bound @ found.reshape(len(bound), -1)).ravel()
    if moves:
        move, change = moves[-1]
        curved = change
        if bound is not None:
            curved = (bound @ change.reshape(len(bound), -1)).ravel()
        found = found * ((move @ change) / (change @ curved))
    for (move, change), share in zip(moves, reversed(shares), strict=True):
        found = found + move * (share - (change @ found) / (move @ change))
    return found
