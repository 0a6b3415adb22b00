"""CTC on the outputs of inner stacks: `InnerOutputs` in the model, used by `aligned`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.speech.zipformer import ZipformerConfig

__all__ = ["InnerOutputs", "check_width", "inner_stacks", "joined_channels"]


def inner_stacks(config: ZipformerConfig, wanted: Sequence[int]) -> tuple[int, ...]:
    """Stacks, counted from 1, for the loss: `wanted`, or the middle one when that is empty.

    Raises:
        ValueError: there is no such stack.
    """
    count = len(config.dims)
    wrong = [index for index in wanted if not 1 <= index <= count]
    if wrong:
        raise ValueError(f"there is no stack {wrong[0]}; stacks are 1 to {count}")
    return tuple(wanted) or ((count + 1) // 2,)


def check_width(config: ZipformerConfig, stack: int) -> None:
    """Return if what ends at `stack` is as wide as what the final output reads.

    Raises:
        ValueError: it is narrower, so that it needs an output of its own.
    """
    width = max(config.dims[:stack])
    if width != config.output_dim:
        raise ValueError(
            f"stack {stack} has {width} channels and the final output reads {config.output_dim}: "
            'set inter_ctc_heads = "own"'
        )


def joined_channels(outputs: Sequence[Tensor]) -> Tensor:
    """(N, T, C) of stacks' outputs (N, T, Ci): for each channel the latest stack that has it.

    That is how the encoder joins all its stacks at its end.
    """
    pieces: list[Tensor] = []
    width = 0
    for output in reversed(outputs):
        if output.shape[-1] > width:
            pieces.append(output[..., width:])
            width = output.shape[-1]
    return torch.cat(pieces, dim=-1)


class InnerOutputs(nn.Module):
    """One CTC output for each chosen stack: (N, T', D) states to (N, T', V) log-probabilities.

    The states are those the encoder would end with, were its later stacks absent, so the last
    stack gives the final output's. Source: Lee and Watanabe 2021 (arXiv 2102.03216), eq. 9 to 11.
    """

    def __init__(
        self, config: ZipformerConfig, stacks: Sequence[int], vocab_size: int, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.outputs = nn.ModuleList(
            nn.Sequential(
                nn.Dropout(dropout),
                nn.Linear(max(config.dims[:index]), vocab_size),
                nn.LogSoftmax(dim=-1),
            )
            for index in stacks
        )

    def forward(self, states: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Log-probabilities for each stack's states, float32."""
        pairs = zip(self.outputs, states, strict=True)
        return tuple(output(state).float() for output, state in pairs)
