"""What `infonce` compares: pooled vectors of a batch's sides, who says the same, earlier keys."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from isogloss.encoders.words import words_of
from isogloss.errors import BadRecord, IsoglossError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from isogloss.training.text_batch import TextBatch, Tokens
    from isogloss.training.text_model import TextModel

__all__ = [
    "POOLINGS",
    "KeyQueue",
    "Views",
    "hard_negatives",
    "layers_asked",
    "name_numbers",
    "pool_states",
    "pooled_layers",
    "views_of",
    "word_vectors",
]

POOLINGS = ("mean", "first", "last", "weighted", "class", "word")
"""Ways from the states of a text to one vector, and to one a word."""

OUTPUT = -1
"""Stands for the rows of the output layer's weights among the numbers of layers."""


@dataclass(frozen=True, slots=True, eq=False)
class Views:
    """Vectors of the two sides and who belongs to whom.

    `vectors` are (N, D) and (M, D); `direct` (N, M) says which are a pair, `same` (N, M) which say
    the same without being one, `alike` (N, N) and (M, M) which of one side say the same; `names`
    (N,) numbers the meanings, -1 where there is none.
    """

    vectors: tuple[Tensor, Tensor]
    direct: Tensor
    same: Tensor
    alike: tuple[Tensor, Tensor]
    names: Tensor


def layers_asked(text: str, model: TextModel) -> tuple[int, ...]:
    """The numbers of the layers that `text` names, `OUTPUT` for the output layer's weights.

    Raises:
        ValueError: no such layer, or one twice.
    """
    depth = len(model.blocks)
    named = {
        "middle": ((depth + 1) // 2,),
        "last": (depth + 1,),
        "all": tuple(range(depth + 1)),
        "output": (OUTPUT,),
    }
    found: list[int] = []
    for part in text.split("+"):
        if part in named:
            found += named[part]
        elif part.isdecimal() and int(part) in model.layers:
            found.append(int(part))
        else:
            raise ValueError(
                f"layer {part!r} is none of 0 to {depth + 1}, middle, last, all, output"
            )
    if len(set(found)) != len(found):
        raise ValueError(f"layer {text!r} names a layer twice")
    return tuple(found)


def pool_states(states: Tensor, tokens: Tokens, how: str) -> Tensor:
    """(N, D) vectors of (N, L, D) states; zeros for a text without tokens of its own.

    Special tokens and padding do not enter, but for "class", which is the first special token.
    """
    mask = tokens.special & tokens.real if how == "class" else tokens.content
    places = mask.long().cumsum(dim=1)
    if how in ("first", "class"):
        weights = mask & (places == 1)
    elif how == "last":
        weights = mask & (places == places[:, -1:])
    elif how == "weighted":
        weights = mask * places
    else:
        weights = mask
    share = weights.to(states.dtype)
    share = share / share.sum(dim=1, keepdim=True).clamp(min=1)
    # States of padding may be anything, and 0 * NaN is NaN.
    kept = states.masked_fill(~tokens.real[:, :, None], 0.0)
    return torch.einsum("nl,nld->nd", share, kept)


def word_vectors(states: Tensor, tokens: Tokens, wanted: Sequence[tuple[int, int]]) -> Tensor:
    """(G, D) means of the states of words, `wanted` being (row, word); zeros for one not there."""
    places = {key: number for number, key in enumerate(wanted)}
    rows, columns = tokens.content.nonzero(as_tuple=True)
    keys = zip(rows.tolist(), tokens.words[rows, columns].tolist(), strict=True)
    groups = torch.tensor([places.get(key, len(wanted)) for key in keys], dtype=torch.int64)
    groups = groups.to(states.device)
    sums = states.new_zeros(len(wanted) + 1, states.shape[-1])
    sums = sums.index_add(0, groups, states[rows, columns])
    counts = torch.bincount(groups, minlength=len(wanted) + 1).clamp(min=1)
    return (sums / counts[:, None])[:-1]


def pooled_layers(model: TextModel, tokens: Tokens, layer: str, pooling: str) -> list[Tensor]:
    """(N, D) vectors of each layer that `layer` names, from one forward pass."""
    return [pool_states(states, tokens, pooling) for states in _layer_states(model, tokens, layer)]


def views_of(model: TextModel, batch: TextBatch, layer: str, pooling: str) -> list[Views]:
    """The `Views` of each layer that `layer` names.

    Raises:
        IsoglossError: "word" is asked for and the batch has no links.
    """
    sides = [_layer_states(model, side, layer) for side in batch.sides]
    if pooling == "word":
        return _word_views(batch, sides)
    device = batch.sides[0].ids.device
    names = name_numbers(batch.names).to(device)
    same = (names[:, None] == names[None, :]) & (names >= 0)[:, None]
    direct = torch.eye(len(batch), dtype=torch.bool, device=device)
    found = []
    for first, second in zip(*sides, strict=True):
        vectors = (
            pool_states(first, batch.sides[0], pooling),
            pool_states(second, batch.sides[1], pooling),
        )
        found.append(Views(vectors, direct, same, (same, same), names))
    return found


def name_numbers(names: Sequence[str | None]) -> Tensor:
    """(N,) int64 numbers of meanings, equal for equal names in any batch; -1 for None."""
    return torch.tensor(
        [
            -1
            if name is None
            else int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest()) >> 1
            for name in names
        ],
        dtype=torch.int64,
    )


