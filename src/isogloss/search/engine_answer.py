"""One query in, its hits out: what is asked of the engine, and what is computed here."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from isogloss.scores.seqsim import seqsim
from isogloss.search.engine_rows import arrays_of, steps_from
from isogloss.search.engine_shard import Bag
from isogloss.search.interaction import UnitTable
from isogloss.search.postings import inverse_frequencies, query_weights
from isogloss.search.ranking import Ranking
from isogloss.search.units import centred_directions
from isogloss.types import Hits, Sequences

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from isogloss.search.index_settings import IndexSettings
    from isogloss.search.store_filter import Filter
    from isogloss.search.units import Units
    from isogloss.types import FloatArray

__all__ = ["Answer", "EngineAnswer", "exact_answers"]

_MOST_FROM_ENGINE = 1000
_SCORED_AT_ONCE = 16


class _Asked(Protocol):
    def __call__(self, question: str, *values: Any) -> list[Any]:
        """What each shard answers."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """Hits of one query, best first, with their ties and how many items were scored."""

    ids: tuple[str, ...]
    scores: tuple[float, ...]
    tied: tuple[bool, ...]
    scored: int

    @classmethod
    def of(cls, ids: Sequence[str], scores: npt.NDArray[Any], k: int) -> Answer:
        """The `k` best of what was scored; equal scores in the order of ids."""
        order = sorted(range(len(ids)), key=lambda i: (-scores[i], ids[i]))
        best = [float(scores[i]) for i in order[: k + 1]]
        tied = tuple(
            best[i] == best[i - 1] if i == len(best) - 1 else best[i] in (best[i + 1], best[i - 1])
            for i in range(1, len(best))
        )
        first = (len(best) > 1 and best[0] == best[1],)
        return cls(
            tuple(ids[i] for i in order[:k]),
            tuple(best[:k]),
            (first + tied)[: len(best[:k])],
            len(ids),
        )


class EngineAnswer:
    """Turns steps of a query into what the engine is asked, and what it gives into hits.

    Args:
        units: of the index.
        settings: `soft`, `first` and `residuals` are used.
        counts: (K,) how many items hold each unit.
        items: how many there are.
    """

    def __init__(
        self, units: Units, settings: IndexSettings, counts: npt.NDArray[np.int64], items: int
    ) -> None:
        self._units = units
        self._settings = settings
        self._inverse = inverse_frequencies(counts, items)

    def to(
        self,
        asked: _Asked,
        steps: FloatArray,
        k: int,
        count: int,
        budget_ms: float | None,
        wanted: Filter | None,
        by: str,
    ) -> Answer:
        """The `k` best of the `count` likeliest items; see `EngineIndex.search_ranked`."""
        start = time.monotonic()
        first = max(count, min(self._settings.first, _MOST_FROM_ENGINE))
        if by == "units":
            request = ("bag", self._bag(steps).written(self._units.count))
        else:
            unit = _unit(steps).mean(axis=0).tolist()
            request = ("pooled", "[" + ",".join(f"{value:.7g}" for value in unit) + "]")
        found = [row for rows in asked("nearest", *request, first, wanted) for row in rows]
        found = sorted(found, key=lambda row: row[:2])[:first]
        if not found:
            return Answer((), (), (), 0)
        likely = self._interaction(steps, [units for _, _, units in found])
        order = sorted(range(len(found)), key=lambda i: (-likely[i], found[i][1]))[:count]
        names = [found[i][1] for i in order]
        held = {name: row for rows in asked("steps_of", names) for name, row in rows.items()}
        # Another client may have deleted one since.
        names = [name for name in names if name in held]
        scores: list[npt.NDArray[Any]] = []
        query = Sequences.from_list(["query"], [steps])
        for place in range(0, len(names), _SCORED_AT_ONCE):
            late = budget_ms is not None and 1000 * (time.monotonic() - start) > budget_ms
            if place and late:
                break
            some = names[place : place + _SCORED_AT_ONCE]
            rebuilt, offsets = steps_from(
                [held[name] for name in some], self._units.prototypes, self._settings.residuals
            )
            scores.append(seqsim(query, Sequences(tuple(some), rebuilt, offsets))[0])
        together = np.concatenate(scores) if scores else np.zeros(0)
        return Answer.of(names[: len(together)], together, k)

    def _bag(self, steps: FloatArray) -> Bag:
        nearest, cosines = self._units.nearest(steps, self._settings.soft)
        units, weights = query_weights(nearest, cosines, self._inverse)
        real = weights > 0
        return Bag(units[real], weights[real])

    def _interaction(self, steps: FloatArray, rows: Sequence[bytes]) -> FloatArray:
        """SeqSim of the query with each row of units, their prototypes for their steps: (R,)."""
        arrays = arrays_of([(row, b"") for row in rows], self._units.prototypes.shape[1])
        return UnitTable(_unit(steps), self._units).scores(arrays, np.arange(len(rows)))


def exact_answers(queries: Sequences, k: int, blocks: Iterable[Sequences]) -> Ranking:
    """The `k` best of every query among all sequences of `blocks`, each scored."""
    ids: list[list[str]] = [[] for _ in range(len(queries))]
    scores = [np.zeros(0, np.float32) for _ in range(len(queries))]
    seen = 0
    for block in blocks:
        seen += len(block)
        table = seqsim(queries, block)
        for number in range(len(queries)):
            names = [*ids[number], *block.ids]
            both = np.concatenate([scores[number], table[number]])
            # One more than is wanted, to see a tie with the last; order of ids as in the end.
            order = sorted(range(len(names)), key=lambda i: (-both[i], names[i]))[: k + 1]
            ids[number] = [names[i] for i in order]
            scores[number] = both[order]
    found = [Answer.of(names, values, k) for names, values in zip(ids, scores, strict=True)]
    return Ranking(
        Hits(queries.ids, tuple(a.ids for a in found), tuple(a.scores for a in found)),
        tuple(a.tied for a in found),
        True,
        tuple(seen for _ in found),
    )


def _unit(steps: FloatArray) -> FloatArray:
    return centred_directions(np.ascontiguousarray(steps), np.zeros(steps.shape[1]))[0]
