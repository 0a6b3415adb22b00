"""`Tuning`: how a trained model learns a new variety without losing the old; part of a run.

Which parts learn how fast (`parameter_groups`) is decided here from the names of parameters.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import nn

__all__ = ["TRAINED_BATCHES", "Tuning", "learning_rate_scale", "parameter_groups"]

TRAINED_BATCHES = 100_000.0
"""Count at which the encoder's schedules (dropout, layer skipping) stand while a trained model is
tuned: all of them have ended there. At 0, where they begin, half of the layers would be skipped."""

_STACK = re.compile(r"encoder\.encoders\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class Tuning:
    """What `TrainConfig.tuning` adds to a run that starts from a trained model."""

    units: Literal["extend", "keep"] = "extend"
    """"extend" appends characters of the new texts to the model's units; "keep" leaves items with
    unknown characters out, which is also what happens where units are pieces of words."""
    replay_share: float = 0.3
    """Share of the seconds of an epoch that comes from the old corpus, drawn anew each epoch."""
    replay_items: int = 20_000
    """Most items of the old corpus that are drawn from (chosen once, by the seed): features are
    computed for these alone."""
    layer_decay: float = 0.9
    """Factor on the learning rate for each stack further from the output; 1 for none. ELECTRA
    (Clark et al. 2020) tunes with 0.8 (base) and 0.9 (large)."""
    lora_rank: int = 0
    """Rank of LoRA (Hu et al. 2021) on attention and feed-forward; 0 tunes every weight."""
    lora_alpha: float | None = None
    """Numerator of LoRA's scale alpha / rank; None is twice the rank."""
    keep_adapter: bool = False
    """Also write what LoRA learnt to `adapter.safetensors` and `adapter.json`."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.replay_share < 1.0:
            raise ValueError(f"replay_share must lie in [0, 1), got {self.replay_share}")
        if self.replay_items < 1:
            raise ValueError(f"replay_items must be at least 1, got {self.replay_items}")
        if not 0.0 < self.layer_decay <= 1.0:
            raise ValueError(f"layer_decay must lie in (0, 1], got {self.layer_decay}")
        if self.lora_rank < 0:
            raise ValueError(f"lora_rank must be 0 (off) or more, got {self.lora_rank}")
        alpha = self.lora_alpha
        if alpha is not None and not (math.isfinite(alpha) and alpha > 0):
            raise ValueError(f"lora_alpha must be above 0, got {alpha}")
        for name in ("lora_alpha", "keep_adapter"):
            if getattr(self, name) and not self.lora_rank:
                raise ValueError(f"{name} has no effect while lora_rank is 0; give lora_rank")

    @property
    def alpha(self) -> float:
        """LoRA's alpha."""
        return 2.0 * self.lora_rank if self.lora_alpha is None else self.lora_alpha


def learning_rate_scale(name: str, stacks: int, decay: float) -> float:
    """Factor on the learning rate of the parameter called `name`: `decay` ** its distance.

    The distance is 0 for the outputs and what joins the stacks, 1 for the last of the `stacks`,
    `stacks` for the first, and one more for the convolutions before it.

    Source: Howard and Ruder 2018 (ULMFiT), discriminative fine-tuning; the factor by depth as in
    ELECTRA (Clark et al. 2020).
    """
    found = _STACK.match(name)
    if found is not None:
        return float(decay ** (stacks - int(found[1])))
    return float(decay ** (stacks + 1)) if name.startswith("encoder_embed.") else 1.0


def parameter_groups(model: nn.Module, stacks: int, decay: float) -> list[dict[str, Any]]:
    """What learns of `model`, as groups of an optimiser with their `lr_scale`, the fastest first.

    Parameters that need no gradient are in no group.
    """
    groups: dict[float, list[Any]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            scale = learning_rate_scale(name, stacks, decay)
            groups.setdefault(scale, []).append(parameter)
    return [{"params": groups[scale], "lr_scale": scale} for scale in sorted(groups, reverse=True)]
