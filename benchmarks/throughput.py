"""Training throughput and memory of our Zipformer beside public implementations, in one run.

Run it with: python benchmarks/throughput.py [--size small] [--batch-seconds 60] [--threads 1]
    [--device cpu] [--repeats 3] [--seconds 20] [--json | --markdown]

The contestants are ours, the Zipformer of the PyPI package `zipformer` and the Conformer of
`torchaudio` (behind its own stacking of four frames) with about as many parameters. All take the
same batches of random features, short, middling and long ones, through forward, CTC loss, backward
and optimiser (ScaledAdam; AdamW for the Conformer). Each measurement is a process of its own, and
they take turns, A B C A B C, so that a machine whose speed changes is fair to all.

Columns: parameters; seconds of audio trained on per second, the median over repetitions and the
range; the same per second of CPU time, which other processes disturb less; the most memory of the
process above what it held with all libraries imported; the most memory in tensors, counted exactly
(CPU only). On CUDA the memory is what the allocator held at most.

The public packages go into an environment that this makes at the first run (needs a package index).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from contestant import NAMES, Settings
from peers import peer_python

_SOURCES = Path(__file__).parent
_MEGABYTE = 1e6


def run_contestant(settings: Settings, python: Path) -> dict[str, Any]:
    """One measurement in a process of its own."""
    command = [str(python), str(_SOURCES / "contestant.py"), settings.as_json()]
    environment = dict(
        os.environ,
        OMP_NUM_THREADS=str(settings.threads),
        # The package compiles its Swoosh, which takes minutes on a CPU before the first step.
        TORCH_COMPILE_DISABLE="1",
        PYTHONPATH=str(_SOURCES.parent / "src"),
    )
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0 or not done.stdout.strip():
        last = done.stderr.strip().splitlines()[-8:]
        raise SystemExit(
            f"{settings.name}, {settings.size}: exit code {done.returncode}\n" + "\n".join(last)
        )
    row: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return row


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Repetitions of one contestant as one row: median speed and its range, largest memory."""
    speeds = [row["audio_per_second"] for row in rows]
    joined = {key: rows[0][key] for key in ("name", "size", "parameters", "precision", "torch")}
    joined |= {
        "repeats": len(rows),
        "audio_per_second": statistics.median(speeds),
        "audio_per_second_range": [min(speeds), max(speeds)],
        "audio_per_cpu_second": statistics.median(row["audio_per_cpu_second"] for row in rows),
    }
    for key in ("process_bytes", "tensor_bytes", "device_bytes"):
        found = [row[key] for row in rows if key in row]
        if found:
            joined[key] = max(found)
    return joined


def cells(row: dict[str, Any]) -> list[str]:
    """One row of the table."""
    low, high = row["audio_per_second_range"]
    memory = [f"{row[key] / _MEGABYTE:.0f}" for key in memory_keys(row)]
    return [
        row["name"],
        row["size"],
        f"{row['parameters'] / 1e6:.1f}",
        f"{row['audio_per_second']:.1f} ({low:.1f}-{high:.1f})",
        f"{row['audio_per_cpu_second']:.1f}",
        *memory,
    ]


def memory_keys(row: dict[str, Any]) -> list[str]:
    """Which kinds of memory were measured."""
    return [key for key in ("process_bytes", "tensor_bytes", "device_bytes") if key in row]


def table(rows: list[dict[str, Any]], *, markdown: bool) -> str:
    """All rows, aligned for a terminal or as Markdown."""
    titles = {
        "process_bytes": "process MB",
        "tensor_bytes": "tensors MB",
        "device_bytes": "device MB",
    }
    head = ["contestant", "size", "million", "audio s / s (range)", "audio s / CPU s"]
    head += [titles[key] for key in memory_keys(rows[0])]
    lines = [cells(row) for row in rows]
    if markdown:
        bars = ["---"] * 2 + ["---:"] * (len(head) - 2)
        return "\n".join("| " + " | ".join(line) + " |" for line in (head, bars, *lines))
    widths = [max(len(line[i]) for line in (head, *lines)) for i in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in (head, *lines)
    )


def machine() -> dict[str, Any]:
    """What ran it."""
    model = platform.processor() or platform.machine()
    cpu_info = Path("/proc/cpuinfo")
    if cpu_info.is_file():
        for line in cpu_info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {"processor": model, "cores": os.cpu_count(), "python": platform.python_version()}


def measure_all(sizes: list[str], names: list[str], options: argparse.Namespace) -> Any:
    """Every contestant in every size, taking turns."""
    ours = Path(sys.executable)
    theirs = peer_python(options.venv) if set(names) - {"isogloss"} else ours
    rows = []
    for size in sizes:
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
        for turn in range(options.repeats):
            for name in names:
                print(f"{size}, turn {turn + 1} of {options.repeats}: {name}", file=sys.stderr)
                settings = Settings(
                    name,
                    size,
                    options.batch_seconds,
                    threads=options.threads,
                    device=options.device,
                    precision=options.precision,
                    seconds=options.seconds,
                    # Much the same every time, and counting it is slow.
                    count_tensors=3 if turn == 0 else 0,
                )
                python = ours if name == "isogloss" else theirs
                found[name].append(run_contestant(settings, python))
        rows += [summary(found[name]) for name in names]
    return rows


def main() -> int:
    """Print the table, JSON or Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", default="small", help="of the models; several with commas")
    parser.add_argument("--contestants", default=",".join(NAMES), help="of " + ", ".join(NAMES))
    parser.add_argument("--batch-seconds", type=float, default=60.0, help="audio in a batch")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement, at least")
    parser.add_argument("--repeats", type=int, default=3, help="turns of every contestant")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument(
        "--venv",
        type=Path,
        default=Path(tempfile.gettempdir()) / "isogloss-peers",
        help="folder of the environment of the public packages",
    )
    style = parser.add_mutually_exclusive_group()
    style.add_argument("--json", action="store_true", help="print JSON instead of a table")
    style.add_argument("--markdown", action="store_true", help="print a Markdown table")
    options = parser.parse_args()
    names = options.contestants.split(",")
    unknown = sorted(set(names) - set(NAMES))
    if unknown or options.repeats < 1:
        parser.error(f"no such contestant: {', '.join(unknown)}" if unknown else "repeats >= 1")
    if options.device != "cpu":
        import torch

        if not torch.cuda.is_available():
            print("torch finds no CUDA device here; use --device cpu", file=sys.stderr)
            return 2
    rows = measure_all(options.size.split(","), names, options)
    if options.json:
        print(json.dumps({"machine": machine(), "rows": rows}, indent=2))
        return 0
    about = machine()
    print(
        f"{about['processor']}, {about['cores']} cores, {options.threads} threads, torch "
        f"{rows[0]['torch']}, {options.device} {options.precision}, batches of "
        f"{options.batch_seconds:g} s, {options.repeats} turns\n"
    )
    print(table(rows, markdown=options.markdown))
    return 0


if __name__ == "__main__":
    sys.exit(main())
