"""One contrastive loss with five knobs: layers, pooling, similarity, negatives, sides.

    states -> pooled vectors of both sides -> scores -> which are positive, which negative -> nats

Settings of it are what papers call translation ranking, InfoXLM's sequence-level contrast,
TransliCo, middle-layer alignment and PreAlign's first stage; docs/text-training.md lists them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from isogloss.errors import IsoglossError
from isogloss.training.objectives.text import TextLoss
from isogloss.training.objectives.views import (
    POOLINGS,
    KeyQueue,
    Views,
    hard_negatives,
    layers_asked,
    name_numbers,
    pooled_layers,
    views_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.training.text_batch import TextBatch
    from isogloss.training.text_model import TextModel

__all__ = ["InfoNCE", "contrast_loss", "nearest_negatives", "similarities"]

_QUEUE, _MOMENTUM = 4096, 0.999


@dataclass(frozen=True, slots=True)
class InfoNCE:
    """How well a row's other side is told from what it is not, a mean in nats over anchors.

    An anchor's loss is the mean over its positives p of

        -log( exp(s_p / t) / (exp(s_p / t) + sum over negatives n of exp(s_n / t)) )

    so that several positives do not compete with each other. With one positive it is the cross
    entropy of the softmax over all candidates. Anchors without a negative count for nothing.

    Args:
        layer: numbers of layers joined by "+", or "middle", "last" (the final output), "all" (the
            embedding and every block), "output" (rows of the output layer's weights); the loss is
            the mean over them.
        pooling: "mean", "first", "last" or "weighted" (weights 1 to T, rising) over the tokens of
            the text, special ones and padding never; "class", the first special token; "word", the
            means of linked words, each pair of which is a row.
        similarity: "cosine" or "dot".
        temperature: t above.
        negatives: "other", the other rows of the other side; "all", also those of the own side;
            "queue", those of the other side and of earlier batches, encoded by a copy of the model
            that follows it slowly.
        queue: keys remembered of each side, with "queue"; None is 4096.
        momentum: of the copy, with "queue"; None is 0.999.
        hard: keep the nearest `hard` negatives of each anchor only; 0 keeps all.
        list: TSV file with a text and a negative of it in each line; the negatives of a batch's
            texts (first side) are candidates for its first side.
        same: whether rows that share a meaning (or linked word forms) are positives of each other
            or ignored; never negatives.
        sides: "both", the mean of both directions, or the anchors of one side only.

    Source: van den Oord et al. 2018; multi-way positives as sums of two-way terms are ours. The
    queue is that of He et al. 2020 (MoCo), one for each side.
    """

    layer: str = "middle"
    pooling: Literal["mean", "first", "last", "weighted", "class", "word"] = "mean"
    similarity: Literal["cosine", "dot"] = "cosine"
    temperature: float = 0.05
    negatives: Literal["other", "all", "queue"] = "other"
    queue: int | None = None
    momentum: float | None = None
    hard: int = 0
    list: str | None = None
    same: Literal["positives", "ignore"] = "positives"
    sides: Literal["both", "first", "second"] = "both"

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"infonce: temperature must be above 0, got {self.temperature}")
        if self.hard < 0:
            raise ValueError(f"infonce: hard must be 0 or more, got {self.hard}")
        if self.pooling not in POOLINGS:
            raise ValueError(f"infonce: pooling must be one of {POOLINGS}, got {self.pooling}")
        if self.negatives != "queue" and (self.queue is not None or self.momentum is not None):
            raise ValueError("infonce: queue and momentum have no effect without negatives=queue")
        if self.queue is not None and self.queue < 1:
            raise ValueError(f"infonce: queue must be 1 or more, got {self.queue}")
        if self.momentum is not None and not 0.0 <= self.momentum < 1.0:
            raise ValueError(f"infonce: momentum must be in [0, 1), got {self.momentum}")
        if self.pooling == "word" and (self.negatives == "queue" or self.list is not None):
            raise ValueError("infonce: pooling=word takes its negatives from the batch alone")
        if self.list is not None and self.sides == "second":
            raise ValueError("infonce: list is of the first side's texts, sides=second has none")

    @property
    def needs(self) -> frozenset[str]:
        """Two sides, and word links for pooling=word."""
        return frozenset({"pairs", "links"} if self.pooling == "word" else {"pairs"})

    def modules(self, model: TextModel) -> nn.Module | None:
        """The queue and the copy that fills it, or None.

        Raises:
            ValueError: `layer` is no layer of the model.
            IsoglossError: the file of hard negatives is not there or not as described.
        """
        layers = layers_asked(self.layer, model)
        if self.list is not None:
            hard_negatives(self.list)
        if self.negatives != "queue":
            return None
        return KeyQueue(model, len(layers), self.queue or _QUEUE)

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
        """The loss of a batch of two sides; parts: mean score of positives and of negatives."""
        del draw, step, steps
        if len(batch.sides) != 2:
            raise IsoglossError("infonce needs two sides: pairs of a meaning, or views")
        keys = None
        if isinstance(extra, KeyQueue):
            extra.follow(model, _MOMENTUM if self.momentum is None else self.momentum)
            with torch.no_grad():
                keys = views_of(extra.copy, batch, self.layer, self.pooling)
        losses, positives, negatives = [], [], []
        found = views_of(model, batch, self.layer, self.pooling)
        listed = self._listed(model, batch)
        for number, views in enumerate(found):
            for side in (0, 1):
                if self.sides not in ("both", ("first", "second")[side]):
                    continue
                behind = None if keys is None else (extra, keys[number], number)
                scores, positive, negative = self._scores(views, side, behind)
                if side == 0 and listed is not None:
                    vectors, unlike = listed[0][number], listed[1]
                    more = similarities(views.vectors[0], vectors, self.similarity)
                    scores = torch.cat([scores, more / self.temperature], dim=1)
                    positive = torch.cat([positive, torch.zeros_like(unlike)], dim=1)
                    negative = torch.cat([negative, unlike], dim=1)
                if self.hard:
                    negative = nearest_negatives(scores, negative, self.hard)
                losses.append(contrast_loss(scores, positive, negative))
                plain = scores.detach() * self.temperature
                positives.append(_mean(plain, positive))
                negatives.append(_mean(plain, negative))
        if isinstance(extra, KeyQueue) and keys is not None:
            extra.add(keys, name_numbers(batch.names))
        return TextLoss(
            torch.stack(losses).mean(),
            {"matched": torch.stack(positives).mean(), "random": torch.stack(negatives).mean()},
        )

    def _scores(
        self, views: Views, side: int, behind: tuple[nn.Module | None, Views, int] | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Scores over the temperature, (N, M), which are positive, which negative."""
        anchors, others = views.vectors[side], views.vectors[1 - side]
        direct, same = (views.direct, views.same) if side == 0 else (views.direct.T, views.same.T)
        if behind is not None:
            others = behind[1].vectors[1 - side]
        scores = similarities(anchors, others, self.similarity)
        positive = (direct | same) if self.same == "positives" else direct
        negative = ~(direct | same)
        if self.negatives == "all":
            own = similarities(anchors, anchors, self.similarity)
            itself = torch.eye(len(anchors), dtype=torch.bool, device=own.device)
            alike = views.alike[side]
            scores = torch.cat([scores, own], dim=1)
            also = alike & ~itself if self.same == "positives" else torch.zeros_like(itself)
            positive = torch.cat([positive, also], dim=1)
            negative = torch.cat([negative, ~(alike | itself)], dim=1)
        if behind is not None and isinstance(behind[0], KeyQueue):
            vectors, unlike = behind[0].read(1 - side, behind[2], views.names)
            more = similarities(anchors, vectors, self.similarity)
            scores = torch.cat([scores, more], dim=1)
            positive = torch.cat([positive, torch.zeros_like(unlike)], dim=1)
            negative = torch.cat([negative, unlike], dim=1)
        return scores / self.temperature, positive, negative

    def _listed(self, model: TextModel, batch: TextBatch) -> tuple[Sequence[Tensor], Tensor] | None:
        """Vectors (K, D) of each layer of the batch's listed negatives, and (N, K): of whom."""
        if self.list is None:
            return None
        known = hard_negatives(self.list)
        texts = sorted({negative for text in batch.texts[0] for negative in known.get(text, ())})
        if not texts:
            return None
        device = batch.sides[0].ids.device
        side = model.tokens(texts, words=False).to(device)
        vectors = pooled_layers(model, side, self.layer, self.pooling)
        unlike = torch.tensor(
            [[text not in pair for text in texts] for pair in zip(*batch.texts, strict=True)],
            device=device,
        )
        return vectors, unlike


def similarities(a: Tensor, b: Tensor, how: str) -> Tensor:
    """(N, M) cosines or dot products of (N, D) and (M, D); a zero vector has cosine 0 with all."""
    if how == "cosine":
        a, b = functional.normalize(a, dim=-1), functional.normalize(b, dim=-1)
    return a @ b.T


def contrast_loss(scores: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """The mean over anchors of the mean over positives of log(1 + sum exp(negatives) / exp(it)).

    Args:
        scores: (N, M), already divided by the temperature.
        positive: (N, M) bool.
        negative: (N, M) bool; what is neither is ignored. Masked by -inf inside the sum.

    Returns:
        A scalar in nats, at least 0; 0 without a gradient when no anchor has both.
    """
    able = positive.any(dim=1) & negative.any(dim=1)
    if not bool(able.any()):
        return torch.zeros((), device=scores.device)
    scores, positive, negative = scores[able], positive[able], negative[able]
    against = torch.logsumexp(scores.masked_fill(~negative, -torch.inf), dim=1, keepdim=True)
    terms = functional.softplus(against - scores)
    terms = torch.where(positive, terms, torch.zeros_like(terms))
    return (terms.sum(dim=1) / positive.sum(dim=1)).mean()


def nearest_negatives(scores: Tensor, negative: Tensor, count: int) -> Tensor:
    """(N, M) bool: the `count` negatives of each row with the largest scores, fewer where fewer."""
    kept = min(count, scores.shape[1])
    order = scores.detach().masked_fill(~negative, -torch.inf).topk(kept, dim=1).indices
    nearest = torch.zeros_like(negative).scatter(1, order, True)
    return nearest & negative


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    return (values * mask).sum() / mask.sum().clamp(min=1)
