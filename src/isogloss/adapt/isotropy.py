"""Isotropy: the few directions that all rows share are taken away, overall or by cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss.adapt.affine import Affine
from isogloss.adapt.center import check_unseen
from isogloss.adapt.rows import POOLED, Rows
from isogloss.adapt.transform import (
    PER,
    UNSEEN,
    AffineTransform,
    FittedTransform,
    Per,
    Unseen,
    UnseenVariety,
    check_choice,
    unseen_ways,
)
from isogloss.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from isogloss.adapt.affine import Doubles

__all__ = ["AllButTheTop", "ClusterIsotropy", "principal_directions", "without"]


@dataclass(kw_only=True)
class AllButTheTop(AffineTransform):
    """Rows less their mean and less their share of the first principal components.

    Attributes:
        remove: how many components; None takes one for every 100 dimensions, at least 1.
        per: 'all' or 'variety', as in `ZCA`.
        unseen: with per='variety', as in `Center`.

    Source: Mu and Viswanath 2018, whose rule of thumb is D / 100.
    """

    name = "abtt"
    remove: int | None = None
    per: Per = "all"
    unseen: Unseen = "error"

    def __post_init__(self) -> None:
        check_choice(self, per=PER, unseen=UNSEEN)
        check_unseen(self, self.per, self.unseen)
        if self.remove is not None and self.remove < 1:
            raise ValueError(f"abtt: remove must be at least 1, got {self.remove}")

    def maps(self, rows: Rows) -> dict[str, Affine]:
        """A projection, by variety."""
        groups = rows.groups(self.per)
        if self.unseen == "pooled":
            groups[POOLED] = rows.values
        wanted = self.remove or max(1, rows.dimensions // 100)
        found = {}
        for variety, values in groups.items():
            mean = values.mean(axis=0)
            top = principal_directions(values - mean, wanted)
            if len(top) < wanted:
                self.note(f"abtt: {variety}: only {len(top)} of {wanted} components vary")
            found[variety] = Affine(mean, None, without(top, rows.dimensions), None)
        return found


@dataclass(kw_only=True)
class ClusterIsotropy(FittedTransform):
    """Rows less the mean and the first principal components of their k-means cluster (CBIE).

    A row belongs to the cluster whose centre is nearest. With more clusters than rows there are as
    many as rows; components that do not vary are not counted.

    Attributes:
        clusters: how many; the default is ours.
        remove: how many components of each cluster; the default is ours.
        per: 'all', or 'variety' for clusters of each variety.
        unseen: with per='variety', as in `Center`.
        seed: of k-means.
        centres_: (K, D) by variety, '*' for all.
        means_: (K, D) by variety.
        directions_: (K, R, D) by variety; rows of zeros where fewer than R vary.

    Source: Rajaee and Pilehvar 2021.
    """

    name = "cbie"
    clusters: int = 5
    remove: int = 3
    per: Per = "all"
    unseen: Unseen = "error"
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice(self, per=PER, unseen=UNSEEN)
        check_unseen(self, self.per, self.unseen)
        if self.clusters < 1 or self.remove < 1:
            raise ValueError(
                f"cbie: clusters and remove must be at least 1, got {self.clusters}, {self.remove}"
            )
        if self.clusters > 1:
            # Told before anything is encoded, and not timed with the fit.
            _kmeans()
        self.centres_: dict[str, Doubles] = {}
        self.means_: dict[str, Doubles] = {}
        self.directions_: dict[str, Doubles] = {}

    def learn(self, rows: Rows) -> None:
        """Clusters, and of each its mean and components."""
        groups = rows.groups(self.per)
        if self.unseen == "pooled":
            groups[POOLED] = rows.values
        self.centres_, self.means_, self.directions_ = {}, {}, {}
        for variety, values in groups.items():
            count = min(self.clusters, len(np.unique(values, axis=0)))
            if count < self.clusters:
                self.note(f"cbie: {variety}: {count} different rows make {count} clusters")
            centres = _centres(values, count, self.seed)
            labels = _nearest(values, centres)
            means = np.zeros_like(centres)
            directions = np.zeros((count, self.remove, rows.dimensions))
            for number in range(count):
                members = values[labels == number]
                if not len(members):
                    means[number] = centres[number]
                    continue
                means[number] = members.mean(axis=0)
                top = principal_directions(members - means[number], self.remove)
                directions[number, : len(top)] = top
            self.centres_[variety], self.means_[variety] = centres, means
            self.directions_[variety] = directions

    def change(self, rows: Doubles, variety: str) -> Doubles:
        """`rows` less the mean and the components of the nearest cluster."""
        name = variety if variety in self.centres_ else POOLED
        if name not in self.centres_:
            if self.unseen == "keep":
                return rows
            raise UnseenVariety(
                f"'{self.spec}' was fitted on {', '.join(sorted(self.centres_))}, and not on "
                f"variety '{variety}'; fit on items of it too{unseen_ways(self)}"
            )
        labels = _nearest(rows, self.centres_[name])
        centred = rows - self.means_[name][labels]
        out = np.empty_like(centred)
        for number in np.unique(labels):
            mine = labels == number
            top = self.directions_[name][number]
            out[mine] = centred[mine] - centred[mine] @ top.T @ top
        return out

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Centres, means and components."""
        parts = (("centres", self.centres_), ("means", self.means_), ("top", self.directions_))
        return {f"{kind}/{name}": array for kind, found in parts for name, array in found.items()}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]], described: Mapping[str, Any]) -> None:
        """Take them back."""
        parts = {"centres": self.centres_, "means": self.means_, "top": self.directions_}
        for key, array in arrays.items():
            kind, _, name = key.partition("/")
            parts[kind][name] = array


