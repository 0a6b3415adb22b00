"""Canonical correlations of a variety with another, as a map into the other's space or to both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from isogloss.adapt.affine import Affine
from isogloss.adapt.pairs import PairedMap
from isogloss.adapt.transform import check_choice

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from isogloss.adapt.affine import Doubles
    from isogloss.adapt.rows import Rows

__all__ = ["CCA", "canonical_directions"]

_SPACES = ("target", "canonical")


@dataclass(kw_only=True)
class CCA(PairedMap):
    """Rows in the directions in which pairs of the two varieties vary together.

    Attributes, besides those of `PairedMap`:
        rank: how many directions, the most correlated first; None takes all that there are.
        penalty: added to the variances, as a share of their mean; 0 needs more pairs than
            dimensions for correlations that mean anything.
        space: 'target' writes the source's canonical variables in the target's own space, whose
            rows stay, so that several varieties meet there; 'canonical' gives both the canonical
            variables, `rank` dimensions, which needs exactly two varieties.
        correlations_: of the canonical variables, falling, by variety.

    Source: Hotelling 1936; Faruqui and Dyer 2014 for mapping two languages.
    """

    name = "cca"
    rank: int | None = None
    penalty: float = 0.0
    space: Literal["target", "canonical"] = "target"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, space=_SPACES)
        if self.rank is not None and self.rank < 1:
            raise ValueError(f"cca: rank must be at least 1, got {self.rank}")
        if not 0 <= self.penalty < np.inf:
            raise ValueError(f"cca: penalty must be 0 or more, got {self.penalty}")
        if self.space == "canonical" and self.unseen != "error":
            raise ValueError("cca: with space=canonical there is no map for other varieties")
        self.correlations_: dict[str, list[float]] = {}
        self._of_target: Affine | None = None

    def maps(self, rows: Rows) -> dict[str, Affine]:
        """The maps, by variety."""
        if self.space == "canonical" and len(rows.names) != 2:
            raise ValueError(
                f"cca: space=canonical is for two varieties, got {len(rows.names)}; choose "
                "space=target"
            )
        self.correlations_ = {}
        return super().maps(rows)

    def map_between(self, source: Doubles, target: Doubles, variety: str) -> Affine:
        """Into the canonical variables, and with space=target on into the target's space."""
        before, after = source.mean(axis=0), target.mean(axis=0)
        one, other, correlations = canonical_directions(
            source - before, target - after, penalty=self.penalty
        )
        if not len(correlations):
            raise ValueError(f"cca: the pairs of {variety} do not vary")
        count = len(correlations) if self.rank is None else min(self.rank, len(correlations))
        if self.rank is not None and count < self.rank:
            self.note(f"cca: {variety}: only {count} of {self.rank} directions vary")
        self.correlations_[variety] = correlations[:count].tolist()
        if self.space == "canonical":
            self._of_target = Affine(after, None, other[:, :count], None)
            return Affine(before, None, one[:, :count], None)
        # The rows of the pseudoinverse lead from the target's variables back to its space. Those
        # beyond `count` are left out, so a lower rank takes away what is not shared.
        back = np.linalg.pinv(other)[:count]
        return Affine(before, None, one[:, :count] @ back, after)

    def map_of_target(self) -> Affine:
        """The target's rows stay, or become canonical variables."""
        return super().map_of_target() if self._of_target is None else self._of_target

    def described(self) -> dict[str, Any]:
        """All that of a map, and the correlations."""
        return super().described() | {"correlations": self.correlations_}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]], described: Mapping[str, Any]) -> None:
        """Take it all back."""
        super().restore(arrays, described)
        told = described["correlations"]
        self.correlations_ = {name: list(found) for name, found in told.items()}


def canonical_directions(
    x: Doubles, y: Doubles, *, penalty: float = 0.0
) -> tuple[Doubles, Doubles, Doubles]:
    """Directions a (D, K) and b (E, K), and the K correlations of x @ a with y @ b, falling.

    x @ a and y @ b have variance 1 (less with a penalty) on these rows. K is the smaller rank of
    the two; 0 where one does not vary. A direction's sign is such that its largest entry in `a` is
    positive.

    Args:
        x: (P, D) centred rows.
        y: (P, E) centred rows of the same P.
        penalty: added to each variance, as a share of the mean variance.
    """
    left_x, scale_x, right_x = _spanned(x, penalty)
    left_y, scale_y, right_y = _spanned(y, penalty)
    turn_x, correlations, turn_y = np.linalg.svd(left_x.T @ left_y, full_matrices=False)
    size = np.sqrt(max(len(x) - 1, 1))
    a = right_x.T @ (turn_x / scale_x[:, np.newaxis]) * size
    b = right_y.T @ (turn_y.T / scale_y[:, np.newaxis]) * size
    if a.size:
        signs = np.sign(a[np.abs(a).argmax(axis=0), np.arange(a.shape[1])])
        a, b = a * signs, b * signs
    return a, b, np.clip(correlations, 0, 1)


def _spanned(rows: Doubles, penalty: float) -> tuple[Doubles, Doubles, Doubles]:
    """The singular vectors of what varies; the left ones shortened and the values lengthened."""
    left, values, right = np.linalg.svd(rows, full_matrices=False)
    least = max(rows.shape) * np.finfo(np.float64).eps * values.max(initial=0)
    count = int((values > max(least, 1e-300)).sum())
    values = values[:count]
    longer = np.sqrt(np.square(values) + penalty * np.square(values).sum() / rows.shape[1])
    return left[:, :count] * (values / longer), longer, right[:count]
