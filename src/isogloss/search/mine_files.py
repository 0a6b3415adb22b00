"""What mining found, as files: pairs as TSV or JSONL, and beside them how they came about."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from isogloss._files import atomic_writer, write_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from isogloss.search.mine import Mined

__all__ = ["COLUMNS", "rows_of", "summary_of", "summary_path", "write_mined"]

COLUMNS = ("id_a", "id_b", "margin", "score", "rank_forward", "rank_backward", "tied")
"""Of a pair in a file: the ids, margin, similarity, place of the second among the neighbours of
the first by margin (empty or null when it is not among them), the converse, and whether another
neighbour has the same margin."""

_DIGITS = 6


def rows_of(mined: Mined) -> Iterator[dict[str, Any]]:
    """The pairs, best margin first, as `COLUMNS` names them."""
    pairs = mined.pairs
    for place in range(len(pairs)):
        yield {
            "id_a": mined.ids_a[int(pairs.a[place])],
            "id_b": mined.ids_b[int(pairs.b[place])],
            "margin": round(float(pairs.margin[place]), _DIGITS),
            "score": round(float(pairs.score[place]), _DIGITS),
            "rank_forward": int(pairs.rank_forward[place]) or None,
            "rank_backward": int(pairs.rank_backward[place]) or None,
            "tied": bool(pairs.tied[place]),
        }


def summary_of(mined: Mined) -> dict[str, Any]:
    """Everything but the pairs, as JSON."""
    return {
        "items_a": len(mined.ids_a),
        "items_b": len(mined.ids_b),
        "candidates": mined.candidates,
        "threshold": mined.threshold,
        "pairs": len(mined.pairs),
        "estimated": {
            "precision": mined.estimate.precision,
            "low": mined.estimate.low,
            "high": mined.estimate.high,
            "recall": mined.estimate.recall,
        },
        "known": None if mined.truth is None else asdict(mined.truth),
        "cross_fitted": None if mined.honest is None else asdict(mined.honest),
        "curve": list(mined.curve),
        "signature": mined.signature,
    }


def summary_path(out: Path) -> Path:
    """Where `write_mined` puts the summary: beside the pairs, with `.json` behind their name."""
    return out.with_name(out.name + ".json")


def write_mined(mined: Mined, out: Path) -> None:
    """Write the pairs to `out` and the summary beside it, each whole or not at all.

    Args:
        mined: what was found.
        out: with the suffix `.jsonl` one object a line, else TSV with a line of names.

    Raises:
        ValueError: an id holds a tab or a line break and `out` is no JSONL; nothing is written.
    """
    as_json = out.suffix == ".jsonl"
    if not as_json:
        for ids in (mined.ids_a, mined.ids_b):
            broken = [id for id in ids if not set("\t\n\r").isdisjoint(id)]
            if broken:
                raise ValueError(
                    f"the id {broken[0]!r} does not fit into TSV; name a file that ends in .jsonl"
                )
    with atomic_writer(out, "w") as handle:
        if not as_json:
            handle.write("\t".join(COLUMNS) + "\n")
        for row in rows_of(mined):
            handle.write(json.dumps(row, ensure_ascii=False) if as_json else _line(row))
            handle.write("\n")
    write_json(summary_path(out), summary_of(mined))


def _line(row: dict[str, Any]) -> str:
    return "\t".join("" if row[name] is None else str(row[name]) for name in COLUMNS)
