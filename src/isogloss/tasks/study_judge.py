"""Vectors that nothing learnt from in; all measures, and which meanings were found first, out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss.adapt.judge import judge_vectors
from isogloss.adapt.model_vectors import encode_model
from isogloss.errors import IsoglossError
from isogloss.measures import paired_two_way
from isogloss.tasks.alignment import Alignment
from isogloss.types import Corpus, Sequences, Vectors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from isogloss.adapt.transform import FittedTransform
    from isogloss.measures import PairedTest
    from isogloss.types import FloatArray, Item

__all__ = [
    "ALL_MEASURES",
    "SHORT_MEASURES",
    "HeldVectors",
    "encode_items",
    "hits_of",
    "judge_items",
    "middle_layer",
    "paired_gain",
]

SHORT_MEASURES = ("retrieval", "xsim", "separation", "mexa", "cka", "anc", "identification")
"""What a table shows: quick, and of one vector an item."""

ALL_MEASURES = (
    *SHORT_MEASURES,
    "debiased-cka",
    "rsa",
    "svcca",
    "pwcca",
    "neutrality",
    "v-measure",
    "isotropy",
    "outliers",
    "dimension",
    "similarity",
)
"""Every measure that one vector an item is enough for."""


@dataclass(frozen=True, slots=True, eq=False)
class HeldVectors:
    """An encoder that gives the vectors it holds: lets `Alignment` measure any vectors."""

    vectors: Vectors
    takes_text: bool = True

    @property
    def made_by(self) -> str:
        """What made the vectors."""
        return self.vectors.made_by

    def encode(self, items: Sequence[Item]) -> Sequences:
        """One step an item.

        Raises:
            IsoglossError: it holds no vector of an item.
        """
        place = {id_: i for i, id_ in enumerate(self.vectors.ids)}
        missing = [item.id for item in items if item.id not in place]
        if missing:
            raise IsoglossError(f"no vector of item '{missing[0]}' is held")
        rows = self.vectors.values[[place[item.id] for item in items]]
        return Sequences(
            tuple(item.id for item in items),
            rows,
            np.arange(len(items) + 1, dtype=np.int64),
            made_by=self.vectors.made_by,
        )


def middle_layer(model: str) -> int | None:
    """The number that objectives call "middle"; None for an encoder without layers."""
    from isogloss.encoders import load_encoder

    layers = getattr(load_encoder(model), "layers", None)
    # 0 is the embedding, the last one the output after the final norm.
    return None if not layers else (len(layers) - 1) // 2


def encode_items(
    model: str, items: Sequence[Item], layer: int | None, *, pool: str = "mean", progress: bool
) -> Vectors:
    """A vector of each item; those that cannot be encoded are left out."""
    found = encode_model(
        model, items, layers=None if layer is None else [layer], pool=pool, progress=progress
    )[0].vectors
    if not isinstance(found, Vectors):
        raise TypeError("steps cannot be judged here; they must be pooled")
    return found


def judge_items(
    vectors: Vectors,
    items: Sequence[Item],
    *,
    transform: FittedTransform | None = None,
    measures: Sequence[str] = SHORT_MEASURES,
    seed: int = 0,
) -> dict[str, Any]:
    """Numbers of `vectors`: name of each measure's number to its mean over pairs of varieties.

    Under "pairs" R@1, matched and random similarity of each pair, under "hits" which meanings were
    found first (see `hits_of`). Plain values, so that they can be kept as JSON.

    Args:
        vectors: of all or some of `items`.
        items: with the same ids.
        transform: applied first; refused where it was fitted on any of these.
        measures: see `ALL_MEASURES`.
        seed: of the draws of measures.

    Raises:
        FittedItems: the transform has seen an item or its meaning.
        ValueError: no two varieties share two meanings.
    """
    there = {item.id: item for item in items}
    known = [there[id_] for id_ in vectors.ids]
    varieties, meanings = [i.variety for i in known], [i.meaning for i in known]
    if transform is not None:
        transform.refuse_fitted(vectors.ids, meanings)
        vectors = transform.transform(vectors, varieties=varieties)
        if not isinstance(vectors, Vectors):
            raise TypeError("a transform of vectors gave steps")
    task = Alignment(measures=tuple(measures), pool="mean", pairs="all", items=None, bootstrap=0,
                     seed=seed)  # fmt: skip
    result = task.measure(Corpus("judged", tuple(known)), HeldVectors(vectors))
    numbers: dict[str, Any] = {
        row.name: None if np.isnan(row.value) else row.value for row in result.means()
    }
    pairs: dict[str, dict[str, float]] = {}
    for row in result.rows:
        if row.pair is not None and row.name in ("R@1", "cosine matched", "cosine random"):
            pairs.setdefault(">".join(row.pair), {})[row.name] = row.value
    judged = judge_vectors(vectors, varieties=varieties, meanings=meanings)
    hits = {
        f"{a}>{b}": "".join("-" if np.isnan(hit) else str(int(hit)) for hit in row)
        for (a, b), row in judged.hits.items()
    }
    return {"numbers": numbers, "pairs": pairs, "hits": hits}


def hits_of(judged: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], FloatArray]:
    """Mean over several `judge_items` on the same items: (from, to) to (meanings,), NaN for none.

    Raises:
        ValueError: they were judged on different items.
    """
    found: dict[tuple[str, str], FloatArray] = {}
    for pair in judged[0]["hits"]:
        rows = [one["hits"].get(pair, "") for one in judged]
        if len({len(row) for row in rows}) > 1:
            raise ValueError(f"{pair}: judged on different items, which cannot be compared")
        table = np.array(
            [[np.nan if mark == "-" else float(mark) for mark in row] for row in rows], np.float32
        )
        first, _, second = pair.partition(">")
        found[first, second] = table.mean(axis=0)
    return found


def paired_gain(
    judged: Sequence[Mapping[str, Any]],
    control: Sequence[Mapping[str, Any]],
    *,
    resamples: int = 1000,
) -> PairedTest | None:
    """Difference in R@1 on the same meanings, means over seeds, interval over meanings.

    Varieties are named, not drawn: meanings alone are resampled.
    """
    first, second = hits_of(judged), hits_of(control)
    strata = {name: name for pair in first for name in pair}
    return paired_two_way(first, second, strata=strata, resamples=resamples)
