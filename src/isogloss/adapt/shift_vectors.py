"""States of texts of two or more varieties in, the vector that leads from one to another out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from isogloss.adapt.lda import LDAShift
from isogloss.types import Vectors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.types import FloatArray

__all__ = ["lda_shift", "mean_shift", "variety_mean"]


def variety_mean(vectors: Vectors, varieties: Sequence[str], variety: str) -> FloatArray:
    """The mean (D,) of the vectors of one variety, in their units.

    Raises:
        ValueError: there is none, `varieties` is not as long as `vectors`, or a value is NaN or
            infinite.
    """
    if len(varieties) != len(vectors):
        raise ValueError(f"{len(varieties)} varieties for {len(vectors)} vectors")
    rows = [i for i, name in enumerate(varieties) if name == variety]
    if not rows:
        there = ", ".join(sorted(set(varieties)))
        raise ValueError(f"there is no vector of variety '{variety}'; there are: {there}")
    values = vectors.values[rows]
    if not np.isfinite(values).all():
        raise ValueError(f"vectors of variety '{variety}' hold NaN or infinity")
    mean: FloatArray = values.mean(axis=0, dtype=np.float64).astype(np.float32)
    return mean


def mean_shift(
    vectors: Vectors, varieties: Sequence[str], *, source: str, target: str
) -> FloatArray:
    """Mean of `target` less mean of `source`, (D,), in the units of the states.

    The baseline of all interventions, and hard to beat.

    Raises:
        ValueError: as `variety_mean`, or the two means are equal.
    """
    shift = variety_mean(vectors, varieties, target) - variety_mean(vectors, varieties, source)
    if not np.any(shift):
        raise ValueError(f"the means of '{source}' and '{target}' are equal; nothing to shift by")
    return shift


def lda_shift(
    vectors: Vectors,
    varieties: Sequence[str],
    *,
    source: str,
    target: str,
    components: int | None = None,
) -> FloatArray:
    """The shift between the two means inside the space that tells varieties apart, (D,).

    Of standardised vectors the difference of means is led into the discriminants and back by their
    pseudo-inverse, then given the units of the states, which the published code leaves out. It is
    shorter than the difference of means: compare the two at a strength relative to the states'
    length.

    Args:
        vectors: (N, D), more than there are varieties.
        varieties: of each vector; two or more kinds. With K of them there are at most K - 1
            discriminants, so with two this is one direction.
        source: from.
        target: to.
        components: how many discriminants; all by default.

    Raises:
        ValueError: as `mean_shift`, there are too few vectors, or `components` is below 1.

    Source: Language Surgery (ITLC), Lopo et al. 2025, there with 204 languages and 100 components.
    """
    mean_shift(vectors, varieties, source=source, target=target)
    rank = None if components is None else min(components, len(set(varieties)) - 1)
    # Standardised first, as the paper has it, and given its units again at the end.
    values = vectors.values.astype(np.float64)
    spread = values.std(axis=0)
    spread[spread == 0] = 1.0
    scaled = ((values - values.mean(axis=0)) / spread).astype(np.float32)
    standard = Vectors(vectors.ids, scaled, vectors.made_by)
    transform = LDAShift(target=target, rank=rank)
    transform.fit(standard, varieties=list(varieties))
    start = variety_mean(standard, varieties, source)[np.newaxis]
    moved = transform.transform(Vectors(("mean",), start), varieties=[source]).values
    shift: FloatArray = ((moved - start)[0] * spread).astype(np.float32)
    return shift
