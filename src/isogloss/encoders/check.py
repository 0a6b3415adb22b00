"""The conformance kit of encoders: anyone can run `check_encoder` on a class of their own."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss.corpora.audio import probe_audio, write_wav
from isogloss.encoders.item_text import has_text, text_of
from isogloss.encoders.words import item_spans
from isogloss.errors import AudioError, TextError
from isogloss.types import Item, Sequences

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.types import Encoder, FloatArray

__all__ = ["DURATIONS_SECONDS", "TEXT_LENGTHS", "check_encoder"]

DURATIONS_SECONDS = (0.1, 0.55, 3.0, 40.0)
"""A syllable, a word, a sentence, and more than the 30 s at which Whisper and its kin end."""

TEXT_LENGTHS = (40, 3000)
"""Characters of a line and of one that is longer than what most text models read at once."""

# Zipformer's front end drops 7 frames and every model rounds; more than this is another rate.
_SLACK_SECONDS = 0.2
# Headers of compressed recordings are not exact.
_SLACK_SHARE = 0.05
_LAYER_NAMES = ("layers", "with_layer", "encode_layers")
_SAMPLE_RATE_HZ = 16000


def check_encoder(
    encoder: Encoder,
    items: Sequence[Item],
    *,
    tolerance: float = 1e-5,
    durations_seconds: Sequence[float] = DURATIONS_SECONDS,
    text_lengths: Sequence[int] = TEXT_LENGTHS,
) -> None:
    """Return when `encoder` keeps the contract on `items`; otherwise say all that is wrong.

    Checked: `made_by` is there, stable, and carried by the result; ids in the order asked for;
    float32, finite, at least one step an item; the same again when called again; the same steps in
    reversed order and one by one as in a batch; steps times `step_seconds` is the recording's
    duration.

    When an item is a recording, the same is asked of noise of `durations_seconds`, all in one
    batch, with less slack: no more than one step and 0.2 s.

    When the encoder has `takes_text = True` and the items have text: items without and with blank
    text are refused by a TextError that names them; where `words` are known they are numbers of the
    item's words, and do not fall within an item; and the same is asked of the first item's text,
    repeated to `text_lengths`, all in one batch.

    When the encoder has `layers`, `with_layer` and `encode_layers`: every layer comes under a name
    of its own and is what `with_layer` gives; the last is the default. When it also has `blocks`
    (torch modules) and its `site`, if it has one, is 'residual', layer 0 is the input of the first
    block and layer i the output of block i: for texts those rows of it that are steps, in order.

    Args:
        encoder: what to check.
        items: at least two with different ids, best of very different lengths.
        tolerance: largest difference between batch and one by one, relative to the largest value.
        durations_seconds: of the noise; empty to leave that check out.
        text_lengths: characters of the long texts; empty to leave that check out.

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
    reads = bool(getattr(encoder, "takes_text", False)) and all(map(has_text, items))
    problems += _value_problems(together, items, _SLACK_SHARE, reads=reads)
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
    problems += _batch_problems(encoder, together, items, tolerance)
    if all(hasattr(encoder, name) for name in _LAYER_NAMES):
        problems += _layer_problems(encoder, items, tolerance, reads)
    if reads:
        problems += _text_problems(encoder, items[0], text_lengths, tolerance)
    elif durations_seconds and any(item.audio is not None for item in items):
        problems += _duration_problems(encoder, durations_seconds, items[0].variety, tolerance)
    if problems:
        raise ValueError(f"{made_by}: " + "; ".join(problems))


