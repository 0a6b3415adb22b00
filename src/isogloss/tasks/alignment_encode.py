"""An encoder and items in, one vector for each item and layer out, streamed; states of words too.

Step vectors of a whole corpus at every layer would fill the memory: they are pooled batch by
batch, and only the states of a sample of words are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from isogloss.corpora.progress import with_progress
from isogloss.encoders.pool import pool
from isogloss.errors import AudioError, IsoglossError, TextError
from isogloss.types import Item, Sequences

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from isogloss.types import Encoder, FloatArray

__all__ = [
    "EncodedLayers",
    "Form",
    "WordStates",
    "at_site_of",
    "encode_layers_pooled",
    "layer_label",
    "layers_of",
    "reads_left_to_right",
]

Form = Literal["value", "binary"]

_ITEMS_AT_ONCE = 32


@dataclass(frozen=True, slots=True, eq=False)
class WordStates:
    """States of words: `values` (S, D), and for each the place of its item and its word there."""

    values: FloatArray
    item: npt.NDArray[np.int64]
    word: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class EncodedLayers:
    """`vectors[layer]` is (N, D), a row an item (zeros for a broken one); `words[layer]` states.

    `broken` maps places of items that could not be encoded to the reason. `words` is empty where
    the encoder does not tell words.
    """

    vectors: Mapping[int, FloatArray]
    words: Mapping[int, WordStates]
    broken: Mapping[int, str]


def layers_of(encoder: Encoder, asked: Sequence[int] | None) -> tuple[int, ...]:
    """The layers to measure: those asked for, or all; (0,) for an encoder that has one.

    Raises:
        ValueError: the encoder has no such layer.
    """
    if not _is_layered(encoder):
        known: tuple[int, ...] = (0,)
    else:
        known = tuple(encoder.layers)  # type: ignore[attr-defined]
    wrong = [layer for layer in asked or () if layer not in known]
    if wrong:
        raise ValueError(
            f"{encoder.made_by} has no layer {wrong[0]}; its layers are {known[0]} to {known[-1]}"
        )
    return tuple(sorted(set(asked))) if asked else known


def at_site_of(encoder: Encoder, site: str) -> Encoder:
    """`encoder` giving the states of `site`.

    Raises:
        ValueError: it has another one only.
    """
    own = getattr(encoder, "site", "residual")
    if own == site:
        return encoder
    with_site = getattr(encoder, "with_site", None)
    if with_site is None:
        raise ValueError(f"{encoder.made_by} has one site, {own}; got '{site}'")
    changed: Encoder = with_site(site)
    return changed


def layer_label(layer: int, encoder: Encoder) -> str:
    """What a layer is called in tables."""
    layers = getattr(encoder, "layers", (layer,))
    if getattr(encoder, "site", "residual") != "residual":
        return f"block {layer}"
    if len(layers) == 1:
        return "only layer"
    if layer == 0:
        return "embedding"
    return "final output" if layer == layers[-1] else f"block {layer}"


def reads_left_to_right(encoder: Encoder) -> bool:
    """Whether an encoder of text is a decoder: a word's state depends on what stands before alone.

    Found out by asking it: the first step of a text must be the same with more text behind it, and
    the last one must change with the text before it (or the encoder looks at no context at all).
    """
    if not getattr(encoder, "takes_text", False) or not _is_layered(encoder):
        return False
    texts = ("one two three", "one two three four five six", "four two three")
    try:
        short, long, other = (
            encoder.encode([Item(f"text-{i}", "eng", text=text)])[0] for i, text in enumerate(texts)
        )
    except TextError:
        return False
    if len(short) < 2 or len(long) <= len(short):
        return False
    rounding = 1e-4 * max(float(np.abs(short).max()), 1e-9)
    changed = np.abs(short[-1] - other[-1]).max() > rounding
    return bool(changed and np.abs(short[0] - long[0]).max() <= rounding)


def encode_layers_pooled(
    encoder: Encoder,
    items: Sequence[Item],
    *,
    layers: tuple[int, ...],
    how: str = "mean",
    form: Form = "value",
    word_items: frozenset[int] = frozenset(),
    most_words: int = 20_000,
    most_gib: float = 4.0,
    progress: bool = False,
) -> EncodedLayers:
    """One vector for each item at each of `layers`, and states of the words of some items.

    Items that cannot be read (broken recordings, texts of which nothing is left) are told in
    `broken`; everything else is raised.

    Args:
        encoder: with or without layers.
        items: what to encode.
        layers: from `layers_of`.
        how: pooling, see `isogloss.encoders.pool`.
        form: 'binary' pools whether a value is above 0, for activations of neurons.
        word_items: places of items whose words' states are kept, mean over a word's steps.
        most_words: states that are kept of each layer at most, first items first.
        most_gib: memory that the result may take.
        progress: a bar on stderr.

    Raises:
        ValueError: vectors hold NaN or infinity (the item and layer are named), or change their
            dimensions.
        IsoglossError: no item could be encoded, or the result would not fit in `most_gib`.
    """
    vectors: dict[int, FloatArray] = {}
    kept: dict[int, list[tuple[FloatArray, npt.NDArray[np.int64], npt.NDArray[np.int64]]]] = {
        layer: [] for layer in layers
    }
    counts = dict.fromkeys(layers, 0)
    broken: dict[int, str] = {}
    # Neighbours in size make batches with little padding.
    order = sorted(range(len(items)), key=lambda i: (_size(items[i]), i))
    chunks = [order[i : i + _ITEMS_AT_ONCE] for i in range(0, len(order), _ITEMS_AT_ONCE)]
    bar = with_progress(chunks, "encoding", total=len(chunks)) if progress else chunks
    for chunk in bar:
        for numbers, found in _encoded(encoder, items, chunk, layers, broken):
            for layer, every in found.items():
                steps, places = _with_steps(every, numbers, broken)
                if not places:
                    continue
                _keep_pooled(vectors, layer, steps, places, len(items), how, form)
                states = _word_states(steps, places, word_items)
                if states is not None and counts[layer] < most_words:
                    kept[layer].append(states)
                    counts[layer] += len(states[0])
            if len(vectors) == len(layers):
                _check_memory(vectors, len(items), most_gib)
    if not vectors:
        reason = next(iter(broken.values()), "there is none")
        raise IsoglossError(f"none of {len(items)} items could be encoded: {reason}")
    words = {
        layer: WordStates(*(np.concatenate(parts)[:most_words] for parts in zip(*states)))  # noqa: B905
        for layer, states in kept.items()
        if states
    }
    return EncodedLayers(vectors, words, broken)


def _is_layered(encoder: Encoder) -> bool:
    return all(hasattr(encoder, name) for name in ("layers", "with_layer", "encode_layers"))


def _encoded(
    encoder: Encoder,
    items: Sequence[Item],
    places: list[int],
    layers: tuple[int, ...],
    broken: dict[int, str],
) -> list[tuple[list[int], dict[int, Sequences]]]:
    try:
        return [(places, _states(encoder, [items[i] for i in places], layers))]
    except (AudioError, TextError) as error:
        if len(places) == 1:
            broken[places[0]] = error.problem
            return []
    # One broken item must not cost the others.
    return [
        found for place in places for found in _encoded(encoder, items, [place], layers, broken)
    ]


def _states(
    encoder: Encoder, items: Sequence[Item], layers: tuple[int, ...]
) -> dict[int, Sequences]:
    if not _is_layered(encoder):
        return {layers[0]: encoder.encode(items)}
    layered: Any = encoder
    if len(layers) == 1:
        return {layers[0]: layered.with_layer(layers[0]).encode(items)}
    found = dict(zip(layered.layers, layered.encode_layers(items), strict=True))
    return {layer: found[layer] for layer in layers}


def _with_steps(
    steps: Sequences, places: list[int], broken: dict[int, str]
) -> tuple[Sequences, list[int]]:
    """The items of which anything is left: a text may hold nothing that the tokenizer keeps."""
    if (steps.lengths > 0).all():
        return steps, places
    full = np.flatnonzero(steps.lengths > 0).tolist()
    for i in set(range(len(places))) - set(full):
        broken[places[i]] = "nothing left of it by the encoder"
    return steps.select(full), [places[i] for i in full]


def _keep_pooled(
    vectors: dict[int, FloatArray],
    layer: int,
    steps: Sequences,
    places: list[int],
    count: int,
    how: str,
    form: Form,
) -> None:
    if form == "binary":
        active = (steps.values > 0).astype(np.float32)
        steps = Sequences(steps.ids, active, steps.offsets, steps.step_seconds, steps.made_by)
    pooled = pool(steps, how)
    bad = np.flatnonzero(~np.isfinite(pooled.values).all(axis=1))
    if len(bad):
        raise ValueError(
            f"the vector of item '{pooled.ids[bad[0]]}' at layer {layer} holds NaN or infinity "
            f"({len(bad)} such items in its batch); the model or its weights are broken"
        )
    width = pooled.values.shape[1]
    into = vectors.setdefault(layer, np.zeros((count, width), dtype=np.float32))
    if into.shape[1] != width:
        raise ValueError(
            f"item '{pooled.ids[0]}' has {width} dimensions at layer {layer}, others "
            f"{into.shape[1]}"
        )
    into[places] = pooled.values


def _word_states(
    steps: Sequences, places: list[int], wanted: frozenset[int]
) -> tuple[FloatArray, npt.NDArray[np.int64], npt.NDArray[np.int64]] | None:
    """Mean state of every word of the wanted items; None where there is none."""
    if steps.words is None or not wanted:
        return None
    owner = np.repeat(np.asarray(places, dtype=np.int64), steps.lengths)
    chosen = (steps.words >= 0) & np.isin(owner, list(wanted))
    if not chosen.any():
        return None
    width = int(steps.words.max()) + 1
    keys = owner[chosen] * width + steps.words[chosen]
    order = np.argsort(keys, kind="stable")
    words, first, count = np.unique(keys[order], return_index=True, return_counts=True)
    sums = np.add.reduceat(steps.values[chosen][order].astype(np.float64), first, axis=0)
    means = sums / count[:, np.newaxis]
    return means.astype(np.float32), words // width, words % width


def _check_memory(vectors: Mapping[int, FloatArray], items: int, most_gib: float) -> None:
    size = sum(array.nbytes for array in vectors.values()) / 2**30
    if size > most_gib:
        widths = {array.shape[1] for array in vectors.values()}
        raise IsoglossError(
            f"{items} items at {len(vectors)} layers of {max(widths)} dimensions take {size:.2g} "
            f"GiB, more than the {most_gib:g} allowed; measure fewer items (--items), fewer layers "
            "(--layers), or allow more (--memory)"
        )


def _size(item: Item) -> float:
    if item.start_seconds is not None and item.end_seconds is not None:
        return item.end_seconds - item.start_seconds
    return float(len(item.text or item.transcript or ""))
