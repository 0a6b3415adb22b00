"""Recordings or ids in, items of an index out: encode, search, and look the items up.

The command line calls it; the server batches requests and does the same by itself.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from isogloss.encoders.cache import encode_cached
from isogloss.errors import IsoglossError, UnknownName
from isogloss.search.encoder_note import fitting
from isogloss.types import Sequences, Vectors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from isogloss.search.index_protocol import SearchIndex
    from isogloss.search.ranking import Ranking
    from isogloss.search.store import Filter
    from isogloss.types import Encoder, Hits, Item

__all__ = ["Answer", "Answers", "FoundItem", "ask"]

_QUERIES_CHECKED = 50
_IDS_COMPARED = 20_000


@dataclass(frozen=True, slots=True)
class FoundItem:
    """One item that was found; `tied` says that another has the same score."""

    rank: int
    score: float
    tied: bool
    item: Item


@dataclass(frozen=True, slots=True)
class Answer:
    """What one query found, best first; `scored` counts the items that were scored exactly."""

    query: str
    hits: tuple[FoundItem, ...]
    scored: int


@dataclass(frozen=True, slots=True)
class Answers:
    """What all queries found.

    Attributes:
        answers: in the order of the queries.
        exact: every item was scored for every query.
        measured: names and values of what could be measured: the share of exact answers that
            were found, and of queries whose answer has their `meaning`.
        took_ms: milliseconds of encoding and of searching, all queries together.
        skipped: (id, reason) of recordings that could not be used.
    """

    answers: tuple[Answer, ...]
    exact: bool
    measured: Mapping[str, float] = field(default_factory=dict)
    took_ms: Mapping[str, float] = field(default_factory=dict)
    skipped: tuple[tuple[str, str], ...] = ()


def ask(
    index: SearchIndex,
    encoder: Encoder | None,
    items: Sequence[Item],
    *,
    ids: Sequence[str] = (),
    k: int = 10,
    filter: Filter | None = None,
    candidates: int | None = None,
    budget_ms: float | None = None,
    exact: bool = False,
    check_exactness: bool = False,
    ray_workers: int = 0,
    ray_address: str | None = None,
) -> Answers:
    """The `k` best items of `index` for every one of `items`, or for its own items `ids`.

    An item of the index is left out of its own answer.

    Args:
        index: what is asked.
        encoder: of the index (`load_for`); may be None without `items`.
        items: with audio; those that cannot be read are skipped.
        ids: of items of the index; instead of `items`.
        k: at least 1.
        filter: which items may answer.
        candidates: as in `search_ranked`.
        budget_ms: for each query, as in `search_ranked`.
        exact: score every item.
        ray_workers: 0 searches here; more share the queries among Ray workers, for an index of
            steps in a folder.
        ray_address: of a running Ray cluster.
        check_exactness: measure which share of the exact best `k` these answers hold, on 50 of the
            queries. Where the index keeps no residuals, exact is over units, and says nothing of
            the original steps.

    Raises:
        ValueError: an id is not there, or there is nothing to ask with.
        UnknownName: nothing in the index has what `filter` asks for.
        IsoglossError: none of `items` can be read.
    """
    if bool(items) == bool(ids) or (items and encoder is None):
        raise ValueError("ask with items and their encoder, or with ids of the index")
    # A filter that names what is not there is refused before hours of encoding, not after them.
    _search(index, _nothing(index), k, filter, candidates, budget_ms, exact)
    skipped: list[tuple[str, str]] = []
    began = time.perf_counter()
    if items and encoder is not None:
        queries = fitting(index, encode_cached(encoder, items, None, skipped=skipped))
        meanings = {item.id: item.meaning for item in items}
    else:
        ids = tuple(dict.fromkeys(ids))
        queries = _own(index, ids)
        meanings = {name: index.item(name).meaning for name in ids}
    encoded = time.perf_counter()
    if ray_workers:
        ranking = _search_by_ray(
            index, queries, k, filter, candidates, exact, (ray_workers, ray_address)
        )
    else:
        ranking = _search(index, queries, k, filter, candidates, budget_ms, exact)
    searched = time.perf_counter()
    answers = _answers(index, ranking, k)
    measured = _meant_the_same(answers, meanings, k)
    if check_exactness and len(index):
        measured = {
            **measured,
            f"recall@{k} against exact": _exactness(index, queries, ranking.hits, k, filter),
        }
    took = {"encode": 1e3 * (encoded - began), "search": 1e3 * (searched - encoded)}
    return Answers(answers, ranking.exact, measured, took, tuple(skipped))


def _nothing(index: SearchIndex) -> Sequences | Vectors:
    """No query at all, of the kind that the index takes."""
    values = np.zeros((0, index.dimensions), np.float32)
    if index.kind == "vectors":
        return Vectors((), values, index.made_by)
    return Sequences((), values, np.zeros(1, np.int64), index.step_seconds, index.made_by)


def _own(index: SearchIndex, ids: Sequence[str]) -> Sequences | Vectors:
    missing = sorted(set(ids) - index.known(ids))
    if missing and 0 < len(index) <= _IDS_COMPARED:
        raise UnknownName("item", missing[0], index.ids())
    steps = [index.steps(name) for name in ids]
    if index.kind == "vectors":
        return Vectors(tuple(ids), np.concatenate(steps), index.made_by)
    return Sequences.from_list(ids, steps, step_seconds=index.step_seconds, made_by=index.made_by)


def _search(
    index: SearchIndex,
    queries: Sequences | Vectors,
    k: int,
    filter: Filter | None,
    candidates: int | None,
    budget_ms: float | None,
    exact: bool,
) -> Ranking:
    """One more than `k`, in case that the query itself is among them."""
    return index.search_ranked(
        queries, k + 1, filter=filter, candidates=candidates, budget_ms=budget_ms, exact=exact
    )


def _search_by_ray(
    index: SearchIndex,
    queries: Sequences | Vectors,
    k: int,
    filter: Filter | None,
    candidates: int | None,
    exact: bool,
    ray: tuple[int, str | None],
) -> Ranking:
    """As `_search`, the queries in blocks that are kept beside the index until all are done."""
    from isogloss.search.distributed import search_distributed
    from isogloss.search.sequence_index import SequenceIndex

    if not isinstance(index, SequenceIndex) or not isinstance(queries, Sequences):
        raise IsoglossError("Ray workers search an index of steps in a folder; leave them out")
    folder = index.store.folder
    return search_distributed(
        folder,
        queries,
        k + 1,
        work_folder=folder.with_name(f"{folder.name}.asking"),
        filter=filter,
        candidates=candidates,
        exact=exact,
        ray_workers=ray[0],
        ray_address=ray[1],
    )


def _exactness(
    index: SearchIndex, queries: Sequences | Vectors, found: Hits, k: int, filter: Filter | None
) -> float:
    """Mean over queries of the share of the exact best `k` in `found`; any of a tie will do."""
    drawn = np.random.default_rng(0).permutation(len(queries))[:_QUERIES_CHECKED]
    rows = np.sort(drawn).tolist()
    exact = index.search_ranked(_some(queries, rows), k + 1, filter=filter, exact=True).hits
    shares = []
    for place, row in enumerate(rows):
        best, got = _of_others(exact, place, k), _of_others(found, row, k)
        shares.append(sum(score >= best[-1] for score in got) / len(best) if best else 1.0)
    return float(np.mean(shares))


def _of_others(hits: Hits, row: int, k: int) -> list[float]:
    """Scores of one query's first `k` answers: finding itself is no merit."""
    pairs = zip(hits.ids[row], hits.scores[row], strict=True)
    return [score for name, score in pairs if name != hits.query_ids[row]][:k]


