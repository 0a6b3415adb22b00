"""Measurements of one task in, its entry in a result file out, and back; called by run and compare.

An entry is plain JSON:

    task          kind, such as 'retrieval'
    key           checksum of all that changes the numbers; None when older than keys of tasks
    show          names of the measures that a comparison shows
    signature     what all its measurements share
    measurements  name, value, low, high, n, higher_is_better, the rest of its signature, per_item
                  and the number of their item_keys where there are such
    item_keys     the lists of keys of items, each kept once
    tables        of retrievals: what each query of each pair of sets came to (see `pack_tables`)
    left_out      instead of all these: why the task does not fit the corpus or the encoder

Per-item statistics are strings of numbers, so that a file of 300 thousand queries stays small.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from isogloss.tasks import measurement_to_dict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from isogloss.tasks import RetrievalResult
    from isogloss.types import Measurement

__all__ = ["entry_of", "keys_of", "pack_tables", "per_item_of", "signature_of", "table_of"]

Rows = npt.NDArray[np.float64]

# How each table is called by the measures that are made of it.
_TABLES: dict[str, Callable[[Any], Any]] = {
    "rank": lambda pair: pair.gold.ranks,
    "hard R@1": lambda pair: pair.beats_neighbours,
    "xSIM": lambda pair: pair.wrong_by_margin,
}
_ABSENT = "-"
# Above this many (all pairs of 78 sites) the tables serve tests, and single items no one.
_MOST_ITEMS = 30_000


def entry_of(
    task: str, key: str | None, show: Sequence[str], measured: Sequence[Measurement]
) -> dict[str, Any]:
    """The entry of a task that is done; `measured` may be empty.

    Raises:
        ValueError: a value is not finite, which no file can hold.
    """
    signatures = [dict(m.signature) for m in measured]
    shared = {
        name: value
        for name, value in (signatures[0] if signatures else {}).items()
        if all(name in s and s[name] == value for s in signatures)
    }
    keys: dict[tuple[str, ...], int] = {}
    measurements = []
    for measurement, signature in zip(measured, signatures, strict=True):
        if not math.isfinite(measurement.value):
            raise ValueError(f"task '{task}': {measurement.name} is {measurement.value}")
        plain = measurement_to_dict(measurement, signature=False)
        plain["signature"] = {k: v for k, v in signature.items() if k not in shared}
        if measurement.per_item is not None and len(measurement.per_item) <= _MOST_ITEMS:
            plain["per_item"] = _packed(measurement.per_item)
            if measurement.item_keys is not None:
                plain["item_keys"] = keys.setdefault(measurement.item_keys, len(keys))
        measurements.append(plain)
    return {
        "task": task,
        "key": key,
        "show": list(show),
        "signature": shared,
        "measurements": measurements,
        "item_keys": [list(one) for one in keys],
    }


def keys_of(entry: Mapping[str, Any], measurement: Mapping[str, Any]) -> list[str] | None:
    """Keys of the items of a stored measurement, as many as its statistics; None when unknown."""
    number = measurement.get("item_keys")
    return None if number is None else list(entry["item_keys"][number])


def signature_of(entry: Mapping[str, Any], measurement: Mapping[str, Any]) -> dict[str, Any]:
    """The whole signature of one stored measurement."""
    return {**entry.get("signature", {}), **measurement.get("signature", {})}


def per_item_of(measurement: Mapping[str, Any]) -> Rows | None:
    """Stored per-item statistics: (N,) or (N, C); None where there are none."""
    packed = measurement.get("per_item")
    if packed is None:
        return None
    if packed["columns"] == 0:
        return np.array(packed["values"].split(), dtype=np.float64)
    values = np.array(packed["values"].split(), dtype=np.float64)
    return values.reshape(-1, packed["columns"])


def _packed(values: npt.NDArray[np.floating[Any]]) -> dict[str, Any]:
    columns = 0 if values.ndim == 1 else int(values.shape[1])
    return {"columns": columns, "values": " ".join(f"{v:.9g}" for v in values.ravel().tolist())}


def pack_tables(found: RetrievalResult) -> dict[str, Any]:
    """What each query came to, for paired tests over sentences and sites.

    'meanings' (S,), 'pairs' [query set, target set], 'strata' of the sets, and for 'rank',
    'hard R@1' and 'xSIM' one string of S numbers for each pair, '-' where it lacks a sentence.
    """
    meanings = sorted({meaning for pair in found.pairs for meaning in pair.meanings})
    column = {meaning: i for i, meaning in enumerate(meanings)}
    tables: dict[str, Any] = {
        "meanings": meanings,
        "pairs": [[pair.query, pair.target] for pair in found.pairs],
        "strata": dict(found.strata),
    }
    for name, values_of in _TABLES.items():
        rows = []
        for pair in found.pairs:
            row = [_ABSENT] * len(meanings)
            values = values_of(pair)
            for meaning, value in zip(
                pair.meanings, () if values is None else values.tolist(), strict=values is not None
            ):
                row[column[meaning]] = str(int(value))
            rows.append(" ".join(row))
        tables[name] = rows
    return tables


def table_of(
    entry: Mapping[str, Any], measure: str
) -> tuple[list[str], dict[tuple[str, str], Rows], Mapping[str, str]] | None:
    """Sentences, for each pair of sets its row over them, strata; None where not stored.

    Known for 'R@k', 'MRR', 'hard R@1' and 'xSIM'; pairs that lack the measure are absent.
    """
    tables = entry.get("tables")
    name = "rank" if measure == "MRR" or measure.removeprefix("R@").isdecimal() else measure
    if not tables or name not in _TABLES or name not in tables:
        return None
    rows: dict[tuple[str, str], Rows] = {}
    for (query, target), text in zip(tables["pairs"], tables[name], strict=True):
        values = np.array([np.nan if v == _ABSENT else float(v) for v in text.split()])
        if np.isnan(values).all():
            continue
        if measure == "MRR":
            values = 1 / values
        elif name == "rank":
            limit = int(measure.removeprefix("R@"))
            values = np.where(np.isnan(values), np.nan, (values <= limit).astype(np.float64))
        rows[query, target] = values
    return (list(tables["meanings"]), rows, tables["strata"]) if rows else None
