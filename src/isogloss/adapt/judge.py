"""Vectors that nothing was fitted on in; what they are worth across varieties out.

Retrieval both ways of every pair of varieties, matched beside random similarity, CKA, and how well
a probe still tells the varieties. What was fitted on is refused, by item and by meaning.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Literal

import numpy as np

from isogloss.adapt.subspace import discriminant_probe
from isogloss.encoders.pool import mean_pool
from isogloss.measures import debiased_cka, gold_ranks, separation_of_table
from isogloss.scores import cosine, seqsim
from isogloss.types import Sequences, Vectors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from isogloss.adapt.affine import Doubles
    from isogloss.adapt.transform import FittedTransform
    from isogloss.types import FloatArray

__all__ = ["Judgement", "Score", "judge_vectors", "variety_probe"]

Score = Literal["cosine", "seqsim"]

# With one meaning every answer is right.
_LEAST_MEANINGS = 2
_LEAST_DEBIASED = 4


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """What vectors are worth across varieties.

    Attributes:
        hits: for each ordered pair (query variety, target variety) whether each of `meanings` was
            found first, (S,) of 0 and 1, NaN where the pair lacks the meaning. A tie is a miss.
        meanings: S, sorted.
        r_at_1: mean over ordered pairs of the share found.
        matched: mean similarity of translations, over pairs of varieties.
        random: mean similarity of what is no translation.
        cka: debiased CKA, mean over pairs with at least 4 meanings; None where there is none.
        probe: share of items, each variety counting the same, whose variety a linear probe tells
            that was fitted on other meanings; None where there are too few items.
        probe_chance: 1 / number of varieties.
        left_out: items without a meaning, or of which another has the same meaning and variety.
    """

    hits: Mapping[tuple[str, str], FloatArray]
    meanings: tuple[str, ...]
    r_at_1: float
    matched: float
    random: float
    cka: float | None
    probe: float | None
    probe_chance: float
    left_out: int


def judge_vectors(
    vectors: Vectors | Sequences,
    *,
    varieties: Sequence[str],
    meanings: Sequence[str | None],
    transform: FittedTransform | None = None,
    score: Score = "cosine",
) -> Judgement:
    """What `vectors` are worth across varieties after `transform`.

    Args:
        vectors: one row an item, or steps.
        varieties: one an item.
        meanings: one an item; of several items of one variety with the same meaning the first
            counts.
        transform: fitted on other items; None judges the vectors as they are.
        score: 'cosine' (of means, where there are steps), or 'seqsim' of steps.

    Raises:
        FittedItems: `transform` was fitted on an item or a meaning among these.
        ValueError: no two varieties share 2 meanings, steps are asked for and not given, or as
            `FittedTransform.transform`.
    """
    if len(varieties) != len(vectors) or len(meanings) != len(vectors):
        raise ValueError(
            f"{len(vectors)} items need as many varieties and meanings, got {len(varieties)} and "
            f"{len(meanings)}"
        )
    if score == "seqsim" and not isinstance(vectors, Sequences):
        raise ValueError("seqsim compares steps; these are pooled vectors")
    if score not in ("cosine", "seqsim"):
        raise ValueError(f"score must be cosine or seqsim, got {score!r}")
    if transform is not None:
        transform.refuse_fitted(vectors.ids, meanings)
        vectors = transform.transform(vectors, varieties=varieties)
    pooled = mean_pool(vectors) if isinstance(vectors, Sequences) else vectors
    compared = vectors if score == "seqsim" else pooled
    rows = _first_of_each(varieties, meanings)
    everywhere = sorted({meaning for found in rows.values() for meaning in found})
    place = {meaning: i for i, meaning in enumerate(everywhere)}
    hits: dict[tuple[str, str], FloatArray] = {}
    figures: list[tuple[float, float]] = []
    ckas: list[float] = []
    for a, b in combinations(sorted(rows), 2):
        shared = sorted(rows[a].keys() & rows[b].keys())
        if len(shared) < _LEAST_MEANINGS:
            continue
        one, other = [rows[a][m] for m in shared], [rows[b][m] for m in shared]
        table = _table(compared, one, other)
        columns = [place[m] for m in shared]
        gold = np.arange(len(shared))
        for pair, scores in (((a, b), table), ((b, a), np.ascontiguousarray(table.T))):
            row = np.full(len(everywhere), np.nan, np.float32)
            row[columns] = gold_ranks(scores, gold).ranks == 1
            hits[pair] = row
        apart = separation_of_table(table)
        figures.append((apart.matched, apart.random))
        if len(shared) >= _LEAST_DEBIASED:
            ckas.append(debiased_cka(pooled.values[one], pooled.values[other]))
    if not hits:
        counts = ", ".join(f"{name} ({len(found)})" for name, found in sorted(rows.items()))
        raise ValueError(
            f"no two varieties share {_LEAST_MEANINGS} meanings to judge; meanings of each: "
            f"{counts or 'none'}"
        )
    known = [value for value in ckas if np.isfinite(value)]
    used = [row for found in rows.values() for row in found.values()]
    names = [varieties[row] for row in used]
    return Judgement(
        hits,
        tuple(everywhere),
        float(np.mean([np.nanmean(row) for row in hits.values()])),
        float(np.mean([matched for matched, _ in figures])),
        float(np.mean([random for _, random in figures])),
        float(np.mean(known)) if known else None,
        variety_probe(pooled.values[used], names, [str(meanings[row]) for row in used]),
        1 / len(set(names)),
        len(vectors) - len(used),
    )


def variety_probe(
    values: FloatArray | Doubles, varieties: Sequence[str], meanings: Sequence[str]
) -> float | None:
    """Share of rows whose variety a linear probe tells that never saw their meaning.

    Meanings are halved; a probe fitted on one half (`discriminant_probe`) guesses the other, and
    the other way round. Every variety counts the same, so chance is 1 / V. Varieties without a row
    in both halves are left out; None where fewer than two are left.

    Args:
        values: (N, D).
        varieties: one a row.
        meanings: one a row.
    """
    order = {meaning: i for i, meaning in enumerate(sorted(set(meanings)))}
    half = np.array([order[meaning] % 2 for meaning in meanings], dtype=np.int64)
    of = np.asarray(varieties, dtype=object)
    names = [name for name in sorted(set(varieties)) if len(np.unique(half[of == name])) == 2]
    if len(names) < 2:
        return None
    number = {name: i for i, name in enumerate(names)}
    kept = np.array([name in number for name in varieties])
    labels = np.array([number[name] for name in varieties if name in number], dtype=np.int64)
    x, half = values[kept].astype(np.float64), half[kept]
    right = np.zeros(len(x), dtype=bool)
    for test in (0, 1):
        weights, bias = discriminant_probe(x[half != test], labels[half != test], len(names))
        # Equal outputs, as of a probe that found nothing, must not all fall to the first name.
        guesses = _guess(x[half == test] @ weights + bias, test)
        right[half == test] = guesses == labels[half == test]
    return float(np.mean([right[labels == k].mean() for k in range(len(names))]))


def _guess(outputs: Doubles, seed: int) -> npt.NDArray[np.int64]:
    largest = outputs.max(axis=1, keepdims=True)
    near = outputs >= largest - 1e-9 * np.maximum(np.abs(largest), 1e-300)
    draw = np.random.default_rng(seed).random(outputs.shape)
    return np.asarray(np.where(near, draw, -1.0).argmax(axis=1), dtype=np.int64)


def _first_of_each(
    varieties: Sequence[str], meanings: Sequence[str | None]
) -> dict[str, dict[str, int]]:
    rows: dict[str, dict[str, int]] = {}
    for row, (variety, meaning) in enumerate(zip(varieties, meanings, strict=True)):
        if meaning is not None:
            rows.setdefault(variety, {}).setdefault(meaning, row)
    return rows


def _table(vectors: Vectors | Sequences, one: list[int], other: list[int]) -> FloatArray:
    if isinstance(vectors, Sequences):
        return seqsim(vectors.select(one), vectors.select(other))
    sides = [
        Vectors(tuple(vectors.ids[i] for i in rows), vectors.values[rows], vectors.made_by)
        for rows in (one, other)
    ]
    return cosine(*sides)
