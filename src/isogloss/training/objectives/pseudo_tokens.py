"""Back-translation pseudo tokens: a model's own guess at a translation, and masked LM beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from isogloss.training.objectives.camlm import (
    Joined,
    cross_attention,
    drawn_tokens,
    join,
    masked_loss,
    refuse_unmaskable,
)
from isogloss.training.objectives.state_sets import nothing
from isogloss.training.objectives.text import TextLoss
from isogloss.training.text_batch import Tokens, pad_tokens

if TYPE_CHECKING:
    from torch import Tensor, nn

    from isogloss.training.text_batch import TextBatch
    from isogloss.training.text_model import TextModel

__all__ = ["PseudoTokens", "with_pseudo_tokens"]


def with_pseudo_tokens(
    model: TextModel,
    tokens: Tokens,
    *,
    ratio: float,
    mask_id: int,
    fill: Literal["best", "sampled"] = "best",
    draw: torch.Generator | None = None,
) -> Joined:
    """Each text with tokens behind it that the model guesses from the text, as `Joined`.

    As many masks as `ratio` times the tokens of the text (one at least) stand behind it; each sees
    the text and itself, as in `CrossAttentionLM`, and gets the token that the model predicts,
    special tokens excepted. No gradient is taken and dropout is off.

    Args:
        model: a masked language model that was trained with `CrossAttentionLM`.
        tokens: N texts; one that leaves no room within `max_tokens` is cut.
        ratio: see above.
        mask_id: of the mask.
        fill: the likeliest token, or one drawn by its probability.
        draw: for "sampled".

    Raises:
        ValueError: "sampled" without `draw`.
    """
    if fill == "sampled" and draw is None:
        raise ValueError("sampled tokens need a generator to draw from")
    room = max(1, int(model.max_tokens * ratio / (1 + ratio)))
    counts = (tokens.content.sum(1) * ratio).round().long().clamp(1, room).tolist()
    places = pad_tokens(
        [[mask_id] * n for n in counts],
        [[False] * n for n in counts],
        [[-1] * n for n in counts],
        pad=model.pad_id,
    ).to(tokens.ids.device)
    joined = join(tokens, places, most=model.max_tokens, pad=model.pad_id)
    placed = joined.side == 1
    # Seen from the placeholders, the text is the translation: sides change places.
    swapped = torch.where(joined.side >= 0, 1 - joined.side, joined.side)
    learning = model.training
    model.eval()
    try:
        with torch.no_grad():
            states = model.states(joined.tokens, attention=cross_attention(swapped, placed))[-1]
            logits = model.logits(states[placed]).float()
    finally:
        model.train(learning)
    ordinary = torch.zeros(logits.shape[-1], dtype=torch.bool, device=logits.device)
    ordinary[model.ordinary_ids()] = True
    logits = logits.masked_fill(~ordinary, -torch.inf)
    if fill == "best" or draw is None:
        guessed = logits.argmax(-1)
    else:
        shares = logits.softmax(-1).cpu()
        guessed = torch.multinomial(shares, 1, generator=draw)[:, 0].to(logits.device)
    ids = joined.tokens.ids.clone()
    ids[placed] = guessed
    filled = Tokens(ids, joined.tokens.real, joined.tokens.special, joined.tokens.words)
    return Joined(filled, joined.side)


@dataclass(frozen=True, slots=True)
class PseudoTokens:
    """Masked LM on texts with the model's own pseudo translation behind them, nats a masked token.

    It needs no pairs; it is worth something only beside or after `camlm`, which teaches the model
    to guess. Nothing tells the guesses which language to be in: they are what the model holds
    likeliest in that place. Each side of a batch is a text of its own.

    Args:
        ratio: pseudo tokens for each token of the text.
        share: of the text's tokens that are masked and predicted, from text and pseudo tokens.
        fill: "best" or "sampled".

    Source: BTMLM of ERNIE-M (Ouyang et al. 2021, arXiv 2012.15674).
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    ratio: float = 0.5
    share: float = 0.15
    fill: Literal["best", "sampled"] = "best"

    def __post_init__(self) -> None:
        if not 0 < self.ratio <= 1 or not 0 < self.share <= 1:
            raise ValueError(
                f"ratio and share must be above 0 and at most 1: {self.ratio}, {self.share}"
            )

    def modules(self, model: TextModel) -> nn.Module | None:
        """None.

        Raises:
            IsoglossError: the model is no masked language model.
        """
        refuse_unmaskable(model, "pseudo-tokens")
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
        """0 where no text has a token of its own."""
        mask_id = refuse_unmaskable(model, "pseudo-tokens")
        losses: list[Tensor] = []
        rights: list[Tensor] = []
        for tokens in batch.sides:
            if not bool(tokens.content.any()):
                continue
            joined = with_pseudo_tokens(
                model, tokens, ratio=self.ratio, mask_id=mask_id, fill=self.fill, draw=draw
            )
            kept = joined.tokens.content & (joined.side == 0)
            masked = drawn_tokens(kept, self.share, draw)
            loss, right = masked_loss(model, joined.tokens, masked, mask_id)
            losses.append(loss)
            rights.append(right)
        if not losses:
            return TextLoss(nothing(batch))
        total = torch.stack(losses).mean()
        return TextLoss(
            total, {"pseudo tokens": total.detach(), "told right": torch.stack(rights).mean()}
        )
