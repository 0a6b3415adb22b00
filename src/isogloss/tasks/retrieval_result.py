"""What a speech retrieval found: ranks and hits of every pair, and every number made from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from isogloss.measures import GoldRanks, chance_level, two_way_interval
from isogloss.tasks.buckets import bucketed
from isogloss.tasks.phonetic import BASES
from isogloss.types import FloatArray, Hits, Measurement

__all__ = ["GroupTable", "PairResult", "RetrievalResult", "measurement_to_dict"]

Rows = npt.NDArray[np.float64]
Statistic = Callable[["PairResult"], Rows | None]

_TOP = 10
# Above this many pairs only their R@1 is resampled: thousands of pairs of sites would take minutes.
_PAIRS_WITH_EVERY_INTERVAL = 200


@dataclass(frozen=True, slots=True, eq=False)
class PairResult:
    """Retrieval from one set into another: N queries, N targets, target i is right for query i.

    Attributes:
        query: name of the set that asks.
        target: name of the set that answers.
        groups: groups of the two.
        meanings: (N,) what each query means.
        query_ids: (N,) items that ask.
        target_ids: (N,) items that may answer.
        scores: (N, N) float32, larger is nearer, after any adjustment.
        gold: rank of the right answer of each query, and ties.
        wrong_by_margin: (N,) whether the best target by margin is wrong (xSIM), None where the
            margin is undefined.
        matched: (N,) unadjusted score of each query with its right answer.
        unmatched: mean unadjusted score with wrong ones.
        baselines: ranks by edit similarity of 'phones', 'transcript', 'translation', as far as
            all items of the pair have them, or by what else needs no encoder; rank 0 for a query
            that was not asked.
        phonetic_basis: which baseline is the phonetic one, None without phones and transcripts.
        sound: (N, N) phonetic edit similarity of every query with every target.
        distance: (N,) 1 - phonetic edit similarity of query and right answer.
        beats_neighbours: (N,) whether the right answer outscores the wrong targets that sound
            nearest to the query.
        rivals: how many those are: fewer than asked for in a small pool.
        cognates: (N,) share of cognate words, NaN where unknown.
    """

    query: str
    target: str
    groups: tuple[str, str]
    meanings: tuple[str, ...]
    query_ids: tuple[str, ...]
    target_ids: tuple[str, ...]
    scores: FloatArray
    gold: GoldRanks
    wrong_by_margin: npt.NDArray[np.bool_] | None
    matched: FloatArray
    unmatched: float
    baselines: Mapping[str, GoldRanks] = field(default_factory=dict)
    phonetic_basis: str | None = None
    sound: FloatArray | None = None
    distance: FloatArray | None = None
    beats_neighbours: npt.NDArray[np.bool_] | None = None
    rivals: int | None = None
    cognates: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.meanings)

    def hits(self, top: int = _TOP) -> Hits:
        """The `top` best targets of each query, best first; equal scores in target order."""
        order = np.argsort(-self.scores, axis=1, kind="stable")[:, :top]
        values = np.take_along_axis(self.scores, order, axis=1)
        return Hits(
            self.query_ids,
            tuple(tuple(self.target_ids[j] for j in row) for row in order),
            tuple(tuple(float(v) for v in row) for row in values),
        )

    def to_dict(self, *, items: bool = True) -> dict[str, Any]:
        """JSON values: the pair, its plain numbers, and with `items` every query's hits."""
        plain: dict[str, Any] = {
            "query": self.query,
            "target": self.target,
            "query_group": self.groups[0],
            "target_group": self.groups[1],
            "n": len(self),
            "matched_mean": float(self.matched.mean()),
            "unmatched_mean": self.unmatched,
            "queries_with_ties": int((self.gold.ties > 0).sum()),
            "phonetic_basis": self.phonetic_basis,
        }
        if not items:
            return plain
        hits = self.hits()
        rows = []
        for i, meaning in enumerate(self.meanings):
            row: dict[str, Any] = {
                "meaning": meaning,
                "query_id": self.query_ids[i],
                "target_id": self.target_ids[i],
                "rank": int(self.gold.ranks[i]),
                "ties": int(self.gold.ties[i]),
                "score": float(self.scores[i, i]),
                "top_ids": list(hits.ids[i]),
                "top_scores": list(hits.scores[i]),
            }
            if self.distance is not None:
                row["phonetic_distance"] = float(self.distance[i])
            if self.cognates is not None and not np.isnan(self.cognates[i]):
                row["cognate_share"] = float(self.cognates[i])
            for basis, ranks in self.baselines.items():
                if ranks.ranks[i]:
                    row[f"rank_by_{basis}"] = int(ranks.ranks[i])
            rows.append(row)
        return {**plain, "items": rows}


