"""The order of batches of an epoch of text: varieties in balance, meanings, lengths together.

A plan follows from (seed, epoch) alone, so that a run which was killed takes it up where it was.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.training.text_config import TextTrainConfig
    from isogloss.training.text_data import TextMaterial

__all__ = ["plan_texts", "shares_of"]

_Unit = tuple[tuple[int, int], ...]


def plan_texts(
    config: TextTrainConfig, material: TextMaterial, kind: str, epoch: int
) -> list[tuple[tuple[int, int], ...]]:
    """Batches of one epoch, in the order of training, as pairs of items.

    An epoch has as many rows as there are items (of pairs: one draw for each meaning). Single texts
    and views are drawn by variety, in proportion to n^(1/T); of a variety each text comes once
    before any comes again. Pairs: of each meaning `config.ways` varieties (fewer where it has
    fewer) are drawn without replacement, each with weight n^(1/T - 1), which makes the common ones
    about as rare as the shares say; they become rows two by two, the last one of an odd number
    with the first again. Rows of a meaning stay in one batch.

    Args:
        config: batch, buckets, ways, sampling_temperature, seed.
        material: what is drawn from.
        kind: "meaning", "views" or "none".
        epoch: number of the epoch.
    """
    draw = np.random.default_rng([config.seed, epoch])
    if kind == "meaning":
        units = _meaning_units(config, material, draw)
    else:
        units = [((i, i),) for i in _balanced(config, material, draw)]
    lengths = [
        max(max(len(material.texts[i]), len(material.texts[j])) for i, j in unit) for unit in units
    ]
    return _batches(units, lengths, config.batch, config.buckets, draw)


def shares_of(counts: Sequence[int], temperature: float | None) -> list[float]:
    """Shares of draws of varieties with so many items: n^(1/T) over their sum; None is T = inf."""
    power = 0.0 if temperature is None else 1.0 / temperature
    # Relative to the largest: a small T must not overflow.
    raised = (np.asarray(counts, dtype=np.float64) / max(counts)) ** power
    return [float(value) for value in raised / raised.sum()]


def _balanced(
    config: TextTrainConfig, material: TextMaterial, draw: np.random.Generator
) -> list[int]:
    """As many items as there are, by shares of varieties, shuffled."""
    places: dict[str, list[int]] = {}
    for number, variety in enumerate(material.varieties):
        places.setdefault(variety, []).append(number)
    varieties = sorted(places)
    shares = shares_of([len(places[v]) for v in varieties], config.sampling_temperature)
    exact = np.asarray(shares) * len(material)
    counts = np.floor(exact).astype(np.int64)
    # Largest remainders, so that the counts add up; ties by the order of names.
    behind = np.argsort(-(exact - counts), kind="stable")[: len(material) - int(counts.sum())]
    counts[behind] += 1
    chosen: list[int] = []
    for variety, count in zip(varieties, counts.tolist(), strict=True):
        own = places[variety]
        while count > 0:
            chosen += draw.permutation(own)[:count].tolist()
            count -= len(own)
    return [int(i) for i in draw.permutation(chosen)]


def _meaning_units(
    config: TextTrainConfig, material: TextMaterial, draw: np.random.Generator
) -> list[_Unit]:
    counts = Counter(material.varieties)
    power = (0.0 if config.sampling_temperature is None else 1 / config.sampling_temperature) - 1.0
    largest = max(counts.values())
    weights = {variety: (count / largest) ** power for variety, count in counts.items()}
    units: list[_Unit] = []
    for place in draw.permutation(len(material.groups)).tolist():
        group = material.groups[place]
        # Efraimidis & Spirakis 2006: the largest of u^(1/w) are a weighted draw without
        # replacement; -log(u) / w are the same order turned around.
        waits = draw.exponential(size=len(group))
        ranked = sorted(
            (float(wait) / weights[material.varieties[i]], i)
            for wait, i in zip(waits, group, strict=True)
        )
        chosen: list[int] = []
        for _, number in ranked:
            variety = material.varieties[number]
            if variety not in {material.varieties[i] for i in chosen}:
                chosen.append(number)
            if len(chosen) == config.ways:
                break
        # Which side a variety stands on must not follow from how common it is.
        chosen = [chosen[i] for i in draw.permutation(len(chosen))]
        if len(chosen) % 2:
            chosen.append(chosen[0])
        units.append(tuple(zip(chosen[::2], chosen[1::2], strict=True)))
    return units


def _batches(
    units: Sequence[_Unit],
    lengths: Sequence[int],
    size: int,
    buckets: int,
    draw: np.random.Generator,
) -> list[tuple[tuple[int, int], ...]]:
    """Units in batches of about `size` rows, those of like length together, in random order."""
    batches: list[tuple[tuple[int, int], ...]] = []
    rows_each = max(len(unit) for unit in units)
    window = max(1, size // rows_each) * buckets
    for first in range(0, len(units), window):
        places = list(range(first, min(first + window, len(units))))
        if buckets > 1:
            places.sort(key=lambda i: lengths[i])
        made: list[list[tuple[int, int]]] = [[]]
        for place in places:
            if made[-1] and len(made[-1]) + len(units[place]) > size:
                made.append([])
            made[-1] += units[place]
        batches += [tuple(made[i]) for i in draw.permutation(len(made)).tolist()]
    return batches
