"""Optimal transport dimension by dimension, as an affine map: each neuron gets another's spread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from isogloss.adapt.affine import IDENTITY, Affine
from isogloss.adapt.rows import POOLED, Rows
from isogloss.adapt.transform import UNSEEN, AffineTransform, Unseen, check_choice
from isogloss.errors import UnknownName

if TYPE_CHECKING:
    import numpy.typing as npt

    from isogloss.adapt.affine import Doubles

__all__ = ["Transport", "moments_map", "quantiles_map"]

_HOWS = ("moments", "quantiles")


@dataclass(kw_only=True)
class Transport(AffineTransform):
    """Rows whose every dimension is stretched and moved to be spread as in another variety.

    No pairs are needed, and dimensions do not mix. A dimension without spread is only moved.

    Attributes:
        target: the variety whose spread the others get; None takes that of all rows together.
        how: 'moments' matches mean and standard deviation, which is optimal transport between
            Gaussians; 'quantiles' fits the line from the sorted values of one to those of the
            other by least squares, which is optimal among lines for any shape.
        strength: 1 is the whole way, 0 none, in between the straight path of transport.
        unseen: what becomes of a variety that was not fitted on: 'error', 'pooled' (mapped as all
            rows that were fitted on), 'keep' (nothing).
        target_: the target; None for all rows.

    Source: Rodriguez et al. 2024 for transport of single activations with an affine map.
    """

    name = "ot"
    target: str | None = None
    how: Literal["moments", "quantiles"] = "moments"
    strength: float = 1.0
    unseen: Unseen = "error"

    def __post_init__(self) -> None:
        check_choice(self, how=_HOWS, unseen=UNSEEN)
        if not 0 <= self.strength <= 1:
            raise ValueError(f"ot: strength must lie between 0 and 1, got {self.strength}")
        if self.unseen == "pooled" and self.target is None:
            raise ValueError("ot: without a target, pooled rows stay as they are; say unseen=keep")

    def maps(self, rows: Rows) -> dict[str, Affine]:
        """A stretch and a move, by variety."""
        if self.target is not None and self.target not in rows.names:
            raise UnknownName("target variety among those to fit on", self.target, rows.names)
        goal = rows.values if self.target is None else rows.of(self.target)
        fit = moments_map if self.how == "moments" else quantiles_map
        groups = rows.groups("variety")
        if self.unseen == "pooled":
            groups[POOLED] = rows.values
        found = {}
        for variety, values in groups.items():
            if variety == self.target:
                found[variety] = IDENTITY
                continue
            if len(values) == 1:
                self.note(f"ot: variety '{variety}' has one row, whose spread is not known")
            scale, after = fit(values, goal)
            scale = 1 + self.strength * (scale - 1)
            found[variety] = Affine(scale=scale, after=self.strength * after)
        return found


def moments_map(source: Doubles, target: Doubles) -> tuple[Doubles, Doubles]:
    """Slope and intercept, (D,) each, that give `source` (N, D) mean and spread of `target`.

    A dimension that does not vary in `source` gets slope 1.
    """
    spread, goal = source.std(axis=0), target.std(axis=0)
    varies = _varies(source, spread)
    scale = np.where(varies, goal / np.where(varies, spread, 1), 1.0)
    return scale, target.mean(axis=0) - scale * source.mean(axis=0)


def quantiles_map(source: Doubles, target: Doubles) -> tuple[Doubles, Doubles]:
    """Slope and intercept, (D,) each, of the line from sorted `source` to sorted `target` values.

    With different numbers of rows both are read at the (i + 1/2) / n quantiles of the smaller
    number n. A dimension that does not vary in `source` gets slope 1.
    """
    count = min(len(source), len(target))
    one, other = _quantiles(source, count), _quantiles(target, count)
    before, after = one.mean(axis=0), other.mean(axis=0)
    spread = np.square(one - before).mean(axis=0)
    varies = _varies(one, np.sqrt(spread))
    slope = ((one - before) * (other - after)).mean(axis=0) / np.where(varies, spread, 1)
    scale = np.where(varies, slope, 1.0)
    return scale, after - scale * before


def _quantiles(values: Doubles, count: int) -> Doubles:
    ordered = np.sort(values, axis=0)
    if len(values) == count:
        return ordered
    at = (np.arange(count) + 0.5) / count * len(values) - 0.5
    low = np.clip(np.floor(at).astype(int), 0, len(values) - 1)
    high = np.minimum(low + 1, len(values) - 1)
    share = (at - low)[:, np.newaxis]
    between: Doubles = ordered[low] * (1 - share) + ordered[high] * share
    return between


def _varies(values: Doubles, spread: Doubles) -> npt.NDArray[np.bool_]:
    # Rounding leaves a constant dimension a spread of its own.
    varies: npt.NDArray[np.bool_] = spread > 1e-12 * np.abs(values).max(axis=0)
    return varies