def _some(queries: Sequences | Vectors, rows: list[int]) -> Sequences | Vectors:
    if isinstance(queries, Sequences):
        return queries.select(rows)
    return Vectors(tuple(queries.ids[row] for row in rows), queries.values[rows], queries.made_by)


def _answers(index: SearchIndex, ranking: Ranking, k: int) -> tuple[Answer, ...]:
    hits = ranking.hits
    made = []
    for query, ids, scores, tied, scored in zip(
        hits.query_ids, hits.ids, hits.scores, ranking.tied, ranking.scored, strict=True
    ):
        # An index that others write to may have lost one since.
        items = index.items(ids)
        others = [
            (name, score, tie)
            for name, score, tie in zip(ids, scores, tied, strict=True)
            if name != query and name in items
        ]
        found = tuple(
            FoundItem(rank, float(score), bool(tie), items[name])
            for rank, (name, score, tie) in enumerate(others[:k], start=1)
        )
        made.append(Answer(query, found, scored))
    return tuple(made)


def _meant_the_same(
    answers: Sequence[Answer], meanings: Mapping[str, str | None], k: int
) -> dict[str, float]:
    """Shares of the queries with a meaning whose first answer, or one of `k`, has it."""
    places = []
    for answer in answers:
        meaning = meanings.get(answer.query)
        if meaning is not None:
            right = [hit.rank for hit in answer.hits if hit.item.meaning == meaning]
            places.append(min(right, default=k + 1))
    if not places:
        return {}
    return {
        f"same meaning at {most}": sum(place <= most for place in places) / len(places)
        for most in sorted({1, k})
    }
