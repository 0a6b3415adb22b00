"""An utterance's vector pulled to a fixed vector of its text: `cosine_loss`, used by `total`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["cosine_loss"]


def cosine_loss(vectors: Tensor, teacher: Tensor, taught: Tensor) -> Tensor:
    """Mean of 1 - cosine over the utterances that have a teacher: a scalar in [0, 2].

    0 when none has one (the gradient is then 0, not absent); a vector of zeros has cosine 0.

    Args:
        vectors: (N, E) from the speech.
        teacher: (N, E); no gradient reaches it. Rows that are not taught are ignored.
        taught: (N,) bool.

    Raises:
        ValueError: shapes differ.

    Source: SAMU-XLSR (Khurana et al. 2022, arXiv 2205.08180), eq. 1; SENSE (arXiv 2509.12093).
    """
    if vectors.shape != teacher.shape or taught.shape != vectors.shape[:1]:
        raise ValueError(
            f"expected two (N, E) and (N,), got {tuple(vectors.shape)}, {tuple(teacher.shape)} "
            f"and {tuple(taught.shape)}"
        )
    distances = 1.0 - functional.cosine_similarity(vectors.float(), teacher.detach().float())
    return (distances * taught).sum() / taught.sum().clamp(min=1)
