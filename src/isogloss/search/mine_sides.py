"""What pairs are mined between: sides that know their items and answer for their neighbours.

A side is vectors, sequences of steps, or an index of either. `asked` gives some of its items in a
form that the other side's `nearest` takes, so only that much of it is in memory.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from isogloss.search.mine_pairs import Neighbours
from isogloss.search.vector_nearest import centred_unit_rows, check_finite, nearest_rows
from isogloss.types import Sequences, Vectors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.search.index_protocol import SearchIndex
    from isogloss.search.store import Filter
    from isogloss.types import FloatArray, Hits

__all__ = ["IndexSide", "SequenceSide", "Side", "VectorSide", "check_sides"]

Rows = npt.NDArray[np.int64]
T = TypeVar("T", Vectors, Sequences)


class Side(Protocol):
    """One of the two corpora between which pairs are mined."""

    @property
    def ids(self) -> Sequence[str]:
        """Ids of its items, different ones."""
        ...

    @property
    def described(self) -> dict[str, Any]:
        """What changes its answers, as JSON: similarity, encoder, centring, a checksum."""
        ...

    def asked(self, start: int, stop: int) -> Vectors | Sequences:
        """Items `start` to `stop` as questions to another side."""
        ...

    def nearest(self, questions: Any, k: int) -> Neighbours:
        """The `k` items of this side nearest to each question, as rows of this side."""
        ...


class VectorSide:
    """Vectors in memory or mapped, compared by cosine, every row with every row.

    Args:
        vectors: N rows, finite; the values may be mapped from disk.
        center: take the mean of this side from its rows before their lengths. Each side loses its
            own mean, so what one variety has in common does not count as likeness. The ratio
            margin is undefined where a neighbourhood's mean cosine is not positive, which happens
            with centred rows of few dimensions or items: use the distance margin then.

    Raises:
        ValueError: no row, or NaN or infinity.
    """

    def __init__(self, vectors: Vectors, *, center: bool = False) -> None:
        if not len(vectors):
            raise ValueError("there is no vector to mine among")
        check_finite(vectors)
        self._vectors = vectors
        self._centre = (
            vectors.values.mean(axis=0, dtype=np.float64).astype(np.float32) if center else None
        )

    @property
    def ids(self) -> Sequence[str]:
        """As in the vectors."""
        return self._vectors.ids

    @cached_property
    def described(self) -> dict[str, Any]:
        """Similarity, encoder, centring and a checksum of ids and values."""
        return {
            "similarity": "cosine",
            "made_by": self._vectors.made_by,
            "center": self._centre is not None,
            "content": _checksum(self._vectors.ids, self._vectors.values),
        }

    def asked(self, start: int, stop: int) -> Vectors:
        """Rows as unit vectors."""
        unit, _ = centred_unit_rows(self._vectors.values[start:stop], self._centre)
        return Vectors(self._vectors.ids[start:stop], unit, self._vectors.made_by)

    def nearest(self, questions: Vectors, k: int) -> Neighbours:
        """The `k` rows of largest cosine; of equal ones those of the smaller ids."""
        found, scores = nearest_rows(questions.values, self._unit, k, order=self._order)
        return Neighbours(found, scores)

    @cached_property
    def _unit(self) -> FloatArray:
        return centred_unit_rows(self._vectors.values, self._centre)[0]

    @cached_property
    def _order(self) -> Rows:
        return _places(self.ids)


class SequenceSide:
    """Sequences of steps in memory or mapped, compared by SeqSim, every one with every one.

    Args:
        sequences: N, each with at least one step, finite.

    Raises:
        ValueError: there is none, or one without steps.
    """

    def __init__(self, sequences: Sequences) -> None:
        if not len(sequences):
            raise ValueError("there is no sequence to mine among")
        empty = np.flatnonzero(sequences.lengths == 0)
        if len(empty):
            raise ValueError(f"item '{sequences.ids[empty[0]]}' has no steps")
        self._sequences = sequences

    @property
    def ids(self) -> Sequence[str]:
        """As in the sequences."""
        return self._sequences.ids

    @cached_property
    def described(self) -> dict[str, Any]:
        """Similarity, encoder and a checksum of ids, lengths and values."""
        return {
            "similarity": "seqsim",
            "made_by": self._sequences.made_by,
            "content": _checksum(
                self._sequences.ids, self._sequences.offsets, self._sequences.values
            ),
        }

    def asked(self, start: int, stop: int) -> Sequences:
        """The sequences, their values not copied."""
        return _cut(self._sequences, start, stop)

    def nearest(self, questions: Sequences, k: int) -> Neighbours:
        """The `k` sequences of largest SeqSim; of equal ones those of the smaller ids."""
        from isogloss.search.exact import nearest

        hits = nearest(questions, self._sequences, min(k, len(self._sequences))).hits
        return _rows_of(hits, self._row, k)

    @cached_property
    def _row(self) -> dict[str, int]:
        return {id: row for row, id in enumerate(self.ids)}


class IndexSide:
    """An index of vectors or of sequences: its search proposes the neighbours.

    What a search misses is missing from the pairs; `check_exactness` of the index says how much.

    Args:
        index: as it was opened; what is written later is not mined.
        filter: which of its items count.
        candidates: of its search.

    Raises:
        ValueError: no item is chosen.
    """

    def __init__(
        self,
        index: SearchIndex,
        *,
        filter: Filter | None = None,
        candidates: int | None = None,
    ) -> None:
        self._index, self._filter, self._candidates = index, filter, candidates
        self._ids = tuple(index.ids(filter))
        if not self._ids:
            raise ValueError(f"{index.shown} holds no item to mine among")

    @property
    def ids(self) -> Sequence[str]:
        """Of the items that the filter lets through, in the order of storage."""
        return self._ids

    @cached_property
    def described(self) -> dict[str, Any]:
        """Similarity, encoder, candidates, commit of the index and a checksum of the ids."""
        vectors = self._index.kind == "vectors"
        return {
            "similarity": "cosine" if vectors else "seqsim",
            "made_by": self._index.made_by,
            "candidates": self._candidates,
            "commit": self._index.stamp,
            "content": _checksum(self._ids),
        }

    def asked(self, start: int, stop: int) -> Vectors | Sequences:
        """What the index holds of these items."""
        ids = self._ids[start:stop]
        steps = [self._index.steps(id) for id in ids]
        made_by = self._index.made_by
        if self._index.kind == "vectors":
            return Vectors(ids, np.concatenate(steps), made_by)
        return Sequences.from_list(
            ids, steps, step_seconds=self._index.step_seconds, made_by=made_by
        )

    def nearest(self, questions: Any, k: int) -> Neighbours:
        """The `k` items that the index finds."""
        hits = self._index.search(questions, k, filter=self._filter, candidates=self._candidates)
        return _rows_of(hits, self._row, k)

    @cached_property
    def _row(self) -> dict[str, int]:
        return {id: row for row, id in enumerate(self._ids)}


def check_sides(a: Side, b: Side) -> None:
    """Refuse sides whose items cannot be compared.

    Raises:
        ValueError: another encoder or similarity, ids that repeat within a side, or the same items
            on both sides.
    """
    if a.described == b.described:
        raise ValueError(
            "both sides hold the same items, and every item would find itself; name two corpora, "
            "or two varieties of one"
        )
    for name in ("similarity", "made_by"):
        if a.described[name] != b.described[name]:
            raise ValueError(
                f"one side has {name} '{a.described[name]}', the other '{b.described[name]}'; "
                "encode both with one encoder, in one way"
            )
    if a.described.get("center") != b.described.get("center"):
        raise ValueError("one side is centred and the other is not; centre both or neither")
    for side in (a, b):
        if len(set(side.ids)) < len(side.ids):
            raise ValueError(f"{len(side.ids) - len(set(side.ids))} ids of one side repeat")


def _rows_of(hits: Hits, row: dict[str, int], k: int) -> Neighbours:
    columns = np.full((len(hits.query_ids), k), -1, np.int64)
    scores = np.zeros((len(hits.query_ids), k), np.float32)
    for query, (ids, values) in enumerate(zip(hits.ids, hits.scores, strict=True)):
        # An engine may hold items of later writers, which are no part of the side.
        here = [place for place, id in enumerate(ids) if id in row]
        columns[query, : len(here)] = [row[ids[place]] for place in here]
        scores[query, : len(here)] = [values[place] for place in here]
    return Neighbours(columns, scores)


def _places(ids: Sequence[str]) -> Rows:
    places = np.empty(len(ids), np.int64)
    places[sorted(range(len(ids)), key=ids.__getitem__)] = np.arange(len(ids))
    return places


def _cut(sequences: Sequences, start: int, stop: int) -> Sequences:
    offsets = sequences.offsets[start : stop + 1]
    return Sequences(
        sequences.ids[start:stop],
        sequences.values[offsets[0] : offsets[-1]],
        offsets - offsets[0],
        sequences.step_seconds,
        sequences.made_by,
    )


def _checksum(ids: Sequence[str], *arrays: npt.NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for id in ids:
        digest.update(id.encode("utf-8", "surrogatepass") + b"\0")
    for array in arrays:
        for first in range(0, len(array), 65536):
            digest.update(np.ascontiguousarray(array[first : first + 65536]).data)
    return digest.hexdigest()
