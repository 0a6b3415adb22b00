"""The order of batches of an epoch, and a batch as padded tensors; used by `loop`.

An epoch is planned at once, so that any batch of any epoch can be had from (seed, epoch, index)
alone: a resumed run takes the plan up where it stopped.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from isogloss.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from isogloss.training.examples import Example, Target
    from isogloss.training.store import FeatureStore
    from isogloss.types import FloatArray

__all__ = ["Batch", "duration_bins", "make_batch", "plan_epoch"]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Utterances side by side.

    `features` is (N, T, 80) float32 with zeros behind `lengths` (N,); `targets[h][n]` are the
    units of utterance n for head h, None where it has no such text; `seconds` counts real audio,
    without padding. `inter`, `teacher` (N, D) with `taught` (N,) bool, and `texts` are what the
    losses beside CTC learn from; None where nothing is asked for (`inter` None: as `targets[0]`).
    """

    ids: tuple[str, ...]
    features: Tensor
    lengths: Tensor
    targets: tuple[tuple[Target | None, ...], ...]
    seconds: float
    inter: tuple[Target | None, ...] | None = None
    teacher: Tensor | None = None
    taught: Tensor | None = None
    texts: tuple[Target | None, ...] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device) -> Batch:
        """The same with its tensors on `device`."""
        return replace(
            self,
            features=self.features.to(device, non_blocking=True),
            lengths=self.lengths.to(device),
            teacher=None if self.teacher is None else self.teacher.to(device),
            taught=None if self.taught is None else self.taught.to(device),
        )


def duration_bins(seconds: Sequence[float], buckets: int) -> list[float]:
    """Borders between groups that hold about the same total duration, rising, at least one."""
    ordered = np.sort(np.asarray(seconds, dtype=np.float64))
    shares = np.cumsum(ordered) / ordered.sum()
    places = np.searchsorted(shares, np.arange(1, buckets) / buckets)
    borders = sorted(set(ordered[places].tolist()) - {float(ordered[0])})
    return borders or [float(ordered[-1])]


def plan_epoch(
    seconds: Sequence[float],
    *,
    max_batch_seconds: float,
    buckets: int = 20,
    seed: int = 0,
    epoch: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> list[tuple[int, ...]]:
    """Batches of one epoch as indices of utterances, in the order of training.

    Each utterance is in exactly one batch (with several processes, a few are in two to make their
    batches equally many). The same arguments give the same plan.

    Args:
        seconds: duration of each utterance, at least one.
        max_batch_seconds: the utterances of a batch are together at most as long; padding, which
            the groups keep small, is not counted.
        buckets: number of groups of similar duration.
        seed: decides, with `epoch`, the order and who is together.
        epoch: number of the epoch.
        rank: which process this is.
        world_size: number of processes.

    Raises:
        MissingExtra: lhotse is not installed.
    """
    try:
        from lhotse import MonoCut
        from lhotse.dataset import DynamicBucketingSampler
    except ImportError as error:
        raise MissingExtra("speech", "lhotse") from error
    order = list(range(len(seconds)))
    # lhotse shuffles within its buffer only; of a large corpus that is a part.
    random.Random(f"{seed} {epoch}").shuffle(order)
    # Cuts without recordings: the sampler needs durations, and features lie in the store.
    cuts = [MonoCut(id=str(i), start=0.0, duration=seconds[i], channel=0) for i in order]
    sampler = DynamicBucketingSampler(
        cuts,
        max_duration=max_batch_seconds,
        duration_bins=duration_bins(seconds, buckets),
        shuffle=True,
        drop_last=False,
        seed=seed,
        rank=rank,
        world_size=world_size,
    )
    sampler.set_epoch(epoch)
    # Cuts that several processes share in an uneven end get names like "12_dup0".
    return [tuple(int(cut.id.split("_")[0]) for cut in batch) for batch in sampler]


def make_batch(
    examples: Sequence[Example],
    store: FeatureStore,
    *,
    teacher: FloatArray | None = None,
    losses: Container[str] = (),
) -> Batch:
    """`examples` as padded tensors; at least one.

    Args:
        examples: utterances, with equally many heads.
        store: their features.
        teacher: (U, D) vectors that `Example.teacher` counts, for the loss "teacher".
        losses: of "inter", "teacher" and "contrast", those whose texts go along.
    """
    arrays = [store[example.row] for example in examples]
    lengths = [len(array) for array in arrays]
    features = np.zeros((len(arrays), max(lengths), arrays[0].shape[1]), dtype=np.float32)
    for row, array in zip(features, arrays, strict=True):
        row[: len(array)] = array
    heads = len(examples[0].targets)
    vectors = taught = None
    if teacher is not None and "teacher" in losses:
        rows = [example.teacher for example in examples]
        vectors = torch.from_numpy(teacher[[row or 0 for row in rows]])
        taught = torch.tensor([row is not None for row in rows])
    return Batch(
        tuple(example.id for example in examples),
        torch.from_numpy(features),
        torch.tensor(lengths),
        tuple(tuple(example.targets[head] for example in examples) for head in range(heads)),
        sum(lengths) / 100,
        tuple(example.inter for example in examples) if "inter" in losses else None,
        vectors,
        taught,
        tuple(example.text for example in examples) if "contrast" in losses else None,
    )
