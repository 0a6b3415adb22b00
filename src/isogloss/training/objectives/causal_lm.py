"""Language modelling from left to right: each token is told from those before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch.nn import functional

from isogloss.errors import IsoglossError
from isogloss.training.objectives.text import TextLoss

if TYPE_CHECKING:
    from torch import Tensor, nn

    from isogloss.training.text_batch import TextBatch, Tokens
    from isogloss.training.text_model import TextModel

__all__ = ["CausalLM", "next_token_loss"]


@dataclass(frozen=True, slots=True)
class CausalLM:
    """Cross entropy of the next token, a mean in nats over tokens, the end token included.

    Args:
        sides: the sides of a batch that are learnt from.
    """

    needs: ClassVar[frozenset[str]] = frozenset()

    sides: Literal["both", "first", "second"] = "both"

    def modules(self, model: TextModel) -> nn.Module | None:
        """Nothing is added; the model is checked.

        Raises:
            IsoglossError: it is no decoder, or has no head.
        """
        if not model.causal or not model.has_head:
            raise IsoglossError(
                "objective lm needs a decoder with a language-model head; for an encoder use mlm"
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
        """The loss of a batch."""
        del extra, draw, step, steps
        chosen = {"both": batch.sides, "first": batch.sides[:1], "second": batch.sides[1:]}
        found = [next_token_loss(model, side) for side in chosen[self.sides]]
        count = sum(n for _, n in found)
        if not count:
            return TextLoss(torch.zeros((), device=batch.sides[0].ids.device))
        return TextLoss(torch.stack([total for total, _ in found]).sum() / count)


def next_token_loss(model: TextModel, tokens: Tokens) -> tuple[Tensor, int]:
    """Summed cross entropy of every real token but the first of a row, and how many these are."""
    told = tokens.real[:, 1:]
    states = model.states(tokens)[-1][:, :-1]
    wanted = tokens.ids[:, 1:][told]
    total = functional.cross_entropy(model.logits(states[told]), wanted, reduction="sum")
    return total, int(wanted.numel())
