"""Time of SeqSim against Python loops, a padded batch and the machine's matrix-multiply peak.

Run it with: python benchmarks/seqsim.py [--sizes 50,500,2000] [--dim 256,512] [--json]

N queries of 60 to 120 steps are compared with N items: sequences of concepts with noise, in another
variety (`corpora/synth/sequences.py`). Contestants:

- broadcast: a loop over pairs of the function published with the YuBao benchmark, its bug mended,
  that is `torch.nn.functional.cosine_similarity` of all steps with all (needs torch);
- product: a loop over pairs with one numpy matrix product each, the best that a loop can do;
- padded: one query with all items at once, padded to the longest, and a mask;
- float32: `isogloss.scores.seqsim`, all pairs;
- int8: `isogloss.search.exact.nearest` with int8, which finds the ten best items of every query
  and scores in float32 what can be among them; the answer is checked against float32.

They take turns, float32 and int8 next to each other and each first every other time, so that a
machine whose speed changes is fair to all, and the shortest time of each counts; there are five
turns, or fewer where the next might end after --seconds. The peak is the best rate of several large
float32 products, in numpy and, where it is installed, in torch, with as many threads, tried in
every turn. What takes long is timed on a sample and multiplied up, which the table marks with '~'.
On Gaussian noise, whose scores are all alike, int8 can rule nothing out: that is shown too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss.corpora.progress import with_progress
from isogloss.corpora.synth.sequences import StructuredSettings, structured_sequences
from isogloss.scores import seqsim
from isogloss.scores.seqsim_blocks import thread_count
from isogloss.search.exact import fast_int8, nearest
from isogloss.types import FloatArray, Sequences

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SHORTEST, _LONGEST, _MEAN = 60, 120, 90
_K = 10
_MOST_TURNS = 5
_NOISE_QUERIES = 128  # from so many on `nearest` looks before it leaps
# Long enough (seconds) that a sample meets the same disturbances as a whole run of the others.
_SAMPLED_PRODUCT, _SAMPLED_BROADCAST, _SAMPLED_PADDED = 20_000, 60, 25
# The threads of numpy's BLAS go on turning for a while after a product, and would hold the cores.
_REST_SECONDS = 0.3


def structured(count: int, dimensions: int) -> tuple[Sequences, Sequences]:
    """`count` queries and as many items, each the translation of one, of 60 to 120 steps."""
    pool = 2 * count + 60
    settings = StructuredSettings(items=pool, queries=pool, steps=_MEAN)
    rank = min(settings.rank, dimensions)
    made = structured_sequences(
        replace(settings, dimensions=dimensions, rank=rank, map_rank=min(settings.map_rank, rank))
    )
    sides = []
    for sequences, items in ((made.queries, made.query_items), (made.sequences, made.items)):
        fits = (sequences.lengths >= _SHORTEST) & (sequences.lengths <= _LONGEST)
        sides.append({items[i].meaning: i for i in np.flatnonzero(fits).tolist()})
    meanings = [meaning for meaning in sides[0] if meaning in sides[1]][:count]
    if len(meanings) < count:
        raise ValueError(f"only {len(meanings)} of {count} sequences have 60 to 120 steps")
    return (
        made.queries.select([sides[0][meaning] for meaning in meanings]),
        made.sequences.select([sides[1][meaning] for meaning in meanings]),
    )


def noise(like: Sequences, seed: int) -> Sequences:
    """Gaussian steps in sequences as long as those of `like`."""
    values = np.random.default_rng(seed).standard_normal(like.values.shape, dtype=np.float32)
    return Sequences(like.ids, values, like.offsets)


def product_pair(x: FloatArray, y: FloatArray) -> float:
    """SeqSim of one pair by one matrix product."""
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    y = y / np.linalg.norm(y, axis=1, keepdims=True)
    cosines = x @ y.T
    precision, recall = float(cosines.max(axis=1).mean()), float(cosines.max(axis=0).mean())
    both = precision > 0 and recall > 0
    return 2 * precision * recall / (precision + recall) if both else 0.0


def broadcast_pair(x: FloatArray, y: FloatArray) -> float:
    """SeqSim of one pair as published, with the cosine of every step with every step."""
    import torch

    source, target = torch.from_numpy(x), torch.from_numpy(y)
    cosines = torch.nn.functional.cosine_similarity(source[:, None], target[None], dim=2)
    precision = float(cosines.max(dim=1).values.mean())
    recall = float(cosines.max(dim=0).values.mean())
    both = precision > 0 and recall > 0
    return 2 * precision * recall / (precision + recall) if both else 0.0


class Padded:
    """Items padded to the longest; one query with all of them in a batch."""

    def __init__(self, items: Sequences) -> None:
        lengths = items.lengths
        self.real = np.arange(lengths.max()) < lengths[:, None]
        self.steps = np.zeros((*self.real.shape, items.values.shape[1]), dtype=np.float32)
        self.steps[self.real] = items.values / np.linalg.norm(items.values, axis=1, keepdims=True)
        self.lengths = lengths

    def scores(self, query: FloatArray) -> FloatArray:
        """SeqSim of a query (T, D) with every item, (M,)."""
        unit = query / np.linalg.norm(query, axis=1, keepdims=True)
        cosines = np.matmul(unit[None], self.steps.transpose(0, 2, 1))
        np.copyto(cosines, -np.inf, where=~self.real[:, None])
        precision = cosines.max(axis=2).mean(axis=1)
        best = np.where(self.real, cosines.max(axis=1), 0)
        recall = best.sum(axis=1) / self.lengths
        both = (precision > 0) & (recall > 0)
        f1 = 2 * precision * recall / np.where(both, precision + recall, 1)
        return np.where(both, f1, 0).astype(np.float32)


def seconds(function: Callable[[], object]) -> float:
    """Wall time of one call, after a rest."""
    time.sleep(_REST_SECONDS)
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def products(threads: int) -> dict[str, Callable[[FloatArray, FloatArray, FloatArray], object]]:
    """Matrix products, into the third argument, by the library's name; numpy is told by `main`."""

    def by_numpy(left: FloatArray, right: FloatArray, out: FloatArray) -> object:
        return np.matmul(left, right, out=out)

    found: dict[str, Callable[[FloatArray, FloatArray, FloatArray], object]] = {"numpy": by_numpy}
    if find_spec("torch") is not None:
        import torch

        torch.set_num_threads(threads)

        def by_torch(left: FloatArray, right: FloatArray, out: FloatArray) -> object:
            return torch.matmul(*map(torch.from_numpy, (left, right)), out=torch.from_numpy(out))

        found["torch"] = by_torch
    return found


