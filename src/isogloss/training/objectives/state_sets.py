"""States of a batch without padding and special tokens: pooled, as sets, grouped by variety."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from isogloss.training.objectives.views import layers_asked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from isogloss.training.text_batch import TextBatch, Tokens
    from isogloss.training.text_model import TextModel

__all__ = [
    "at_layer",
    "by_variety",
    "checked_layer",
    "mean_states",
    "nothing",
    "subsample",
    "word_means",
]


def checked_layer(model: TextModel, layer: str) -> int:
    """The index in what `model.states` gives of the one layer that `layer` names.

    Args:
        model: see `TextModel.layers`.
        layer: a number, "middle" or "last", as `infonce` takes them.

    Raises:
        ValueError: the model has no such layer, or `layer` names several.
    """
    found = layers_asked(layer, model)
    if len(found) != 1 or found[0] not in model.layers:
        raise ValueError(f"layer {layer!r} must be one of 0 to {model.layers[-1]}, middle, last")
    return found[0]


def at_layer(model: TextModel, tokens: Tokens, layer: str) -> Tensor:
    """(N, L, D) states of one layer; rubbish at padding."""
    return model.states(tokens)[checked_layer(model, layer)]


def mean_states(states: Tensor, tokens: Tokens) -> tuple[Tensor, Tensor]:
    """Means over the tokens of the text itself (N, D), and which rows have any (N,) bool.

    Padding and special tokens take no part, whatever is in their states. A row without tokens of
    its own is 0.
    """
    kept = tokens.content
    clean = torch.where(kept[..., None], states, torch.zeros_like(states))
    counts = kept.sum(1)
    return clean.sum(1) / counts.clamp_min(1)[:, None].to(states.dtype), counts > 0


def word_means(
    states: Tensor, tokens: Tokens, rows: Sequence[int], words: Sequence[int], *, last: bool = False
) -> Tensor:
    """(K, D) vectors of K words: the mean of their tokens, or the last one.

    A word that was cut off (it has no token) is NaN; callers drop it by `isfinite`.

    Args:
        states: (N, L, D).
        tokens: of the same rows.
        rows: K rows.
        words: K numbers of words in them.
        last: whether the last token stands for the word, as in Cao et al. 2020.
    """
    row = torch.as_tensor(rows, device=states.device, dtype=torch.long)
    word = torch.as_tensor(words, device=states.device, dtype=torch.long)
    own = (tokens.words[row] == word[:, None]) & tokens.content[row]
    if last:
        behind = own.flip(1).cumsum(1).flip(1)
        own = own & (behind == 1)
    chosen = torch.where(own[..., None], states[row], torch.zeros_like(states[row]))
    count = own.sum(1)[:, None].to(states.dtype)
    means = chosen.sum(1) / count.clamp_min(1)
    return means.masked_fill(count == 0, torch.nan)


def subsample(values: Tensor, most: int, draw: torch.Generator) -> Tensor:
    """At most `most` rows of (M, D), drawn without repetition, in their order."""
    if len(values) <= most:
        return values
    chosen = torch.randperm(len(values), generator=draw)[:most].sort().values
    return values[chosen.to(values.device)]


def by_variety(
    model: TextModel, batch: TextBatch, *, layer: str, tokens: bool
) -> dict[str, Tensor]:
    """Variety to its vectors (M, D) in this batch, of all sides: pooled rows, or single tokens.

    Varieties are in order of their codes, so that nothing depends on the order of rows.
    """
    found: dict[str, list[Tensor]] = {}
    for side, varieties in zip(batch.sides, batch.varieties, strict=True):
        states = at_layer(model, side, layer)
        pooled, usable = mean_states(states, side)
        for code in sorted(set(varieties)):
            rows = torch.tensor([v == code for v in varieties], device=states.device)
            if tokens:
                own = states[side.content & rows[:, None]]
            else:
                own = pooled[rows & usable]
            found.setdefault(code, []).append(own)
    return {code: torch.cat(found[code]) for code in sorted(found)}


def nothing(batch: TextBatch) -> Tensor:
    """A total of 0 for a batch from which there is nothing to learn; it hangs on no parameter."""
    return torch.zeros((), device=batch.sides[0].ids.device)