def principal_directions(centred: Doubles, count: int) -> Doubles:
    """The first principal components of `centred` (N, D), (at most `count`, D), unit rows.

    Fewer come back where fewer vary. Signs are such that the largest entry is positive, so that the
    same rows give the same components everywhere.
    """
    rows, dimensions = centred.shape
    if rows > dimensions:
        variances, vectors = np.linalg.eigh(centred.T @ centred)
        values, found = np.sqrt(np.maximum(variances[::-1], 0)), vectors[:, ::-1].T
        # Squaring halves the digits.
        least = np.sqrt(dimensions * np.finfo(np.float64).eps)
    else:
        _, values, found = np.linalg.svd(centred, full_matrices=False)
        least = max(rows, dimensions) * np.finfo(np.float64).eps
    real = values > least * values[0] if len(values) and values[0] > 0 else values > 0
    top = found[: min(count, int(real.sum()))]
    signs = np.sign(top[np.arange(len(top)), np.abs(top).argmax(axis=1)])
    named: Doubles = top * signs[:, np.newaxis]
    return named


def without(directions: Doubles, dimensions: int) -> Doubles:
    """The (D, D) projection that takes away `directions` (R, D), orthonormal rows."""
    projection: Doubles = np.eye(dimensions) - directions.T @ directions
    return projection


def _centres(values: Doubles, count: int, seed: int) -> Doubles:
    if count == 1:
        middle: Doubles = values.mean(axis=0, keepdims=True)
        return middle
    found = _kmeans()(n_clusters=count, n_init=4, random_state=seed).fit(values)
    centres: Doubles = np.asarray(found.cluster_centers_, dtype=np.float64)
    return centres


def _kmeans() -> Any:
    try:
        from sklearn.cluster import KMeans
    except ImportError as error:
        raise MissingExtra("text", "scikit-learn") from error
    return KMeans


def _nearest(rows: Doubles, centres: Doubles) -> npt.NDArray[np.int64]:
    # Differences, not the expanded square: a row's cluster must not hang on the rows beside it.
    distances = np.stack([np.square(rows - centre).sum(axis=1) for centre in centres], axis=1)
    return np.asarray(distances.argmin(axis=1), dtype=np.int64)