class KeyQueue(nn.Module):
    """Vectors of earlier batches, by side and layer, and the slow copy of the model that made them.

    All of it is in the `state_dict`, so that a run which was killed goes on with the same keys.

    Args:
        model: copied.
        layers: compared.
        size: keys kept of each side.
    """

    keys: Tensor
    names: Tensor
    held: Tensor

    def __init__(self, model: TextModel, layers: int, size: int) -> None:
        super().__init__()
        self.copy = model.frozen_copy()
        self.register_buffer("keys", torch.zeros(2, layers, size, model.width))
        self.register_buffer("names", torch.full((size,), -1, dtype=torch.int64))
        # Keys written so far; the next place is what is left of it by the size.
        self.register_buffer("held", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def follow(self, model: TextModel, momentum: float) -> None:
        """Move the copy towards `model`: momentum * copy + (1 - momentum) * model."""
        for own, other in zip(self.copy.parameters(), model.parameters(), strict=True):
            own.lerp_(other.detach().to(own.dtype), 1.0 - momentum)

    def read(self, side: int, layer: int, names: Tensor) -> tuple[Tensor, Tensor]:
        """Keys (K, D) of a side, and (N, K) bool: which are negatives of rows with these names."""
        count = min(int(self.held), self.names.numel())
        known = self.names[:count]
        alike = (names[:, None] == known[None, :]) & (names >= 0)[:, None]
        # A copy: the buffer changes before the gradient is taken.
        return self.keys[side, layer, :count].clone(), ~alike

    @torch.no_grad()
    def add(self, views: Sequence[Views], names: Tensor) -> None:
        """Put the newest keys in place of the oldest."""
        size = self.names.numel()
        rows = min(len(names), size)
        places = (int(self.held) + torch.arange(rows, device=self.names.device)) % size
        self.names[places] = names[:rows].to(self.names.device)
        for layer, found in enumerate(views):
            for side in (0, 1):
                self.keys[side, layer, places] = found.vectors[side][:rows].to(self.keys.dtype)
        self.held += rows


@lru_cache(maxsize=8)
def hard_negatives(path: str) -> Mapping[str, tuple[str, ...]]:
    """The negatives of each text in a TSV file of two columns.

    Raises:
        IsoglossError: there is no such file, or it is not UTF-8.
        BadRecord: a line has not two texts.
    """
    file = Path(path)
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise IsoglossError(f"list {file}: there is no such file") from error
    except UnicodeDecodeError as error:
        raise IsoglossError(f"list {file}: not UTF-8: {error}") from error
    found: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(lines, start=1):
        columns = line.split("\t")
        if len(columns) != 2 or not all(column.strip() for column in columns):
            raise BadRecord(file, number, "negative", "expected a text, a tab, and a negative")
        found[columns[0]] = (*found.get(columns[0], ()), columns[1])
    return found


def _layer_states(model: TextModel, tokens: Tokens, layer: str) -> list[Tensor]:
    asked = layers_asked(layer, model)
    states = model.states(tokens) if any(number != OUTPUT for number in asked) else ()
    return [
        model.output_embedding()[tokens.ids] if number == OUTPUT else states[number]
        for number in asked
    ]


def _word_views(batch: TextBatch, sides: Sequence[list[Tensor]]) -> list[Views]:
    if batch.links is None:
        raise IsoglossError("infonce with pooling=word needs word links")
    linked = _present_links(batch)
    lists = [sorted({(row, pair[side]) for row, pair in linked}) for side in (0, 1)]
    device = batch.sides[0].ids.device
    places = [{key: number for number, key in enumerate(found)} for found in lists]
    direct = torch.zeros(len(lists[0]), len(lists[1]), dtype=torch.bool)
    forms = [_forms(batch, side, found) for side, found in enumerate(lists)]
    said = torch.zeros(*(1 + max(numbers, default=0) for numbers in forms), dtype=torch.bool)
    for row, (left, right) in linked:
        i, j = places[0][row, left], places[1][row, right]
        direct[i, j] = True
        said[forms[0][i], forms[1][j]] = True
    numbers = [torch.tensor(found, dtype=torch.int64) for found in forms]
    same = said[numbers[0]][:, numbers[1]].to(device)
    alike = tuple((n[:, None] == n[None, :]).to(device) for n in numbers)
    names = torch.full((len(lists[0]),), -1, dtype=torch.int64, device=device)
    return [
        Views(
            (
                word_vectors(first, batch.sides[0], lists[0]),
                word_vectors(second, batch.sides[1], lists[1]),
            ),
            direct.to(device),
            same,
            (alike[0], alike[1]),
            names,
        )
        for first, second in zip(*sides, strict=True)
    ]


def _present_links(batch: TextBatch) -> list[tuple[int, tuple[int, int]]]:
    """Links whose words have tokens on both sides: the cut of long texts takes some away."""
    known = [
        {
            (row, word)
            for row, (words, content) in enumerate(
                zip(side.words.tolist(), side.content.tolist(), strict=True)
            )
            for word, inside in zip(words, content, strict=True)
            if inside and word >= 0
        }
        for side in batch.sides
    ]
    return [
        (row, pair)
        for row, pairs in enumerate(batch.links or ())
        for pair in pairs
        if (row, pair[0]) in known[0] and (row, pair[1]) in known[1]
    ]


def _forms(batch: TextBatch, side: int, wanted: Sequence[tuple[int, int]]) -> list[int]:
    """A number for the form of each wanted word, equal for words spelt alike but for case."""
    spans = [words_of(text) for text in batch.texts[side]]
    numbers: dict[str, int] = {}
    found = []
    for row, word in wanted:
        first, last = spans[row][word]
        form = batch.texts[side][row][first:last].casefold()
        found.append(numbers.setdefault(form, len(numbers)))
    return found
