"""Word-pair MSE: states of linked words pulled together, held by an anchor to the frozen model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from isogloss.encoders.words import words_of
from isogloss.training.objectives.state_sets import checked_layer, nothing, word_means
from isogloss.training.objectives.text import TextLoss
from isogloss.training.text_model import TextModel
from isogloss.training.word_links import bare, lexicon_links, one_to_one, same_words

if TYPE_CHECKING:
    from torch import Tensor, nn

    from isogloss.training.text_batch import TextBatch, Tokens

__all__ = ["WordMSE", "links_of", "state_anchor"]

Links = tuple[tuple[tuple[int, int], ...], ...]


@dataclass(frozen=True, slots=True)
class WordMSE:
    """Mean squared difference of linked words' states, plus `anchor` times that to the start.

    mean over linked words of mean over dimensions of (h_i - h_j)², where i is a word of the first
    side and j its translation in the second, plus `anchor` times the mean over tokens of the
    second side (or of both) of (h - h_frozen)², where the frozen model is a copy from before
    training. The anchor keeps the states from falling together: without it, constant states are
    best. Only words with one link take part; a word that was cut off or that a tokenizer leaves
    nothing of takes none.

    Links are those of the batch; where it has none, those of `lexicon`; without one, identical
    words.

    Args:
        layer: whose states: a number, "middle" or "last".
        pooling: of a word's tokens: their mean, or the last one.
        anchor: weight of the anchor; 0 makes no frozen copy.
        anchor_side: "second", or "both" sides.
        lexicon: a TSV of word pairs (see `read_lexicons`).
        drop_identical: leave out links between identical words, as Cao et al. do.

    Source: Cao et al. 2020 (Multilingual Alignment of Contextual Word Representations); the mean
    over tokens as in cross-lingual adjustment (Efimov et al. 2023).
    """

    layer: str = "last"
    pooling: Literal["mean", "last"] = "mean"
    anchor: float = 1.0
    anchor_side: Literal["second", "both"] = "second"
    lexicon: str = ""
    drop_identical: bool = False

    def __post_init__(self) -> None:
        if self.anchor < 0:
            raise ValueError(f"anchor must be 0 or more, got {self.anchor}")

    @property
    def needs(self) -> frozenset[str]:
        """Pairs; links are made where the corpus has none."""
        return frozenset({"pairs"})

    def modules(self, model: TextModel) -> nn.Module | None:
        """A frozen copy of the model as it is now, where there is an anchor.

        Raises:
            ValueError: no such layer.
            BadRecord: the lexicon cannot be read.
        """
        checked_layer(model, self.layer)
        if self.lexicon:
            lexicon_links(self.lexicon)
        return model.frozen_copy() if self.anchor else None

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
        """The words' part is 0 where no word is linked; the anchor holds all the same."""
        if len(batch.sides) < 2:
            raise ValueError("word-mse needs two sides, texts and their translations")
        layer = checked_layer(model, self.layer)
        states = [model.states(side)[layer] for side in batch.sides]
        words, count = self._words(states, batch)
        parts = {"words": words.detach(), "linked words": torch.tensor(float(count))}
        total = words
        if self.anchor:
            if not isinstance(extra, TextModel):
                raise TypeError("the anchor needs the frozen copy that `modules` makes")
            held = [1] if self.anchor_side == "second" else [0, 1]
            apart = torch.stack(
                [state_anchor(states[i], extra, batch.sides[i], layer) for i in held]
            ).mean()
            parts["anchor"] = apart.detach()
            total = total + self.anchor * apart
        return TextLoss(total, parts)

    def _words(self, states: list[Tensor], batch: TextBatch) -> tuple[Tensor, int]:
        linked = [
            (row, i, j)
            for row, links in enumerate(links_of(batch, self.lexicon, self.drop_identical))
            for i, j in links
        ]
        if not linked:
            return nothing(batch), 0
        rows, lefts, rights = zip(*linked, strict=True)
        last = self.pooling == "last"
        a = word_means(states[0], batch.sides[0], rows, lefts, last=last)
        b = word_means(states[1], batch.sides[1], rows, rights, last=last)
        there = torch.isfinite(a.detach()).all(1) & torch.isfinite(b.detach()).all(1)
        if not bool(there.any()):
            return nothing(batch), 0
        return (a[there] - b[there]).square().mean(), int(there.sum())


def links_of(batch: TextBatch, lexicon: str = "", drop_identical: bool = False) -> Links:
    """One-to-one word links of each row: the batch's, else the lexicon file's, else equal words."""
    texts = list(zip(batch.texts[0], batch.texts[1], strict=True))
    if batch.links is not None:
        found = [one_to_one(links) for links in batch.links]
    elif lexicon:
        table = lexicon_links(lexicon)
        found = [table.links(a, b) for a, b in texts]
    else:
        found = [same_words(a, b) for a, b in texts]
    if drop_identical:
        found = [_different(links, a, b) for links, (a, b) in zip(found, texts, strict=True)]
    return tuple(found)


def _different(links: tuple[tuple[int, int], ...], a: str, b: str) -> tuple[tuple[int, int], ...]:
    left, right = ([bare(text[x:y]) for x, y in words_of(text)] for text in (a, b))
    return tuple(
        (i, j) for i, j in links if i >= len(left) or j >= len(right) or left[i] != right[j]
    )


def state_anchor(states: Tensor, frozen: TextModel, tokens: Tokens, layer: int) -> Tensor:
    """Mean over tokens of the text and dimensions of (states - frozen states)², a scalar.

    Args:
        states: (N, L, D) at `layer` of the model that learns.
        frozen: the model it is held to.
        tokens: what both read; padding and special tokens take no part.
        layer: whose states.
    """
    kept = tokens.content
    if not bool(kept.any()):
        return states.new_zeros(())
    with torch.no_grad():
        wanted = frozen.states(tokens)[layer]
    return (states[kept] - wanted[kept]).square().mean()
