"""Distribution matching: states of varieties made to look alike as sets, without any pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from isogloss.training.objectives.divergences import gaussian_w2, mmd, sinkhorn
from isogloss.training.objectives.state_sets import (
    at_layer,
    by_variety,
    nothing,
    subsample,
)
from isogloss.training.objectives.text import TextLoss

if TYPE_CHECKING:
    from torch import Tensor, nn

    from isogloss.training.text_batch import TextBatch
    from isogloss.training.text_model import TextModel

__all__ = ["DistributionMatching", "Minotaur", "pair_w2"]

Divergence = Literal["mmd", "mmd-rbf", "w2", "w2-full", "sinkhorn"]


@dataclass(frozen=True, slots=True)
class DistributionMatching:
    """A divergence between the states of every two varieties of a batch, its mean over them.

    It knows no pairs: a batch of any texts of several varieties will do. It can be made 0 by
    states that say nothing any more, so give it beside an objective that keeps them apart (mlm,
    infonce). The unit is that of the divergence: at most 2 for MMD; squared states per dimension
    for the others.

    Args:
        divergence: "mmd" (inverse multiquadratics) or "mmd-rbf", which see all moments; "w2" or
            "w2-full", means and variances (or covariances) alone; "sinkhorn", transport.
        layer: whose states: a number, "middle" or "last".
        level: "sentence" compares means over tokens, "token" the tokens themselves.
        pivot: compare every variety with this one alone; "" compares all with all.
        least: varieties with fewer vectors in the batch take no part.
        most: vectors of a variety beyond this number are left out, by lot.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    divergence: Divergence = "mmd"
    layer: str = "last"
    level: Literal["sentence", "token"] = "sentence"
    pivot: str = ""
    least: int = 2
    most: int = 512

    def __post_init__(self) -> None:
        if self.least < 1 or self.most < self.least:
            raise ValueError(f"need 1 <= least <= most, got {self.least} and {self.most}")

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
        """0 where the batch has fewer than two varieties with `least` vectors."""
        sets = by_variety(model, batch, layer=self.layer, tokens=self.level == "token")
        sets = {
            code: subsample(own, self.most, draw)
            for code, own in sets.items()
            if len(own) >= self.least
        }
        pairs = [
            (a, b) for a in sets for b in sets if a < b and (not self.pivot or self.pivot in (a, b))
        ]
        if not pairs:
            return TextLoss(nothing(batch), {"variety pairs": torch.tensor(0.0)})
        values = [self._between(sets[a], sets[b]) for a, b in pairs]
        total = torch.stack(values).mean()
        return TextLoss(
            total,
            {self.divergence: total.detach(), "variety pairs": torch.tensor(float(len(pairs)))},
        )

    def _between(self, x: Tensor, y: Tensor) -> Tensor:
        if self.divergence == "mmd":
            return mmd(x, y)
        if self.divergence == "mmd-rbf":
            return mmd(x, y, kernel="rbf")
        if self.divergence == "sinkhorn":
            return sinkhorn(x, y) / x.shape[1]
        full = self.divergence == "w2-full"
        return gaussian_w2(x, y, covariance="full" if full else "diagonal") / x.shape[1]


@dataclass(frozen=True, slots=True)
class Minotaur:
    """Posterior alignment: each pair's token states as Gaussians, and all pooled states as sets.

    individual * mean over pairs of W2² (diagonal, per dimension) + aggregate * MMD (inverse
    multiquadratics) between varieties. The paper puts a variational bottleneck between encoder and
    decoder and compares its posteriors; here the Gaussian is that of the states themselves.
    With `individual` 0 it needs no pairs and is `DistributionMatching`.

    Args:
        individual: weight of the pairs' part.
        aggregate: weight of the sets' part.
        layer: whose states: a number, "middle" or "last".

    Source: Sherborne, Hosking and Lapata 2023 (Minotaur).
    """

    individual: float = 1.0
    aggregate: float = 1.0
    layer: str = "last"

    def __post_init__(self) -> None:
        if min(self.individual, self.aggregate) < 0 or not self.individual + self.aggregate:
            raise ValueError(
                f"weights must not be negative nor both 0, got {self.individual}, {self.aggregate}"
            )

    @property
    def needs(self) -> frozenset[str]:
        """Pairs, unless the sets alone are compared."""
        return frozenset({"pairs"} if self.individual else ())

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
        """Each part is 0 where the batch has nothing for it."""
        parts: dict[str, Tensor] = {}
        total = nothing(batch)
        if self.individual and len(batch.sides) == 2:
            a, b = (at_layer(model, side, self.layer) for side in batch.sides)
            individual = pair_w2(a, batch.sides[0].content, b, batch.sides[1].content)
            parts["individual"] = individual.detach()
            total = total + self.individual * individual
        if self.aggregate:
            matching = DistributionMatching(layer=self.layer)
            found = matching(model, batch, extra=None, draw=draw, step=step, steps=steps)
            parts["aggregate"] = found.total.detach()
            total = total + self.aggregate * found.total
        return TextLoss(total, parts)


def pair_w2(x: Tensor, x_kept: Tensor, y: Tensor, y_kept: Tensor) -> Tensor:
    """Mean over rows of the squared W2 of the diagonal Gaussians of their tokens, per dimension.

    Args:
        x: (N, L, D) states.
        x_kept: (N, L) bool, which of them count.
        y: (N, M, D), row i belongs to row i of `x`.
        y_kept: (N, M) bool.

    Returns:
        A scalar; rows without a counted token on either side are left out, 0 where all are.
    """
    (m, s, any_x), (n, t, any_y) = (_moments(a, kept) for a, kept in ((x, x_kept), (y, y_kept)))
    both = any_x & any_y
    if not bool(both.any()):
        return x.new_zeros(())
    return ((m - n).square() + (s - t).square())[both].mean()


def _moments(states: Tensor, kept: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and standard deviation (N, D) over the kept tokens, and which rows have any."""
    there = kept[..., None]
    count = kept.sum(1).clamp_min(1)[:, None].to(states.dtype)
    clean = torch.where(there, states, torch.zeros_like(states))
    mean = clean.sum(1) / count
    centred = torch.where(there, states - mean[:, None], torch.zeros_like(states))
    tiny = torch.finfo(states.dtype).tiny
    return mean, (centred.square().sum(1) / count + tiny).sqrt(), kept.any(1)
