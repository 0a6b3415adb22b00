"""One million generated vectors mined against one million: time, memory, recall.

    python benchmarks/mining_million.py                       a million each side
    python benchmarks/mining_million.py --rows 100000 --json small.json

Both sides are drawn around shared topics; a share of the rows of the first side has a partner on
the second (the same vector with noise). Neighbours are looked for in cells (`CellSide`), pairs are
made as `isogloss search mine` makes them, and the threshold is its own estimate. Then a part of the
first side is asked again by exact search among all rows of the second, and what the cells missed
of its nearest, of its four nearest and of the mined pairs is told.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from isogloss.search.mine import MiningSettings, mine
from isogloss.search.mine_cells import CellSide, cells_for
from isogloss.search.mine_gold import Gold
from isogloss.search.vector_ann import import_faiss
from isogloss.types import Vectors

_CHUNK = 65_536


def main() -> int:
    """Run and print; the JSON file has the same figures."""
    options = _options()
    began = time.monotonic()
    a, b, partner = _sides(options)
    seconds = {"generating": time.monotonic() - began}
    sides = tuple(CellSide(side, probes=options.probes, seed=options.seed) for side in (a, b))
    began = time.monotonic()
    for side in sides:
        side.nearest(side.asked(0, 1), 1)
    seconds["dividing both sides into cells"] = time.monotonic() - began
    gold = Gold(
        {a.ids[row]: str(row) for row in range(len(a))},
        {b.ids[place]: str(row) for row, place in enumerate(partner) if place >= 0},
        complete=True,
    )
    settings = MiningSettings(block_items=options.block, margin=options.margin)
    with tempfile.TemporaryDirectory(dir=options.work) as work:
        began = time.monotonic()
        mined = mine(sides[0], sides[1], Path(work) / "blocks", settings=settings)
        seconds["mining both ways"] = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    found = _judged(mined.pairs, partner, gold)
    began = time.monotonic()
    recall = _recall(options, sides[0], sides[1], partner)
    seconds["exact search of the subset"] = time.monotonic() - began
    figures = {
        "rows": options.rows,
        "dimensions": options.dimensions,
        "cells": cells_for(options.rows),
        "probes": options.probes,
        "cores": len(os.sched_getaffinity(0)),
        "pairs planted": int((partner >= 0).sum()),
        "pairs mined": len(mined.pairs),
        "threshold": mined.threshold,
        "estimated precision": mined.estimate.precision,
        **found,
        **recall,
        "peak memory GiB, mining": round(peak, 2),
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "faiss": import_faiss().__version__,
        "numpy": np.__version__,
    }
    text = json.dumps(figures, indent=2)
    sys.stdout.write(text + "\n")
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000, help="of each side")
    parser.add_argument("--dimensions", type=int, default=128)
    parser.add_argument("--paired", type=float, default=0.5, help="share of rows with a partner")
    parser.add_argument("--noise", type=float, default=0.6, help="length of a partner's noise")
    parser.add_argument("--topics", type=int, default=1000)
    parser.add_argument("--probes", type=int, default=16, help="cells that a question visits")
    parser.add_argument("--margin", choices=("ratio", "distance", "absolute"), default="ratio")
    parser.add_argument("--block", type=int, default=4096, help="questions asked at a time")
    parser.add_argument("--subset", type=int, default=50_000, help="rows asked exactly as well")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--work", type=Path, help="folder for unfinished work; default the system's"
    )
    parser.add_argument("--json", type=Path, help="file for the figures")
    return parser.parse_args()


def _sides(options: argparse.Namespace) -> tuple[Vectors, Vectors, Any]:
    """Two sides of unit rows, and for each row of the first its partner on the second, or -1."""
    rng = np.random.default_rng(options.seed)
    rows, dimensions = options.rows, options.dimensions
    topics = _unit(rng.standard_normal((options.topics, dimensions), dtype=np.float32))
    values = np.empty((2, rows, dimensions), np.float32)
    for side in values:
        for first in range(0, rows, _CHUNK):
            part = side[first : first + _CHUNK]
            own = _unit(rng.standard_normal(part.shape, dtype=np.float32))
            part[:] = _unit(own + 0.7 * topics[rng.integers(0, options.topics, len(part))])
    partner = np.full(rows, -1)
    count = round(options.paired * rows)
    partner[rng.choice(rows, count, replace=False)] = rng.choice(rows, count, replace=False)
    paired = np.flatnonzero(partner >= 0)
    for first in range(0, count, _CHUNK):
        of_a = paired[first : first + _CHUNK]
        noise = _unit(rng.standard_normal((len(of_a), dimensions), dtype=np.float32))
        values[1][partner[of_a]] = _unit(values[0][of_a] + options.noise * noise)
    names = [tuple(f"{side}{row}" for row in range(rows)) for side in "ab"]
    return Vectors(names[0], values[0], "made"), Vectors(names[1], values[1], "made"), partner


def _unit(rows: Any) -> Any:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _judged(pairs: Any, partner: Any, gold: Gold) -> dict[str, float]:
    """By the planted pairs, which the mining did not know."""
    right = int((partner[pairs.a] == pairs.b).sum())
    planted = len(gold.key_b)
    return {
        "precision": right / max(len(pairs), 1),
        "recall of planted pairs": right / max(planted, 1),
        "F1": 2 * right / max(len(pairs) + planted, 1),
    }


def _recall(
    options: argparse.Namespace, a: CellSide, b: CellSide, partner: Any
) -> dict[str, float | int]:
    """What the cells find of the exact neighbours of a part of the first side."""
    faiss = import_faiss()
    rng = np.random.default_rng(options.seed + 1)
    subset = np.sort(rng.choice(options.rows, min(options.subset, options.rows), replace=False))
    exact = faiss.IndexFlatIP(options.dimensions)
    every = b.asked(0, len(b.ids)).values
    exact.add(every)
    hits = np.zeros(2)
    of_pairs = [0, 0]
    for first in range(0, len(subset), options.block):
        rows = subset[first : first + options.block]
        whole = a.asked(int(rows[0]), int(rows[-1]) + 1)
        asked = Vectors(
            tuple(a.ids[row] for row in rows), whole.values[rows - rows[0]], whole.made_by
        )
        _, right = exact.search(np.ascontiguousarray(asked.values), 4)
        found = b.nearest(asked, 4).columns
        hits[0] += (found[:, 0] == right[:, 0]).sum()
        hits[1] += sum(len(np.intersect1d(f, r)) for f, r in zip(found, right, strict=True)) / 4
        paired = (partner[rows] >= 0) & (right[:, 0] == partner[rows])
        of_pairs[0] += int((found[paired, 0] == right[paired, 0]).sum())
        of_pairs[1] += int(paired.sum())
    return {
        "subset asked exactly": len(subset),
        "recall of the nearest": hits[0] / len(subset),
        "recall of the 4 nearest": hits[1] / len(subset),
        "recall of nearest partners": of_pairs[0] / max(of_pairs[1], 1),
    }


if __name__ == "__main__":
    raise SystemExit(main())
