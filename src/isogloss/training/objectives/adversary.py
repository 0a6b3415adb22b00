"""A language adversary: states from which a discriminator cannot tell the variety."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from isogloss.errors import IsoglossError
from isogloss.training.objectives.state_sets import at_layer, mean_states, nothing, subsample
from isogloss.training.objectives.text import TextLoss

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.training.text_batch import TextBatch
    from isogloss.training.text_model import TextModel

__all__ = ["Discriminator", "LanguageAdversary", "label_entropy", "reverse_gradient"]


class _Reversed(torch.autograd.Function):
    """The identity, whose gradient comes back times minus a factor."""

    @staticmethod
    def forward(context: Any, values: Tensor, factor: Tensor) -> Tensor:
        context.save_for_backward(factor)
        return values.view_as(values)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (factor,) = context.saved_tensors
        reversed_gradient: Tensor = -factor * gradients[0]
        return reversed_gradient, None


def reverse_gradient(values: Tensor, factor: Tensor | float = 1.0) -> Tensor:
    """`values` unchanged; their gradient is multiplied by -`factor` on its way back.

    Source: Ganin and Lempitsky 2015, sec. 3.
    """
    scale = torch.as_tensor(factor, dtype=values.dtype, device=values.device)
    return cast("Tensor", _Reversed.apply(values, scale))  # type: ignore[no-untyped-call]


def label_entropy(labels: Tensor) -> Tensor:
    """Entropy in nats of the shares of the labels (N,): what guessing by share alone loses.

    log K for K equally frequent labels; 0 for one label or none.
    """
    if not len(labels):
        return torch.zeros((), device=labels.device)
    shares: Tensor = torch.unique(labels, return_counts=True)[1] / len(labels)
    return -(shares * shares.log()).sum()


class Discriminator(nn.Module):
    """States to logits over varieties: layer norm, one hidden layer; and the learnt multiplier.

    Classes are given to varieties in the order in which training meets them; `marks` remembers
    which, by a hash of their codes, so that a resumed run goes on. The logits of classes that are
    not given yet are -inf.
    """

    marks: Tensor
    multiplier: Tensor

    def __init__(self, width: int, hidden: int, most: int, multiplier: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, most)
        )
        self.register_buffer("marks", torch.zeros(most, dtype=torch.int64))
        self.register_buffer("multiplier", torch.tensor(float(multiplier)))

    def classes(self, codes: Sequence[str]) -> Tensor:
        """(N,) the class of each variety; new ones get the next free.

        Raises:
            IsoglossError: more varieties than classes.
        """
        known = {int(mark): place for place, mark in enumerate(self.marks.tolist()) if mark}
        for code in sorted(set(codes)):
            mark = _mark(code)
            if mark not in known:
                if len(known) == len(self.marks):
                    raise IsoglossError(
                        f"more than {len(known)} varieties for the language adversary; set "
                        "varieties=N to as many as the corpus has"
                    )
                self.marks[len(known)] = mark
                known[mark] = len(known)
        return torch.tensor([known[_mark(code)] for code in codes], device=self.marks.device)

    def forward(self, states: Tensor) -> Tensor:
        """(N, K) logits of (N, D) states."""
        logits: Tensor = self.layers(states.float())
        return logits.masked_fill(self.marks == 0, -torch.inf)


def _mark(code: str) -> int:
    """A number of 63 bits for a code, never 0, the same in every process."""
    digest = hashlib.blake2b(code.encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 1) or 1


@dataclass(frozen=True, slots=True)
class LanguageAdversary:
    """The loss of a discriminator of varieties, whose gradient is reversed where it meets states.

    One step does three things. The discriminator learns to tell varieties (its loss, in nats a
    vector, is the total). The model learns the opposite, times the multiplier. And the multiplier,
    where it is learnt, follows the constraint "the discriminator does no better than chance":

        multiplier <- max(0, multiplier + rate * (chance - loss))

    where chance is the entropy of the shares of varieties in the batch. It grows as long as
    varieties can be told and shrinks once they cannot, so that no weight has to be chosen. It
    moves only where gradients are taken, and is kept in checkpoints.

    Give it beside an objective that keeps the meaning; alone it is best served by constant states.
    `weight` scales the discriminator's gradient too, to which Adam is blind. What is kept at chance
    is this discriminator, in this game: another probe, fitted afterwards, may still tell varieties
    apart. `distribution` has no such game.

    Args:
        layer: whose states: a number, "middle" or "last".
        level: "sentence" reads means over tokens, "token" single tokens.
        pivot: a code: tell this variety from all others, as DAMP does; "" tells all apart.
        multiplier: its first value, or the constant one where `rate` is 0.
        rate: of dual ascent.
        largest: the multiplier never grows beyond.
        hidden: width of the discriminator.
        varieties: the most there may be.
        most: vectors of a batch beyond this number are left out, by lot.

    Source: constrained adversarial training of DAMP (Held et al. 2023, arXiv 2212.08054);
    gradient reversal of Ganin and Lempitsky 2015.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    layer: str = "last"
    level: Literal["sentence", "token"] = "sentence"
    pivot: str = ""
    multiplier: float = 0.0
    rate: float = 0.05
    largest: float = 10.0
    hidden: int = 128
    varieties: int = 64
    most: int = 2048

    def __post_init__(self) -> None:
        if self.multiplier < 0 or self.rate < 0 or self.largest < self.multiplier:
            raise ValueError(
                "need 0 <= multiplier <= largest and rate >= 0, got "
                f"{self.multiplier}, {self.largest}, {self.rate}"
            )
        if not self.rate and not self.multiplier:
            raise ValueError("with rate 0 the multiplier stays 0, and the model learns nothing")
        if self.varieties < 2 or self.hidden < 1 or self.most < 2:
            raise ValueError("varieties and most must be 2 or more, hidden 1 or more")

    def modules(self, model: TextModel) -> nn.Module:
        """The `Discriminator`."""
        return Discriminator(model.width, self.hidden, self.varieties, self.multiplier)

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
        """0, and nothing learnt, where the batch has vectors of fewer than two varieties."""
        if not isinstance(extra, Discriminator):
            raise TypeError("the adversary needs the Discriminator that `modules` makes")
        vectors, codes = self._vectors(model, batch, draw)
        if len(set(codes)) < 2:
            return TextLoss(nothing(batch), {"multiplier": extra.multiplier.clone()})
        labels = extra.classes(codes)
        loss = functional.cross_entropy(
            extra(reverse_gradient(vectors, extra.multiplier.clone())), labels
        )
        chance = label_entropy(labels)
        parts = {
            "discriminator": loss.detach(),
            "chance": chance,
            "multiplier": extra.multiplier.clone(),
        }
        if self.rate and torch.is_grad_enabled():
            risen = extra.multiplier + self.rate * (chance - loss.detach())
            extra.multiplier.copy_(risen.clamp(0.0, self.largest))
        return TextLoss(loss, parts)

    def _vectors(
        self, model: TextModel, batch: TextBatch, draw: torch.Generator
    ) -> tuple[Tensor, list[str]]:
        """(M, D) vectors of both sides and their M varieties (the pivot's and "" with a pivot)."""
        found: list[Tensor] = []
        codes: list[str] = []
        for side, varieties in zip(batch.sides, batch.varieties, strict=True):
            states = at_layer(model, side, self.layer)
            if self.level == "sentence":
                pooled, usable = mean_states(states, side)
                found.append(pooled[usable])
                rows = usable.nonzero()[:, 0].tolist()
            else:
                found.append(states[side.content])
                rows = side.content.nonzero()[:, 0].tolist()
            codes += [self._label(varieties[row]) for row in rows]
        vectors = torch.cat(found)
        if len(vectors) > self.most:
            numbers = torch.arange(len(vectors), dtype=torch.long)[:, None]
            kept = subsample(numbers, self.most, draw)[:, 0]
            vectors, codes = vectors[kept.to(vectors.device)], [codes[i] for i in kept.tolist()]
        return vectors, codes

    def _label(self, code: str) -> str:
        return code if not self.pivot or code == self.pivot else ""
