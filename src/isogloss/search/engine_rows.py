"""Steps to rows of an engine index, and rows back to what scores: the same codes as in a segment.

The codes are those of `encode_segment`, cut by item, so an item scores the same from the engine as
from a folder of `SequenceIndex` with the same units.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss.corpora.jsonl import item_from_dict, item_to_dict
from isogloss.search.encoding import encode_segment, rebuilt_steps
from isogloss.search.engine_shard import Bag, EngineRow
from isogloss.search.store_build import recorded_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy.typing as npt

    from isogloss.search.index_settings import IndexSettings
    from isogloss.search.units import Units
    from isogloss.types import FloatArray, Item, Sequences

__all__ = [
    "arrays_of",
    "bag_of",
    "body_to_item",
    "is_storable",
    "rows_of",
    "steps_from",
    "unit_counts",
]

Arrays = dict[str, "np.ndarray[Any, Any]"]


def rows_of(
    sequences: Sequences, items: Iterator[Item], units: Units, settings: IndexSettings
) -> Iterator[EngineRow]:
    """One row a sequence, in order, with as many of `items`.

    Raises:
        ValueError: the next item is not that of the sequence, it has a text that PostgreSQL
            cannot hold, a sequence has no steps, or a step is not finite.
    """
    arrays = encode_segment(sequences, units, settings)
    offsets = sequences.offsets
    now = time.time()
    for number, name in enumerate(sequences.ids):
        item = next(items, None)
        if item is None or item.id != name:
            found = "there is no item left" if item is None else f"the item is '{item.id}'"
            raise ValueError(f"sequence '{name}': {found}; give items in the same order")
        _refuse_unstorable(item)
        recorded = recorded_time(item)
        first, last = int(offsets[number]), int(offsets[number + 1])
        runs = slice(arrays["run_offsets"][number], arrays["run_offsets"][number + 1])
        of_steps = np.repeat(arrays["run_units"][runs], arrays["run_lengths"][runs])
        yield EngineRow(
            id=item.id,
            variety=item.variety,
            site=item.site,
            speaker=item.speaker,
            seconds=now if recorded is None else recorded,
            bag=bag_of(of_steps, units.count),
            pooled=_pooled(sequences.values[first:last]),
            units=of_steps.astype("<u2").tobytes(),
            steps=_codes(arrays, slice(first, last)),
            body=json.dumps(item_to_dict(item), ensure_ascii=True),
        )


def is_storable(text: str) -> bool:
    """Whether PostgreSQL can hold `text`: every character but NUL and lone surrogates."""
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def bag_of(of_steps: npt.NDArray[Any], count: int) -> Bag:
    """The units of one item, each weighted by the root of its share of the steps: a unit vector.

    Unit `count`, of steps of norm 0, is left out. How rare a unit is stands on the query's side
    alone, so it may change with the index while its rows stay.
    """
    units, times = np.unique(of_steps, return_counts=True)
    real = units < count
    weights = np.sqrt(times[real] / max(1, int(times[real].sum())))
    return Bag(units[real].astype(np.int64), weights.astype(np.float32))


def unit_counts(rows: Iterable[bytes], count: int) -> npt.NDArray[np.int64]:
    """How many of `rows` (the units of each, '<u2') hold each unit: (K,)."""
    total = np.zeros(count + 1, dtype=np.int64)
    for row in rows:
        total[np.unique(np.frombuffer(row, "<u2"))] += 1
    return total[:count]


def arrays_of(
    rows: Sequence[tuple[bytes, bytes]], dimensions: int, residuals: str = "none"
) -> Arrays:
    """The arrays of a segment that holds `rows`, (units, steps) each.

    Args:
        rows: steps are not looked at where `residuals` is 'none'.
        dimensions: D.
        residuals: as in `IndexSettings`.

    Raises:
        ValueError: the steps are not of that kind.
    """
    of_steps = [np.frombuffer(units, "<u2") for units, _ in rows]
    lengths = np.array([len(units) for units in of_steps], dtype=np.int64)
    offsets = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    total = int(offsets[-1])
    arrays: Arrays = {
        "step_offsets": offsets,
        # A run for every step: to join equal ones would save nothing here.
        "run_offsets": offsets,
        "run_units": np.concatenate(of_steps) if of_steps else np.zeros(0, np.uint16),
        "run_lengths": np.ones(total, dtype=np.uint8),
    }
    if residuals != "none":
        width = {"int8": dimensions + 8, "float16": 2 * dimensions + 4}[residuals]
        whole = b"".join(steps for _, steps in rows)
        if len(whole) != total * width:
            raise ValueError(
                f"{total} steps of {dimensions} dimensions are {total * width} bytes as "
                f"{residuals}, found {len(whole)}; the rows are damaged"
            )
        table = np.frombuffer(whole, np.uint8).reshape(total, width)
        arrays["residual_norms"] = _column(table[:, -4:], "<f4")
        if residuals == "int8":
            arrays["residual_codes"] = table[:, :dimensions].copy().view(np.int8)
            arrays["residual_scales"] = _column(table[:, dimensions : dimensions + 4], "<f4")
        else:
            halves = np.ascontiguousarray(table[:, : 2 * dimensions]).view("<f2")
            arrays["residual_halves"] = halves
    return arrays


def steps_from(
    rows: Sequence[tuple[bytes, bytes]],
    prototypes: FloatArray,
    residuals: str,
    *,
    with_norms: bool = False,
) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """Steps of `rows` one behind the other, of length 1 unless `with_norms`, and their offsets."""
    arrays = arrays_of(rows, prototypes.shape[1], residuals)
    return rebuilt_steps(arrays, np.arange(len(rows)), prototypes, with_norms=with_norms)


def body_to_item(body: str) -> Item:
    """The item that a row describes."""
    return item_from_dict(json.loads(body))


def _refuse_unstorable(item: Item) -> None:
    for field in ("id", "variety", "site", "speaker"):
        text = getattr(item, field)
        if text is not None and not is_storable(text):
            raise ValueError(
                f"item {item.id!r}: PostgreSQL cannot hold its {field}, for it has a NUL or half "
                "of a surrogate pair; take that out, or keep the index in a folder"
            )


def _codes(arrays: Arrays, steps: slice) -> bytes:
    """Codes, scale and norm of every step, step by step."""
    if "residual_norms" not in arrays:
        return b""
    parts = [arrays["residual_norms"][steps].astype("<f4")[:, np.newaxis]]
    if "residual_codes" in arrays:
        parts.insert(0, arrays["residual_scales"][steps].astype("<f4")[:, np.newaxis])
        parts.insert(0, arrays["residual_codes"][steps])
    else:
        parts.insert(0, arrays["residual_halves"][steps].astype("<f2"))
    return np.concatenate([np.ascontiguousarray(p).view(np.uint8) for p in parts], axis=1).tobytes()


def _column(table: npt.NDArray[np.uint8], kind: str) -> npt.NDArray[Any]:
    return np.ascontiguousarray(table).view(kind)[:, 0]


def _pooled(steps: FloatArray) -> FloatArray:
    """Mean of the steps at length 1, (D,) float32."""
    norms = np.linalg.norm(steps, axis=1, keepdims=True)
    unit = np.divide(steps, norms, out=np.zeros_like(steps), where=norms > 0)
    pooled: FloatArray = unit.mean(axis=0)
    return pooled