@dataclass(frozen=True, slots=True)
class GroupTable:
    """A square table over groups: `cells[i][j]` for queries of group i into group j, or None."""

    measure: str
    groups: tuple[str, ...]
    cells: tuple[tuple[Measurement | None, ...], ...]

    def values(self) -> Rows:
        """(G, G) values, NaN where no pair was."""
        return np.array(
            [[np.nan if cell is None else cell.value for cell in row] for row in self.cells]
        )


@dataclass(frozen=True, eq=False)
class RetrievalResult:
    """Everything one run of `SpeechRetrieval` found. `pairs` are ordered pairs of sets.

    `strata` maps each set to its stratum: sites of one group are resampled together;
    `signature` names everything that changes the numbers; `left_out` counts items by reason and
    `unreadable` lists (item id, reason).
    """

    sets: tuple[str, ...]
    set_groups: Mapping[str, str]
    strata: Mapping[str, str]
    pairs: tuple[PairResult, ...]
    ks: tuple[int, ...]
    resamples: int
    level: float
    seed: int
    signature: Mapping[str, Any]
    left_out: Mapping[str, int] = field(default_factory=dict)
    unreadable: tuple[tuple[str, str], ...] = ()

    @property
    def groups(self) -> tuple[str, ...]:
        """Groups in the order of the sets."""
        return tuple(dict.fromkeys(self.set_groups[name] for name in self.sets))

    @property
    def measures(self) -> tuple[str, ...]:
        """Names that `mean` knows for this result."""
        return tuple(
            name
            for name, statistic in self._statistics().items()
            if any(statistic(pair) is not None for pair in self.pairs)
        )

    def pair(self, query: str, target: str) -> PairResult:
        """The result from set `query` into set `target`.

        Raises:
            ValueError: there is no such pair.
        """
        for pair in self.pairs:
            if (pair.query, pair.target) == (query, target):
                return pair
        raise ValueError(f"no pair {query}>{target}; sets are {', '.join(self.sets)}")

    def mean(
        self,
        measure: str,
        pairs: Sequence[PairResult] | None = None,
        *,
        label: str = "",
        interval: bool = True,
    ) -> Measurement | None:
        """Mean over ordered pairs (all by default) of each pair's mean, with its interval.

        The interval resamples sentences, and sites within groups where the sets are sites.
        `per_item` is (S,), the mean over pairs for each sentence; `item_keys` are their meanings,
        sorted.
        None when no pair has the measure.

        Args:
            measure: one of `measures`: 'R@k', 'MRR', 'xSIM', 'hard R@1', 'R@1 phonetic',
                'R@1 by phones', 'R@1 by transcript', 'R@1 by translation'.
            pairs: which pairs.
            label: follows the measure's name in the result's.
            interval: whether to resample.

        Raises:
            ValueError: the measure is unknown.
        """
        statistics = self._statistics()
        if measure not in statistics:
            raise ValueError(f"unknown measure '{measure}'; known: {', '.join(statistics)}")
        statistic = statistics[measure]
        chosen = self.pairs if pairs is None else tuple(pairs)
        found = [(pair, row) for pair in chosen if (row := statistic(pair)) is not None]
        if not found:
            return None
        table, meanings = _over_meanings(found)
        bounds = two_way_interval(
            table,
            strata=self.strata,
            resamples=self.resamples if interval else 0,
            level=self.level,
            seed=self.seed,
        )
        stacked = np.array(list(table.values()))
        drawn = f" and {self.signature.get('by', 'site')}s" if self._sites_resampled(found) else ""
        resampled = f"sentences{drawn}"
        chances = [c for pair, _ in found if (c := _chance(measure, pair)) is not None]
        per_sentence = np.nanmean(stacked, axis=0).astype(np.float32)
        return Measurement(
            f"{measure} {label}".rstrip(),
            float(np.nanmean(stacked, axis=1).mean()),
            low=bounds[0] if bounds else None,
            high=bounds[1] if bounds else None,
            n=stacked.shape[1],
            higher_is_better=measure != "xSIM",
            signature={
                **self.signature,
                "pairs": len(found),
                "interval": f"bootstrap over {resampled}, {self.resamples} resamples, "
                f"level {self.level}, seed {self.seed}"
                if bounds
                else None,
                **({"chance": float(np.mean(chances))} if chances else {}),
                **_basis_of(measure, [pair for pair, _ in found]),
            },
            per_item=per_sentence,
            item_keys=meanings,
        )

    def group_table(self, measure: str = "R@1") -> GroupTable:
        """Means over the ordered pairs of sets of each ordered pair of groups (8 x 8 for YuBao)."""
        by_groups: dict[tuple[str, str], list[PairResult]] = {}
        for pair in self.pairs:
            by_groups.setdefault(pair.groups, []).append(pair)
        cells = tuple(
            tuple(
                self.mean(measure, by_groups[a, b], label=f"{a}>{b}")
                if (a, b) in by_groups
                else None
                for b in self.groups
            )
            for a in self.groups
        )
        return GroupTable(measure, self.groups, cells)

    def pair_means(
        self, measure: str = "R@1", *, interval: bool = True
    ) -> dict[tuple[str, str], Measurement]:
        """The measure of every ordered pair of sets that has it, resampling its sentences."""
        found = {}
        for pair in self.pairs:
            label = f"{pair.query}>{pair.target}"
            mean = self.mean(measure, [pair], label=label, interval=interval)
            if mean is not None:
                found[pair.query, pair.target] = mean
        return found

    def buckets(
        self, by: str = "distance", pairs: Sequence[PairResult] | None = None, *, label: str = ""
    ) -> list[Measurement]:
        """R@1 of pairs of utterances that are alike, middling, and unlike in sound or words.

        All pairs of a query and its right answer, over all pairs of sets, are cut into three parts
        of about equal size at the terciles; equal values stay together, so a part may be smaller
        or missing. Empty when nothing is known.

        Args:
            by: 'distance' for phonetic distance, 'cognates' for the share of cognate words.
            pairs: which pairs of sets, cut at their own terciles; all by default.
            label: follows the part's name.

        Returns:
            'R@1 distance low', '... middle', '... high', each with the bounds of its part in the
            signature, `n` pairs of utterances, and an interval that resamples sentences.

        Raises:
            ValueError: `by` is neither.
        """
        if by not in ("distance", "cognates"):
            raise ValueError(f"buckets are by 'distance' or 'cognates', got '{by}'")
        values: list[float] = []
        hits: list[bool] = []
        meanings: list[str] = []
        keys: list[str] = []
        chosen = self.pairs if pairs is None else tuple(pairs)
        for pair in chosen:
            known = pair.distance if by == "distance" else pair.cognates
            if known is not None:
                values.extend(known.tolist())
                hits.extend((pair.gold.ranks == 1).tolist())
                meanings.extend(pair.meanings)
                keys.extend(map("{}>{}".format, pair.query_ids, pair.target_ids))
        return bucketed(
            f"R@1 {by}",
            np.array(values, dtype=np.float64),
            np.array(hits, dtype=np.float64),
            meanings,
            resamples=self.resamples,
            level=self.level,
            seed=self.seed,
            signature={
                **self.signature,
                **(_basis_of("distance", chosen) if by == "distance" else {}),
            },
            keys=keys,
            label=label,
        )

    def measurements(self) -> list[Measurement]:
        """Means over all pairs, within and across groups, buckets, group pairs, and pairs."""
        found = [mean for name in self.measures if (mean := self.mean(name)) is not None]
        within = [pair for pair in self.pairs if pair.groups[0] == pair.groups[1]]
        across = [pair for pair in self.pairs if pair.groups[0] != pair.groups[1]]
        if within and across:
            for label, pairs in (("within groups", within), ("across groups", across)):
                mean = self.mean("R@1", pairs, label=label)
                found += [mean] if mean is not None else []
        found += self.buckets("distance") + self.buckets("cognates")
        if len(self.groups) < len(self.sets):
            table = self.group_table("R@1")
            found += [cell for row in table.cells for cell in row if cell is not None]
        return [*found, *self.pair_means("R@1").values()]

    def to_dict(self, *, items: bool = True) -> dict[str, Any]:
        """Everything as JSON values; `items=False` leaves out the rows of single queries."""
        table = self.group_table("R@1")
        names = self.measures
        few = len(self.pairs) <= _PAIRS_WITH_EVERY_INTERVAL
        per_pair = {name: self.pair_means(name, interval=few or name == "R@1") for name in names}
        pairs = []
        for pair in self.pairs:
            key = (pair.query, pair.target)
            numbers = {
                name: measurement_to_dict(found[key], signature=False)
                for name, found in per_pair.items()
                if key in found
            }
            pairs.append({**pair.to_dict(items=items), "measures": numbers})
        return {
            "signature": dict(self.signature),
            "sets": [{"name": name, "group": self.set_groups[name]} for name in self.sets],
            "measures": {
                name: measurement_to_dict(mean)
                for name in names
                if (mean := self.mean(name)) is not None
            },
            "buckets": [
                measurement_to_dict(m) for by in ("distance", "cognates") for m in self.buckets(by)
            ],
            "group_table": {
                "measure": table.measure,
                "groups": list(table.groups),
                "cells": [
                    [None if c is None else measurement_to_dict(c, signature=False) for c in row]
                    for row in table.cells
                ],
            },
            "pairs": pairs,
            "left_out": dict(self.left_out),
            "unreadable": [{"item": item, "reason": why} for item, why in self.unreadable],
        }

    def _statistics(self) -> dict[str, Statistic]:
        statistics: dict[str, Statistic] = {f"R@{k}": partial(_recall, k) for k in self.ks}
        statistics |= {"MRR": _reciprocal_rank, "xSIM": _margin_error, "hard R@1": _hard}
        statistics["R@1 phonetic"] = partial(_by_basis, None)
        return statistics | {f"R@1 by {basis}": partial(_by_basis, basis) for basis in BASES}

    def _sites_resampled(self, found: Sequence[tuple[PairResult, Rows]]) -> bool:
        members: dict[str, set[str]] = {}
        for pair, _ in found:
            for name in (pair.query, pair.target):
                members.setdefault(self.strata[name], set()).add(name)
        return any(len(names) > 1 for names in members.values())


