"""Speech and its transcript side by side: `TextEncoder`, `info_nce`; used by `aligned`, `total`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from isogloss.training.objectives.pooling import AttentionPooling, step_mask

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Contrast", "TextEncoder", "info_nce"]

_LARGEST_SCALE = 100.0


def info_nce(
    speech: Tensor, text: Tensor, names: Sequence[object], scale: Tensor | float
) -> Tensor:
    """Symmetric InfoNCE between N utterances and their N texts, in nats: a scalar.

    The mean over utterances of -log softmax of the right text among all texts of the batch, and
    the same with roles exchanged, halved. Cosines times `scale` are the logits.

    Args:
        speech: (N, E).
        text: (N, E), row i belongs to row i of `speech`.
        names: N names of texts. Rows of equal name are no negatives of each other; a row named
            None has no text and takes no part.
        scale: inverse temperature.

    Returns:
        log N for constant vectors of different names. 0 with gradient 0 where fewer than 2
        different texts are there.

    Raises:
        ValueError: shapes differ.

    Source: van den Oord et al. 2018; symmetric with learnt temperature as CLIP (Radford et al.
    2021, fig. 3).
    """
    if speech.shape != text.shape or len(names) != len(speech):
        raise ValueError(
            f"expected two (N, E) and N names, got {tuple(speech.shape)}, {tuple(text.shape)} "
            f"and {len(names)}"
        )
    kept = [i for i, name in enumerate(names) if name is not None]
    if len({names[i] for i in kept}) < 2:
        return 0.0 * (speech.sum() + text.sum())
    a = functional.normalize(speech[kept].float(), dim=-1)
    b = functional.normalize(text[kept].float(), dim=-1)
    logits = scale * (a @ b.T)
    number: dict[object, int] = {}
    numbers = [number.setdefault(names[i], len(number)) for i in kept]
    group = torch.tensor(numbers, device=logits.device)
    same = (group[:, None] == group) & ~torch.eye(len(kept), dtype=torch.bool, device=logits.device)
    logits = logits.masked_fill(same, -torch.inf)
    right = torch.arange(len(kept), device=logits.device)
    return 0.5 * (
        functional.cross_entropy(logits, right) + functional.cross_entropy(logits.T, right)
    )


class TextEncoder(nn.Module):
    """Units of a text to one vector: embedding, three residual convolutions, attention pooling.

    Padding changes nothing. An empty text is the vector of no steps, equal for all.
    """

    def __init__(
        self, vocab_size: int, out_dim: int, dim: int = 128, layers: int = 3, kernel: int = 5
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, dim)
        nn.init.normal_(self.embedding.weight, std=0.1)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(dim, dim, kernel, padding=kernel // 2) for _ in range(layers)
        )
        self.pooling = AttentionPooling(dim, out_dim)

    def forward(self, units: Tensor, lengths: Tensor) -> Tensor:
        """(N, E) vectors of (N, L) unit numbers, of which `lengths` (N,) are real."""
        is_real = step_mask(lengths, units.shape[1])[:, None]
        x = self.embedding(units).transpose(1, 2) * is_real
        for convolution in self.convolutions:
            x = (x + functional.silu(convolution(x))) * is_real
        vectors: Tensor = self.pooling(x.transpose(1, 2), lengths)
        return vectors


class Contrast(nn.Module):
    """Both sides of the contrastive loss and its learnt scale."""

    def __init__(self, dim: int, vocab_size: int, out_dim: int = 128) -> None:
        super().__init__()
        self.speech = AttentionPooling(dim, out_dim)
        self.text = TextEncoder(vocab_size, out_dim)
        # 0.07 is CLIP's first temperature.
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(
        self, steps: Tensor, lengths: Tensor, units: Tensor, unit_lengths: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Vectors of speech (M, E) and of texts (N, E), and the scale, at most 100."""
        scale = self.log_scale.exp().clamp(max=_LARGEST_SCALE)
        return self.speech(steps, lengths), self.text(units, unit_lengths), scale
