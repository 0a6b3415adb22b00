"""Two sides in, the pairs between them that mean the same out: mutual margin mining.

    sides -> blocks of neighbours (resumable) -> margins and pairs -> threshold -> Mined

Every item of either side is asked for its neighbours on the other. What is left when the same
command was killed is used again, and the result is the same as without the kill.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from isogloss._files import write_json
from isogloss.corpora.progress import with_progress
from isogloss.errors import IsoglossError, UnknownName
from isogloss.search.mine_blocks import blocks_of, joined, mine_block, read_block, write_block
from isogloss.search.mine_estimate import fit_null
from isogloss.search.mine_gold import best_threshold, cross_fitted, judged, truth_of
from isogloss.search.mine_pairs import Retrieval, pairs_of
from isogloss.search.mine_sides import check_sides

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from isogloss.scores.margin import MarginKind
    from isogloss.search.mine_blocks import Block
    from isogloss.search.mine_estimate import Estimate, NullModel
    from isogloss.search.mine_gold import Gold, Judged, Truth
    from isogloss.search.mine_pairs import Neighbours, PairTable
    from isogloss.search.mine_sides import Side

__all__ = ["Mined", "MiningSettings", "job_key", "mine", "pair_up"]

_CURVE_POINTS = 50


@dataclass(frozen=True, slots=True)
class MiningSettings:
    """Choices of mining; they are part of what a result rests on.

    Attributes:
        neighbours: k of the margin; 4 as in LASER.
        margin: 'ratio', 'distance' or 'absolute' (Artetxe and Schwenk 2019, sec. 3.1).
        retrieval: 'intersection' (each is the other's best), 'forward', 'backward' or 'max'.
        threshold: least margin of a pair; 'auto' takes the one of the largest F1, known from gold
            pairs or estimated; 'precision' the lowest that reaches `precision`, without gold the
            lowest at which that is believed with a probability of 0.95.
        precision: wanted share of right pairs.
        block_items: items asked for at one time: what a kill costs and, with the answers, what is
            held in memory.
        seed: of the intervals.
    """

    neighbours: int = 4
    margin: MarginKind = "ratio"
    retrieval: Retrieval = "intersection"
    threshold: float | Literal["auto", "precision"] = "auto"
    precision: float = 0.95
    block_items: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        if self.neighbours < 1 or self.block_items < 1:
            raise ValueError(
                f"neighbours and block_items must be at least 1, got {self.neighbours} and "
                f"{self.block_items}"
            )
        if self.margin not in ("ratio", "distance", "absolute"):
            raise UnknownName("margin", self.margin, ("ratio", "distance", "absolute"))
        if self.retrieval not in get_args(Retrieval):
            raise UnknownName("retrieval", self.retrieval, get_args(Retrieval))
        if isinstance(self.threshold, str):
            if self.threshold not in ("auto", "precision"):
                raise UnknownName("threshold", self.threshold, ("auto", "precision"))
        elif not np.isfinite(self.threshold):
            raise ValueError(f"threshold must be finite, got {self.threshold}")
        if not 0 < self.precision <= 1:
            raise ValueError(f"precision must lie in (0, 1], got {self.precision}")


@dataclass(frozen=True, slots=True, eq=False)
class Mined:
    """What mining found.

    Attributes:
        ids_a: of the first side; `pairs.a` counts in them.
        ids_b: of the second.
        pairs: those at or above the threshold.
        candidates: pairs before the threshold was applied.
        threshold: margin; None when no threshold reached the wanted precision, and no pair is kept.
        estimate: of their precision, from the null model; no known pair was used.
        truth: precision and recall at the threshold by what gold says; None without gold.
        honest: the same with thresholds fitted on other meanings than they are judged on; None
            without gold or with a threshold that was given.
        curve: threshold, pairs, estimated precision and, with gold, true precision and recall,
            from the strictest threshold to none.
        signature: everything that changes the result.
    """

    ids_a: Sequence[str]
    ids_b: Sequence[str]
    pairs: PairTable
    candidates: int
    threshold: float | None
    estimate: Estimate
    truth: Truth | None
    honest: Truth | None
    curve: tuple[dict[str, float | int | None], ...]
    signature: dict[str, Any]


def mine(
    a: Side,
    b: Side,
    work_folder: Path,
    *,
    settings: MiningSettings | None = None,
    gold: Gold | None = None,
    work: Callable[[Side, Side, list[Block], Path], Iterable[Block]] | None = None,
) -> Mined:
    """Pairs between two sides, with a threshold and an estimate of how many are right.

    Memory holds the sides' own arrays, one block of questions and answers, and in the end k + 2
    neighbours of every item (72 bytes an item with k = 4).

    Args:
        a: first side.
        b: second side, with the same similarity and encoder.
        work_folder: where blocks of results are kept; the same call goes on with what is there.
            Its owner removes it.
        settings: default `MiningSettings()`.
        gold: known pairs, which then decide on the threshold.
        work: who does the missing blocks: a function (a, b, blocks, folder) that writes each with
            `write_block` and gives it back when done. By default this process, one by one.

    Raises:
        ValueError: the sides cannot be compared, or the ratio margin is undefined for them.
        IsoglossError: `work_folder` belongs to another job.
    """
    settings = settings or MiningSettings()
    check_sides(a, b)
    key = job_key(a, b, settings)
    _claim(work_folder, key)
    blocks = blocks_of(len(a.ids), len(b.ids), settings.block_items)
    missing = [block for block in blocks if read_block(work_folder, block) is None]
    done = (work or _here(settings.neighbours))(a, b, missing, work_folder)
    for _ in with_progress(done, "mining", total=len(missing)):
        pass
    forward, backward = joined(work_folder, blocks)
    signature = {
        "a": a.described,
        "b": b.described,
        "settings": asdict(settings),
        "gold": gold is not None,
    }
    return pair_up(a.ids, b.ids, forward, backward, settings, gold=gold, signature=signature)


def job_key(a: Side, b: Side, settings: MiningSettings) -> str:
    """A checksum of what changes the blocks of a job: sides, k, and size of a block."""
    described = [a.described, b.described, settings.neighbours, settings.block_items]
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def pair_up(
    ids_a: Sequence[str],
    ids_b: Sequence[str],
    forward: Neighbours,
    backward: Neighbours,
    settings: MiningSettings,
    *,
    gold: Gold | None = None,
    signature: dict[str, Any] | None = None,
) -> Mined:
    """`Mined` from the neighbours of both sides, which may come from anywhere.

    Raises:
        ValueError: the ratio margin is undefined for these scores.
    """
    k, kind = settings.neighbours, settings.margin
    pairs = pairs_of(forward, backward, neighbours=k, kind=kind, retrieval=settings.retrieval)
    model = fit_null(forward, backward, neighbours=k, kind=kind, retrieved=pairs)
    known = None if gold is None else judged(pairs, ids_a, ids_b, gold)
    threshold, wanted = _threshold(pairs, model, known, settings)
    kept = pairs.take(slice(0, 0)) if threshold is None else pairs.above(threshold)
    limit = np.inf if threshold is None else threshold
    truth = None if known is None else truth_of(known, known.margin >= limit)
    fitted = known is not None and isinstance(settings.threshold, str)
    return Mined(
        ids_a,
        ids_b,
        kept,
        len(pairs),
        threshold,
        model.at(limit, seed=settings.seed),
        truth,
        cross_fitted(known, wanted) if known is not None and fitted else None,
        _curve(pairs, model, known),
        signature or {},
    )


def _threshold(
    pairs: PairTable, model: NullModel, known: Judged | None, settings: MiningSettings
) -> tuple[float | None, float | None]:
    """The margin to cut at, and the precision that was wanted, None where F1 was."""
    if not isinstance(settings.threshold, str):
        return float(settings.threshold), None
    wanted = settings.precision if settings.threshold == "precision" else None
    if known is not None:
        findable = int(known.findable.sum())
        return best_threshold(known.margin, known.right, known.found, findable, wanted), wanted
    margin = pairs.margin
    last = np.flatnonzero(np.diff(margin, append=-np.inf) < 0)
    if not len(last):
        return None, wanted
    if wanted is not None:
        return model.promising(wanted, seed=settings.seed), wanted
    precision = model.precisions(margin[last])
    # F1 is 2 right / (pairs + findable); the number of findable ones is the same everywhere.
    f1 = 2 * precision * (last + 1) / (last + 1 + model.findable)
    return float(margin[last[int(np.argmax(f1))]]), wanted


def _curve(
    pairs: PairTable, model: NullModel, known: Judged | None
) -> tuple[dict[str, float | int | None], ...]:
    last = np.flatnonzero(np.diff(pairs.margin, append=-np.inf) < 0)
    if len(last) > _CURVE_POINTS:
        last = last[np.linspace(0, len(last) - 1, _CURVE_POINTS).round().astype(np.int64)]
    points: list[dict[str, float | int | None]] = []
    for place in last:
        threshold = float(pairs.margin[place])
        estimated = float(model.precisions(np.array([threshold]))[0])
        point: dict[str, float | int | None] = {
            "threshold": threshold,
            "pairs": int(place) + 1,
            "estimated_precision": estimated,
        }
        if known is not None:
            above = known.margin >= threshold
            findable = int(known.findable.sum())
            point["precision"] = float(known.right[above].mean()) if above.any() else None
            point["recall"] = float(known.found[above].sum() / findable) if findable else None
        points.append(point)
    return tuple(points)


def _here(neighbours: int) -> Callable[[Side, Side, list[Block], Path], Iterable[Block]]:
    def work(a: Side, b: Side, blocks: list[Block], folder: Path) -> Iterator[Block]:
        for block in blocks:
            write_block(folder, block, mine_block(a, b, block, neighbours))
            yield block

    return work


def _claim(folder: Path, key: str) -> None:
    """Note which job the blocks are of, or refuse a folder with those of another."""
    if folder.exists() and not folder.is_dir():
        raise IsoglossError(f"{folder} is a file; mining keeps its work in a folder")
    note = folder / "job.json"
    if note.is_file():
        try:
            found = json.loads(note.read_text(encoding="utf-8"))
        except ValueError:
            found = None
        if not isinstance(found, dict) or found.get("key") != key:
            raise IsoglossError(
                f"{folder} holds the work of another job (other items, encoder, neighbours or "
                "block size); remove it or choose another"
            )
        return
    write_json(note, {"key": key})
