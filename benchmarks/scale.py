"""What an index of a billion utterances takes, worked out from figures measured on one machine.

Run it with: python benchmarks/scale.py [--utterances 1e9] [--set machine_cores=32]
    python benchmarks/scale.py --measure scale-MACHINE-DATE.json     (minutes, 3 GB of memory)
    python benchmarks/scale.py --measured scale-MACHINE-DATE.json

`--measure` builds one index of structured synthetic sequences with as many units as a large index
has, asks it, and times the first stage on arrays as long as a share of the large index would have;
`sums` does the rest. A figure is 'measured' when it was, 'extrapolated' with its formula, or
'assumed' and to be set with --set.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import math
import os
import platform
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_GB = 1e9
# The first stage keeps of every row its score, the norm of its weights and whether it is allowed.
_WORKING_BYTES = 4 + 4 + 1


@dataclass(frozen=True)
class Measured:
    """What `--measure` found, one thread.

    Attributes:
        items: of the index that was measured.
        units: K of it.
        steps: of an utterance, mean.
        dimensions: of a step.
        runs: of equal units, an utterance.
        postings: different units, an utterance.
        unit_bytes: runs, postings, errors and offsets on disk, bytes an utterance.
        item_bytes: descriptions, ids, codes and times on disk, bytes an utterance.
        residual_bytes: bytes an utterance.
        touched: postings that a query adds up, as a share of all utterances.
        first_ms: the first stage in this small index: finding the query's units, above all.
        second_ms: the second stage, `interacted` items.
        third_ms: the third stage, `scored` items.
        interacted: items in the second stage.
        scored: items in the third stage.
        index_us: to find units and residuals of one utterance.
        rows: of the arrays that the first stage was timed on.
        ns_a_posting: to add one up there, in memory.
        ns_a_posting_cached: the same with sums that stay in the cache.
        ns_a_row: of every row there, touched or not: to clear, scale and select.
        together: how much longer adding up takes when every core of this machine does it.
    """

    items: int
    units: int
    steps: float
    dimensions: int
    runs: float
    postings: float
    unit_bytes: float
    item_bytes: float
    residual_bytes: float
    touched: float
    first_ms: float
    second_ms: float
    third_ms: float
    interacted: int
    scored: int
    index_us: float
    rows: int
    ns_a_posting: float
    ns_a_posting_cached: float
    ns_a_row: float
    together: float


@dataclass(frozen=True)
class Assumed:
    """What was not measured here: machines, prices, the corpus, and what is wanted."""

    wanted_first_ms: float = 200
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


@dataclass(frozen=True)
class Figure:
    """One line of the sums: `how` is 'measured', 'extrapolated' or 'assumed', `why` its formula."""

    name: str
    value: str
    how: str
    why: str


def sums(utterances: float, m: Measured, a: Assumed) -> list[Figure]:
    """The lines of the table for so many utterances, one folder a core."""
    units_gb = utterances * m.unit_bytes / _GB
    items_gb = utterances * m.item_bytes / _GB
    residuals_gb = utterances * m.residual_bytes / _GB
    working_gb = utterances * _WORKING_BYTES / _GB
    ns_a_row = (m.touched * m.ns_a_posting + m.ns_a_row) * m.together
    room_ns = 1e6 * (a.wanted_first_ms - m.first_ms)
    if room_ns <= 0:
        raise SystemExit(f"--set wanted_first_ms: {m.first_ms:.1f} ms go before the first posting")
    by_time = utterances * ns_a_row / room_ns / a.machine_cores
    by_memory = (units_gb + working_gb) / (a.machine_memory_gb * a.memory_in_use)
    by_disk = (units_gb + items_gb + residuals_gb) / a.machine_disk_gb
    machines = math.ceil(max(by_time, by_memory, by_disk))
    cores = machines * a.machine_cores
    share = utterances / cores
    first_ms = m.first_ms + share * ns_a_row / 1e6
    reads = 2 * m.scored * a.machine_cores
    read_bytes = m.scored * a.machine_cores * m.residual_bytes
    read_ms = 1e3 * max(reads / a.disk_reads_a_second, read_bytes / a.read_bytes_a_second)
    busy_ms = first_ms + m.second_ms + m.third_ms
    encode_hours = utterances * a.utterance_seconds / a.encoder_seconds_a_core_second / 3600
    index_hours = utterances * m.index_us / 1e6 / 3600
    month = machines * a.copies * a.machine_dollars_an_hour * 730
    at = f"K = {m.units}, {m.items:,} utterances"
    rows = f"{m.rows / 1e6:g} million rows"

    def extrapolated(name: str, value: str, why: str) -> Figure:
        return Figure(name, value, "extrapolated", why)

    return [
        Figure("steps an utterance", f"{m.steps:.0f} of {m.dimensions}", "measured", at),
        Figure(
            "units and postings",
            f"{m.unit_bytes:,.0f} B an utterance",
            "measured",
            f"{at}: {m.runs:.0f} runs, {m.postings:.0f} postings",
        ),
        Figure("descriptions", f"{m.item_bytes:,.0f} B an utterance", "measured", at),
        Figure("residuals, int8", f"{m.residual_bytes:,.0f} B an utterance", "measured", at),
        Figure("postings a query adds up", f"{m.touched:.2f} an utterance", "measured", at),
        Figure("to add one up", f"{m.ns_a_posting:.1f} ns", "measured", f"sums of {rows}"),
        Figure(
            "the same in the cache",
            f"{m.ns_a_posting_cached:.1f} ns",
            "measured",
            "sums of 20,000 rows; not used below",
        ),
        Figure(
            "every row, touched or not",
            f"{m.ns_a_row:.1f} ns",
            "measured",
            f"{rows}: clear, scale, select",
        ),
        Figure(
            "all cores at a time",
            f"x {m.together:.2f}",
            "measured",
            "on the cores of the machine that measured; a larger one may differ",
        ),
        extrapolated("units and postings", _size(units_gb), "bytes x utterances"),
        extrapolated("descriptions", _size(items_gb), "bytes x utterances"),
        extrapolated("residuals", _size(residuals_gb), "bytes x utterances"),
        Figure(
            "machine",
            f"{a.machine_cores} cores, {a.machine_memory_gb:g} GB, {a.machine_disk_gb:g} GB NVMe",
            "assumed",
            "a folder a core, asked at the same time",
        ),
        Figure("first stage wanted", f"{a.wanted_first_ms:g} ms", "assumed", ""),
        extrapolated(
            "machines, one copy",
            f"{machines}",
            f"the largest of time, rows x ({m.touched:.2f} x {m.ns_a_posting:.1f} + "
            f"{m.ns_a_row:.1f}) ns x {m.together:.2f} / (wanted - {m.first_ms:.1f} ms) / cores = "
            f"{by_time:.1f}; memory, (units + {_WORKING_BYTES} B a row) / "
            f"({a.memory_in_use:g} memory) = {by_memory:.1f}; disk, all / disk = {by_disk:.1f}",
        ),
        extrapolated("utterances a core", f"{share:,.0f}", "utterances / machines / cores"),
        extrapolated(
            "first stage",
            f"{first_ms:.0f} ms",
            f"{m.first_ms:.1f} ms (measured) + utterances a core x the time of a row",
        ),
        Figure("second stage", f"{m.second_ms:.1f} ms", "measured", f"{m.interacted:,} items"),
        extrapolated(
            "residuals read",
            f"{read_ms:.1f} ms",
            f"{m.scored} candidates a core, 2 reads each, at the disk's assumed rate",
        ),
        Figure("third stage", f"{m.third_ms:.1f} ms", "measured", f"{m.scored} candidates"),
        extrapolated(
            "a query, alone",
            f"{busy_ms + read_ms + a.network_ms:.0f} ms",
            f"the stages + {a.network_ms:g} ms of network (assumed)",
        ),
        extrapolated(
            "queries a second",
            f"{1e3 * a.copies / busy_ms:.0f}",
            f"{a.copies} copies / the three stages, all cores busy",
        ),
        Figure(
            "speech",
            f"{utterances * a.utterance_seconds / 3600 / 1e3:,.0f} thousand hours",
            "assumed",
            f"{a.utterance_seconds:g} s an utterance",
        ),
        extrapolated(
            "encoding",
            f"{encode_hours:,.0f} core hours, {encode_hours / cores / 24:.1f} days here",
            f"{a.encoder_seconds_a_core_second:g} s of speech a core second (assumed)",
        ),
        extrapolated(
            "finding units and residuals",
            f"{index_hours:,.0f} core hours, {index_hours / cores:.1f} hours here",
            f"{m.index_us:,.0f} us an utterance at K = {m.units} (measured)",
        ),
        extrapolated(
            "money",
            f"${month:,.0f} a month",
            f"machines x {a.copies} copies x ${a.machine_dollars_an_hour:g} an hour (assumed) "
            "x 730",
        ),
    ]


def measure(items: int, count: int, rows: int, queries: int = 40) -> dict[str, Any]:
    """`Measured`, and the machine that it was measured on."""
    from isogloss.corpora.synth.sequences import StructuredSettings, structured_sequences
    from isogloss.search.encoding import encode_segment
    from isogloss.search.index_settings import IndexSettings
    from isogloss.search.sequence_index import SequenceIndex
    from isogloss.search.step_sample import sample_steps
    from isogloss.search.units import train_units

    # Few iterations: where the centroids lie exactly changes no cost.
    settings = IndexSettings(units=count, iterations=2, sample_per_unit=16)
    data = structured_sequences(StructuredSettings(items=items, queries=queries))
    units = train_units(sample_steps(data.sequences, settings), settings)
    encode_segment(data.sequences.select(range(10)), units, settings, threads=1)
    some = data.sequences.select(range(min(items, 1000)))
    start = time.perf_counter()
    encode_segment(some, units, settings, threads=1)
    index_us = 1e6 * (time.perf_counter() - start) / len(some)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "index"
        index = SequenceIndex.build(
            place, data.sequences, data.items, settings=settings, units=units
        )
        index.answers(data.queries, 10, threads=1)
        answers = index.answers(data.queries, 10, threads=1)
        arrays = index.store.segments[0].arrays
        whole = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
        shared = sum(array.nbytes for array in index.store.shared.values())
        everything = sum(array.nbytes for array in arrays.values())
        residual = sum(array.nbytes for n, array in arrays.items() if n.startswith("residual"))
        stages = [float(np.median([a.milliseconds[i] for a in answers])) for i in range(3)]
        postings = len(arrays["posting_rows"]) / items
        found = Measured(
            items=items,
            units=units.count,
            steps=float(data.sequences.lengths.mean()),
            dimensions=index.dimensions,
            runs=len(arrays["run_units"]) / items,
            postings=postings,
            unit_bytes=(everything - residual) / items,
            item_bytes=(whole - shared - everything) / items,
            residual_bytes=residual / items,
            touched=float(np.median([a.touched for a in answers])) / items,
            first_ms=stages[0],
            second_ms=stages[1],
            third_ms=stages[2],
            interacted=int(np.median([a.interacted for a in answers])),
            scored=int(np.median([a.scored for a in answers])),
            index_us=index_us,
            rows=rows,
            **first_stage(rows, postings / units.count),
        )
    described = {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load_a_core": round(os.getloadavg()[0] / len(os.sched_getaffinity(0)), 1),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
    return {"machine": described, "measured": dataclasses.asdict(found)}


def first_stage(rows: int, held: float) -> dict[str, float]:
    """Nanoseconds a posting and a row, where each unit is in a share `held` of `rows` rows."""
    from isogloss.search import index_kernels

    of_count = np.ones(256, np.float32)

    def adding(count: int, lists: int, seed: int) -> tuple[Callable[[], object], int]:
        rng = np.random.default_rng(seed)
        # Gaps between the rows that hold a unit, of the mean that the share says.
        each = [np.cumsum(rng.integers(1, int(2 / held), int(count * held))) for _ in range(lists)]
        each = [some[some < count].astype(np.uint32) for some in each]
        offsets = np.cumsum([0, *map(len, each)])
        values = np.concatenate(each)
        scores = np.zeros(count, np.float32)
        call: tuple[Any, ...] = (
            np.arange(lists),
            np.ones(lists, np.float32),
            np.arange(lists, dtype=np.uint16),
            offsets,
            values,
            np.ones(len(values), np.uint8),
            of_count,
            scores,
        )
        return (lambda: index_kernels.tf_idf(*call)), len(values)

    far, many = adding(rows, 16, 0)
    near, few = adding(20_000, 2000, 1)
    seconds = _best(far)
    cores = len(os.sched_getaffinity(0))
    several = [adding(rows // cores, 16, number)[0] for number in range(cores)]
    in_turn = sum(map(_best, several))
    with ThreadPoolExecutor(cores) as pool:
        # Compiled kernels leave Python to the others.
        at_once = sum(pool.map(_best, several))

    scores = np.random.default_rng(2).random(rows, dtype=np.float32)
    shrink, allowed = np.ones(rows, np.float32), np.ones(rows, np.bool_)
    chosen = np.empty(4000, np.int64)

    def every_row() -> None:
        np.count_nonzero(allowed)
        np.zeros(rows, np.float32)[:] = 0
        np.multiply(scores, shrink, out=scores)
        index_kernels.select(scores, allowed, 4000, chosen)

    return {
        "ns_a_posting": 1e9 * seconds / many,
        "ns_a_posting_cached": 1e9 * _best(near) / few,
        "ns_a_row": 1e9 * _best(every_row) / rows,
        "together": max(1.0, at_once / in_turn),
    }


def _best(call: Callable[[], object], times: int = 5) -> float:
    """Seconds of the processor in the fastest of some calls: others only ever make one slower."""
    call()
    taken = []
    for _ in range(times):
        start = time.thread_time()
        call()
        taken.append(time.thread_time() - start)
    return min(taken)


def _processor() -> str:
    """Its model where Linux says it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


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
        "--measured", type=Path, metavar="JSON", help="default the last scale-*.json beside this"
    )
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--units", type=int, default=16384)
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    args = parser.parse_args()
    path = args.measured
    if args.measure is not None:
        found = measure(args.items, args.units, args.rows)
        args.measure.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        path = args.measure
    if path is None:
        # Their names end in a date.
        kept = Path(__file__).parent.glob("scale-*.json")
        path = max(kept, key=lambda found: found.stem[-10:], default=None)
        if path is None:
            raise SystemExit("nothing is measured yet: --measure scale-MACHINE-DATE.json")
    measured = Measured(**json.loads(path.read_text(encoding="utf-8"))["measured"])
    print("| figure | value | | how |")
    print("|---|---|---|---|")
    for line in sums(args.utterances, measured, _with(Assumed(), args.set)):
        print(f"| {line.name} | {line.value} | {line.how} | {line.why} |")


if __name__ == "__main__":
    main()
