"""The shift between varieties inside the space that tells them apart best (discriminants)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from isogloss.adapt.affine import IDENTITY, Affine
from isogloss.adapt.transform import UNSEEN, AffineTransform, Unseen, check_choice
from isogloss.adapt.whiten import check_shrinkage, shrunk_covariance
from isogloss.errors import UnknownName

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from isogloss.adapt.affine import Doubles
    from isogloss.adapt.rows import Rows

__all__ = ["LDAShift", "discriminants"]


@dataclass(kw_only=True)
class LDAShift(AffineTransform):
    """Rows moved from the place of their variety to that of another, along discriminants alone.

    The move is strength * (m_target - m_variety) S S+, with m the means, S the discriminants (D, R)
    and S+ their pseudoinverse: in the units of the rows, so that it can be added to them.

    Attributes:
        target: the variety whose place the others take; None takes the middle of all varieties.
        rank: R, at most one less than there are varieties; None takes all.
        strength: 1 is the whole way.
        shrinkage: of the covariance within varieties, as in `ZCA`; with few rows for the dimensions
            discriminants without it are noise.
        unseen: what becomes of a variety that was not fitted on: 'error', 'keep' (nothing).
        directions_: S.
        shares_: of the variance between varieties that each discriminant explains, falling.

    Source: Fisher 1936 and Rao 1948; Lopo et al. 2025 for shifting a model's states with it.
    """

    name = "lda"
    target: str | None = None
    rank: int | None = None
    strength: float = 1.0
    shrinkage: float | Literal["auto"] = "auto"
    unseen: Unseen = "error"

    def __post_init__(self) -> None:
        check_choice(self, unseen=UNSEEN)
        if self.unseen == "pooled":
            raise ValueError("lda: a variety that was not fitted on has no place to move from")
        if self.rank is not None and self.rank < 1:
            raise ValueError(f"lda: rank must be at least 1, got {self.rank}")
        check_shrinkage(self.name, self.shrinkage)
        if not np.isfinite(self.strength):
            raise ValueError(f"lda: strength must be finite, got {self.strength}")
        self.means_: dict[str, Doubles] = {}
        self.directions_: Doubles = np.zeros((0, 0))
        self.shares_: tuple[float, ...] = ()

    def maps(self, rows: Rows) -> dict[str, Affine]:
        """A move, by variety."""
        names, means = rows.means()
        if self.target is not None and self.target not in names:
            raise UnknownName("target variety among those to fit on", self.target, names)
        if len(names) < 2:
            raise ValueError(f"lda: one variety ('{names[0]}') has nothing to differ from")
        if len(rows.values) <= len(names):
            raise ValueError(
                f"lda: {len(rows.values)} rows of {len(names)} varieties do not vary within them; "
                "fit on more items"
            )
        directions, shares, note = discriminants(rows, shrinkage=self.shrinkage)
        if note:
            self.note(f"lda: {note}")
        if not len(shares):
            raise ValueError("lda: the varieties do not differ, or do not vary")
        if self.rank is not None and self.rank > len(shares):
            self.note(f"lda: {len(names)} varieties give {len(shares)} discriminants")
        directions = directions[:, : self.rank]
        self.directions_ = directions
        self.shares_ = tuple((shares / shares.sum()).tolist()[: self.rank])
        self.means_ = dict(zip(names, means, strict=True))
        return {
            name: IDENTITY
            if name == self.target
            else Affine(after=self.strength * self.vector(name, self.target))
            for name in names
        }

    def vector(self, source: str, target: str | None) -> Doubles:
        """The move (D,) from `source` to `target` (None: the middle of all) at strength 1.

        Raises:
            UnknownName: one of them was not fitted on.
        """
        for name in (source, target):
            if name is not None and name not in self.means_:
                raise UnknownName("variety that the shift was fitted on", name, self.means_)
        goal = (
            np.mean(list(self.means_.values()), axis=0) if target is None else self.means_[target]
        )
        found: Doubles = (
            (goal - self.means_[source]) @ self.directions_ @ np.linalg.pinv(self.directions_)
        )
        return found

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Maps, means and discriminants."""
        means = {f"mean/{name}": mean for name, mean in self.means_.items()}
        return super().state() | means | {"directions": self.directions_}

    def described(self) -> dict[str, Any]:
        """The maps there are, and the shares."""
        return super().described() | {"shares": list(self.shares_)}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]], described: Mapping[str, Any]) -> None:
        """Take it all back."""
        super().restore({k: a for k, a in arrays.items() if k.startswith("map/")}, described)
        self.means_ = {
            name.removeprefix("mean/"): mean
            for name, mean in arrays.items()
            if name.startswith("mean/")
        }
        self.directions_ = arrays["directions"]
        self.shares_ = tuple(described["shares"])

    @property
    def parameters(self) -> int:
        """Numbers of the moves; the rest is kept for `vector`."""
        return sum(one.numbers for one in self.maps_.values())


def discriminants(rows: Rows, *, shrinkage: float | str = 0.0) -> tuple[Doubles, Doubles, str]:
    """Directions (D, R) with the most variance between varieties for 1 within, that, and a note.

    R is at most V - 1 and at most the rank of the rows; varieties count by their rows. Signs are
    such that the largest entry is positive.

    Args:
        rows: at least 2 varieties, more rows than varieties.
        shrinkage: of the covariance within, as `shrunk_covariance` takes it.
    """
    names, means = rows.means()
    number = {name: i for i, name in enumerate(names)}
    labels = np.array([number[name] for name in rows.varieties])
    counts = np.bincount(labels)
    inside = rows.values - means[labels]
    found = shrunk_covariance(inside, shrinkage, lost=len(names))
    within = found.matrix
    variances, axes = np.linalg.eigh(within)
    real = variances > len(within) * np.finfo(np.float64).eps * max(variances[-1], 0) * 16
    if not real.any() or variances[-1] <= 0:
        return np.zeros((rows.dimensions, 0)), np.zeros(0), ""
    whitening = axes[:, real] / np.sqrt(variances[real])
    apart = means - (counts / counts.sum()) @ means
    weighted = np.sqrt(counts / counts.sum())[:, np.newaxis] * apart @ whitening
    _, values, turn = np.linalg.svd(weighted, full_matrices=False)
    count = int((values[: len(names) - 1] > 1e-10 * max(values[0], 1e-300)).sum())
    directions = whitening @ turn[:count].T
    signs = np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(count)])
    return directions * signs, np.square(values[:count]), found.note
