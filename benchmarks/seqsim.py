"""Time of SeqSim against a Python double loop and against the machine's matrix-multiply peak.

Run it with: python benchmarks/seqsim.py [--sizes 50,500,2000] [--json]

N random sequences of 50 to 120 steps of 512 dimensions are compared with N others. Two loops over
pairs stand beside: 'mended' is the function published with the YuBao benchmark with its bug mended,
that is `torch.nn.functional.cosine_similarity` of all steps with all (needs torch); 'product' is
the best a loop can do, one numpy matrix product for each pair. Beyond a few hundred pairs a loop is
timed on a sample of pairs and multiplied up, which the table marks with '~'. The peak is the time
that one matrix product of as many multiplications would take at the rate measured here.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss.scores import seqsim
from isogloss.types import FloatArray, Sequences

if TYPE_CHECKING:
    from collections.abc import Callable

_DIMENSIONS = 512
_SHORTEST, _LONGEST = 50, 120
_SAMPLED_PRODUCT, _SAMPLED_MENDED = 3000, 200


def random_sequences(count: int, seed: int) -> Sequences:
    """`count` sequences of 50 to 120 Gaussian steps."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(_SHORTEST, _LONGEST + 1, count)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    values = rng.standard_normal((int(offsets[-1]), _DIMENSIONS), dtype=np.float32)
    return Sequences(tuple(f"item {i}" for i in range(count)), values, offsets)


def product_pair(x: FloatArray, y: FloatArray) -> float:
    """SeqSim of one pair by one matrix product."""
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    y = y / np.linalg.norm(y, axis=1, keepdims=True)
    cosines = x @ y.T
    precision, recall = cosines.max(axis=1).mean(), cosines.max(axis=0).mean()
    return float(2 * precision * recall / (precision + recall))


def mended_pair(x: FloatArray, y: FloatArray) -> float:
    """SeqSim of one pair as published, with the cosine of every step with every step."""
    import torch

    source, target = torch.from_numpy(x), torch.from_numpy(y)
    cosines = torch.nn.functional.cosine_similarity(source[:, None], target[None], dim=2)
    precision, recall = cosines.max(dim=1).values.mean(), cosines.max(dim=0).values.mean()
    return float((2 * precision * recall / (precision + recall)).item())


def seconds(function: Callable[[], object], repeats: int = 1) -> float:
    """Shortest wall time of `repeats` calls."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - start)
    return best


def peak_flops() -> float:
    """Multiply-adds times two per second of a large matrix product in float32."""
    rng = np.random.default_rng(0)
    left = rng.standard_normal((4096, _DIMENSIONS), dtype=np.float32)
    right = rng.standard_normal((_DIMENSIONS, 4096), dtype=np.float32)
    out = np.empty((4096, 4096), dtype=np.float32)
    taken = seconds(lambda: np.matmul(left, right, out=out), repeats=5)
    return 2.0 * 4096 * 4096 * _DIMENSIONS / taken


def loop_seconds(
    a: Sequences, b: Sequences, pair: Callable[[FloatArray, FloatArray], float], sample: int
) -> tuple[float, bool]:
    """Time of the double loop over all pairs, and whether it was multiplied up from a sample."""
    total = len(a) * len(b)
    rng = np.random.default_rng(1)
    sampled = total > sample
    if sampled:
        chosen = rng.integers(0, [len(a), len(b)], (sample, 2)).tolist()
    else:
        chosen = [(i, j) for i in range(len(a)) for j in range(len(b))]
    pair(a[0], b[0])
    taken = seconds(lambda: [pair(a[i], b[j]) for i, j in chosen])
    return taken / len(chosen) * total, sampled


def largest_difference(a: Sequences, b: Sequences, scores: FloatArray) -> float:
    """Largest difference from the loop on a sample of pairs."""
    rng = np.random.default_rng(2)
    chosen = rng.integers(0, [len(a), len(b)], (50, 2)).tolist()
    return max(abs(product_pair(a[i], b[j]) - float(scores[i, j])) for i, j in chosen)


def measure(count: int, peak: float) -> dict[str, Any]:
    """All times for N = `count`."""
    a, b = random_sequences(count, 0), random_sequences(count, 1)
    scores = np.empty(0, dtype=np.float32)

    def fast() -> None:
        nonlocal scores
        scores = seqsim(a, b)

    taken = seconds(fast, repeats=3 if count <= 100 else 1)
    flops = 2.0 * len(a.values) * len(b.values) * _DIMENSIONS
    row: dict[str, Any] = {
        "n": count,
        "seqsim_seconds": taken,
        "seqsim_symmetric_seconds": seconds(lambda: seqsim(a, a)),
        "peak_seconds": flops / peak,
        "share_of_peak": flops / peak / taken,
        "largest_difference": largest_difference(a, b, scores),
    }
    loops = {"product": (product_pair, _SAMPLED_PRODUCT)}
    if find_spec("torch") is not None:
        loops["mended"] = (mended_pair, _SAMPLED_MENDED)
    for name, (pair, sample) in loops.items():
        loop, sampled = loop_seconds(a, b, pair, sample)
        row |= {
            f"loop_{name}_seconds": loop,
            f"loop_{name}_extrapolated": sampled,
            f"times_faster_than_{name}_loop": loop / taken,
        }
    return row


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="50,500,2000", help="values of N, with commas")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    peak = peak_flops()
    rows = [measure(int(size), peak) for size in arguments.sizes.split(",")]
    machine = {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "numpy": np.__version__,
        "peak_gflops": peak / 1e9,
    }
    if arguments.json:
        print(json.dumps({"machine": machine, "rows": rows}, indent=2))
        return
    print(f"matrix product: {peak / 1e9:.0f} GFLOP/s, numpy {np.__version__}, threads: ", end="")
    print(f"{machine['threads']} of {machine['cores']}")
    head = ("N", "seqsim s", "a = b s", "peak s", "of peak", "mended s", "times", "product s")
    print("".join(f"{name:>12}" for name in (*head, "times")))
    for row in rows:
        cells = [
            str(row["n"]),
            f"{row['seqsim_seconds']:.3f}",
            f"{row['seqsim_symmetric_seconds']:.3f}",
            f"{row['peak_seconds']:.3f}",
            f"{row['share_of_peak']:.0%}",
            *loop_cells(row, "mended"),
            *loop_cells(row, "product"),
        ]
        print("".join(f"{cell:>12}" for cell in cells))


def loop_cells(row: dict[str, Any], name: str) -> list[str]:
    """Seconds of a loop, with '~' where multiplied up, and how many times slower it is."""
    if f"loop_{name}_seconds" not in row:
        return ["-", "-"]
    mark = "~" if row[f"loop_{name}_extrapolated"] else ""
    times = row[f"times_faster_than_{name}_loop"]
    return [f"{mark}{row[f'loop_{name}_seconds']:.2f}", f"{times:.1f}"]


if __name__ == "__main__":
    main()
