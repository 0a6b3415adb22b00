"""CTC and the losses beside it, weighted and summed: `AlignedObjective`, called by `loop`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from isogloss.training.objectives.aligned import padded_units
from isogloss.training.objectives.contrastive import info_nce
from isogloss.training.objectives.ctc import CtcObjective, Loss
from isogloss.training.objectives.pooled import cosine_loss

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from isogloss.training.batches import Batch
    from isogloss.training.objectives.aligned import Outputs

__all__ = ["AlignedObjective"]


@dataclass(frozen=True, slots=True)
class AlignedObjective:
    """The loss of an `AlignedModel`: `ctc` plus each further loss times its weight.

    Divided by the number of steps, the total is

        CTC (nats a step) + inter * mean over stacks of CTC (nats a step)
        + teacher * mean over utterances of (1 - cosine) + contrast * InfoNCE (nats an utterance)

    where means are over the utterances that have the text. With two views of each utterance, the
    last two are means over the views.
    """

    ctc: CtcObjective = field(default_factory=CtcObjective)
    inter: float = 0.0
    teacher: float = 0.0
    contrast: float = 0.0

    def __call__(self, model: nn.Module, batch: Batch, *, seed: Sequence[int], step: int) -> Loss:
        """The loss of `batch` at training step `step`; arguments as `CtcObjective`.

        Raises:
            ValueError: the batch lacks what a loss with a weight learns from.
        """
        features, lengths = self.ctc.views(batch, seed)
        options: dict[str, Any] = {}
        if self.contrast:
            if batch.texts is None:
                raise ValueError("the batch has no texts for the contrastive loss")
            units, unit_lengths = padded_units(batch.texts, features.device)
            options = {"units": units, "unit_lengths": unit_lengths}
        outputs: Outputs = model(features, lengths, wanted="all", **options)
        main = self.ctc.of_heads(outputs.heads, outputs.lengths, batch, step)
        parts = dict(main.parts)
        total = main.total
        if self.inter:
            total = total + self.inter * self._inter(outputs, batch, step, parts)
        if self.teacher:
            loss = self._teacher(outputs, batch) * main.steps
            parts["teacher"] = loss.detach()
            total = total + self.teacher * loss
        if self.contrast:
            loss = self._contrast(outputs, batch) * main.steps
            parts["contrastive"] = loss.detach()
            total = total + self.contrast * loss
        return Loss(total, main.steps, parts)

    def _inter(self, outputs: Outputs, batch: Batch, step: int, parts: dict[str, Tensor]) -> Tensor:
        targets = batch.targets[0] if batch.inter is None else batch.inter
        lengths = outputs.lengths.cpu()
        found: dict[str, Tensor] = {}
        losses = [
            self.ctc.of_targets(
                values, lengths, targets, batch, step, name="inter_ctc", parts=found
            )
            for values in outputs.inner
        ]
        loss = torch.stack(losses).mean()
        parts["inter_ctc"] = loss.detach()
        return loss

    def _teacher(self, outputs: Outputs, batch: Batch) -> Tensor:
        if outputs.pooled is None or batch.teacher is None or batch.taught is None:
            raise ValueError("the model or the batch has nothing for the teacher's loss")
        views = torch.split(outputs.pooled, len(batch))
        losses = [cosine_loss(view, batch.teacher, batch.taught) for view in views]
        return torch.stack(losses).mean()

    def _contrast(self, outputs: Outputs, batch: Batch) -> Tensor:
        if outputs.contrast is None or batch.texts is None:
            raise ValueError("the model or the batch has nothing for the contrastive loss")
        speech, text, scale = outputs.contrast
        losses = [
            info_nce(view, text, batch.texts, scale) for view in torch.split(speech, len(batch))
        ]
        return torch.stack(losses).mean()
