"""Which units of a model know a variety (average precision of every unit), and setting them.

Responses of all units to texts in, expertise out, changes for `interventions` out.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from isogloss.adapt.changes import Change, DampenUnits, SetUnits
from isogloss.adapt.interventions import Intervention
from isogloss.adapt.model_states import text_states

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from isogloss.adapt.interventions import Phase, Site
    from isogloss.llm.hf_causal import CausalModel
    from isogloss.types import FloatArray

Numbers = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

__all__ = [
    "Experts",
    "area_under_roc",
    "average_precision",
    "dampening",
    "find_experts",
    "setting",
    "unit_responses",
]

# Cells of one block of columns that are sorted at a time: some 100 MB with what sorting needs.
_CELLS_AT_ONCE = 4_000_000


@dataclass(frozen=True, eq=False)
class Experts:
    """The units that tell one variety from the others best.

    Attributes:
        variety: of which they are experts.
        site: where the units are.
        layers: (K,) layer of each, best unit first.
        units: (K,) number of each within its layer.
        expertise: (K,) average precision of each in (0, 1]; the share of the variety is chance.
        typical: (K,) its response to texts of the variety: their median, or another quantile.
        dampening: (K,) factor of `dampening`.
        of: how many units were looked at.
    """

    variety: str
    site: Site
    layers: Numbers
    units: Numbers
    expertise: FloatArray
    typical: FloatArray
    dampening: FloatArray
    of: int

    def __len__(self) -> int:
        return len(self.units)


def average_precision(responses: FloatArray, positive: npt.NDArray[np.bool_]) -> FloatArray:
    """Average precision of every column as a detector of `positive`, (U,) in (0, 1].

    The mean, over positive texts, of the precision among the texts that respond at least as
    strongly: texts of equal response are taken together, so their order changes nothing.

    Args:
        responses: (N, U) of N texts.
        positive: (N,) which texts are to be detected; at least one.

    Raises:
        ValueError: shapes differ, nothing is positive, or a response is NaN.
    """
    found = [
        (_at_end(np.cumsum(hits, axis=0) / _counting(hits), ties) * hits).sum(axis=0)
        for hits, ties in _sorted_columns(responses, positive)
    ]
    mean: FloatArray = (np.concatenate(found) / np.sum(positive)).astype(np.float32)
    return mean


def area_under_roc(responses: FloatArray, positive: npt.NDArray[np.bool_]) -> FloatArray:
    """Probability that a positive text responds more than another, ties half, (U,) in [0, 1].

    Arguments and errors as `average_precision`, and some text must not be positive.
    """
    n, p = len(positive), int(np.sum(positive))
    if p == n:
        raise ValueError("every text is positive; there is nothing to compare with")
    found = []
    for hits, ties in _sorted_columns(responses, positive):
        others = 1 - hits
        # Others that stand above or in the same tie, and others strictly above.
        within = _at_end(np.cumsum(others, axis=0), ties)
        above = within - _in_tie(others, ties)
        found.append(((2 * (n - p) - within - above) / 2 * hits).sum(axis=0))
    area: FloatArray = (np.concatenate(found) / (p * (n - p))).astype(np.float32)
    return area


def unit_responses(
    model: CausalModel,
    texts: Sequence[str],
    *,
    site: Site = "mlp",
    layers: Sequence[int] | None = None,
    progress: bool = False,
) -> tuple[FloatArray, Numbers, Numbers]:
    """Response of every unit to every text: the greatest over its tokens.

    Returns:
        (N, U) responses, (U,) layer and (U,) number of each unit.

    Raises:
        ValueError: a text has no token, or the model has no such layer or site.
    """
    from isogloss.encoders.hf_blocks import blocks_of

    chosen = layers if layers is not None else range(1, len(blocks_of(model.model)) + 1)
    states = text_states(model, texts, [(layer, site) for layer in chosen], progress=progress)
    parts, of_layer, of_unit = [], [], []
    for (layer, _), sequences in states.items():
        empty = np.flatnonzero(sequences.lengths == 0)
        if len(empty):
            raise ValueError(f"text {empty[0]} has no token, so no unit responds to it")
        parts.append(np.maximum.reduceat(sequences.values, sequences.offsets[:-1], axis=0))
        size = sequences.values.shape[1]
        of_layer.append(np.full(size, layer, dtype=np.int64))
        of_unit.append(np.arange(size, dtype=np.int64))
    return np.concatenate(parts, axis=1), np.concatenate(of_layer), np.concatenate(of_unit)


def find_experts(
    model: CausalModel,
    texts: Sequence[str],
    varieties: Sequence[str],
    variety: str,
    *,
    count: int = 100,
    site: Site = "mlp",
    value: Literal["median", "p90"] = "median",
    progress: bool = False,
) -> Experts:
    """The `count` units of all layers that detect texts of `variety` best among `texts`.

    Args:
        model: whose units.
        texts: of `variety` and of others.
        varieties: of each text.
        variety: to be detected.
        count: how many units; all units when there are fewer.
        site: where: 'mlp' are the neurons of the feed-forward networks.
        value: what a unit's typical response is: the median or the 90th percentile over the
            texts of `variety`.
        progress: show a bar on stderr.

    Raises:
        ValueError: as `unit_responses`; no text is of `variety`, or every one is; `count` < 1.

    Source: expertise is that of Suau et al. (Self-conditioning pre-trained language models),
    computed for all units at once; dampening by AUROC is that of AurA.
    """
    if count < 1 or value not in ("median", "p90"):
        raise ValueError(
            f"count must be at least 1 and value 'median' or 'p90', got {count}, {value}"
        )
    if len(texts) != len(varieties):
        raise ValueError(f"{len(varieties)} varieties for {len(texts)} texts")
    positive = np.array([name == variety for name in varieties])
    if not positive.any() or positive.all():
        raise ValueError(
            f"{int(positive.sum())} of {len(texts)} texts are of variety '{variety}'; experts need "
            "texts of it and of others"
        )
    responses, of_layer, of_unit = unit_responses(model, texts, site=site, progress=progress)
    expertise = average_precision(responses, positive)
    best = np.argsort(-expertise, kind="stable")[:count]
    typical = np.quantile(responses[positive][:, best], 0.5 if value == "median" else 0.9, axis=0)
    area = area_under_roc(responses[:, best], positive)
    return Experts(
        variety,
        site,
        of_layer[best],
        of_unit[best],
        expertise[best],
        typical.astype(np.float32),
        (1 - 2 * np.clip(area - 0.5, 0, None)).astype(np.float32),
        len(expertise),
    )


def setting(
    experts: Experts, *, count: int | None = None, phase: Phase = "both", strength: float = 1.0
) -> list[Intervention]:
    """Interventions that set the best `count` experts (all by default) to their typical response.

    One intervention a layer that has such units. `strength` 0.5 goes half of the way.
    """

    def make(units: Numbers, of: Numbers) -> Change:
        said = f"experts {len(of)} of {experts.variety}"
        return SetUnits(units, experts.typical[of], said)

    return _by_layer(experts, count, phase, strength, make)


def dampening(
    experts: Experts, *, count: int | None = None, phase: Phase = "both", strength: float = 1.0
) -> list[Intervention]:
    """Interventions that multiply the best experts by 1 - Gini, Gini = 2 (AUROC - 0.5).

    A perfect detector is silenced, one that knows nothing is left: the variety is said less.

    Source: AurA of Suau et al., which does so to all units of AUROC above 0.5.
    """

    def make(units: Numbers, of: Numbers) -> Change:
        said = f"dampened experts {len(of)} of {experts.variety}"
        return DampenUnits(units, experts.dampening[of], said)

    return _by_layer(experts, count, phase, strength, make)


def _by_layer(
    experts: Experts,
    count: int | None,
    phase: Phase,
    strength: float,
    make: Callable[[Numbers, Numbers], Change],
) -> list[Intervention]:
    chosen = defaultdict(list)
    for place, layer in enumerate(experts.layers[:count]):
        chosen[int(layer)].append(place)
    return [
        Intervention(
            make(experts.units[places], np.array(places)),
            layer,
            site=experts.site,
            phase=phase,
            strength=strength,
        )
        for layer, places in sorted(chosen.items())
    ]


def _sorted_columns(
    responses: FloatArray, positive: npt.NDArray[np.bool_]
) -> Iterator[tuple[Doubles, Numbers]]:
    """Blocks of columns: hits (N, B) with the strongest response first, and where ties end."""
    responses = np.asarray(responses)
    positive = np.asarray(positive, dtype=bool)
    if responses.ndim != 2 or positive.shape != (len(responses),):
        raise ValueError(
            f"responses must be (N, U) and positive (N,), got {responses.shape}, {positive.shape}"
        )
    if not positive.any():
        raise ValueError("no text is positive; precision has no meaning")
    if np.isnan(responses).any():
        raise ValueError("responses hold NaN")
    n, units = responses.shape
    step = max(1, _CELLS_AT_ONCE // n)
    for first in range(0, units, step):
        block = responses[:, first : first + step]
        order = np.argsort(-block, axis=0, kind="stable")
        ranked = np.take_along_axis(block, order, axis=0)
        hits = positive[order].astype(np.float64)
        # For each row the last row of the same response, from below.
        ends = np.full(block.shape, n - 1, dtype=np.int64)
        last = ranked[:-1] != ranked[1:]
        ends[:-1][last] = np.broadcast_to(np.arange(n - 1)[:, None], last.shape)[last]
        yield hits, np.minimum.accumulate(ends[::-1], axis=0)[::-1]


def _at_end(values: Doubles, ends: Numbers) -> Doubles:
    """Each row's value at the end of its tie."""
    found: Doubles = np.take_along_axis(values, ends, axis=0)
    return found


def _in_tie(values: Doubles, ends: Numbers) -> Doubles:
    """Sum of `values` over each row's tie: up to its end, less up to the end of the one above."""
    totals = np.cumsum(values, axis=0)
    starts = np.zeros_like(ends)
    fresh = ends[1:] != ends[:-1]
    rows = np.broadcast_to(np.arange(1, len(ends))[:, None], fresh.shape)
    starts[1:] = np.where(fresh, rows, 0)
    starts = np.maximum.accumulate(starts, axis=0)
    above = np.take_along_axis(totals, np.maximum(starts - 1, 0), axis=0)
    return _at_end(totals, ends) - np.where(starts > 0, above, 0.0)


def _counting(values: Doubles) -> Doubles:
    """1, 2, ... under each other."""
    return np.arange(1, len(values) + 1, dtype=np.float64)[:, None]