def _value_problems(
    sequences: Sequences,
    items: Sequence[Item],
    share: float,
    steps_of_slack: int = 0,
    *,
    reads: bool = False,
) -> list[str]:
    problems = []
    if not np.isfinite(sequences.values).all():
        problems.append("values hold NaN or infinity")
    for item, length in zip(items, sequences.lengths.tolist(), strict=True):
        if length == 0:
            problems.append(f"item '{item.id}' has no steps")
    if reads:
        return problems + _word_problems(sequences, items)
    step = sequences.step_seconds
    with_audio = [(i, item) for i, item in enumerate(items) if item.audio is not None]
    if with_audio and (step is None or not step > 0):
        return [*problems, f"step_seconds must be positive for recordings, got {step}"]
    for index, item in with_audio:
        seconds = _seconds(item)
        covered = float(sequences.lengths[index]) * (step or 0.0)
        slack = _SLACK_SECONDS + share * seconds + steps_of_slack * (step or 0.0)
        if abs(covered - seconds) > slack:
            problems.append(
                f"item '{item.id}' lasts {seconds:.2f} s but its steps cover {covered:.2f} s"
            )
    return problems


def _word_problems(sequences: Sequences, items: Sequence[Item]) -> list[str]:
    problems = []
    for index, item in enumerate(items):
        words = sequences.item_words(index)
        if words is None:
            return []
        count = len(item_spans(item))
        own = words[words >= 0]
        if len(own) and own.max() >= count:
            problems.append(f"item '{item.id}' has {count} words but a step of word {own.max()}")
        if np.any(np.diff(own) < 0):
            problems.append(f"item '{item.id}': the words of its steps fall: {own.tolist()[:12]}")
    return problems


