"""Texts side by side as padded token ids: what a model of text learns from in one step.

`TextModel.tokens` makes `Tokens`, `text_learner` puts them together to a `TextBatch`, objectives
read it. Masks say what is real (True), never what is padding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["TextBatch", "TextRows", "Tokens", "pad_tokens"]


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """N texts as token ids, padded at the end to the longest (L).

    Attributes:
        ids: (N, L) int64.
        real: (N, L) bool, True where a token is no padding.
        special: (N, L) bool, True where a token belongs to the format (class, separator, begin,
            end): such a token is never pooled and never masked. False at padding.
        words: (N, L) int64, the number of the word in its text, -1 for none.
    """

    ids: Tensor
    real: Tensor
    special: Tensor
    words: Tensor

    def __post_init__(self) -> None:
        shape = tuple(self.ids.shape)
        if len(shape) != 2:
            raise ValueError(f"ids must be (N, L), got {shape}")
        for name in ("real", "special", "words"):
            found = tuple(getattr(self, name).shape)
            if found != shape:
                raise ValueError(f"{name} must be {shape} as ids, got {found}")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def content(self) -> Tensor:
        """(N, L) bool: tokens of the text itself, neither padding nor special."""
        return self.real & ~self.special

    def to(self, device: torch.device | str) -> Tokens:
        """The same on `device`."""
        return Tokens(
            self.ids.to(device),
            self.real.to(device),
            self.special.to(device),
            self.words.to(device),
        )

    def select(self, rows: Sequence[int] | Tensor) -> Tokens:
        """The rows at these places, padding as it is."""
        chosen = torch.as_tensor(rows, device=self.ids.device)
        return Tokens(self.ids[chosen], self.real[chosen], self.special[chosen], self.words[chosen])


@dataclass(frozen=True, slots=True)
class TextRows:
    """Plain rows of a batch, before any tokenizer: `texts[side][row]` and what is known of them.

    Attributes:
        ids: the item of each row of the first side, for messages.
        texts: one or two sides of N texts.
        names: the meaning of each row, None where it has none; rows of equal names say the same,
            so none is a negative of the other.
        varieties: of each row of each side.
        links: of each row, pairs (word of side 0, word of side 1), counted from 0; None where
            no links are known.
    """

    ids: tuple[str, ...]
    texts: tuple[tuple[str, ...], ...]
    names: tuple[str | None, ...]
    varieties: tuple[tuple[str, ...], ...]
    links: tuple[tuple[tuple[int, int], ...], ...] | None = None

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True, eq=False)
class TextBatch:
    """`TextRows` with their tokens: one or two sides of the same N rows.

    Attributes:
        sides: tokens of each side, N rows each; lengths of sides differ.
        names: the meaning of each row; equal names (not None) are no negatives of each other.
        varieties: of each row of each side.
        links: word links of each row, see `TextRows`.
        texts: the plain text of each row of each side.
    """

    sides: tuple[Tokens, ...]
    names: tuple[str | None, ...]
    varieties: tuple[tuple[str, ...], ...]
    links: tuple[tuple[tuple[int, int], ...], ...] | None
    texts: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.sides) <= 2:
            raise ValueError(f"a batch has one side or two, got {len(self.sides)}")
        rows = len(self.sides[0])
        counts = {
            "names": len(self.names),
            **{f"sides[{i}]": len(side) for i, side in enumerate(self.sides)},
            **{f"varieties[{i}]": len(row) for i, row in enumerate(self.varieties)},
            **{f"texts[{i}]": len(row) for i, row in enumerate(self.texts)},
        }
        if self.links is not None:
            counts["links"] = len(self.links)
        for name, count in counts.items():
            if count != rows:
                raise ValueError(f"{name} has {count} rows, sides[0] has {rows}")
        if not len(self.varieties) == len(self.texts) == len(self.sides):
            raise ValueError("varieties and texts must have as many sides as there are tokens")

    def __len__(self) -> int:
        return len(self.sides[0])

    def to(self, device: torch.device | str) -> TextBatch:
        """The same with its tensors on `device`."""
        return replace(self, sides=tuple(side.to(device) for side in self.sides))


def pad_tokens(
    ids: Sequence[Sequence[int]],
    special: Sequence[Sequence[bool]],
    words: Sequence[Sequence[int]],
    *,
    pad: int,
) -> Tokens:
    """Rows of unequal length as `Tokens`; `pad` fills their ends.

    Raises:
        ValueError: there is no row, or a row's lists differ in length.
    """
    if not ids:
        raise ValueError("there is no text in the batch")
    width = max(1, *(len(row) for row in ids)) if len(ids) > 1 else max(1, len(ids[0]))
    shape = (len(ids), width)
    tokens = Tokens(
        torch.full(shape, pad, dtype=torch.int64),
        torch.zeros(shape, dtype=torch.bool),
        torch.zeros(shape, dtype=torch.bool),
        torch.full(shape, -1, dtype=torch.int64),
    )
    for row, (numbers, marks, places) in enumerate(zip(ids, special, words, strict=True)):
        if not len(numbers) == len(marks) == len(places):
            raise ValueError(
                f"row {row} has {len(numbers)} ids, {len(marks)} special marks, {len(places)} words"
            )
        end = len(numbers)
        tokens.ids[row, :end] = torch.tensor(numbers, dtype=torch.int64)
        tokens.real[row, :end] = True
        tokens.special[row, :end] = torch.tensor(marks, dtype=torch.bool)
        tokens.words[row, :end] = torch.tensor(places, dtype=torch.int64)
    return tokens
