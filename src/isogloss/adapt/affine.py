"""The one form that most fitted transforms take: y = ((x - before) * scale) @ matrix + after.

Made by the modules that fit, applied by `transform`; numpy alone, float64 throughout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from isogloss.errors import IsoglossError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["IDENTITY", "Affine", "Doubles", "NotInvertible", "orthogonality_deviation"]

Doubles = npt.NDArray[np.float64]
"""What is computed with inside this package; float32 is for its borders."""

_FIELDS = ("before", "scale", "matrix", "after")
# A matrix whose smallest singular value is below this share of its largest loses, on the way there,
# what float32 could not bring back.
_LEAST_CONDITION = 1e-6


class NotInvertible(IsoglossError):
    """What the transform took away cannot be given back."""


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """Rows x (N, D) to ((x - `before`) * `scale`) @ `matrix` + `after`, (N, E); None does nothing.

    `before` and `scale` are (D,), `matrix` is (D, E), `after` is (E,); without a matrix E is D.
    """

    before: Doubles | None = None
    scale: Doubles | None = None
    matrix: Doubles | None = None
    after: Doubles | None = None

    def __call__(self, rows: Doubles) -> Doubles:
        """`rows` (N, D) changed, (N, E) float64; the argument is not written to."""
        out = rows
        if self.before is not None:
            out = out - self.before
        if self.scale is not None:
            out = out * self.scale
        if self.matrix is not None:
            out = out @ self.matrix
        return out if self.after is None else out + self.after

    @property
    def numbers(self) -> int:
        """How many numbers were learnt."""
        return sum(int(array.size) for array in self.arrays().values())

    def inverse(self) -> Affine:
        """The map back.

        Raises:
            NotInvertible: a scale is 0, or the matrix is not square or all but singular.
        """
        # Four steps backwards are two affine maps; one matrix keeps them one.
        scale = None
        if self.scale is not None:
            if not np.all(self.scale):
                raise NotInvertible(
                    f"{int((self.scale == 0).sum())} dimensions were set to 0, and nobody knows "
                    "what was there"
                )
            scale = 1 / self.scale
        if self.matrix is None:
            after = None if self.before is None else self.before
            return Affine(self.after, scale, None, after)
        values = np.linalg.svd(self.matrix, compute_uv=False)
        if self.matrix.shape[0] != self.matrix.shape[1] or (
            values[-1] <= _LEAST_CONDITION * values[0]
        ):
            raise NotInvertible(
                f"a {self.matrix.shape[0]} x {self.matrix.shape[1]} map with singular values from "
                f"{values[0]:.3g} down to {values[-1]:.3g} has no inverse that float32 could carry"
            )
        back: Doubles = np.asarray(np.linalg.inv(self.matrix), dtype=np.float64)
        if scale is not None:
            back = back * scale
        return Affine(self.after, None, back, self.before)

    def arrays(self) -> dict[str, Doubles]:
        """The fields that are there, by name."""
        found = {name: getattr(self, name) for name in _FIELDS}
        return {name: array for name, array in found.items() if array is not None}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, Doubles]) -> Affine:
        """The map whose `arrays()` these are."""
        return cls(**{name: arrays[name] for name in _FIELDS if name in arrays})


IDENTITY = Affine()
"""Leaves everything as it is."""


def orthogonality_deviation(matrix: Doubles) -> float:
    """How far a (D, E) map is from a rotation, scaled by any one number: 0 for one, below 1.

    ||W'W - c I|| / ||W'W|| in the Frobenius norm, with c = tr(W'W) / E, which makes it least. A
    map of rank r on E dimensions has at least sqrt(1 - r / E); a matrix of zeros has 1. Where two
    spaces have the same shape, the best map between them needs no deviation.

    Raises:
        ValueError: `matrix` has not two axes, or none of one.
    """
    if matrix.ndim != 2 or not matrix.size:
        raise ValueError(f"a map has two axes, each at least 1 long, got {matrix.shape}")
    gram = matrix.T @ matrix
    whole = float(np.linalg.norm(gram))
    if whole == 0:
        return 1.0
    near = np.trace(gram) / len(gram) * np.eye(len(gram))
    return float(np.linalg.norm(gram - near)) / whole
