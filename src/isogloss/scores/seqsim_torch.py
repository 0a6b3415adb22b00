"""SeqSim of all pairs through torch, for a GPU; called by `scores/seqsim.py`."""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss.errors import MissingExtra
from isogloss.scores.seqsim_blocks import blocks, check_steps, mirror, refuse_step, tasks

try:
    import torch
except ImportError as problem:
    raise MissingExtra("speech", "torch") from problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from isogloss.types import FloatArray, Sequences

__all__ = ["Prepared", "all_pairs", "prepared", "prepared_pairs"]

# Larger products gain nothing on a GPU of today and cost memory for the table of cosines.
_MOST_STEPS = 16384
# What a block holds: cosines twice and a slice's maxima; best ones in float32, twice, and in
# float64; P, R, F1 and what stands between them.
_COSINE_BYTES, _BEST_BYTES, _SCORE_BYTES = 12, 16, 64


def all_pairs(a: Sequences, b: Sequences, *, memory_budget_mb: float, device: str) -> FloatArray:
    """As `seqsim`, of sequences of equal D: (N, M) float32.

    The steps of `a` and `b` lie on the device whole; the budget bounds the cosines beside them.
    Products are taken in full float32, whatever torch is set to.

    Raises:
        ValueError: an item has no steps, or holds NaN or infinity, or there is no such device.
    """
    left = prepared(a, device)
    right = left if a is b else prepared(b, device)
    return prepared_pairs(left, right, memory_budget_mb=memory_budget_mb)


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """Unit steps on a device, (sum T, D), and the offsets of their items."""

    steps: torch.Tensor
    offsets: npt.NDArray[np.int64]


def prepared(sequences: Sequences, device: str) -> Prepared:
    """Steps of norm 1 (or 0) on `device`.

    Raises:
        ValueError: as `all_pairs`.
    """
    check_steps(sequences)
    # torch refuses arrays that run backwards.
    steps = torch.tensor(np.ascontiguousarray(sequences.values), device=_device(device))
    offsets = sequences.offsets.astype(np.int64)
    if not steps.numel():  # torch has no largest of nothing
        return Prepared(steps, offsets)
    # The largest entry first keeps the squares of very large or small values in range.
    largest = steps.abs().amax(dim=1, keepdim=True)
    broken = torch.nonzero(~torch.isfinite(largest[:, 0]))
    if len(broken):
        refuse_step(sequences, int(broken[0]))
    steps = steps / torch.where(largest > 0, largest, 1)
    norms = torch.linalg.vector_norm(steps, dim=1, keepdim=True)
    return Prepared(steps / torch.where(norms > 0, norms, 1), offsets)


def prepared_pairs(
    a: Prepared, b: Prepared, *, memory_budget_mb: float, first: int = 0, last: int | None = None
) -> FloatArray:
    """Scores of the items `first` to `last` of `a`, by default all, with all items of `b`."""
    offsets_a = a.offsets[first : None if last is None else last + 1]
    same = a is b and len(offsets_a) == len(a.offsets)
    # Half is for cosines, half for maxima and scores.
    half = memory_budget_mb * 2**20 / 2
    cells = max(1, min(_MOST_STEPS**2, int(half / _COSINE_BYTES)))
    most_steps = int(cells**0.5)
    # Beside one long item stand its best cosines with every item of a block.
    longest = int(np.diff(offsets_a).max(initial=1))
    columns = blocks(b.offsets, most_steps, max(1, int(half / 2 / _BEST_BYTES / longest)))
    parts = tasks(
        offsets_a,
        b.offsets,
        columns,
        most_steps,
        room=half,
        row=_BEST_BYTES,
        column=_BEST_BYTES,
        score=_SCORE_BYTES,
        same=same,
    )
    scores = np.empty((len(offsets_a) - 1, len(b.offsets) - 1), dtype=np.float32)
    with torch.inference_mode(), _FULL_FLOAT32.on(a.steps.device.type):
        for (top, bottom), block in parts:
            left, right = columns[block]
            table = _block(
                a.steps,
                offsets_a[top : bottom + 1],
                b.steps,
                b.offsets[left : right + 1],
                cells,
            )
            scores[top:bottom, left:right] = table
    if same:
        mirror(scores)
    return scores


