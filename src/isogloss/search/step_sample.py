"""A random sample of the steps of a corpus, the same whoever draws it, to train units on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from isogloss.search.index_settings import IndexSettings, units_for
from isogloss.types import FloatArray, Sequences

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["StepSample", "blocks_of", "check_finite", "sample_steps"]

_BLOCK_STEPS = 1 << 16
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True, eq=False)
class StepSample:
    """Steps (S, D) in random order, drawn from `seen` steps, and the (S,) keys that ordered them.

    The key of a step is a hash of its item's id and its place in the item; a sample holds the
    steps of the smallest keys, in ascending order. So samples of the shards of a corpus `merge`
    into the sample of the whole, however it was cut.
    """

    keys: npt.NDArray[np.uint64]
    steps: FloatArray
    seen: int

    @classmethod
    def merge(cls, parts: Iterable[StepSample], settings: IndexSettings) -> StepSample:
        """The sample of everything that `parts` were drawn from, with the same settings.

        Raises:
            ValueError: there are no parts, so nothing says how many dimensions a step has.
        """
        parts = list(parts)
        if not parts:
            raise ValueError("no parts to merge: nothing says how many dimensions a step has")
        seen = sum(part.seen for part in parts)
        keys = np.concatenate([part.keys for part in parts])
        order = np.argsort(keys, kind="stable")[: _wanted(seen, settings)]
        steps = np.concatenate([part.steps for part in parts])
        return cls(keys[order], steps[order], seen)


def sample_steps(sequences: Sequences | Iterable[Sequences], settings: IndexSettings) -> StepSample:
    """The training sample of a corpus or of a shard of it, in one pass; memory holds the sample.

    Raises:
        ValueError: there is no Sequences at all, their D differ, or one holds NaN or infinity.
    """
    pieces = [sequences] if isinstance(sequences, Sequences) else sequences
    sample: StepSample | None = None
    waiting: list[StepSample] = []
    for piece in pieces:
        for block in blocks_of(piece, _BLOCK_STEPS):
            if sample is not None and block.values.shape[1] != sample.steps.shape[1]:
                raise ValueError(
                    f"pieces have {sample.steps.shape[1]} and {block.values.shape[1]} dimensions"
                )
            full = sample is not None and len(sample.keys) >= _wanted(sample.seen, settings)
            bar = sample.keys[-1] if sample is not None and full else None
            waiting.append(_drawn(block, bar, settings.seed))
            # Merging sorts the whole sample: not for every block of a few hundred steps.
            if sample is None or sum(len(part.keys) for part in waiting) > len(sample.keys) // 4:
                sample = StepSample.merge([*([sample] if sample else []), *waiting], settings)
                waiting = []
    if waiting:
        sample = StepSample.merge([*([sample] if sample else []), *waiting], settings)
    if sample is None:
        raise ValueError("there are no sequences, so nothing says how many dimensions a step has")
    return sample


def blocks_of(sequences: Sequences, most_steps: int) -> Iterator[Sequences]:
    """`sequences` in order, as views of whole items with at most `most_steps` steps together.

    An item that is longer comes alone; no items come as one empty block, which knows D.
    """
    first = 0
    while True:
        start = int(sequences.offsets[first])
        last = int(np.searchsorted(sequences.offsets, start + most_steps, side="right")) - 1
        last = min(max(last, first + 1), len(sequences))
        end = int(sequences.offsets[last])
        yield Sequences(
            sequences.ids[first:last],
            sequences.values[start:end],
            sequences.offsets[first : last + 1] - start,
            sequences.step_seconds,
            sequences.made_by,
        )
        first = last
        if first >= len(sequences):
            return


def check_finite(sequences: Sequences) -> None:
    """Refuse NaN and infinity, naming the item.

    Raises:
        ValueError: a step is not finite.
    """
    # The sum is finite in float64 whenever all values are, and needs no (sum T, D) table of flags.
    broken = np.flatnonzero(~np.isfinite(sequences.values.sum(axis=1, dtype=np.float64)))
    if len(broken):
        item = int(np.searchsorted(sequences.offsets, broken[0], side="right")) - 1
        step = int(broken[0] - sequences.offsets[item])
        raise ValueError(
            f"item '{sequences.ids[item]}' holds NaN or infinity at step {step}; "
            "check its recording or text, and the encoder"
        )


def _wanted(seen: int, settings: IndexSettings) -> int:
    """Steps to keep: three times what would be trained on were the corpus at its end.

    Without a fixed K the share of steps that is wanted falls with the corpus as 1 / sqrt(seen),
    but doubles where K does; kept threefold, no step is cut that a later K asks for.
    """
    if settings.units is not None:
        return settings.units * settings.sample_per_unit
    return 3 * units_for(seen) * settings.sample_per_unit


def _drawn(sequences: Sequences, bar: np.uint64 | None, seed: int) -> StepSample:
    """The steps of a block whose keys lie below `bar`, all where it is None."""
    check_finite(sequences)
    keys = np.empty(len(sequences.values), dtype=np.uint64)
    for number, name in enumerate(sequences.ids):
        first, last = int(sequences.offsets[number]), int(sequences.offsets[number + 1])
        text = f"{seed}:{name}".encode("utf-8", "surrogatepass")
        start = np.frombuffer(hashlib.blake2b(text, digest_size=8).digest(), dtype="<u8")
        keys[first:last] = _mixed(start + np.arange(last - first, dtype=np.uint64) * _GOLDEN)
    chosen = np.arange(len(keys)) if bar is None else np.flatnonzero(keys < bar)
    steps = np.array(sequences.values[chosen], dtype=np.float32)
    return StepSample(keys[chosen], steps, len(keys))


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finaliser of splitmix64 (Steele et al. 2014): neighbours become unlike."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
