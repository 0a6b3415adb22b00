"""Transforms one behind the other, fitted in turn on what the one before gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from isogloss.adapt.rows import Rows
from isogloss.adapt.transform import FittedTransform

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from isogloss.adapt.affine import Doubles

__all__ = ["Chain"]


@dataclass(kw_only=True)
class Chain(FittedTransform):
    """`parts` in their order; between them values stay float64.

    Attributes:
        parts: at least two transforms; they are fitted by the chain, not before.
    """

    name = "chain"
    parts: tuple[FittedTransform, ...] = ()

    def __post_init__(self) -> None:
        self.parts = tuple(
            one
            for part in self.parts
            for one in (part.parts if isinstance(part, Chain) else (part,))
        )
        if len(self.parts) < 2:
            raise ValueError(f"a chain has at least two parts, got {len(self.parts)}")
        if len({id(part) for part in self.parts}) < len(self.parts):
            raise ValueError("a part stands twice in the chain; make one for each place")

    def learn(self, rows: Rows) -> None:
        """Fit each part on what the parts before it give."""
        for part in self.parts:
            part.notes_ = ()
            part.learn(rows)
            values = _changed(part, rows)
            part.dimensions_ = (rows.dimensions, values.shape[1])
            self.notes_ = (*self.notes_, *part.notes_)
            rows = Rows(values, rows.varieties, rows.meanings)

    def change(self, rows: Doubles, variety: str) -> Doubles:
        """`rows` through all parts."""
        for part in self.parts:
            rows = part.change(rows, variety)
        return rows

    def undo(self, rows: Doubles, variety: str) -> Doubles:
        """`rows` back through all parts, the last one first."""
        for part in reversed(self.parts):
            rows = part.undo(rows, variety)
        return rows

    @property
    def spec(self) -> str:
        """The specs of the parts, joined by '+'."""
        return "+".join(part.spec for part in self.parts)

    @property
    def parameters(self) -> int:
        """Numbers that all parts learnt."""
        return sum(part.parameters for part in self.parts)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """The arrays of part i under 'i/'."""
        return {
            f"{number}/{name}": array
            for number, part in enumerate(self.parts)
            for name, array in part.state().items()
        }

    def described(self) -> dict[str, Any]:
        """What each part learnt besides."""
        return {
            "parts": [
                {"dimensions": list(part.dimensions_), **part.described()} for part in self.parts
            ]
        }

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]], described: Mapping[str, Any]) -> None:
        """Give every part its own back."""
        for number, (part, told) in enumerate(zip(self.parts, described["parts"], strict=True)):
            start = f"{number}/"
            mine = {k.removeprefix(start): a for k, a in arrays.items() if k.startswith(start)}
            part.restore(mine, told)
            part.dimensions_ = (told["dimensions"][0], told["dimensions"][1])


def _changed(part: FittedTransform, rows: Rows) -> Doubles:
    import numpy as np

    out: Doubles | None = None
    for variety in rows.names:
        places = rows.places(variety)
        found = part.change(rows.values[places], variety)
        if out is None:
            out = np.empty((len(rows.values), found.shape[1]))
        out[places] = found
    return rows.values if out is None else out
