"""Cross-attention masked LM: masked tokens are predicted from the translation alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch.nn import functional

from isogloss.errors import IsoglossError
from isogloss.training.objectives.state_sets import nothing
from isogloss.training.objectives.text import TextLoss
from isogloss.training.text_batch import Tokens, pad_tokens

if TYPE_CHECKING:
    from torch import Tensor, nn

    from isogloss.training.text_batch import TextBatch
    from isogloss.training.text_model import TextModel

__all__ = [
    "CrossAttentionLM",
    "Joined",
    "cross_attention",
    "drawn_tokens",
    "join",
    "masked_loss",
    "refuse_unmaskable",
]


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """Two texts in one row: `tokens` (N, L), and `side` (N, L) int64: 0, 1, or -1 at padding."""

    tokens: Tokens
    side: Tensor


def join(first: Tokens, second: Tokens, *, most: int, pad: int) -> Joined:
    """Row i of `first` and row i of `second` in one row, padding at the end alone.

    Where both are longer than `most` together, each is cut to what the other leaves it, at least
    half of it; a cut text keeps its last token (its end mark). So a row is the same whatever the
    batch it stands in.

    Args:
        first: N rows.
        second: N rows.
        most: tokens of a row.
        pad: filler.
    """
    ids, special, words, sides = [], [], [], []
    for row in range(len(first)):
        counts = [int(t.real[row].sum()) for t in (first, second)]
        limits = _limits(counts[0], counts[1], most)
        parts = [_row(t, row, n) for t, n in zip((first, second), limits, strict=True)]
        ids.append(parts[0][0] + parts[1][0])
        special.append(parts[0][1] + parts[1][1])
        words.append(parts[0][2] + parts[1][2])
        sides.append([0] * len(parts[0][0]) + [1] * len(parts[1][0]))
    tokens = pad_tokens(ids, special, words, pad=pad).to(first.ids.device)
    side = torch.full(tokens.ids.shape, -1, dtype=torch.int64)
    for row, numbers in enumerate(sides):
        side[row, : len(numbers)] = torch.tensor(numbers, dtype=torch.int64)
    return Joined(tokens, side.to(first.ids.device))


def _limits(a: int, b: int, most: int) -> tuple[int, int]:
    """How many tokens of each side stand in a row of at most `most`."""
    if a + b <= most:
        return a, b
    first = min(a, max(most // 2, most - b))
    return first, min(b, most - first)


def _row(tokens: Tokens, row: int, most: int) -> tuple[list[int], list[bool], list[int]]:
    there = tokens.real[row]
    found = (tokens.ids[row][there], tokens.special[row][there], tokens.words[row][there])
    ids, special, words = (column.tolist() for column in found)
    if len(ids) > most:
        ids, special, words = ([*c[: most - 1], c[-1]] for c in (ids, special, words))
    return ids, special, words


def drawn_tokens(
    kept: Tensor, share: float, draw: torch.Generator, *, at_least_one: bool = True
) -> Tensor:
    """(N, L) bool: each kept token with probability `share`; one at least in a row that has any.

    Args:
        kept: (N, L) bool, which may be drawn.
        share: a probability.
        draw: a generator on the CPU.
        at_least_one: see above.
    """
    lots = torch.rand(kept.shape, generator=draw).to(kept.device)
    lots = lots.masked_fill(~kept, 2.0)
    chosen = lots < share
    if at_least_one:
        without = kept.any(1) & ~chosen.any(1)
        lowest = lots.argmin(1)
        chosen[without, lowest[without]] = True
    return chosen


def cross_attention(side: Tensor, masked: Tensor) -> Tensor:
    """(N, L, L) bool, row sees column: what each token of a joined row may attend to.

    A masked token sees the translation (side 1) and itself. Side 1 sees itself alone, so that
    nothing comes from side 0 by way of it. The rest of side 0 sees its own side; nobody who counts
    sees it. Padding sees nothing and is not seen.

    Args:
        side: (N, L): 0, 1, or -1 at padding.
        masked: (N, L) bool, within side 0.
    """
    rows, columns = side[:, :, None], side[:, None, :]
    same = (rows == columns) & (rows >= 0)
    to_translation = (rows == 0) & (columns == 1) & masked[:, :, None]
    itself = torch.eye(side.shape[1], dtype=torch.bool, device=side.device)[None] & (rows >= 0)
    return (same & ~masked[:, :, None]) | to_translation | itself


def refuse_unmaskable(model: TextModel, name: str) -> int:
    """The id of the mask of a model that reads both ways.

    Raises:
        IsoglossError: the model reads one way, its tokenizer has no mask, or it predicts nothing.
    """
    if model.causal or model.mask_id is None or not model.has_head:
        why = (
            "it reads from left to right"
            if model.causal
            else "its tokenizer has no mask token"
            if model.mask_id is None
            else "it has no language-model head"
        )
        raise IsoglossError(f"{name} needs a masked language model, and with this one {why}")
    return model.mask_id


def masked_loss(
    model: TextModel,
    tokens: Tokens,
    masked: Tensor,
    mask_id: int,
    *,
    attention: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy of the tokens that are masked (nats a token), and how many are told right.

    Args:
        model: a masked language model.
        tokens: with their own ids.
        masked: (N, L) bool, at least one True; those get `mask_id`.
        mask_id: of the mask.
        attention: as `TextModel.states`.
    """
    ids = tokens.ids.masked_fill(masked, mask_id)
    hidden = Tokens(ids, tokens.real, tokens.special, tokens.words)
    states = model.states(hidden, attention=attention)[-1]
    logits = model.logits(states[masked]).float()
    right = (logits.detach().argmax(-1) == tokens.ids[masked]).float().mean()
    return functional.cross_entropy(logits, tokens.ids[masked]), right


