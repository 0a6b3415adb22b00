"""Hits and a number beside each in, the hit rate of three parts out: low, middle, high."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss.measures import bootstrap_ratio_interval
from isogloss.types import Measurement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

__all__ = ["bucketed"]

_PARTS = ("low", "middle", "high")


def bucketed(
    name: str,
    values: npt.NDArray[np.float64],
    hits: npt.NDArray[np.float64],
    meanings: Sequence[str],
    *,
    resamples: int,
    level: float,
    seed: int,
    signature: Mapping[str, Any],
    keys: Sequence[str] = (),
    label: str = "",
) -> list[Measurement]:
    """Share of hits where `values` are low, middling and high, with intervals over sentences.

    Args:
        name: of the measurements; the part's name follows.
        values: (C,) what to cut at its terciles. Equal values stay together, so a part may be
            smaller or missing; NaN is unknown and takes no part.
        hits: (C,) 0 or 1.
        meanings: (C,) sentence of each; all of a sentence's cells are resampled together.
        resamples: of the bootstrap; 0 for no interval.
        level: of the interval.
        seed: of the bootstrap.
        signature: kept in every result, which adds the bounds of its part.
        keys: (C,) what names each cell in the results' `item_keys`; none for no names.
        label: follows the part's name.

    Returns:
        Up to three measurements; none when nothing is known.
    """
    known = np.isfinite(values)
    if not known.any():
        return []
    values, hits, sentences = values[known], hits[known], np.asarray(meanings)[known]
    part = np.searchsorted(np.quantile(values, [1 / 3, 2 / 3]), values, side="left")
    found = []
    names = np.asarray(keys)[known] if len(keys) else None
    for index, part_name in enumerate(_PARTS):
        inside = part == index
        if not inside.any():
            continue
        _, sentence = np.unique(sentences[inside], return_inverse=True)
        count = np.bincount(sentence).astype(np.float64)
        interval = bootstrap_ratio_interval(
            np.bincount(sentence, weights=hits[inside]).astype(np.float64),
            count,
            resamples=resamples,
            level=level,
            seed=seed,
        )
        found.append(
            Measurement(
                f"{name} {part_name} {label}".rstrip(),
                float(hits[inside].mean()),
                low=interval[0] if interval else None,
                high=interval[1] if interval else None,
                n=int(inside.sum()),
                signature={
                    **signature,
                    "bucket": part_name,
                    "from": float(values[inside].min()),
                    "to": float(values[inside].max()),
                    "sentences": len(count),
                    "interval": f"bootstrap over sentences, {resamples} resamples, level {level}, "
                    f"seed {seed}"
                    if interval
                    else None,
                },
                per_item=hits[inside].astype(np.float32),
                item_keys=None if names is None else tuple(names[inside].tolist()),
            )
        )
    return found
