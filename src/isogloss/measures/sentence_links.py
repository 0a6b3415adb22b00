"""Sentence alignments against the gold: strict and lax precision, recall and F1."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from isogloss.types import Measurement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

__all__ = ["Block", "block_counts", "sentence_alignment_scores"]

Block = tuple[tuple[int, ...], tuple[int, ...]]
"""Sentences of the first and of the second side, by number; one of them may be empty."""


def block_counts(gold: Sequence[Block], found: Sequence[Block]) -> tuple[int, int, int]:
    """Found blocks, those that are right strictly, and those that are right laxly.

    Strictly: the very block is in the gold, also one that leaves a sentence alone. Laxly: the same,
    or some gold block has a sentence of its first and one of its second side. Blocks without any
    sentence, and repetitions, do not count.

    Source: Sennrich and Volk (2011), section 4; counted as Vecalign's scorer does.
    """
    golden = {block for block in gold if block[0] or block[1]}
    answers = {block for block in found if block[0] or block[1]}
    partners: dict[int, set[int]] = {}
    for left, right in golden:
        for i in left:
            partners.setdefault(i, set()).update(right)
    strict = lax = 0
    for block in answers:
        is_strict = block in golden
        strict += is_strict
        left, right = block
        lax += is_strict or any(partners.get(i, set()) & set(right) for i in left)
    return len(answers), strict, lax


def sentence_alignment_scores(
    documents: Mapping[str, tuple[Sequence[Block], Sequence[Block]]],
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    signature: Mapping[str, Any] | None = None,
) -> list[Measurement]:
    """'strict F1', 'lax F1' and precision and recall of both, over all documents together.

    Precision counts every found block; recall counts gold blocks that have both sides, among found
    blocks that have both. The interval of an F1 resamples documents, and is left out where there
    is one document.

    Args:
        documents: name to gold blocks and found blocks.
        resamples: for the intervals; 0 leaves them out.
        level: of the intervals.
        seed: of the intervals.
        signature: what else the numbers depend on.

    Returns:
        Six measurements; 0 where a denominator is 0. `per_item` of an F1 is (documents, 4): right
        and found blocks, right and gold blocks.

    Raises:
        ValueError: there is no document.

    Source: Sennrich and Volk (2011), section 4; recall without insertions and deletions as in the
    scorer of Vecalign (Thompson and Koehn 2019).
    """
    if not documents:
        raise ValueError("there is no document to score")
    names = tuple(documents)
    rows: dict[str, list[tuple[int, int, int, int]]] = {"strict": [], "lax": []}
    for gold, found in documents.values():
        count, strict, lax = block_counts(gold, found)
        whole_gold = [block for block in gold if block[0] and block[1]]
        whole_found = [block for block in found if block[0] and block[1]]
        gold_count, gold_strict, gold_lax = block_counts(whole_found, whole_gold)
        rows["strict"].append((strict, count, gold_strict, gold_count))
        rows["lax"].append((lax, count, gold_lax, gold_count))
    measured = []
    for kind, counts in rows.items():
        table = np.array(counts, dtype=np.float32)
        sums = table.sum(axis=0, dtype=np.float64)
        precision = sums[0] / sums[1] if sums[1] else 0.0
        recall = sums[2] / sums[3] if sums[3] else 0.0
        f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
        low, high = _interval(table, resamples, level, seed)
        n, own = int(sums[3]), dict(signature or {})
        measured += [
            Measurement(
                f"{kind} F1", float(f1), low, high, n, True, own, per_item=table, item_keys=names
            ),
            Measurement(f"{kind} precision", float(precision), n=n, signature=own),
            Measurement(f"{kind} recall", float(recall), n=n, signature=own),
        ]
    return measured


def _interval(
    table: npt.NDArray[np.float32], resamples: int, level: float, seed: int
) -> tuple[float | None, float | None]:
    if resamples < 1 or len(table) < 2:
        return None, None
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(table), size=(resamples, len(table)))
    sums = table[drawn].sum(axis=1, dtype=np.float64)
    precision = np.divide(sums[:, 0], sums[:, 1], out=np.zeros(resamples), where=sums[:, 1] > 0)
    recall = np.divide(sums[:, 2], sums[:, 3], out=np.zeros(resamples), where=sums[:, 3] > 0)
    both = precision + recall
    f1 = np.divide(2 * precision * recall, both, out=np.zeros(resamples), where=both > 0)
    tail = (1 - level) / 2
    low, high = np.quantile(f1, [tail, 1 - tail])
    return float(low), float(high)
