"""CTC and CR-CTC on a batch: augmentation, forward pass, loss; called by `training.loop`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from isogloss.speech.augment import SpecAugmentConfig, spec_augment, two_views
from isogloss.speech.ctc import cr_ctc_loss, ctc_loss, warm_up_factor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor, nn

    from isogloss.training.batches import Batch

__all__ = ["CtcObjective", "Loss"]


@dataclass(frozen=True, slots=True, eq=False)
class Loss:
    """`total` is a scalar with gradient, summed over utterances and steps, as icefall's.

    The sum is what the encoder's gradient rules are tuned to; Adam does not mind the scale.
    `parts` are detached sums for logs, `steps` is how many real encoder steps they are over.
    """

    total: Tensor
    steps: int
    parts: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CtcObjective:
    """The loss of a `CtcModel`, with one head or two.

    With two heads the total is the mean of the two losses, which share one forward pass.

    Args:
        kind: "ctc", or "cr-ctc" for two views of each utterance that must agree.
        augment: SpecAugment of one view; None leaves the features as they are (and "cr-ctc" with
            nothing but dropout between its views).
        cr_scale: weight of the agreement.
        cr_warmup: steps until that weight is reached.
        time_mask_ratio: factor on the time masks of two views.
    """

    kind: Literal["ctc", "cr-ctc"] = "ctc"
    augment: SpecAugmentConfig | None = field(default_factory=SpecAugmentConfig)
    cr_scale: float = 0.2
    cr_warmup: int = 2000
    time_mask_ratio: float = 2.5

    def __call__(self, model: nn.Module, batch: Batch, *, seed: Sequence[int], step: int) -> Loss:
        """The loss of `batch` at training step `step`.

        Args:
            model: a `CtcModel`, or what wraps one.
            batch: utterances; as many heads as the model has.
            seed: numbers that decide the augmentation.
            step: steps done before this one.
        """
        features, lengths = self._views(batch, seed)
        heads = len(batch.targets)
        outputs = model(features, lengths, both=True) if heads == 2 else model(features, lengths)
        log_probs, out_lengths = [outputs[0], *outputs[2:]], outputs[1].cpu()
        names = ("ctc",) if heads == 1 else ("ctc", "ctc_dialect")
        parts: dict[str, Tensor] = {}
        totals = []
        for name, values, targets in zip(names, log_probs, batch.targets, strict=True):
            if self.kind == "ctc":
                total = ctc_loss(values, out_lengths, targets, names=batch.ids)
                parts[name] = total.detach()
            else:
                warm_up = warm_up_factor(step, self.cr_warmup)
                loss = cr_ctc_loss(
                    values,
                    out_lengths,
                    targets,
                    cr_scale=self.cr_scale,
                    warm_up=warm_up,
                    names=batch.ids,
                )
                total = loss.total
                parts[name] = loss.ctc
                parts[name.replace("ctc", "cr")] = loss.consistency
            totals.append(total)
        total = totals[0] if heads == 1 else 0.5 * (totals[0] + totals[1])
        steps = int(out_lengths[: len(batch)].sum())
        return Loss(total, steps, parts)

    def _views(self, batch: Batch, seed: Sequence[int]) -> tuple[Tensor, Tensor]:
        if self.kind == "cr-ctc":
            config = self.augment or SpecAugmentConfig(
                time_warp_factor=0, feature_masks=0, frame_masks=0
            )
            return two_views(
                batch.features,
                batch.lengths,
                seed=seed,
                config=config,
                time_mask_ratio=self.time_mask_ratio,
            )
        if self.augment is None:
            return batch.features, batch.lengths
        features = spec_augment(batch.features, batch.lengths, seed=seed, config=self.augment)
        return features, batch.lengths
