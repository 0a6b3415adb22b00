"""Steps of an utterance to one vector by learnt attention; used by the utterance-level losses."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["AttentionPooling", "step_mask"]


def step_mask(lengths: Tensor, steps: int) -> Tensor:
    """(N, T) bool, True where a step is real."""
    return torch.arange(steps, device=lengths.device) < lengths[:, None]


class AttentionPooling(nn.Module):
    """(N, T, D) steps to (N, E) vectors: an attention-weighted mean, then a linear map.

    Steps past an utterance's length have weight 0, so padding changes nothing.

    Source: self-attention pooling of SAMU-XLSR (Khurana et al. 2022, sec. III), with a hidden layer
    before the weights as in Lin et al. 2017.
    """

    def __init__(self, dim: int, out_dim: int, hidden: int = 128) -> None:
        super().__init__()
        self.hidden = nn.Linear(dim, hidden)
        self.weight = nn.Linear(hidden, 1)
        self.output = nn.Linear(dim, out_dim)

    def forward(self, steps: Tensor, lengths: Tensor) -> Tensor:
        """(N, E) float32.

        Args:
            steps: (N, T, D).
            lengths: (N,) real steps; an utterance without steps gives the bias of the linear map.
        """
        is_real = step_mask(lengths.to(steps.device), steps.shape[1])
        scores = self.weight(torch.tanh(self.hidden(steps))).squeeze(-1).float()
        # The smallest finite number, not minus infinity: a row without steps must not be NaN.
        scores = scores.masked_fill(~is_real, torch.finfo(scores.dtype).min)
        weights = scores.softmax(dim=-1) * is_real
        mean = torch.einsum("nt,ntd->nd", weights, steps.float())
        vectors: Tensor = self.output(mean)
        return vectors.float()
