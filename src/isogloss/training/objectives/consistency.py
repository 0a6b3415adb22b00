"""Prediction consistency: what a model predicts for a text and for its other version, by KL."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch.nn import functional

from isogloss.errors import UnknownName
from isogloss.training.objectives.state_sets import mean_states, nothing, word_means
from isogloss.training.objectives.text import TextLoss
from isogloss.training.objectives.word_mse import links_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from isogloss.training.text_batch import TextBatch, Tokens
    from isogloss.training.text_model import TextModel

__all__ = ["DIRECTIONS", "Consistency", "divergence"]

DIRECTIONS = ("forward", "backward", "symmetric", "js")


def divergence(first: Tensor, second: Tensor, direction: str = "symmetric") -> Tensor:
    """Divergence of N pairs of distributions, (N,) in nats; 0 where they are equal, never below.

    Args:
        first: (N, V) logits or log-probabilities.
        second: (N, V).
        direction: "forward" is KL(first | second), the mean over what `first` predicts of
            log first - log second; "backward" KL(second | first); "symmetric" the mean of both;
            "js" the Jensen-Shannon divergence, at most log 2.

    Raises:
        UnknownName: no such direction.
    """
    if direction not in DIRECTIONS:
        raise UnknownName("direction", direction, DIRECTIONS)
    p, q = (functional.log_softmax(x.float(), dim=-1) for x in (first, second))
    if direction == "forward":
        return _kl(p, q)
    if direction == "backward":
        return _kl(q, p)
    if direction == "symmetric":
        return 0.5 * (_kl(p, q) + _kl(q, p))
    middle = torch.logaddexp(p, q) - math.log(2.0)
    return 0.5 * (_kl(p, middle) + _kl(q, middle))


def _kl(p: Tensor, q: Tensor) -> Tensor:
    """KL(p | q) of log-probabilities; 0 log 0 is 0, also where both are -inf."""
    there = p > -torch.inf
    apart = torch.where(there, p, torch.zeros_like(p)) - torch.where(there, q, torch.zeros_like(q))
    return (p.exp() * apart).sum(-1)


@dataclass(frozen=True, slots=True)
class Consistency:
    """Divergence of the predictions for the two sides of a row, its mean over rows, in nats.

    Args:
        at: whose prediction. "last": what follows the text (decoders: the answer to a question
            asked in two varieties). "mean": the output layer on the mean state, a distribution
            over the words of the whole text. "words": at linked words (see `WordMSE`).
        direction: see `divergence`.
        stop: the side that is held constant, so that the other one learns from it.
        temperature: logits are divided by it.
        lexicon: for `at` "words".
    """

    needs: ClassVar[frozenset[str]] = frozenset({"pairs"})
    at: Literal["last", "mean", "words"] = "mean"
    direction: Literal["forward", "backward", "symmetric", "js"] = "symmetric"
    stop: Literal["none", "first", "second"] = "none"
    temperature: float = 1.0
    lexicon: str = ""

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature must be above 0, got {self.temperature}")

    def modules(self, model: TextModel) -> nn.Module | None:
        """None: nothing is learnt beside the model."""
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
        """0 where no row has something to compare on both sides."""
        if len(batch.sides) < 2:
            raise ValueError("consistency needs two sides, texts and their other versions")
        states = [model.states(side)[-1] for side in batch.sides]
        found = self._compared(states, batch)
        if found is None:
            return TextLoss(nothing(batch), {"compared": torch.tensor(0.0)})
        logits = [model.logits(x) / self.temperature for x in found]
        if self.stop != "none":
            held = 0 if self.stop == "first" else 1
            logits[held] = logits[held].detach()
        total = divergence(logits[0], logits[1], self.direction).mean()
        return TextLoss(
            total,
            {"divergence": total.detach(), "compared": torch.tensor(float(len(logits[0])))},
        )

    def _compared(self, states: list[Tensor], batch: TextBatch) -> list[Tensor] | None:
        """Two (K, D) of states whose predictions are compared, None where there are none."""
        if self.at == "words":
            linked = [
                (row, i, j)
                for row, links in enumerate(links_of(batch, self.lexicon))
                for i, j in links
            ]
            if not linked:
                return None
            rows, lefts, rights = zip(*linked, strict=True)
            found = [
                word_means(states[0], batch.sides[0], rows, lefts),
                word_means(states[1], batch.sides[1], rows, rights),
            ]
            usable = [torch.isfinite(x.detach()).all(1) for x in found]
        elif self.at == "mean":
            means = [mean_states(x, side) for x, side in zip(states, batch.sides, strict=True)]
            found, usable = [m for m, _ in means], [u for _, u in means]
        else:
            found = [_last(x, side) for x, side in zip(states, batch.sides, strict=True)]
            usable = [side.content.any(1) for side in batch.sides]
        both = usable[0] & usable[1]
        return [x[both] for x in found] if bool(both.any()) else None


def _last(states: Tensor, tokens: Tokens) -> Tensor:
    """(N, D) states at the last token of the text itself; the first token's where there is none."""
    places = torch.arange(tokens.ids.shape[1], device=states.device)
    last = torch.where(tokens.content, places, torch.zeros_like(places)).amax(1)
    return states[torch.arange(len(states), device=states.device), last]