def _text_problems(
    encoder: Encoder, first: Item, lengths: Sequence[int], tolerance: float
) -> list[str]:
    problems = []
    for blank in (None, "", " \n"):
        item = Item("blank", first.variety, text=blank)
        try:
            encoder.encode([item])
            problems.append(f"an item with the text {blank!r} is not refused by a TextError")
        except TextError as error:
            if error.item_id != "blank":
                problems.append(f"the TextError of an item with the text {blank!r} names another")
    if not lengths:
        return problems
    text = text_of(first)
    items = [
        Item(
            f"text of {length} characters",
            first.variety,
            text=" ".join([text] * (1 + length // len(text))),
        )
        for length in lengths
    ]
    together = encoder.encode(items)
    return [
        *problems,
        *_value_problems(together, items, 0.0, reads=True),
        *_batch_problems(encoder, together, items, tolerance),
    ]


def _batch_problems(
    encoder: Encoder, together: Sequences, items: Sequence[Item], tolerance: float
) -> list[str]:
    problems = []
    for index, item in enumerate(items):
        alone = encoder.encode([item])
        if not _same(together.select([index]), alone, tolerance):
            change = _difference(together.select([index]), alone)
            problems.append(f"item '{item.id}' alone differs from the batch by {change}")
    return problems


def _duration_problems(
    encoder: Encoder, durations: Sequence[float], variety: str, tolerance: float
) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="isogloss-check-") as folder:
        items = []
        for seconds in durations:
            # The first samples are those of every other, so only the length differs.
            noise = np.random.default_rng(0).standard_normal(round(seconds * _SAMPLE_RATE_HZ))
            path = Path(folder) / f"{seconds}.wav"
            write_wav(path, (0.1 * noise).astype(np.float32), sample_rate_hz=_SAMPLE_RATE_HZ)
            items.append(Item(f"noise of {seconds} s", variety, audio=str(path)))
        try:
            together = encoder.encode(items)
            return [
                *_value_problems(together, items, 0.0, steps_of_slack=1),
                *_batch_problems(encoder, together, items, tolerance),
            ]
        except AudioError as error:
            return [f"a recording of {min(durations)} to {max(durations)} s is refused: {error}"]


def _layer_problems(
    encoder: Any, items: Sequence[Item], tolerance: float, reads: bool
) -> list[str]:
    layers = tuple(encoder.layers)
    found = encoder.encode_layers(items)
    if len(found) != len(layers):
        return [f"encode_layers gives {len(found)} results for the layers {layers}"]
    problems = []
    names = [steps.made_by for steps in found]
    if len(set(names)) != len(names):
        problems.append(f"two layers have the same made_by: {sorted(names)}")
    if encoder.with_layer(None).made_by != names[-1]:
        problems.append("the last layer and the default output have different names")
    for layer, steps in zip(layers, found, strict=True):
        alone = encoder.with_layer(layer).encode(items)
        if (
            alone.made_by != steps.made_by
            or alone.step_seconds != steps.step_seconds
            or not _same(steps, alone, tolerance)
        ):
            problems.append(f"layer {layer} of encode_layers is not what with_layer({layer}) gives")
        problems += [
            f"layer {layer}: {problem}"
            for problem in _value_problems(steps, items, _SLACK_SHARE, reads=reads)
        ]
    if hasattr(encoder, "blocks") and getattr(encoder, "site", "residual") == "residual":
        problems += _block_problems(encoder, items[0], tolerance, reads)
    return problems


def _block_problems(encoder: Any, item: Item, tolerance: float, reads: bool) -> list[str]:
    """Layer i beside what block i was seen to return, for one item."""
    seen: list[Any] = []

    def keep(module: Any, arguments: Any, keywords: Any, output: Any) -> None:
        before = arguments[0] if arguments else keywords["hidden_states"]
        after = output[0] if isinstance(output, tuple) else output
        seen.append(tuple(x.detach().float().cpu().numpy().copy() for x in (before, after)))

    hooks = [block.register_forward_hook(keep, with_kwargs=True) for block in encoder.blocks]
    try:
        found = encoder.encode_layers([item])
    finally:
        for hook in hooks:
            hook.remove()
    if len(found) != len(encoder.blocks) + 2:
        return [f"{len(encoder.blocks)} blocks, but {len(found)} layers"]
    if len(seen) != len(encoder.blocks):
        return []  # In several windows: each block ran several times.
    problems = []
    expected = [seen[0][0], *(after for _, after in seen)]
    for layer, values in enumerate(expected):
        steps = found[layer].values
        rows = values.reshape(-1, values.shape[-1])
        scale = max(1.0, float(np.abs(rows).max(initial=0.0)))
        if not _are_rows(steps, rows, tolerance * scale, in_front=not reads):
            what = f"output of block {layer}" if layer else "input of the first block"
            problems.append(f"layer {layer} is not the {what}")
    return problems


def _are_rows(steps: FloatArray, rows: FloatArray, tolerance: float, *, in_front: bool) -> bool:
    """Whether `steps` are the first of `rows`, or without `in_front` any of them in their order.

    Behind special tokens nothing says which rows are steps; a row may also stand for several (the
    molecules of CANINE).
    """
    if steps.shape[1:] != rows.shape[1:]:
        return False
    if in_front:
        front = rows[: len(steps)]
        return len(front) == len(steps) and bool((np.abs(front - steps) <= tolerance).all())
    at = 0
    for step in steps:
        near = np.flatnonzero((np.abs(rows[at:] - step) <= tolerance).all(axis=1))
        if not len(near):
            return False
        at += int(near[0])
    return True


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
    if not _same_words(a, b):
        return False
    scale = float(np.abs(a.values[np.isfinite(a.values)]).max(initial=1.0))
    return bool(np.allclose(a.values, b.values, rtol=0, atol=tolerance * scale, equal_nan=True))


def _same_words(a: Sequences, b: Sequences) -> bool:
    if a.words is None or b.words is None:
        return a.words is b.words
    return np.array_equal(a.words, b.words)


def _difference(a: Sequences, b: Sequences) -> str:
    if a.values.shape != b.values.shape or not np.array_equal(a.offsets, b.offsets):
        return f"its number of steps ({a.lengths.tolist()[:5]} and {b.lengths.tolist()[:5]})"
    if not _same_words(a, b):
        return "its words"
    return f"{float(np.abs(a.values - b.values).max(initial=0)):.2g}"