def peak_flops(threads: int) -> dict[str, float]:
    """Multiply-adds times two per second of the fastest large float32 product of each library."""
    rng = np.random.default_rng(0)
    best: dict[str, float] = {}
    for rows, depth, columns in ((4096, 512, 4096), (2048, 2048, 2048), (8192, 1024, 2048)):
        left = rng.standard_normal((rows, depth), dtype=np.float32)
        right = rng.standard_normal((depth, columns), dtype=np.float32)
        out = np.empty((rows, columns), dtype=np.float32)
        for name, product in products(threads).items():
            time.sleep(_REST_SECONDS)
            for _ in range(4):
                start = time.perf_counter()
                product(left, right, out)
                rate = 2.0 * rows * columns * depth / (time.perf_counter() - start)
                best[name] = max(best.get(name, 0.0), rate)
    return best


class Turns:
    """Contestants of one size, called in turn; the shortest time of each is kept."""

    def __init__(self, queries: Sequences, items: Sequences, threads: int) -> None:
        self.queries, self.items, self.threads = queries, items, threads
        self.padded = Padded(items)
        self.best: dict[str, float] = {}
        self.turns: dict[str, list[float]] = {}
        self.peaks: dict[str, float] = {}
        self.taken = 0
        self.scores: FloatArray = np.empty((0, 0), dtype=np.float32)
        self.ranking = nearest(queries.select([]), items.select([]), 1)
        pairs = len(queries) * len(items)
        rng = np.random.default_rng(1)
        self.pairs = [divmod(pair, len(items)) for pair in rng.permutation(pairs).tolist()]

    def take(self) -> None:
        """One turn of everybody."""
        count = len(self.queries) * len(self.items)
        few = min(_SAMPLED_PADDED, len(self.queries))
        for name, rate in peak_flops(self.threads).items():
            self.peaks[name] = max(self.peaks.get(name, 0.0), rate)
        ours = [("float32", self._float32), ("int8", self._int8)]
        for name, contestant in ours if self.taken % 2 == 0 else ours[::-1]:
            self._note(name, seconds(contestant), 1)
        self.taken += 1
        product = min(_SAMPLED_PRODUCT, count)
        self._note("product", seconds(lambda: self._loop(product_pair, product)), count / product)
        self._note("padded", seconds(lambda: self._padded(few)), len(self.queries) / few)
        if find_spec("torch") is not None:
            sample = min(_SAMPLED_BROADCAST, count)
            taken = seconds(lambda: self._loop(broadcast_pair, sample))
            self._note("broadcast", taken, count / sample)

    def _note(self, name: str, taken: float, times: float) -> None:
        self.turns.setdefault(name, []).append(taken * times)
        self.best[name] = min(self.turns[name])
        self.best[f"{name} sampled"] = times > 1

    def times_slower(self, name: str) -> float:
        """How many times longer than float32 a contestant took: the median over turns.

        Both times of a ratio are of one turn, so that a machine that slows down slows down both.
        """
        pairs = zip(self.turns[name], self.turns["float32"], strict=True)
        return float(np.median([other / ours for other, ours in pairs]))

    def _float32(self) -> None:
        self.scores = seqsim(self.queries, self.items, threads=self.threads)

    def _int8(self) -> None:
        self.ranking = nearest(self.queries, self.items, _K, method="int8", threads=self.threads)

    def _loop(self, pair: Callable[[FloatArray, FloatArray], float], sample: int) -> None:
        for i, j in self.pairs[:sample]:
            pair(self.queries[i], self.items[j])

    def _padded(self, few: int) -> None:
        for number in range(few):
            self.padded.scores(self.queries[number])

    def largest_difference(self) -> float:
        """Largest difference of float32 from the two other ways, on samples."""
        loop = [
            abs(product_pair(self.queries[i], self.items[j]) - float(self.scores[i, j]))
            for i, j in self.pairs[:50]
        ]
        batch = np.abs(self.padded.scores(self.queries[0]) - self.scores[0]).max()
        return max(*loop, float(batch))

    def identical(self) -> bool:
        """Whether int8 found the ids, scores and order that sorting all float32 scores gives."""
        for query, row in enumerate(self.scores):
            order = sorted(range(len(row)), key=lambda i: (-row[i], self.items.ids[i]))[:_K]
            ids = tuple(self.items.ids[i] for i in order)
            scores = tuple(float(row[i]) for i in order)
            hits = self.ranking.hits
            if (ids, scores) != (hits.ids[query], hits.scores[query]):
                return False
        return True


