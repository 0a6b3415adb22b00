"""Removal of the directions that tell varieties apart, found from means or by linear probes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from isogloss.adapt.affine import Affine
from isogloss.adapt.isotropy import without
from isogloss.adapt.rows import POOLED, Rows
from isogloss.adapt.transform import AffineTransform, check_choice
from isogloss.adapt.whiten import ledoit_wolf

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from isogloss.adapt.affine import Doubles

__all__ = ["RemoveSubspace", "discriminant_probe"]

_HOWS = ("means", "nullspace")
# A probe that is right no oftener than this above chance finds nothing more.
_ABOVE_CHANCE = 0.02


@dataclass(kw_only=True)
class RemoveSubspace(AffineTransform):
    """Rows projected to where linear probes find less, or nothing, of their variety.

    One projection serves all varieties, also those that were not fitted on.

    Attributes:
        how: 'means' removes the space of the varieties' means about their mean (every variety
            counts the same, however many rows it has), by SVD; 'nullspace' fits a linear probe for
            varieties, projects onto what it does not look at, and starts again.
        rank: of the space to remove: None is all V - 1 dimensions of V means. With 'nullspace' the
            most that may be removed, None for no limit.
        rounds: probes of 'nullspace' at most; it ends earlier when a probe is no better than
            chance.
        center: also take the mean of the varieties' means away.
        directions_: (R, D), orthonormal, what is removed.
        probes_: accuracy of the probe of each round of 'nullspace', on the rows that were fitted.

    Source: after Yang et al. 2021, who remove principal components of each language, not means;
    for the nullspace Ravfogel et al. 2020, here with discriminants instead of a trained classifier.
    """

    name = "subspace"
    how: Literal["means", "nullspace"] = "means"
    rank: int | None = None
    rounds: int | None = None
    center: bool = False

    def __post_init__(self) -> None:
        check_choice(self, how=_HOWS)
        if self.rank is not None and self.rank < 1:
            raise ValueError(f"subspace: rank must be at least 1, got {self.rank}")
        if self.rounds is not None and self.how == "means":
            raise ValueError("subspace: rounds is for how=nullspace; means need no rounds")
        if self.rounds is not None and self.rounds < 1:
            raise ValueError(f"subspace: rounds must be at least 1, got {self.rounds}")
        self.directions_: Doubles = np.zeros((0, 0))
        self.probes_: tuple[float, ...] = ()

    def maps(self, rows: Rows) -> dict[str, Affine]:
        """One projection."""
        names, means = rows.means()
        if len(names) < 2:
            raise ValueError(
                f"subspace: one variety ('{names[0]}') has nothing to differ from; fit on several"
            )
        self.probes_ = ()
        middle = means.mean(axis=0)
        if self.how == "means":
            _, values, found = np.linalg.svd(means - middle, full_matrices=False)
            least = max(means.shape) * np.finfo(np.float64).eps * np.abs(means).max(initial=0)
            real = int((values > least).sum())
            wanted = len(names) - 1 if self.rank is None else self.rank
            if wanted > real:
                self.note(f"subspace: the means of {len(names)} varieties span {real} dimensions")
            self.directions_ = found[: min(wanted, real)]
        else:
            self.directions_ = self._nullspace(rows)
        if len(self.directions_) >= rows.dimensions:
            self.note("subspace: all dimensions are removed, rows become 0")
        projection = without(self.directions_, rows.dimensions)
        return {POOLED: Affine(middle if self.center else None, None, projection, None)}

    def _nullspace(self, rows: Rows) -> Doubles:
        names = list(rows.names)
        number = {name: i for i, name in enumerate(names)}
        labels = np.array([number[name] for name in rows.varieties])
        limit = rows.dimensions if self.rank is None else min(self.rank, rows.dimensions)
        basis = np.zeros((0, rows.dimensions))
        accuracies: list[float] = []
        for _ in range(20 if self.rounds is None else self.rounds):
            values = rows.values - rows.values @ basis.T @ basis
            weights, bias = discriminant_probe(values, labels, len(names))
            guesses = (values @ weights + bias).argmax(axis=1)
            right = [float((guesses[labels == k] == k).mean()) for k in range(len(names))]
            accuracies.append(float(np.mean(right)))
            if accuracies[-1] <= 1 / len(names) + _ABOVE_CHANCE:
                break
            # Weights of a class against the mean of all: V - 1 directions at most.
            weights = weights - weights.mean(axis=1, keepdims=True)
            weights = weights - basis.T @ (basis @ weights)
            left, values_, _ = np.linalg.svd(weights, full_matrices=False)
            new = left[:, values_ > 1e-9 * max(values_[0], 1e-300)].T
            new = new[: min(len(names) - 1, limit - len(basis))]
            if not len(new):
                break
            # Once more against the basis: small weights carry large rounding.
            new = new - new @ basis.T @ basis
            basis = np.vstack([basis, np.linalg.qr(new.T)[0].T])
        self.probes_ = tuple(accuracies)
        return basis

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """The projection, and what it removes."""
        return super().state() | {"directions": self.directions_}

    def described(self) -> dict[str, Any]:
        """The maps there are, and what the probes found."""
        return super().described() | {"probes": list(self.probes_)}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]], described: Mapping[str, Any]) -> None:
        """Take it all back."""
        super().restore({k: a for k, a in arrays.items() if k != "directions"}, described)
        self.directions_ = arrays["directions"]
        self.probes_ = tuple(described["probes"])

    @property
    def parameters(self) -> int:
        """Numbers of the directions, from which the projection follows, and of the mean."""
        return int(self.directions_.size) + (self.dimensions_[0] if self.center else 0)


def discriminant_probe(
    values: Doubles,
    labels: npt.NDArray[np.int64],
    classes: int,
    *,
    shrinkage: float | Literal["auto"] = "auto",
) -> tuple[Doubles, Doubles]:
    """Weights (D, C) and bias (C,) of the linear probe whose largest output names the class.

    The best one where every class is a Gaussian of one shape: C^-1 m_k and -m_k' C^-1 m_k / 2, with
    m the means and C the covariance within. Every class weighs the same, however many rows it has.
    In closed form, so there is nothing to converge and no seed. Where the means are all the same,
    all outputs are (and where nothing varies within, they are 0).

    Args:
        values: (N, D) rows.
        labels: (N,) from 0 to C - 1, each there at least once.
        classes: C.
        shrinkage: of the covariance, towards its mean variance; 'auto' as Ledoit and Wolf estimate.

    Source: linear discriminant analysis with equal priors; Fisher 1936.
    """
    dimensions = values.shape[1]
    if dimensions > len(values):
        # Rows span at most N directions, outside of which means and covariance say nothing.
        basis = np.linalg.qr(values.T)[0]
        weights, bias = _probe(values @ basis, labels, classes, shrinkage, dimensions)
        return basis @ weights, bias
    return _probe(values, labels, classes, shrinkage, dimensions)


def _probe(
    values: Doubles,
    labels: npt.NDArray[np.int64],
    classes: int,
    shrinkage: float | str,
    dimensions: int,
) -> tuple[Doubles, Doubles]:
    counts = np.bincount(labels, minlength=classes)
    means = np.stack([values[labels == k].mean(axis=0) for k in range(classes)])
    middle = means.mean(axis=0)
    inside = values - means[labels]
    matrix = (inside / (counts * classes)[labels][:, np.newaxis]).T @ inside
    size = float(np.trace(matrix)) / dimensions
    if size <= 0:
        return np.zeros((values.shape[1], classes)), np.zeros(classes)
    share = shrinkage
    if isinstance(share, str):
        share = max(ledoit_wolf(inside, dimensions=dimensions), 1e-6)
    matrix = (1 - share) * matrix + share * size * np.eye(len(matrix))
    # About the middle, so that large means common to all do not cost digits.
    weights = np.asarray(np.linalg.solve(matrix, (means - middle).T), dtype=np.float64)
    bias = -((means - middle) * weights.T).sum(axis=1) / 2 - middle @ weights
    return weights, bias
