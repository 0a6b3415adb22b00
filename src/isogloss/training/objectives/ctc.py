"""CTC and CR-CTC on a batch: augmentation, forward pass, loss; called by `training.loop`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import torch

from isogloss.speech.augment import SpecAugmentConfig, spec_augment, two_views
from isogloss.speech.ctc import cr_ctc_loss, ctc_loss, warm_up_factor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor, nn

    from isogloss.training.batches import Batch

__all__ = ["CtcObjective", "Loss"]

_HEADS = ("ctc", "ctc_dialect")


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

    With two heads the total is (standard_weight * first + second) / 2 from one forward pass; an
    utterance without text for a head counts for nothing there.

    Args:
        kind: "ctc", or "cr-ctc" for two views of each utterance that must agree.
        augment: SpecAugment of one view; None leaves the features as they are (and "cr-ctc" with
            nothing but dropout between its views).
        cr_scale: weight of the agreement.
        cr_warmup: steps until that weight is reached.
        time_mask_ratio: factor on the time masks of two views.
        standard_weight: see above.
    """

    kind: Literal["ctc", "cr-ctc"] = "ctc"
    augment: SpecAugmentConfig | None = field(default_factory=SpecAugmentConfig)
    cr_scale: float = 0.2
    cr_warmup: int = 2000
    time_mask_ratio: float = 2.5
    standard_weight: float = 1.0

    def __call__(self, model: nn.Module, batch: Batch, *, seed: Sequence[int], step: int) -> Loss:
        """The loss of `batch` at training step `step`.

        Args:
            model: a `CtcModel`, or what wraps one.
            batch: utterances; as many heads as the model has.
            seed: numbers that decide the augmentation.
            step: steps done before this one.
        """
        features, lengths = self.views(batch, seed)
        heads = len(batch.targets)
        outputs = model(features, lengths, both=True) if heads == 2 else model(features, lengths)
        return self.of_heads((outputs[0], *outputs[2:]), outputs[1], batch, step)

    def of_heads(
        self, log_probs: Sequence[Tensor], out_lengths: Tensor, batch: Batch, step: int
    ) -> Loss:
        """The loss of a forward pass on `views`: (M, T', V) for each head, lengths (M,)."""
        out_lengths = out_lengths.cpu()
        parts: dict[str, Tensor] = {}
        totals = [
            self.of_targets(values, out_lengths, targets, batch, step, name=name, parts=parts)
            for name, values, targets in zip(
                _HEADS[: len(log_probs)], log_probs, batch.targets, strict=True
            )
        ]
        total = totals[0]
        if len(totals) == 2:
            total = 0.5 * (self.standard_weight * totals[0] + totals[1])
        return Loss(total, int(out_lengths[: len(batch)].sum()), parts)

    def of_targets(
        self,
        log_probs: Tensor,
        out_lengths: Tensor,
        targets: Sequence[tuple[int, ...] | None],
        batch: Batch,
        step: int,
        *,
        name: str,
        parts: dict[str, Tensor],
    ) -> Tensor:
        """The loss of one output over the utterances that have a target; 0 where none has.

        Args:
            log_probs: (M, T', V), M being N or, with two views, 2 N.
            out_lengths: (M,) on the CPU.
            targets: N, None where an utterance has none.
            batch: names the utterances.
            step: steps done before.
            name: of the loss in `parts`.
            parts: gets the detached parts.
        """
        kept = [i for i, target in enumerate(targets) if target is not None]
        spelt = [target for target in targets if target is not None]
        names = [batch.ids[i] for i in kept]
        if not kept:
            parts[name] = torch.zeros((), device=log_probs.device)
            return 0.0 * log_probs.sum()
        if len(kept) < len(targets):
            views = len(log_probs) // len(targets)
            rows = [view * len(targets) + i for view in range(views) for i in kept]
            log_probs, out_lengths = log_probs[rows], out_lengths[rows]
        if self.kind == "ctc":
            total = ctc_loss(log_probs, out_lengths, spelt, names=names)
            parts[name] = total.detach()
            return total
        loss = cr_ctc_loss(
            log_probs,
            out_lengths,
            spelt,
            cr_scale=self.cr_scale,
            warm_up=warm_up_factor(step, self.cr_warmup),
            names=names,
        )
        parts[name] = loss.ctc
        parts[name.replace("ctc", "cr")] = loss.consistency
        return loss.total

    def views(self, batch: Batch, seed: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Augmented features (M, T, 80) and lengths (M,): M is N, or 2 N for "cr-ctc"."""
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