def _device(name: str) -> torch.device:
    try:
        place = torch.device(name)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError) as problem:
        # torch without CUDA answers with an AssertionError.
        raise ValueError(f"torch cannot use the device '{name}': {problem}") from problem
    return place


class _FullFloat32:
    """No TF32 and no autocast: they would keep ten or seven bits of every step.

    TF32 is a setting of the whole process, so the last of several threads puts it back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before: Any = None
        # The older name raises where a program has used the newer one.
        self._newer = hasattr(torch.backends.cuda.matmul, "fp32_precision")

    @contextmanager
    def on(self, device_type: str) -> Iterator[None]:
        """Products inside are of float32 on `device_type`."""
        name, full = ("fp32_precision", "ieee") if self._newer else ("allow_tf32", False)
        matmul = torch.backends.cuda.matmul
        with ExitStack() as stack:
            if torch.amp.autocast_mode.is_autocast_available(device_type):
                stack.enter_context(torch.autocast(device_type, enabled=False))
            with self._lock:
                if not self._inside:
                    self._before = getattr(matmul, name)
                    setattr(matmul, name, full)
                self._inside += 1
            try:
                yield
            finally:
                with self._lock:
                    self._inside -= 1
                    if not self._inside:
                        setattr(matmul, name, self._before)


_FULL_FLOAT32 = _FullFloat32()


def _block(
    steps_a: torch.Tensor,
    offsets_a: npt.NDArray[np.int64],
    steps_b: torch.Tensor,
    offsets_b: npt.NDArray[np.int64],
    cells: int,
) -> FloatArray:
    """F1 of each item of one block with each of another, (n, m), a slice of rows at a time."""
    place = steps_a.device
    left = steps_a[offsets_a[0] : offsets_a[-1]]
    right = steps_b[offsets_b[0] : offsets_b[-1]]
    rows, columns = offsets_a - offsets_a[0], offsets_b - offsets_b[0]
    best_for_a = left.new_empty((len(columns) - 1, len(left)))
    best_for_b = left.new_full((len(rows) - 1, len(right)), -torch.inf)
    rows_at_once = max(1, cells // len(right))
    for top in range(0, len(left), rows_at_once):
        bottom = min(top + rows_at_once, len(left))
        cosines = left[top:bottom] @ right.T
        # Maxima of segments along the first axis need no atomic writes on a GPU, as scattering to
        # a few hundred cells would.
        best_for_a[:, top:bottom] = _segments(cosines.T.contiguous(), columns, "max")
        first = int(np.searchsorted(rows, top, side="right")) - 1
        last = int(np.searchsorted(rows, bottom, side="left"))
        parts = rows[first : last + 1].clip(top, bottom) - top
        best = best_for_b[first:last]
        torch.maximum(best, _segments(cosines, parts, "max"), out=best)
    # float64 as in the compiled loops, where the device has it.
    wide = torch.float32 if place.type == "mps" else torch.float64
    precision = _segments(best_for_a.T.contiguous().to(wide), rows, "mean")
    recall = _segments(best_for_b.T.contiguous().to(wide), columns, "mean").T
    both = (precision > 0) & (recall > 0)
    f1 = torch.where(both, 2 * precision * recall / torch.where(both, precision + recall, 1), 0)
    table: Any = f1.clamp(max=1).to(torch.float32).cpu().numpy()
    return np.asarray(table, dtype=np.float32)


def _segments(table: torch.Tensor, offsets: npt.NDArray[np.int64], how: str) -> torch.Tensor:
    """Maximum or mean of the rows of each item: (items, columns)."""
    lengths = torch.tensor(np.diff(offsets), device=table.device)
    reduced: torch.Tensor = torch.segment_reduce(table, how, lengths=lengths, axis=0)
    return reduced
