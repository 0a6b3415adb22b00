"""The conformance kit of encoders: anyone can run `check_encoder` on a class of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from isogloss.corpora.audio import probe_audio
from isogloss.types import Sequences

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.types import Encoder, Item

__all__ = ["check_encoder"]

# Zipformer's front end drops 7 frames and every model rounds; more than this is another rate.
_SLACK_SECONDS = 0.2
_SLACK_SHARE = 0.05


def check_encoder(encoder: Encoder, items: Sequence[Item], *, tolerance: float = 1e-5) -> None:
    """Return when `encoder` keeps the contract on `items`; otherwise say all that is wrong.

    Checked: `made_by` is there, stable, and carried by the result; ids in the order asked for;
    float32, finite, at least one step an item; the same again when called again; the same steps in
    reversed order and one by one as in a batch; steps times `step_seconds` is the recording's
    duration.

    Args:
        encoder: what to check.
        items: at least two with different ids, best of very different lengths.
        tolerance: largest difference between batch and one by one, relative to the largest value.

    Raises:
        ValueError: fewer than two items, or the contract is broken (every breach is listed).
    """
    if len({item.id for item in items}) < 2:
        raise ValueError(f"check_encoder needs at least two items, got {len(items)}")
    made_by = encoder.made_by
    problems = []
    if not isinstance(made_by, str) or not made_by:
        problems.append(f"made_by must be a non-empty string, got {made_by!r}")
    together = encoder.encode(items)
    if not isinstance(together, Sequences):
        raise ValueError(f"encode must return Sequences, got {type(together).__name__}")
    if together.ids != tuple(item.id for item in items):
        raise ValueError(f"ids {together.ids[:5]} are not those of the items in their order")
    problems += _value_problems(together, items)
    if together.made_by != made_by or encoder.made_by != made_by:
        problems.append(
            f"made_by changed: {made_by!r} before, {encoder.made_by!r} after, "
            f"{together.made_by!r} in the result"
        )
    again = encoder.encode(items)
    if not _same(together, again, 0.0):
        problems.append("the second call gives other values than the first")
    backwards = encoder.encode(list(reversed(items))).select(range(len(items) - 1, -1, -1))
    if not _same(together, backwards, tolerance):
        problems.append(f"reversed order changes values by {_difference(together, backwards)}")
    for index, item in enumerate(items):
        alone = encoder.encode([item])
        if not _same(together.select([index]), alone, tolerance):
            change = _difference(together.select([index]), alone)
            problems.append(f"item '{item.id}' alone differs from the batch by {change}")
    if problems:
        raise ValueError(f"{made_by}: " + "; ".join(problems))


def _value_problems(sequences: Sequences, items: Sequence[Item]) -> list[str]:
    problems = []
    if not np.isfinite(sequences.values).all():
        problems.append("values hold NaN or infinity")
    for item, length in zip(items, sequences.lengths.tolist(), strict=True):
        if length == 0:
            problems.append(f"item '{item.id}' has no steps")
    step = sequences.step_seconds
    with_audio = [(i, item) for i, item in enumerate(items) if item.audio is not None]
    if with_audio and (step is None or not step > 0):
        return [*problems, f"step_seconds must be positive for recordings, got {step}"]
    for index, item in with_audio:
        seconds = _seconds(item)
        covered = float(sequences.lengths[index]) * (step or 0.0)
        if abs(covered - seconds) > _SLACK_SECONDS + _SLACK_SHARE * seconds:
            problems.append(
                f"item '{item.id}' lasts {seconds:.2f} s but its steps cover {covered:.2f} s"
            )
    return problems


def _seconds(item: Item) -> float:
    end = item.end_seconds
    if end is None:
        end = probe_audio(str(item.audio)).duration_seconds
    return end - (item.start_seconds or 0.0)


def _same(a: Sequences, b: Sequences, tolerance: float) -> bool:
    if a.ids != b.ids or not np.array_equal(a.offsets, b.offsets):
        return False
    if a.values.shape != b.values.shape:
        return False
    scale = float(np.abs(a.values[np.isfinite(a.values)]).max(initial=1.0))
    return bool(np.allclose(a.values, b.values, rtol=0, atol=tolerance * scale, equal_nan=True))


def _difference(a: Sequences, b: Sequences) -> str:
    if a.values.shape != b.values.shape or not np.array_equal(a.offsets, b.offsets):
        return f"its number of steps ({a.lengths.tolist()[:5]} and {b.lengths.tolist()[:5]})"
    return f"{float(np.abs(a.values - b.values).max(initial=0)):.2g}"
