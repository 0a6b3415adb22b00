"""How much of the exact answer a search finds, measured on a sample of queries."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from isogloss.measures.bootstrap import bootstrap_interval
from isogloss.types import Measurement

if TYPE_CHECKING:
    from isogloss.search.ranking import Ranking
    from isogloss.types import Sequences, Vectors

__all__ = ["measured_exactness", "sampled"]


class Answering(Protocol):
    """What is needed of an index, of sequences or of vectors."""

    def __len__(self) -> int: ...

    @property
    def made_by(self) -> str:
        """What changes its values."""

    @property
    def settings(self) -> Any:
        """A dataclass, for the signature."""

    def search_ranked(self, queries: Any, k: int = ..., *, exact: bool = ...) -> Ranking:
        """The `k` best of every query, by its stages or by scoring all."""


def sampled(count: int, sample: int, seed: int) -> list[int]:
    """At most `sample` of `count` queries, drawn without replacement, in their order.

    Raises:
        ValueError: there is no query, or none is wanted.
    """
    if not count or sample < 1:
        raise ValueError("there is no query to check with")
    drawn: list[int] = np.sort(np.random.default_rng(seed).permutation(count)[:sample]).tolist()
    return drawn


def measured_exactness(
    index: Answering, asked: Sequences | Vectors, *, k: int, seed: int
) -> Measurement:
    """'recall@k against exact' of `asked`: a mean in [0, 1] with a bootstrap interval.

    A query counts the share of its hits that score no less than the last exact one, so where
    several items tie for the last place any will do; 1 where there is nothing to find.

    Raises:
        ValueError: as `search_ranked`.
    """
    right = index.search_ranked(asked, k, exact=True).hits
    found = index.search_ranked(asked, k).hits
    shares = [
        sum(score >= best[-1] for score in scores) / len(best) if best else 1.0
        for best, scores in zip(right.scores, found.scores, strict=True)
    ]
    per_item = np.array(shares, np.float32)
    low, high = bootstrap_interval(per_item, seed=seed) or (None, None)
    signature = {"k": k, "sample": len(asked), "seed": seed, "items": len(index)}
    return Measurement(
        f"recall@{k} against exact",
        float(per_item.mean()),
        low,
        high,
        len(asked),
        signature={**signature, "made_by": index.made_by, "settings": asdict(index.settings)},
        per_item=per_item,
        item_keys=asked.ids,
    )
