"""How an index of sequences is built and asked: every choice, its default, its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["FEWEST_UNITS", "MOST_UNITS", "IndexSettings", "units_for"]

FEWEST_UNITS = 256
MOST_UNITS = 16384


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """Choices of an index; all but the last three are fixed when it is built.

    Attributes:
        units: K, the number of k-means units, 256 to 16,384; None takes the power of two nearest
            to the square root of the number of steps (`docs/search-index.md`, "Choosing").
        center: units are found after subtracting the mean of the training sample. Steps of most
            trained encoders share a large mean, which would leave the units little to tell apart.
        residuals: how the difference between a step and its unit is kept: "int8" with one scale a
            step, "float16", or "none" (smallest; scores are then those of the units).
        sample_per_unit: training steps for each unit, at most; faiss advises 39 to 256.
        iterations: rounds of k-means, at most; it ends earlier once no step changes its unit.
        seed: of the training sample and of the first centroids.
        soft: units that each query step looks up in the postings.
        first: items that the postings pass on to the interaction of units.
        candidates: items that the interaction passes on to exact scoring.
    """

    units: int | None = None
    center: bool = True
    residuals: Literal["int8", "float16", "none"] = "int8"
    sample_per_unit: int = 64
    iterations: int = 12
    seed: int = 0
    soft: int = 16
    first: int = 8000
    candidates: int = 512

    def __post_init__(self) -> None:
        if self.units is not None and not FEWEST_UNITS <= self.units <= MOST_UNITS:
            raise ValueError(
                f"units must lie between {FEWEST_UNITS} and {MOST_UNITS}, got {self.units}"
            )
        for name in ("sample_per_unit", "iterations", "soft", "first", "candidates"):
            value = getattr(self, name)
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        if self.residuals not in ("int8", "float16", "none"):
            raise ValueError(
                f"residuals must be 'int8', 'float16' or 'none', got {self.residuals!r}"
            )


def units_for(steps: int) -> int:
    """The default K for a corpus of `steps`: the power of two nearest its root, 256 to 16,384."""
    power = FEWEST_UNITS
    # The next power is nearer, in ratio, once the root passes power * sqrt(2).
    while power < MOST_UNITS and steps > 2 * power * power:
        power *= 2
    return power
