"""Two sets of sequences in, SeqSim of every pair out; called by `tasks/speech_retrieval.py`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from isogloss.scores.seqsim_blocks import (
    blocks,
    check_dimensions,
    check_steps,
    compiled_loops,
    mirror,
    refuse_step,
    tasks,
    thread_count,
)
from isogloss.types import FloatArray, Sequences

__all__ = ["seqsim", "seqsim_pair", "similarity_map"]

# One matrix product of this many rows and columns already runs at the machine's peak; larger tiles
# only cost memory.
_LARGEST_BLOCK_STEPS = 4096
# What numpy holds: a cosine, the best of it in float32, and P, R, F1 and what stands between them.
_COSINE_BYTES, _BEST_BYTES, _SCORE_BYTES = 4, 4, 64
# Rows of steps that are normalised at a time.
_ROWS_AT_ONCE = 4096


def seqsim(
    a: Sequences,
    b: Sequences,
    *,
    memory_budget_mb: float = 256,
    device: str = "cpu",
    threads: int | None = None,
) -> FloatArray:
    """SeqSim of every sequence of `a` with every sequence of `b`: (N, M) float32 in [0, 1].

    For one pair, P is the mean over the steps of the first of their best cosine among the steps of
    the second, R the converse, and the score is 2PR / (P + R), or 0 when P <= 0 or R <= 0. The
    score is symmetric, does not change with the scale of a step or the order of the steps, and is
    1 for a sequence with itself. A step of norm 0 has cosine 0 with everything.

    Cosines are computed by matrix products over blocks of whole sequences, and the maxima taken
    while a block is in the cache; nothing is padded, so a score does not depend on what else is in
    `a` or `b`. When `b` is the same object as `a`, half of the work is done.

    Three ways lead to the same scores, up to rounding of about 1e-6. Where numba is installed
    (extra `search`), compiled loops (`scores/seqsim_kernels.py`), in which a score is the same to
    the last bit in any company; else numpy, at about half the speed; on another device torch.

    Args:
        a: N sequences of (T, D) steps, each T at least 1.
        b: M sequences of (U, D) steps, each U at least 1, of the same D.
        memory_budget_mb: bound, in MiB, on the cosines and maxima held at one time, of which those
            of one step, or in the compiled loops of one item, with one item are the least possible.
            Beside them stand normalised copies of `a` and `b`, in the compiled loops a packed one
            of `b` and up to 2 MiB a thread, and the result.
        device: "cpu", or a device of torch such as "cuda", "cuda:1".
        threads: processor threads of the compiled loops, by default one a core (numba's own
            setting NUMBA_NUM_THREADS is kept); numpy and torch follow their own settings.

    Returns:
        (N, M) float32; N or M may be 0.

    Raises:
        ValueError: D differs, a sequence has no steps or holds NaN or infinity (its id is named),
            the memory budget is not positive and finite, `threads` is below 1, or torch has no such
            device.
        MissingExtra: another device than "cpu", and torch is not installed.

    Source: Ma et al. 2025 (NAACL short), SeqSim, which is BERTScore over encoder steps without idf
    weights. We differ where P and R are not both positive: the formula is unbounded there.
    """
    check_dimensions(a, b, memory_budget_mb)
    threads = thread_count(threads)
    if device != "cpu":
        from isogloss.scores import seqsim_torch

        return seqsim_torch.all_pairs(a, b, memory_budget_mb=memory_budget_mb, device=device)
    if compiled_loops():
        from isogloss.scores import seqsim_tiles

        return seqsim_tiles.all_pairs(a, b, memory_budget_mb=memory_budget_mb, threads=threads)
    return _all_pairs_numpy(a, b, memory_budget_mb)


def _all_pairs_numpy(a: Sequences, b: Sequences, memory_budget_mb: float) -> FloatArray:
    """As `seqsim`, of sequences of equal D, without numba."""
    same = a is b
    unit_a = _unit_steps(a)
    unit_b = unit_a if same else _unit_steps(b)
    starts_a, starts_b = a.offsets.astype(np.int64), b.offsets.astype(np.int64)
    # Half is for cosines, half for maxima and scores.
    half = memory_budget_mb * 2**20 / 2
    cells = max(1, min(_LARGEST_BLOCK_STEPS**2, int(half / _COSINE_BYTES)))
    most_steps = int(cells**0.5)
    # Beside one long item stand its best cosines with every item of a block.
    longest = int(np.diff(starts_a).max(initial=1))
    columns = blocks(starts_b, most_steps, max(1, int(half / 2 / _BEST_BYTES / longest)))
    parts = tasks(
        starts_a,
        starts_b,
        columns,
        most_steps,
        room=half,
        row=_BEST_BYTES,
        column=_BEST_BYTES,
        score=_SCORE_BYTES,
        same=same,
    )
    scores = np.empty((len(a), len(b)), dtype=np.float32)
    for (first_a, last_a), block in parts:
        first_b, last_b = columns[block]
        offsets_a = starts_a[first_a : last_a + 1]
        offsets_b = starts_b[first_b : last_b + 1]
        tile = _scores_of_blocks(
            unit_a[offsets_a[0] : offsets_a[-1]],
            offsets_a - offsets_a[0],
            unit_b[offsets_b[0] : offsets_b[-1]],
            offsets_b - offsets_b[0],
            cells,
        )
        scores[first_a:last_a, first_b:last_b] = tile
    if same:
        mirror(scores)
    return scores


def seqsim_pair(x: FloatArray, y: FloatArray) -> float:
    """SeqSim of two sequences (T, D) and (U, D), in [0, 1]; see `seqsim`.

    Raises:
        ValueError: as `seqsim`; the two are named 'x' and 'y'.
    """
    a = Sequences.from_list(["x"], [_steps(x, "x")])
    b = Sequences.from_list(["y"], [_steps(y, "y")])
    return float(seqsim(a, b)[0, 0])


def similarity_map(x: FloatArray, y: FloatArray) -> FloatArray:
    """Cosine of every step of `x` with every step of `y`: (T, U) float32 in [-1, 1].

    This is the table from which SeqSim takes its row and column maxima. T or U may be 0; a step of
    norm 0 has cosine 0 with everything.

    Raises:
        ValueError: the arrays are not (T, D) and (U, D), or hold NaN or infinity.
    """
    x, y = _steps(x, "x"), _steps(y, "y")
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"x has {x.shape[1]} dimensions and y has {y.shape[1]}")
    for name, array in (("x", x), ("y", y)):
        if not np.isfinite(array).all():
            raise ValueError(f"'{name}' holds NaN or infinity")
    cosines: FloatArray = np.clip(_normalised(x) @ _normalised(y).T, -1, 1)
    return cosines


def _steps(array: FloatArray, name: str) -> FloatArray:
    steps = np.asarray(array, dtype=np.float32)
    if steps.ndim != 2:
        raise ValueError(f"'{name}' must be (steps, dimensions), got shape {steps.shape}")
    return steps


def _unit_steps(sequences: Sequences) -> FloatArray:
    """Steps of length 1 (or 0), after refusing what has no score."""
    check_steps(sequences)
    # The sum is finite in float64 whenever all values are, and needs no (sum T, D) table of flags.
    with np.errstate(invalid="ignore"):
        sums = sequences.values.sum(axis=1, dtype=np.float64)
    broken = np.flatnonzero(~np.isfinite(sums))
    if len(broken):
        refuse_step(sequences, int(broken[0]))
    unit = np.empty(sequences.values.shape, dtype=np.float32)
    for first in range(0, len(unit), _ROWS_AT_ONCE):
        rows = slice(first, first + _ROWS_AT_ONCE)
        unit[rows] = _normalised(sequences.values[rows])
    return unit


def _normalised(steps: FloatArray) -> FloatArray:
    """Rows divided by their norm; rows of zeros stay zeros."""
    # Dividing by the largest entry first keeps the squares of very large or small values in range.
    largest = np.abs(steps).max(axis=1, keepdims=True, initial=0)
    scaled: FloatArray = np.divide(steps, largest, out=np.zeros_like(steps), where=largest > 0)
    norms = np.sqrt(np.einsum("td,td->t", scaled, scaled))[:, np.newaxis]
    np.divide(scaled, norms, out=scaled, where=norms > 0)
    return scaled


def _scores_of_blocks(
    unit_a: FloatArray,
    offsets_a: npt.NDArray[np.int64],
    unit_b: FloatArray,
    offsets_b: npt.NDArray[np.int64],
    cells: int,
) -> FloatArray:
    """F1 of each item of one block with each item of another, (n, m).

    The table of cosines is made a few rows at a time when it would not fit into `cells`, so an
    item of hours cannot exceed the budget.
    """
    steps_a, steps_b = len(unit_a), len(unit_b)
    best_for_a = np.empty((steps_a, len(offsets_b) - 1), dtype=np.float32)
    best_for_b = np.full((len(offsets_a) - 1, steps_b), -np.inf, dtype=np.float32)
    rows_at_once = min(steps_a, max(1, cells // steps_b))
    for top in range(0, steps_a, rows_at_once):
        bottom = min(top + rows_at_once, steps_a)
        cosines = unit_a[top:bottom] @ unit_b.T
        # Along rows `reduceat` is as fast as the memory; along columns it is 14 times slower than
        # one maximum for each item (measured with numpy 2.4), so the two directions differ.
        np.maximum.reduceat(cosines, offsets_b[:-1], axis=1, out=best_for_a[top:bottom])
        item = int(np.searchsorted(offsets_a, top, side="right")) - 1
        while item < len(offsets_a) - 1 and offsets_a[item] < bottom:
            piece = cosines[max(offsets_a[item] - top, 0) : offsets_a[item + 1] - top]
            np.maximum(best_for_b[item], piece.max(axis=0), out=best_for_b[item])
            item += 1
    precision = np.add.reduceat(best_for_a, offsets_a[:-1], axis=0, dtype=np.float64)
    precision /= np.diff(offsets_a)[:, np.newaxis]
    recall = np.add.reduceat(best_for_b, offsets_b[:-1], axis=1, dtype=np.float64)
    recall /= np.diff(offsets_b)
    both = (precision > 0) & (recall > 0)
    f1 = np.zeros_like(precision)
    np.divide(2 * precision * recall, precision + recall, out=f1, where=both)
    return np.minimum(f1, 1).astype(np.float32)
