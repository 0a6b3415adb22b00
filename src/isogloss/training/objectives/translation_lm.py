"""Translation language modelling: both sides of a row as one text, one can help the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch.nn import functional

from isogloss.errors import IsoglossError
from isogloss.training.objectives.causal_lm import next_token_loss
from isogloss.training.objectives.masked_lm import hidden_tokens, masked_loss
from isogloss.training.objectives.text import TextLoss
from isogloss.training.text_batch import pad_tokens

if TYPE_CHECKING:
    from torch import nn

    from isogloss.training.text_batch import TextBatch, Tokens
    from isogloss.training.text_model import TextModel

__all__ = ["TranslationLM", "joined"]


@dataclass(frozen=True, slots=True)
class TranslationLM:
    """Masked LM on both sides joined (an encoder), or next-token prediction (a decoder).

    Which side stands first is drawn for each row. Sides are cut so that both fit. The loss is a
    mean in nats over hidden tokens, or over all.

    Args:
        share: probability of a token to be hidden; for encoders only.

    Source: Conneau & Lample 2019 (XLM), sec. 3.3; neither position reset nor language embeddings.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"pairs"})

    share: float = 0.15

    def __post_init__(self) -> None:
        if not 0.0 < self.share <= 1.0:
            raise ValueError(f"tlm: share must be in (0, 1], got {self.share}")

    def modules(self, model: TextModel) -> nn.Module | None:
        """Nothing is added; the model is checked.

        Raises:
            IsoglossError: it cannot predict tokens.
        """
        if not model.has_head or (not model.causal and model.mask_id is None):
            raise IsoglossError("objective tlm needs a model that predicts tokens")
        if model.causal and self.share != 0.15:
            raise IsoglossError("tlm: share has no effect on a decoder, which hides nothing")
        return None

    def __call__(
        self,
        model: TextModel,
        batch: TextBatch,
        *,
        extra: nn.Module | None,
        draw: torch.Generator,
        step: int,
        steps: int,
    ) -> TextLoss:
        """The loss of a batch of two sides."""
        del extra, step, steps
        first, second = batch.sides
        flip = (torch.rand(len(batch), generator=draw) < 0.5).tolist()
        tokens = joined(first, second, flip, pad=model.pad_id, most=model.max_tokens)
        if model.causal:
            total, count = next_token_loss(model, tokens)
            return TextLoss(total / max(1, count))
        inputs, targets = hidden_tokens(model, tokens, share=self.share, draw=draw)
        logits = model.logits(model.states(inputs)[-1][targets])
        wanted = tokens.ids[targets]
        total = functional.cross_entropy(logits, wanted, reduction="sum")
        right = (logits.detach().argmax(dim=-1) == wanted).sum()
        return masked_loss([total], [right], int(wanted.numel()), batch)


def joined(first: Tokens, second: Tokens, flip: list[bool], *, pad: int, most: int) -> Tokens:
    """Both texts of each row behind each other, on the device of `first`.

    The begin tokens of the text that stands first, its content, its end tokens, the other's
    content, the other's end tokens. Of each content at most half of what `most` leaves is kept.
    Words of the other text are numbered on behind those of the first.

    Args:
        first: N texts.
        second: N texts.
        flip: of each row, whether `second` stands first.
        pad: filler of ids.
        most: tokens of a row.
    """
    ids: list[list[int]] = []
    special: list[list[bool]] = []
    words: list[list[int]] = []
    for row, turned in enumerate(flip):
        a, b = (second, first) if turned else (first, second)
        begin, left, end = _pieces(a, row)
        _, right, close = _pieces(b, row)
        room = max(0, most - len(begin) - len(end) - len(close))
        half = room // 2
        keep = min(len(left), max(half, room - len(right)))
        left, right = left[:keep], right[: room - keep]
        behind = 1 + max((word for _, word in left), default=-1)
        shifted = [(token, word + behind if word >= 0 else -1) for token, word in right]
        pieces = [(begin, True), (left, False), (end, True), (shifted, False), (close, True)]
        ids.append([token for piece, _ in pieces for token, _ in piece])
        words.append([word for piece, _ in pieces for _, word in piece])
        special.append([mark for piece, mark in pieces for _ in piece])
    return pad_tokens(ids, special, words, pad=pad).to(first.ids.device)


def _pieces(tokens: Tokens, row: int) -> tuple[list[tuple[int, int]], ...]:
    """Begin tokens, content and end tokens of a text, each as (token, word)."""
    real = tokens.real[row]
    pairs = list(zip(tokens.ids[row][real].tolist(), tokens.words[row][real].tolist(), strict=True))
    marks = tokens.special[row][real].tolist()
    first = next((i for i, mark in enumerate(marks) if not mark), len(marks))
    if first == len(marks):
        # Nothing but special tokens: the first begins, the rest ends.
        return pairs[:1], [], pairs[1:]
    last = len(marks) - next(i for i, mark in enumerate(reversed(marks)) if not mark)
    return pairs[:first], pairs[first:last], pairs[last:]
