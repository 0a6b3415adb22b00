"""What an intervention does to states: a shift, units set or dampened, or any fitted transform.

A change is a callable from (M, D) states of real tokens to (M, D). `interventions` hooks it into a
model's forward pass, `steering` and `experts` make them from texts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from isogloss.types import Vectors

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from torch import Tensor

    from isogloss.types import FloatArray, Transform

__all__ = ["ByTransform", "Change", "DampenUnits", "SetUnits", "Shift"]

# A mean of real states has length 1 within this only if somebody made it so.
_UNIT_LENGTH = 1e-3


class Change(Protocol):
    """States in, states out; D is checked by whoever knows the model."""

    @property
    def said(self) -> str:
        """What identifies the change in signatures."""
        ...

    def __call__(self, states: Tensor) -> Tensor:
        """(M, D) states changed; the argument is left as it is."""
        ...


@dataclass(frozen=True, eq=False)
class Shift:
    """`states + vector`.

    Attributes:
        vector: (D,) in the units of the states: a difference of means of states, say. A vector of
            length 1 is a direction and no shift; published code added such vectors to states ten
            times as long, with little effect. It is refused, unless `direction` is True.
        direction: `vector` is a direction only, to be used with a strength relative to the states'
            length; an `Intervention` that is not relative refuses it.
        said: what identifies it in signatures.

    Raises:
        ValueError: `vector` is not (D,) and finite, is zero, or has length 1 and is not said to be
            a direction.
    """

    vector: FloatArray
    direction: bool = False
    said: str = "shift"

    def __post_init__(self) -> None:
        vector = np.asarray(self.vector, dtype=np.float32)
        if vector.ndim != 1 or not np.isfinite(vector).all():
            raise ValueError(
                f"a shift must be one finite vector (D,), got shape {vector.shape}"
                + ("" if vector.ndim != 1 else " with NaN or infinity")
            )
        length = float(np.linalg.norm(vector.astype(np.float64)))
        if not length:
            raise ValueError("the shift vector is zero; it would change nothing")
        if abs(length - 1) < _UNIT_LENGTH and not self.direction:
            raise ValueError(
                f"the shift vector has length {length:.4f}, so it seems to be normed; a shift must "
                "be in the units of the states it is added to: give the difference of means "
                "itself, or say direction=True and use a strength relative to the states' length"
            )
        object.__setattr__(self, "vector", vector)

    def __call__(self, states: Tensor) -> Tensor:
        """(M, D) states, `vector` added to each."""
        return states + states.new_tensor(self.vector)


@dataclass(frozen=True, eq=False)
class SetUnits:
    """States whose chosen units are set to fixed values, whatever they were.

    Attributes:
        units: (U,) numbers of units, each once.
        values: (U,) what each is set to, in the units of the states.
        said: what identifies it in signatures.

    Raises:
        ValueError: shapes differ, a unit is negative or named twice, or a value is not finite.
    """

    units: npt.NDArray[np.int64]
    values: FloatArray
    said: str = "set"

    def __post_init__(self) -> None:
        _check_units(self.units, self.values)

    def __call__(self, states: Tensor) -> Tensor:
        """(M, D) states with the units set."""
        changed = states.clone()
        changed[:, list(map(int, self.units))] = states.new_tensor(self.values)
        return changed


@dataclass(frozen=True, eq=False)
class DampenUnits:
    """States whose chosen units are multiplied by factors.

    Attributes:
        units: (U,) numbers of units, each once.
        factors: (U,) 0 silences a unit, 1 leaves it.
        said: what identifies it in signatures.

    Raises:
        ValueError: as `SetUnits`.
    """

    units: npt.NDArray[np.int64]
    factors: FloatArray
    said: str = "dampen"

    def __post_init__(self) -> None:
        _check_units(self.units, self.factors)

    def __call__(self, states: Tensor) -> Tensor:
        """(M, D) states with the units dampened."""
        changed = states.clone()
        columns = list(map(int, self.units))
        changed[:, columns] = states[:, columns] * states.new_tensor(self.factors)
        return changed


@dataclass(frozen=True, eq=False)
class ByTransform:
    """States changed as a fitted transform changes vectors of one variety.

    Fit it on states of the very layer and site it is hooked into; on pooled vectors of texts it
    learns what texts have in common, on steps what tokens have.

    Attributes:
        transform: fitted; its `transform(vectors, varieties=...)` is called with one row a token.
        variety: of the texts that go through the model.
        said: what identifies it in signatures.
    """

    transform: Transform
    variety: str
    said: str = field(default="")

    def __post_init__(self) -> None:
        if not self.said:
            name = f"{type(self.transform).__name__} of {self.variety}"
            object.__setattr__(self, "said", name)

    def __call__(self, states: Tensor) -> Tensor:
        """(M, D) states, each transformed as a vector of `variety`; no gradient passes.

        Raises:
            ValueError: the transform gives another number of dimensions.
        """
        values = states.detach().float().cpu().numpy()
        rows: Sequence[str] = [str(i) for i in range(len(values))]
        vectors = Vectors(tuple(rows), np.ascontiguousarray(values, dtype=np.float32))
        found = self.transform.transform(vectors, varieties=[self.variety] * len(rows)).values
        if found.shape != values.shape:
            raise ValueError(
                f"{self.said} turns {values.shape[1]} dimensions into {found.shape[1]}; inside a "
                "model their number cannot change"
            )
        return states.new_tensor(np.asarray(found))


def _check_units(units: npt.NDArray[np.int64], values: FloatArray) -> None:
    if np.ndim(units) != 1 or np.shape(units) != np.shape(values):
        raise ValueError(
            f"units and values must be (U,) both, got {np.shape(units)} and {np.shape(values)}"
        )
    if len(set(map(int, units))) < len(units) or (len(units) and int(np.min(units)) < 0):
        raise ValueError("units must be numbers from 0 on, each named once")
    if not np.isfinite(values).all():
        raise ValueError("values of units hold NaN or infinity")
