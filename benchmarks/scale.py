"""What an index of a billion utterances takes, worked out from figures measured on this machine.

Run it with: python benchmarks/scale.py [--utterances 1e9] [--set machine_cores=32]
    python benchmarks/scale.py --measure scale.json [--sizes 5000 20000]     (minutes)
    python benchmarks/scale.py --measured scale.json

`--measure` builds indexes of structured synthetic sequences of two sizes, asks them, and keeps what
an utterance takes and what grows with their number; `sums` does the rest. A figure is 'measured'
when it was, 'extrapolated' with its formula, or 'assumed' and to be set with --set.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

_GB = 1e9


@dataclass(frozen=True)
class Measured:
    """What `--measure` found, one thread.

    Attributes:
        steps: of an utterance, mean.
        dimensions: of a step.
        units: K of the larger index.
        runs: of equal units, an utterance.
        postings: different units, an utterance.
        unit_bytes: runs, postings, errors and offsets on disk, bytes an utterance.
        item_bytes: descriptions, ids, codes and times on disk, bytes an utterance.
        residual_bytes: bytes an utterance.
        touched: postings that a query adds up, as a share of all utterances.
        ns_a_posting: to add one up, everything of the first stage included.
        interaction_us: of one item in the second stage.
        scoring_us: of one candidate in the third.
        index_us: to find units and residuals of one utterance.
        train_seconds: of k-means with `units` units.
    """

    steps: float
    dimensions: int
    units: int
    runs: float
    postings: float
    unit_bytes: float
    item_bytes: float
    residual_bytes: float
    touched: float
    ns_a_posting: float
    interaction_us: float
    scoring_us: float
    index_us: float
    train_seconds: float


@dataclass(frozen=True)
class Assumed:
    """What was not measured here: machines, prices, the corpus, and how the index is used."""

    first: int = 4000
    candidates: int = 128
    machine_cores: int = 16
    machine_memory_gb: float = 128
    machine_disk_gb: float = 3800
    machine_dollars_an_hour: float = 1.0
    memory_in_use: float = 0.75
    disk_reads_a_second: float = 300_000
    read_bytes_a_second: float = 3e9
    network_ms: float = 2.0
    copies: int = 2
    utterance_seconds: float = 2.5
    encoder_seconds_a_core_second: float = 20.0
    largest_units: int = 16384
    beyond_cache: float = 4.0


@dataclass(frozen=True)
class Figure:
    """One line of the sums: `how` is 'measured', 'extrapolated' or 'assumed', `why` its formula."""

    name: str
    value: str
    how: str
    why: str


def sums(utterances: float, m: Measured, a: Assumed) -> list[Figure]:
    """The lines of the table for so many utterances."""
    units_gb = utterances * m.unit_bytes / _GB
    items_gb = utterances * m.item_bytes / _GB
    residuals_gb = utterances * m.residual_bytes / _GB
    in_memory = units_gb
    by_memory = in_memory / (a.machine_memory_gb * a.memory_in_use)
    by_disk = (units_gb + items_gb + residuals_gb) / a.machine_disk_gb
    machines = math.ceil(max(by_memory, by_disk))
    share = utterances / machines
    # Twice the units: half the utterances hold each.
    touched = m.touched * m.units / a.largest_units
    postings_ms = share * touched * m.ns_a_posting * a.beyond_cache / 1e6 / a.machine_cores
    interaction_ms = a.first * m.interaction_us / 1e3 / a.machine_cores
    scoring_ms = a.candidates * m.scoring_us / 1e3 / a.machine_cores
    read_ms = 1e3 * max(
        a.candidates * 2 / a.disk_reads_a_second,
        a.candidates * m.residual_bytes / a.read_bytes_a_second,
    )
    query_ms = postings_ms + interaction_ms + scoring_ms + read_ms + a.network_ms
    busy = (postings_ms + interaction_ms + scoring_ms) / 1e3
    encode_hours = utterances * a.utterance_seconds / a.encoder_seconds_a_core_second / 3600
    index_hours = utterances * m.index_us * (a.largest_units / m.units) / 1e6 / 3600
    cores = machines * a.machine_cores
    month = machines * a.copies * a.machine_dollars_an_hour * 730
    return [
        Figure("steps an utterance", f"{m.steps:.0f} of {m.dimensions}", "measured", "corpus"),
        Figure("units and postings", f"{m.unit_bytes:,.0f} B", "measured", "an utterance"),
        Figure("descriptions", f"{m.item_bytes:,.0f} B", "measured", "an utterance"),
        Figure("residuals int8", f"{m.residual_bytes:,.0f} B", "measured", "an utterance"),
        Figure("units and postings", _size(units_gb), "extrapolated", "bytes x utterances"),
        Figure("descriptions", _size(items_gb), "extrapolated", "bytes x utterances"),
        Figure("residuals", _size(residuals_gb), "extrapolated", "bytes x utterances"),
        Figure(
            "machine",
            f"{a.machine_cores} cores, {a.machine_memory_gb:g} GB, {a.machine_disk_gb:g} GB NVMe",
            "assumed",
            "",
        ),
        Figure(
            "machines, one copy",
            f"{machines}",
            "extrapolated",
            f"the larger of units / ({a.memory_in_use:g} memory) = {by_memory:.1f} and "
            f"all / disk = {by_disk:.1f}",
        ),
        Figure("utterances a machine", f"{share:,.0f}", "extrapolated", "utterances / machines"),
        Figure(
            "postings touched",
            f"{share * touched:,.0f}",
            "extrapolated",
            f"{m.touched:.2f} of the utterances at K = {m.units} (measured), x K / "
            f"{a.largest_units} at K = {a.largest_units}",
        ),
        Figure(
            "first stage",
            f"{postings_ms:.1f} ms",
            "extrapolated",
            f"touched x {m.ns_a_posting:.1f} ns (measured, sums in the cache) x "
            f"{a.beyond_cache:g} for sums in memory (assumed) / cores",
        ),
        Figure(
            "second stage",
            f"{interaction_ms:.2f} ms",
            "extrapolated",
            f"{a.first} items x {m.interaction_us:.2f} us (measured) / cores",
        ),
        Figure(
            "residuals read",
            f"{read_ms:.2f} ms",
            "extrapolated",
            f"{a.candidates} candidates, 2 reads each, at the disk's assumed rate",
        ),
        Figure(
            "third stage",
            f"{scoring_ms:.2f} ms",
            "extrapolated",
            f"{a.candidates} candidates x {m.scoring_us:.1f} us (measured) / cores",
        ),
        Figure(
            "a query, alone",
            f"{query_ms:.1f} ms",
            "extrapolated",
            f"the stages + {a.network_ms:g} ms of network (assumed); all machines work at a time",
        ),
        Figure(
            "queries a second",
            f"{1 / busy:,.0f}",
            "extrapolated",
            f"1 / (all stages on all cores), every machine busy; x {a.copies} with "
            f"{a.copies} copies",
        ),
        Figure(
            "speech",
            f"{utterances * a.utterance_seconds / 3600 / 1e3:,.0f} thousand hours",
            "assumed",
            f"{a.utterance_seconds:g} s an utterance",
        ),
        Figure(
            "encoding",
            f"{encode_hours:,.0f} core hours, {encode_hours / cores / 24:.1f} days here",
            "extrapolated",
            f"{a.encoder_seconds_a_core_second:g} s of speech a core second (assumed)",
        ),
        Figure(
            "units and residuals",
            f"{index_hours:,.0f} core hours, {index_hours / cores:.1f} hours here",
            "extrapolated",
            f"{m.index_us:,.0f} us an utterance at K = {m.units} (measured), x K",
        ),
        Figure(
            "money",
            f"${month:,.0f} a month",
            "extrapolated",
            f"machines x {a.copies} copies x ${a.machine_dollars_an_hour:g} an hour (assumed) "
            "x 730",
        ),
    ]


def measure(sizes: Sequence[int], queries: int = 40) -> dict[str, Any]:
    """`Measured`, from indexes of these sizes; the first stage from their difference."""
    from isogloss.corpora.synth.sequences import StructuredSettings, structured_sequences
    from isogloss.search.encoding import encode_segment
    from isogloss.search.index_settings import IndexSettings
    from isogloss.search.sequence_index import SequenceIndex
    from isogloss.search.step_sample import sample_steps
    from isogloss.search.units import train_units

    settings = IndexSettings(units=1024)
    rows: list[dict[str, Any]] = []
    for items in sizes:
        data = structured_sequences(StructuredSettings(items=items, queries=queries))
        start = time.perf_counter()
        units = train_units(sample_steps(data.sequences, settings), settings)
        trained = time.perf_counter() - start
        encode_segment(data.sequences.select(range(10)), units, settings, threads=1)
        start = time.perf_counter()
        encode_segment(data.sequences, units, settings, threads=1)
        encoded = (time.perf_counter() - start) / items
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "index"
            index = SequenceIndex.build(
                place, data.sequences, data.items, settings=settings, units=units
            )
            index.answers(data.queries, 10, threads=1)
            answers = index.answers(data.queries, 10, threads=1)
            arrays = index.store.segments[0].arrays
            sizes_of = {name: array.nbytes for name, array in arrays.items()}
            whole = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
            shared = sum(array.nbytes for array in index.store.shared.values())
            rows.append(
                {
                    "items": items,
                    "steps": float(data.sequences.lengths.mean()),
                    "dimensions": index.dimensions,
                    "units": units.count,
                    "runs": len(arrays["run_units"]) / items,
                    "postings": len(arrays["posting_rows"]) / items,
                    "residual": sum(v for k, v in sizes_of.items() if k.startswith("residual")),
                    "arrays": sum(sizes_of.values()),
                    "whole": whole - shared,
                    "touched": float(np.median([a.touched for a in answers])) / items,
                    "stages": [
                        float(np.median([a.milliseconds[i] for a in answers])) for i in range(3)
                    ],
                    "sizes": [
                        float(np.median([getattr(a, name) for a in answers]))
                        for name in ("touched", "interacted", "scored")
                    ],
                    "encoded": encoded,
                    "trained": trained,
                }
            )
    small, large = rows[0], rows[-1]
    items = large["items"]
    more_touched = large["sizes"][0] - small["sizes"][0]
    more_ms = large["stages"][0] - small["stages"][0]
    found = Measured(
        steps=large["steps"],
        dimensions=large["dimensions"],
        units=large["units"],
        runs=large["runs"],
        postings=large["postings"],
        unit_bytes=(large["arrays"] - large["residual"]) / items,
        item_bytes=(large["whole"] - large["arrays"]) / items,
        residual_bytes=large["residual"] / items,
        touched=large["touched"],
        ns_a_posting=1e6 * max(more_ms, 0.0) / max(more_touched, 1.0),
        interaction_us=1e3 * large["stages"][1] / large["sizes"][1],
        scoring_us=1e3 * large["stages"][2] / large["sizes"][2],
        index_us=1e6 * large["encoded"],
        train_seconds=large["trained"],
    )
    return {"measured": dataclasses.asdict(found), "rows": rows}


def _size(gigabytes: float) -> str:
    return f"{gigabytes / 1e3:,.1f} TB" if gigabytes >= 1e3 else f"{gigabytes:,.0f} GB"


def _with(assumed: Assumed, changes: Sequence[str]) -> Assumed:
    fields = {
        field.name: type(getattr(assumed, field.name)) for field in dataclasses.fields(assumed)
    }
    values: dict[str, Any] = {}
    for change in changes:
        name, _, value = change.partition("=")
        if name not in fields:
            raise SystemExit(f"--set {name}: choose from {', '.join(fields)}")
        values[name] = fields[name](value)
    return dataclasses.replace(assumed, **values)


def main() -> None:
    """Measure, or print the sums."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--utterances", type=float, default=1e9)
    parser.add_argument("--measure", type=Path, metavar="JSON", help="measure and keep it there")
    parser.add_argument(
        "--measured", type=Path, metavar="JSON", help="default scale.json beside this"
    )
    parser.add_argument("--sizes", type=int, nargs=2, default=[5000, 20_000])
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    args = parser.parse_args()
    if args.measure is not None:
        found = measure(args.sizes)
        args.measure.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        path = args.measure
    else:
        path = args.measured or Path(__file__).parent / "scale.json"
    measured = Measured(**json.loads(path.read_text(encoding="utf-8"))["measured"])
    print("| figure | value | | how |")
    print("|---|---|---|---|")
    for line in sums(args.utterances, measured, _with(Assumed(), args.set)):
        print(f"| {line.name} | {line.value} | {line.how} | {line.why} |")


if __name__ == "__main__":
    main()