def measurement_to_dict(measurement: Measurement, *, signature: bool = True) -> dict[str, Any]:
    """JSON values of a measurement, without its per-item statistics."""
    plain: dict[str, Any] = {
        "name": measurement.name,
        "value": measurement.value,
        "low": measurement.low,
        "high": measurement.high,
        "n": measurement.n,
        "higher_is_better": measurement.higher_is_better,
    }
    return {**plain, "signature": dict(measurement.signature)} if signature else plain


def _recall(k: int, pair: PairResult) -> Rows:
    return (pair.gold.ranks <= k).astype(np.float64)


def _reciprocal_rank(pair: PairResult) -> Rows:
    reciprocal: Rows = 1 / pair.gold.ranks
    return reciprocal


def _margin_error(pair: PairResult) -> Rows | None:
    return None if pair.wrong_by_margin is None else pair.wrong_by_margin.astype(np.float64)


def _hard(pair: PairResult) -> Rows | None:
    return None if pair.beats_neighbours is None else pair.beats_neighbours.astype(np.float64)


def _by_basis(basis: str | None, pair: PairResult) -> Rows | None:
    """Recall at 1 of a baseline; of the phonetic one without a name."""
    ranks = pair.baselines.get(basis or pair.phonetic_basis or "")
    if ranks is None:
        return None
    return np.where(ranks.ranks == 0, np.nan, (ranks.ranks <= 1).astype(np.float64))


