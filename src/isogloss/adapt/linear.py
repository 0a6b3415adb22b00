"""Linear maps from the space of one variety to that of another: least squares, ridge, rotation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from isogloss.adapt.affine import Affine
from isogloss.adapt.pairs import PairedMap

if TYPE_CHECKING:
    from isogloss.adapt.affine import Doubles

__all__ = ["LeastSquares", "LowRank", "Procrustes", "Ridge", "ridge_map", "rotation"]


@dataclass(kw_only=True)
class LeastSquares(PairedMap):
    """The linear map with the least squared error on the pairs, of all such the smallest.

    Attributes, besides those of `PairedMap`:
        intercept: map means to means; without it, 0 to 0.

    Source: Mikolov, Le and Sutskever 2013 for words; the pseudoinverse serves where there are fewer
    pairs than dimensions.
    """

    name = "lstsq"
    intercept: bool = True

    def map_between(self, source: Doubles, target: Doubles, variety: str) -> Affine:
        """Least squares."""
        return _between(source, target, self.intercept, 0.0)


@dataclass(kw_only=True)
class Ridge(PairedMap):
    """The linear map with the least squared error plus `penalty` times its squared entries.

    Attributes, besides those of `PairedMap`:
        penalty: in the squared units of the rows, as alpha of scikit-learn; None takes, of 13
            between 1e-4 and 1e2 times the largest squared singular value of the pairs, the one with
            the least error on pairs left out one by one.
        intercept: map means to means, not penalised; without it, 0 to 0.
        penalty_: the one taken, by variety.

    Source: Hoerl and Kennard 1970; Golub, Heath and Wahba 1979 for leaving out one by one.
    """

    name = "ridge"
    penalty: float | None = None
    intercept: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_penalty(self.name, self.penalty)
        self.penalty_: dict[str, float] = {}

    def map_between(self, source: Doubles, target: Doubles, variety: str) -> Affine:
        """Ridge regression."""
        penalty = self.penalty
        if penalty is None:
            penalty = _penalty_left_one_out(source, target, self.intercept)
        self.penalty_[variety] = penalty
        return _between(source, target, self.intercept, penalty)


@dataclass(kw_only=True)
class LowRank(PairedMap):
    """The map of at most `rank` with the least squared error on the pairs.

    Attributes, besides those of `PairedMap`:
        rank: at least 1; at D or more this is ridge regression.
        penalty: as alpha of `Ridge`; 0 for least squares.
        intercept: map means to means.

    Source: Izenman 1975, reduced-rank regression with the identity as weights.
    """

    name = "lowrank"
    rank: int = 32
    penalty: float = 0.0
    intercept: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_penalty(self.name, self.penalty)
        if self.rank < 1:
            raise ValueError(f"lowrank: rank must be at least 1, got {self.rank}")

    def map_between(self, source: Doubles, target: Doubles, variety: str) -> Affine:
        """Ridge regression, then the best directions of what it predicts."""
        full = _between(source, target, self.intercept, self.penalty)
        matrix = full.matrix if full.matrix is not None else np.eye(source.shape[1])
        centred = source if full.before is None else source - full.before
        if self.penalty:
            # The penalty is that many further rows to be mapped to 0.
            extra = np.sqrt(self.penalty) * np.eye(source.shape[1])
            centred = np.vstack([centred, extra])
        top = np.linalg.svd(centred @ matrix, full_matrices=False)[2][: self.rank]
        return Affine(full.before, None, matrix @ top.T @ top, full.after)


@dataclass(kw_only=True)
class Procrustes(PairedMap):
    """The rotation (or reflection) that brings the pairs nearest to each other.

    In directions that no pair spans it turns as little as it can.

    Attributes, besides those of `PairedMap`:
        center: rotate about the means of the pairs, and map mean to mean; without it, about 0.
        scale: multiply by the best one number too, so that a space that is larger fits.

    Source: Schönemann 1966; for the number, Schönemann and Carroll 1970.
    """

    name = "procrustes"
    center: bool = True
    scale: bool = False

    def map_between(self, source: Doubles, target: Doubles, variety: str) -> Affine:
        """The singular vectors of source' target."""
        before = source.mean(axis=0) if self.center else None
        after = target.mean(axis=0) if self.center else None
        x = source if before is None else source - before
        y = target if after is None else target - after
        matrix, share = rotation(x, y)
        size = float(np.square(x).sum())
        if self.scale and size > 0:
            matrix = matrix * (share / size)
        return Affine(before, None, matrix, after)


def rotation(source: Doubles, target: Doubles) -> tuple[Doubles, float]:
    """The orthogonal (D, D) map with the least squared error between rows (P, D) of two varieties.

    With it comes the sum of the singular values of source' target, which divided by the sum of
    squares of `source` is the best scale. Directions that the product does not span are turned
    as little as possible.
    """
    left, values, right = np.linalg.svd(source.T @ target)
    spanned = int((values > len(values) * np.finfo(np.float64).eps * max(values[0], 1e-300)).sum())
    matrix = left[:, :spanned] @ right[:spanned]
    if spanned < len(values):
        free_left, free_right = left[:, spanned:], right[spanned:]
        turn = np.linalg.svd(free_left.T @ free_right.T)
        matrix = matrix + free_left @ turn[0] @ turn[2] @ free_right
    return matrix, float(values.sum())


def ridge_map(source: Doubles, target: Doubles, penalty: float) -> Doubles:
    """The (D, E) map with the least squared error plus `penalty` times its squared entries.

    With penalty 0 the pseudoinverse: of all maps with the least error the smallest.
    """
    left, values, right = np.linalg.svd(source, full_matrices=False)
    least = max(source.shape) * np.finfo(np.float64).eps * values.max(initial=0)
    real = values > least
    weights = np.where(real, values / np.where(real, np.square(values) + penalty, 1), 0)
    found: Doubles = right.T @ (weights[:, np.newaxis] * (left.T @ target))
    return found


def _between(source: Doubles, target: Doubles, intercept: bool, penalty: float) -> Affine:
    if not intercept:
        return Affine(matrix=ridge_map(source, target, penalty))
    before, after = source.mean(axis=0), target.mean(axis=0)
    return Affine(before, None, ridge_map(source - before, target - after, penalty), after)


def _penalty_left_one_out(source: Doubles, target: Doubles, intercept: bool) -> float:
    """The penalty with the least squared error on pairs left out one by one, in closed form."""
    x = source - source.mean(axis=0) if intercept else source
    y = target - target.mean(axis=0) if intercept else target
    left, values, _ = np.linalg.svd(x, full_matrices=False)
    squares = np.square(values)
    if squares.max(initial=0) <= 0:
        return 1.0
    along = left.T @ y
    best = (np.inf, 1.0)
    for penalty in squares.max() * np.logspace(-4, 2, 13):
        shares = squares / (squares + penalty)
        kept = y - left @ (shares[:, np.newaxis] * along)
        leverage = np.square(left) @ shares + (1 / len(x) if intercept else 0)
        errors = kept / np.maximum(1 - leverage, 1e-9)[:, np.newaxis]
        best = min(best, (float(np.square(errors).sum()), float(penalty)))
    return best[1]


def _check_penalty(name: str, penalty: float | None) -> None:
    if penalty is not None and not 0 <= penalty < np.inf:
        raise ValueError(f"{name}: penalty must be 0 or more, got {penalty}")
