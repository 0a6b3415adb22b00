"""What a retrieval found in; a few queries, right and wrong, with their similarity maps, out.

A map is stored as one byte a cell (-1 is 0, 1 is 255), compressed and in base64. Called by
`run.py`; drawn by `report_examples.py`.
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from isogloss.encoders import encode_cached
from isogloss.scores import similarity_map

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from isogloss.tasks import PairResult, RetrievalResult
    from isogloss.types import Corpus, Encoder, FloatArray, Item

__all__ = ["StepMap", "choose_examples", "map_examples", "pack_map", "unpack_map"]

# More cells than this on a side are finer than a screen; the largest of each block is kept.
_MOST_STEPS = 512


@dataclass(frozen=True, slots=True, eq=False)
class StepMap:
    """Cosines of steps: `levels` (T, U) uint8, and how many seconds each axis covers.

    `pooled` is how many steps one cell stands for along both axes.
    """

    levels: npt.NDArray[np.uint8]
    query_seconds: float
    target_seconds: float
    pooled: int = 1

    @property
    def values(self) -> FloatArray:
        """Cosines (T, U) in [-1, 1], within 1/255 of the true ones."""
        found: FloatArray = (self.levels.astype(np.float32) / 127.5 - 1).astype(np.float32)
        return found


def choose_examples(result: RetrievalResult, count: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Up to `count` queries drawn at random, half of them answered wrongly as far as there are.

    Pairs of sets take turns, so that several are shown. The draw depends on `seed` alone, so that
    nobody picks the nicest.

    Returns:
        For each: query, target (names of the sets), query_id, target_id (the right answer),
        hit_id (the best), rank, score, hit_score, right.
    """
    rng = np.random.default_rng(seed)
    right: list[list[dict[str, Any]]] = []
    wrong: list[list[dict[str, Any]]] = []
    for index in rng.permutation(len(result.pairs)).tolist():
        pair = result.pairs[index]
        of_pair = [_example(pair, int(i)) for i in rng.permutation(len(pair))]
        right.append([e for e in of_pair if e["right"]])
        wrong.append([e for e in of_pair if not e["right"]])
    # The wrong ones start elsewhere, or few examples would all come from the same pairs.
    half = len(wrong) // 2
    rights, wrongs = _by_turns(right), _by_turns(wrong[half:] + wrong[:half])
    few_right = min(len(rights), max(count - count // 2, count - len(wrongs)))
    few_wrong = min(len(wrongs), count - few_right)
    return [*rights[:few_right], *wrongs[:few_wrong]]


def _by_turns(lists: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    longest = max((len(one) for one in lists), default=0)
    return [one[turn] for turn in range(longest) for one in lists if turn < len(one)]


def _example(pair: PairResult, i: int) -> dict[str, Any]:
    order = np.argsort(-pair.scores[i], kind="stable")
    # Where the right answer ties for the best, it did not win; show one that it tied with.
    best = next((int(j) for j in order if j != i), i) if pair.gold.ranks[i] > 1 else i
    return {
        "query": pair.query,
        "target": pair.target,
        "query_id": pair.query_ids[i],
        "target_id": pair.target_ids[i],
        "hit_id": pair.target_ids[best],
        "rank": int(pair.gold.ranks[i]),
        "n": len(pair),
        "score": float(pair.scores[i, i]),
        "hit_score": float(pair.scores[i, best]),
        "right": bool(pair.gold.ranks[i] == 1),
    }


def map_examples(
    examples: Sequence[dict[str, Any]],
    result: RetrievalResult,
    corpus: Corpus,
    encoder: Encoder,
    cache_dir: Path | None,
    *,
    center: bool = False,
) -> list[dict[str, Any]]:
    """`examples` with 'maps': of the query with the right answer, and with the hit when wrong.

    Args:
        examples: from `choose_examples`.
        result: where they come from.
        corpus: holds their items.
        encoder: at the layer that retrieved.
        cache_dir: where their steps are kept already; None encodes them again.
        center: subtract the mean step of each set, over the items that were retrieved.
    """
    if not examples:
        return []
    items = {item.id: item for item in corpus.items}
    wanted = dict.fromkeys(
        id_ for e in examples for id_ in (e["query_id"], e["target_id"], e["hit_id"])
    )
    sequences = encode_cached(encoder, [items[i] for i in wanted], cache_dir, progress=False)
    row = {id_: i for i, id_ in enumerate(sequences.ids)}
    means = _set_means(result, items, encoder, cache_dir) if center else {}

    def steps(id_: str, name: str) -> FloatArray:
        found = sequences[row[id_]]
        return found - means[name] if center else found

    seconds = sequences.step_seconds or 0.0
    mapped = []
    for example in examples:
        x = steps(example["query_id"], example["query"])
        maps = {}
        for which in ("target",) if example["right"] else ("target", "hit"):
            y = steps(example[f"{which}_id"], example["target"])
            maps[which] = pack_map(similarity_map(x, y), seconds)
        mapped.append({**example, "maps": maps})
    return mapped


def _set_means(
    result: RetrievalResult,
    items: Mapping[str, Item],
    encoder: Encoder,
    cache_dir: Path | None,
) -> dict[str, FloatArray]:
    ids: dict[str, dict[str, None]] = {}
    for pair in result.pairs:
        ids.setdefault(pair.query, {}).update(dict.fromkeys(pair.query_ids))
    means = {}
    for name, of_set in ids.items():
        steps = encode_cached(encoder, [items[i] for i in of_set], cache_dir, progress=False)
        means[name] = steps.values.mean(axis=0, dtype=np.float64).astype(np.float32)
    return means


def pack_map(cosines: FloatArray, step_seconds: float) -> dict[str, Any]:
    """JSON values of a map (T, U) of cosines; sides above 512 steps are thinned by block maxima."""
    pooled = -(-max(cosines.shape) // _MOST_STEPS)
    seconds = [side * step_seconds for side in cosines.shape]
    levels = np.rint((_block_maxima(cosines, pooled) + 1) * 127.5).clip(0, 255).astype(np.uint8)
    data = base64.b64encode(zlib.compress(levels.tobytes(), 9)).decode("ascii")
    return {"shape": list(levels.shape), "seconds": seconds, "pooled": pooled, "data": data}


def unpack_map(stored: Mapping[str, Any]) -> StepMap:
    """The map that `pack_map` stored.

    Raises:
        ValueError: the data do not fit the shape.
    """
    raw = zlib.decompress(base64.b64decode(stored["data"]))
    levels = np.frombuffer(raw, dtype=np.uint8).reshape(stored["shape"])
    query_seconds, target_seconds = stored["seconds"]
    return StepMap(levels, query_seconds, target_seconds, stored["pooled"])


def _block_maxima(cosines: FloatArray, pooled: int) -> FloatArray:
    if pooled == 1:
        return cosines
    rows = np.arange(0, cosines.shape[0], pooled)
    columns = np.arange(0, cosines.shape[1], pooled)
    found: FloatArray = np.maximum.reduceat(
        np.maximum.reduceat(cosines, rows, axis=0), columns, axis=1
    )
    return found
