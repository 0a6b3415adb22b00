"""Masked language modelling: tokens are hidden, and the model says what they were."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch.nn import functional

from isogloss.errors import IsoglossError
from isogloss.training.objectives.text import TextLoss

if TYPE_CHECKING:
    from torch import Tensor, nn

    from isogloss.training.text_batch import TextBatch, Tokens
    from isogloss.training.text_model import TextModel

__all__ = ["MaskedLM", "hidden_tokens", "masked_loss"]

# Of the tokens chosen, this share becomes the mask, this a random token; the rest stays.
_MASKED, _RANDOM = 0.8, 0.1


@dataclass(frozen=True, slots=True)
class MaskedLM:
    """Cross entropy of hidden tokens, a mean in nats over them; 0 in a batch without any.

    Of the tokens chosen 80 % are masked, 10 % replaced by a random ordinary token and 10 % left;
    special tokens and padding are never chosen.

    Args:
        share: probability of a token to be chosen.
        sides: the sides of a batch that are learnt from.

    Source: Devlin et al. 2019 (BERT), sec. 3.1. Tokens are chosen anew in every batch.
    """

    needs: ClassVar[frozenset[str]] = frozenset()

    share: float = 0.15
    sides: Literal["both", "first", "second"] = "both"

    def __post_init__(self) -> None:
        if not 0.0 < self.share <= 1.0:
            raise ValueError(f"mlm: share must be in (0, 1], got {self.share}")

    def modules(self, model: TextModel) -> nn.Module | None:
        """Nothing is added; the model is checked.

        Raises:
            IsoglossError: it has no mask token, no head, or is a decoder.
        """
        if model.causal or model.mask_id is None or not model.has_head:
            raise IsoglossError(
                "objective mlm needs an encoder with a mask token and a masked-LM head; for a "
                "decoder use lm"
            )
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
        """The loss of a batch; `right` among the parts is the share of hidden tokens found."""
        del extra, step, steps
        chosen = {"both": batch.sides, "first": batch.sides[:1], "second": batch.sides[1:]}
        sums, counts, rights = [], [], []
        for side in chosen[self.sides]:
            inputs, targets = hidden_tokens(model, side, share=self.share, draw=draw)
            logits = model.logits(model.states(inputs)[-1][targets])
            wanted = side.ids[targets]
            sums.append(functional.cross_entropy(logits, wanted, reduction="sum"))
            rights.append((logits.detach().argmax(dim=-1) == wanted).sum())
            counts.append(int(wanted.numel()))
        return masked_loss(sums, rights, sum(counts), batch)


def hidden_tokens(
    model: TextModel,
    tokens: Tokens,
    *,
    share: float,
    draw: torch.Generator,
    among: Tensor | None = None,
) -> tuple[Tokens, Tensor]:
    """`tokens` with some hidden, and (N, L) bool: which were chosen.

    Args:
        model: gives the mask and the random tokens.
        tokens: on any device.
        share: probability of a token of the text to be chosen.
        draw: decides; on the CPU.
        among: (N, L) bool, tokens that may be chosen; None for all of the text.

    Raises:
        ValueError: the model has no mask token.
    """
    if model.mask_id is None:
        raise ValueError("the tokenizer has no mask token")
    shape = tuple(tokens.ids.shape)
    device = tokens.ids.device
    chance = torch.rand(shape, generator=draw).to(device)
    fate = torch.rand(shape, generator=draw).to(device)
    ordinary = model.ordinary_ids()
    other = torch.randint(len(ordinary), shape, generator=draw).to(device)
    able = tokens.content if among is None else tokens.content & among
    chosen = able & (chance < share)
    ids = torch.where(chosen & (fate < _MASKED), model.mask_id, tokens.ids)
    swapped = chosen & (fate >= _MASKED) & (fate < _MASKED + _RANDOM)
    return replace(tokens, ids=torch.where(swapped, ordinary[other], ids)), chosen


def masked_loss(sums: list[Tensor], rights: list[Tensor], count: int, batch: TextBatch) -> TextLoss:
    """Sums of cross entropies over `count` tokens as their mean, with the share found."""
    device = batch.sides[0].ids.device
    if not count:
        return TextLoss(torch.zeros((), device=device))
    right = torch.stack(rights).sum() / count
    return TextLoss(torch.stack(sums).sum() / count, {"right": right})