@dataclass(frozen=True, slots=True)
class CrossAttentionLM:
    """Masked tokens of one side predicted from the other side alone, in nats a masked token.

    Both sides stand in one row; the masked ones see the translation and themselves (where they
    stand), nothing else of their own text, see `cross_attention`. They are always replaced by the
    mask: a token left as it is would see itself. Unlike in translation LM, the own context cannot
    give a token away. Since no other token of its side helps a masked one, `share` only says from
    how many a step learns.

    Args:
        share: of the tokens of the text that are masked; one of each row at least.
        direction: "both" halves the sum of both; "first" masks the first side alone.

    Source: CAMLM of ERNIE-M (Ouyang et al. 2021, arXiv 2012.15674), which masks both sides in one
    pass.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"pairs"})
    share: float = 0.5
    direction: Literal["both", "first"] = "both"

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be above 0 and at most 1, got {self.share}")

    def modules(self, model: TextModel) -> nn.Module | None:
        """None.

        Raises:
            IsoglossError: the model is no masked language model.
        """
        refuse_unmaskable(model, "camlm")
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
        """0 where no row has text on both sides."""
        if len(batch.sides) < 2:
            raise ValueError("camlm needs two sides, texts and their translations")
        mask_id = refuse_unmaskable(model, "camlm")
        orders = [(0, 1), (1, 0)] if self.direction == "both" else [(0, 1)]
        losses, rights = [], []
        for own, other in orders:
            joined = join(
                batch.sides[own], batch.sides[other], most=model.max_tokens, pad=model.pad_id
            )
            translated = (joined.tokens.content & (joined.side == 1)).any(1)
            kept = joined.tokens.content & (joined.side == 0) & translated[:, None]
            masked = drawn_tokens(kept, self.share, draw)
            if not bool(masked.any()):
                continue
            loss, right = masked_loss(
                model,
                joined.tokens,
                masked,
                mask_id,
                attention=cross_attention(joined.side, masked),
            )
            losses.append(loss)
            rights.append(right)
        if not losses:
            return TextLoss(nothing(batch))
        total = torch.stack(losses).mean()
        return TextLoss(total, {"camlm": total.detach(), "told right": torch.stack(rights).mean()})
