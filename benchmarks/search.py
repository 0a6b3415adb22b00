"""The index beside others: what of the exact answer is found, at what cost, as the corpus grows.

Run it with: python benchmarks/search.py [--sizes 1000,10000,100000] [--dim 128] [--steps 60]
    [--queries 200] [--contestants ours,pooled-hnsw] [--out FILE] [--cache FOLDER] [--json]
    python benchmarks/search.py --encoded STEPS --manifest manifest.jsonl --hold-out hak

Structured sequences (isogloss.corpora.synth.sequences) with queries in a variety that the index
has not seen; or, with --encoded, what `isogloss speech encode` wrote, less one variety, from which
the queries come. Exact answers are SeqSim of every query with every item in float32; they cost
about 5 to 9 CPU-seconds a query at 100,000 and are kept in --cache, as the collection is (3 GB).

Every step of every contestant is a process of its own. Columns: R@1 and R@10, share of the exact
best and of the exact ten best that its first 1 and 10 answers hold; best in 100, share of queries
whose exact best is among its first 100 (those of ours return 10); milliseconds a query, asked one
after another with all cores; queries a second, all asked together; bytes on disk an utterance,
without and with residuals; seconds of building; milliseconds of opening; resident memory after the
queries (mapped files that were read included), and that of the process before it opened anything.
At the end: how much dearer a query becomes when the corpus grows.

A contestant that cannot hold a size in minutes is left out with its reason; LanceDB's environment
is made at the first run (needs a package index). What is in --out is not measured again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from isogloss.corpora.synth.sequences import StructuredSettings
from peers import peer_python
from search_data import Collection, Truth, exact_answers, real_collection, structured_collection
from search_peers import CONTESTANTS, DESCRIPTIONS, LANCEDB, REASONS

_SOURCES = Path(__file__).parent


def python_of(name: str, cache: Path) -> Path:
    """The interpreter that a contestant runs in."""
    if name != "lancedb":
        return Path(sys.executable)
    return peer_python(cache / "environment-lancedb", LANCEDB)


def run_step(step: str, python: Path, **described: Any) -> dict[str, Any]:
    """One step in a process of its own.

    Raises:
        RuntimeError: it failed; the message is its last line.
    """
    words = {
        key: str(value) if isinstance(value, Path) else value for key, value in described.items()
    }
    command = [str(python), str(_SOURCES / "search_peers.py"), step, json.dumps(words)]
    environment = dict(os.environ, PYTHONPATH=f"{_SOURCES.parent / 'src'}{os.pathsep}{_SOURCES}")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise RuntimeError(last[0])
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def measure(
    name: str, collection: Collection, count: int, truth: Truth, args: argparse.Namespace
) -> dict[str, Any]:
    """One contestant at one size, or the reason why it is not there."""
    most, reason = REASONS.get(name, (None, ""))
    if most is not None and count > most:
        return {"skipped": reason}
    place = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=args.cache))
    try:
        python = python_of(name, args.cache)
        shared = {"name": name, "data": collection.folder, "count": count, "folder": place / "made"}
        built = run_step("build", python, **shared)
        asked = run_step("ask", python, **shared, most_seconds=args.most_seconds)
    except (RuntimeError, subprocess.CalledProcessError, OSError) as error:
        return {"skipped": f"failed: {error}"}
    finally:
        shutil.rmtree(place, ignore_errors=True)
    found = asked.pop("rows")
    return {**recalls(found, truth), **built, **asked}


def recalls(found: list[list[int]], truth: Truth) -> dict[str, float]:
    """Shares of the exact answers that the first answers hold."""
    right = truth.rows[: len(found)].tolist()
    pairs = list(zip(found, right, strict=True))
    return {
        "recall_1": float(np.mean([mine[:1] == best[:1] for mine, best in pairs])),
        "recall_10": float(
            np.mean([len(set(mine[:10]) & set(best)) / len(best) for mine, best in pairs])
        ),
        "best_in_10": float(np.mean([best[0] in mine[:10] for mine, best in pairs])),
        "best_in_100": float(np.mean([best[0] in mine for mine, best in pairs])),
    }


def exact_row(collection: Collection, count: int, truth: Truth) -> dict[str, Any]:
    """What the exact answers cost, all queries at once."""
    queries = len(truth.rows)
    steps = int(collection.sequences(count).offsets[-1])
    return {
        **{key: 1.0 for key in ("recall_1", "recall_10", "best_in_10", "best_in_100")},
        "queries": queries,
        "ms_a_query": 1e3 * truth.seconds / queries,
        "cpu_ms_a_query": 1e3 * truth.cpu_seconds / queries,
        "queries_a_second": queries / truth.seconds,
        "bytes_an_item": 4 * steps * collection.described["dimensions"] / count,
        "method": truth.method,
    }


def growth(sizes: list[dict[str, Any]]) -> dict[str, list[dict[str, float]]]:
    """For every contestant, size to size: how many times the items and the cost of a query."""
    found: dict[str, list[dict[str, float]]] = {}
    for small, large in itertools.pairwise(sizes):
        for name, row in large["contestants"].items():
            before = small["contestants"].get(name, {})
            if "ms_a_query" in row and "ms_a_query" in before:
                found.setdefault(name, []).append(
                    {
                        "from": small["n"],
                        "to": large["n"],
                        "items": large["n"] / small["n"],
                        "cost": row["ms_a_query"] / before["ms_a_query"],
                    }
                )
    return found


def read_out(path: Path | None, key: dict[str, Any]) -> list[dict[str, Any]]:
    """Sizes that were measured before with the same settings."""
    if path is None or not path.is_file():
        return []
    found = json.loads(path.read_text("utf-8"))
    if found.get("settings") != key:
        raise SystemExit(
            f"{path} holds {found.get('settings')}, this is {key}; choose another --out"
        )
    sizes: list[dict[str, Any]] = found["sizes"]
    return sizes


def report_of(sizes: list[dict[str, Any]], key: dict[str, Any]) -> dict[str, Any]:
    """All that was measured."""
    return {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "settings": key,
        "sizes": sizes,
        "growth": growth(sizes),
    }


def shown(value: float | None, digits: int = 0, factor: float = 1.0) -> str:
    """A number of a table."""
    return "-" if value is None else f"{value * factor:,.{digits}f}"


def print_tables(report: dict[str, Any]) -> None:
    """Markdown: one table a size, one of growth, and what the names stand for."""
    for size in report["sizes"]:
        shape = f"{size['steps_an_item']:.0f} steps of {size['dim']} dimensions"
        print(f"\nN = {size['n']:,}, {shape}, {size['queries']} queries\n")
        print(
            "| | R@1 | R@10 | best in 100 | ms a query | queries a s | bytes an utterance "
            "| with residuals | build s | open ms | resident MB (before) |\n|---|" + "--:|" * 10
        )
        for name, row in size["contestants"].items():
            if "skipped" in row:
                print(f"| {name} | left out: {row['skipped']} |" + " |" * 9)
                continue
            cells = [
                name,
                shown(row["recall_1"], 3),
                shown(row["recall_10"], 3),
                shown(row["best_in_100"], 3),
                shown(row["ms_a_query"], 1),
                shown(row["queries_a_second"], 1),
                shown(row["bytes_an_item"]),
                shown(row.get("bytes_an_item_with_residuals")),
                shown(row.get("build_seconds"), 1),
                shown(row.get("open_ms"), 1),
                f"{shown(row['resident_mb'])} ({shown(row['resident_before_mb'])})"
                if "resident_mb" in row
                else "-",
            ]
            print("| " + " | ".join(cells) + " |")
    if report["growth"]:
        print("\n| | from | to | items times | cost of a query times |\n|---|--:|--:|--:|--:|")
        for name, steps in report["growth"].items():
            for step in steps:
                print(
                    f"| {name} | {step['from']:,} | {step['to']:,} | {step['items']:.0f} "
                    f"| {step['cost']:.1f} |"
                )
    print()
    for name, text in DESCRIPTIONS.items():
        print(f"{name}: {text}")


def sizes_of(text: str) -> list[int]:
    """Different numbers above 0, the smallest first."""
    sizes = sorted({int(number) for number in text.split(",")})
    if sizes[0] < 1:
        raise argparse.ArgumentTypeError(f"{sizes[0]} is less than 1")
    return sizes


sizes_of.__name__ = "numbers with commas"  # argparse says "invalid numbers with commas value"


def parsed() -> argparse.Namespace:
    """The command line."""
    summary = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(description=summary)
    parser.add_argument(
        "--sizes", type=sizes_of, help="values of N, with commas; default 1000,10000,100000"
    )
    parser.add_argument("--dim", type=int, default=128, help="dimensions; default 128")
    parser.add_argument("--steps", type=int, default=60, help="mean steps; default 60")
    parser.add_argument("--queries", type=int, default=200, help="at most; default 200")
    parser.add_argument("--seed", type=int, default=1, help="of the collection; default 1")
    parser.add_argument("--encoded", type=Path, help="folder of `isogloss speech encode`")
    parser.add_argument("--manifest", type=Path, help="items of --encoded")
    parser.add_argument("--hold-out", metavar="VARIETY", help="of --encoded: asks, is not indexed")
    parser.add_argument(
        "--contestants", default=",".join(CONTESTANTS), help="default all, with commas"
    )
    parser.add_argument(
        "--truth", choices=("float32", "int8"), default="float32", help="of the exact answers"
    )
    parser.add_argument(
        "--most-seconds",
        type=float,
        default=120.0,
        help="a contestant stops asking after so long; recall is that of what it answered",
    )
    parser.add_argument("--cache", type=Path, help="collections, exact answers; default temporary")
    parser.add_argument("--out", type=Path, help="JSON that is added to after every contestant")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    args = parser.parse_args()
    unknown = set(args.contestants.split(",")) - set(CONTESTANTS)
    if unknown:
        parser.error(f"unknown contestants {', '.join(sorted(unknown))}; {', '.join(CONTESTANTS)}")
    if args.encoded and not (args.manifest and args.hold_out):
        parser.error("--encoded needs --manifest and --hold-out")
    return args


def main() -> None:
    """Measure and print."""
    args = parsed()
    with tempfile.TemporaryDirectory(prefix="search-benchmark-") as temporary:
        args.cache = (args.cache or Path(temporary)).resolve()
        args.cache.mkdir(parents=True, exist_ok=True)
        report = run(args)
    if args.json:
        print(json.dumps(report, indent=2))
    else:
        print_tables(report)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """All sizes, all contestants; what --out holds is taken from there."""
    if args.encoded:
        collection, every = real_collection(
            args.cache, args.encoded, args.manifest, args.hold_out, args.queries, args.seed
        )
        sizes = sorted({min(n, every) for n in args.sizes or [every]})
        key = {"encoded": args.encoded.name, "held_out": args.hold_out, "queries": args.queries}
    else:
        sizes = args.sizes or [1000, 10_000, 100_000]
        settings = StructuredSettings(
            items=max(sizes),
            queries=min(args.queries, min(sizes)),
            dimensions=args.dim,
            steps=args.steps,
            seed=args.seed,
        )
        collection = structured_collection(args.cache, sizes, settings)
        key = {"dim": args.dim, "steps": args.steps, "queries": args.queries, "seed": args.seed}
    done = read_out(args.out, key)
    for count in sizes:
        size = next((row for row in done if row["n"] == count), None)
        if size is None:
            sequences = collection.sequences(count)
            size = {
                "n": count,
                "dim": collection.described["dimensions"],
                "steps_an_item": float(sequences.offsets[-1] / count),
                "queries": len(collection.queries(count)),
                "contestants": {},
            }
            done = sorted([*done, size], key=lambda row: int(row["n"]))
        rows = size["contestants"]
        missing = [name for name in args.contestants.split(",") if name not in rows]
        if not missing and "exact" in rows:
            continue
        truth = exact_answers(collection, count, args.truth)
        rows.setdefault("exact", exact_row(collection, count, truth))
        for name in missing:
            print(f"{name} at {count}", file=sys.stderr)
            rows[name] = measure(name, collection, count, truth, args)
            if args.out is not None:
                args.out.write_text(json.dumps(report_of(done, key), indent=2), "utf-8")
    return report_of(done, key)


if __name__ == "__main__":
    main()