def _basis_of(measure: str, pairs: Sequence[PairResult]) -> dict[str, str]:
    """What the phonetic baseline of `pairs` rests on, for measures that rest on it."""
    if measure not in ("R@1 phonetic", "hard R@1", "distance"):
        return {}
    bases = {pair.phonetic_basis for pair in pairs if pair.phonetic_basis is not None}
    return {"phonetic_basis": " and ".join(sorted(bases))}


def _chance(measure: str, pair: PairResult) -> float | None:
    if measure.startswith("R@"):
        return chance_level(len(pair), int(measure.split()[0][2:]))
    if measure == "hard R@1" and pair.rivals is not None:
        return chance_level(pair.rivals + 1)
    return None


def _over_meanings(
    found: Sequence[tuple[PairResult, Rows]],
) -> tuple[dict[tuple[str, str], Rows], tuple[str, ...]]:
    """One row for each pair over all meanings, NaN where a pair lacks one; the meanings, sorted."""
    meanings = sorted(
        {
            meaning
            for pair, values in found
            for meaning, known in zip(pair.meanings, ~np.isnan(values), strict=True)
            if known
        }
    )
    column = {meaning: i for i, meaning in enumerate(meanings)}
    table = {}
    for pair, values in found:
        row = np.full(len(meanings), np.nan)
        known = ~np.isnan(values)
        of_pair = [m for m, there in zip(pair.meanings, known, strict=True) if there]
        row[[column[meaning] for meaning in of_pair]] = values[known]
        table[pair.query, pair.target] = row
    return table, tuple(meanings)