def while_there_is_time(most: int, most_seconds: float) -> Iterator[int]:
    """Numbers below `most`, until one more might take longer than is left; at least 0."""
    start = time.perf_counter()
    longest = 0.0
    for number in range(most):
        before = time.perf_counter()
        if number and before - start + longest > most_seconds:
            return
        yield number
        longest = max(longest, time.perf_counter() - before)


def measure(
    count: int, dimensions: int, threads: int, turns: int, most_seconds: float
) -> dict[str, Any]:
    """All times for N = `count`."""
    queries, items = structured(count, dimensions)
    race = Turns(queries, items, threads)
    numbers = while_there_is_time(turns, most_seconds)
    for _ in with_progress(numbers, f"N = {count}, D = {dimensions}", total=turns):
        race.take()
    best = race.best
    peak_of = max(race.peaks, key=race.peaks.__getitem__)
    peak = race.peaks[peak_of]
    flops = 2.0 * len(queries.values) * len(items.values) * dimensions
    row: dict[str, Any] = {
        "n": count,
        "dim": dimensions,
        "turns": race.taken,
        "peak_of": peak_of,
        "peak_gflops": 1e-9 * peak,
        "peak_seconds": flops / peak,
        "float32_seconds": best["float32"],
        "share_of_peak": flops / peak / best["float32"],
        "int8_seconds": best["int8"],
        "int8_speedup": 1 / race.times_slower("int8"),
        "int8_is_fast_here": fast_int8(dimensions),
        "int8_identical_top10": race.identical(),
        "int8_rescored_pairs": sum(race.ranking.scored),
        "int8_rescored_share": sum(race.ranking.scored) / count**2,
        "largest_difference": race.largest_difference(),
        "speedup_over_loop": race.times_slower("product"),
    }
    for name in ("product", "broadcast", "padded"):
        if name in best:
            row |= {
                f"{name}_seconds": best[name],
                f"{name}_extrapolated": bool(best[f"{name} sampled"]),
                f"speedup_over_{name}": race.times_slower(name),
            }
    return row | measure_noise(queries, items, threads)


def measure_noise(queries: Sequences, items: Sequences, threads: int) -> dict[str, Any]:
    """The int8 figures where all scores are alike, for some of the queries, once."""
    few = range(min(len(queries), _NOISE_QUERIES))
    left, right = noise(queries.select(few), 1), noise(items, 2)
    float32 = seconds(lambda: seqsim(left, right, threads=threads))
    int8 = seconds(lambda: nearest(left, right, _K, threads=threads))
    return {
        "noise_queries": len(few),
        "noise_float32_seconds": float32,
        "noise_int8_speedup": float32 / int8,
    }


def with_threads(threads: int) -> None:
    """Start again with as many threads in every library, unless they are set so."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    if any(os.environ.get(name) != str(threads) for name in names):
        environment = os.environ | dict.fromkeys(names, str(threads))
        os.execve(sys.executable, [sys.executable, *sys.argv], environment)


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="50,500,2000", help="values of N, with commas")
    parser.add_argument("--dim", default="256,512", help="values of D, with commas")
    parser.add_argument("--turns", type=int, default=_MOST_TURNS, help="of every contestant")
    parser.add_argument(
        "--seconds", type=float, default=90, help="for each size no turn after these (default 90)"
    )
    parser.add_argument("--threads", type=int, help="of every contestant (default: all cores)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    threads = arguments.threads or thread_count(None)
    with_threads(threads)
    nearest(*structured(12, 64), 2)  # compiles
    rows = []
    for dimensions in map(int, arguments.dim.split(",")):
        for count in map(int, arguments.sizes.split(",")):
            rows.append(
                measure(count, dimensions, threads, max(1, arguments.turns), arguments.seconds)
            )
    machine = {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": threads,
        "numpy": np.__version__,
        "peak_gflops": max(row["peak_gflops"] for row in rows),
    }
    if arguments.json:
        print(json.dumps({"machine": machine, "sizes": rows}, indent=2))
        return
    fastest = max(rows, key=lambda row: row["peak_gflops"])
    print(f"matrix product by {fastest['peak_of']}: {fastest['peak_gflops']:.0f} GFLOP/s, ", end="")
    print(f"{threads} threads, ", end="")
    print(f"numpy {np.__version__}; seconds, and how many times the time of float32")
    head = (
        "N",
        "D",
        "peak",
        "float32",
        "of peak",
        "int8",
        "speedup",
        "rescored",
        "same",
        "on noise",
    )
    print("".join(f"{name:>10}" for name in (*head, "broadcast", "", "product", "", "padded", "")))
    for row in rows:
        cells = [
            str(row["n"]),
            str(row["dim"]),
            f"{row['peak_seconds']:.3f}",
            f"{row['float32_seconds']:.3f}",
            f"{row['share_of_peak']:.0%}",
            f"{row['int8_seconds']:.3f}",
            f"{row['int8_speedup']:.2f}x",
            f"{row['int8_rescored_share']:.1%}",
            "yes" if row["int8_identical_top10"] else "NO",
            f"{row['noise_int8_speedup']:.2f}x",
            *loop_cells(row, "broadcast"),
            *loop_cells(row, "product"),
            *loop_cells(row, "padded"),
        ]
        print("".join(f"{cell:>10}" for cell in cells))


def loop_cells(row: dict[str, Any], name: str) -> list[str]:
    """Seconds of a way, with '~' where multiplied up, and how many times slower it is."""
    if f"{name}_seconds" not in row:
        return ["-", "-"]
    mark = "~" if row[f"{name}_extrapolated"] else ""
    return [f"{mark}{row[f'{name}_seconds']:.2f}", f"{row[f'speedup_over_{name}']:.1f}"]


if __name__ == "__main__":
    main()
