"""A text model of transformers as objectives see it: tokens in, states of every layer out.

Made by `text_parameters` (a new one) or from a folder; used by `text_learner` and the objectives.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from isogloss.encoders.hf_blocks import blocks_of, captured, text_part
from isogloss.encoders.words import span_words, words_of
from isogloss.errors import IsoglossError, MissingExtra
from isogloss.training.text_batch import Tokens, pad_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["SPENT", "TextModel"]

SPENT = ("passes", "tokens", "flops")
"""What a model counts of its own work; see `TextModel.spent`."""

# Parts of a model behind its last state that make logits of it, in order, by model.
_HEADS = (
    ("cls",),
    ("lm_head",),
    ("head", "decoder"),
    ("vocab_transform", "activation", "vocab_layer_norm", "vocab_projector"),
    ("generator_predictions", "generator_lm_head"),
    ("predictions",),
    ("embed_out",),
)
# More characters than this for each token are never read: a text of a million characters costs no
# more than what is kept of it.
_CHARACTERS_PER_TOKEN = 32


class TextModel(nn.Module):
    """A model of transformers with its tokenizer, an encoder or a decoder, with or without LM head.

    Layers are numbered as everywhere: 0 is the input of the first block, i the output of block i,
    and the last (`layers[-1]`, blocks + 1) what the model returns, after its final norm if it has
    one. Of an encoder-decoder it is the encoder.

    Args:
        model: of transformers; trained in place.
        tokenizer: its tokenizer.
        max_tokens: longer texts are cut here, special tokens included.
        frozen: no parameter learns, and dropout stays off whatever `train` says.

    Attributes:
        causal: whether a token sees only what stands before it.
        pad_id: filler of `Tokens.ids`, never attended to.
        mask_id: None where the tokenizer has no mask.
        spent: work done since it was last emptied: "passes" (forward passes), "tokens" (real tokens
            in them), "flops" (estimated: 2 for each weight of the blocks and each position, padding
            included, plus attention and logits; three times that where a gradient is taken).
            Copies count into the same.
    """

    def __init__(
        self, model: nn.Module, tokenizer: Any, *, max_tokens: int = 128, frozen: bool = False
    ) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.frozen = frozen
        config = cast("Any", model).config
        self.max_tokens = max_tokens
        self.causal = _is_causal(model)
        self.blocks = blocks_of(model)
        self.width = int(getattr(config, "hidden_size", None) or config.d_model)
        self.mask_id: int | None = tokenizer.mask_token_id
        pad = tokenizer.pad_token_id
        self.pad_id = int(pad if pad is not None else tokenizer.eos_token_id or 0)
        self.spent: dict[str, float] = dict.fromkeys(SPENT, 0.0)
        self._weights = sum(p.numel() for block in self.blocks for p in block.parameters())
        if frozen:
            self.requires_grad_(False)
            self.eval()

    @classmethod
    def load(cls, folder: Path, *, max_tokens: int = 128) -> TextModel:
        """The model in a folder of `save_pretrained`, in float32 on the CPU.

        A head that the checkpoint lacks gets new weights from torch's generator.

        Raises:
            MissingExtra: transformers is not installed.
            IsoglossError: there is no such folder, it holds no text model or no tokenizer, or the
                checkpoint lacks weights below the head.
        """
        from isogloss.training.text_start import load_text_model

        model, tokenizer = load_text_model(folder)
        return cls(model, tokenizer, max_tokens=max_tokens)

    @property
    def layers(self) -> tuple[int, ...]:
        """Every number that `states` can be indexed with: 0, the blocks, and the final output."""
        return tuple(range(len(self.blocks) + 2))

    def train(self, mode: bool = True) -> TextModel:
        """Switch dropout on or off; a frozen copy has it off always."""
        super().train(mode and not self.frozen)
        return self

    def tokens(self, texts: Sequence[str], *, words: bool = True) -> Tokens:
        """`texts` with their special tokens, cut to `max_tokens`, on the CPU.

        What looks like a special token in a text is text. A decoder's texts get its end token.

        Args:
            texts: at least one; an empty one is its special tokens alone.
            words: also number the words; -1 everywhere without, or with a slow tokenizer.

        Raises:
            ValueError: there is no text.
        """
        if not texts:
            raise ValueError("there is no text in the batch")
        tokenizer = self.tokenizer
        located = bool(tokenizer.is_fast) and words
        known = [self.readable(text) for text in texts]
        found = self._encoded(known, most=self.max_tokens, located=located)
        marks = [[bool(mark) for mark in row] for row in found["special_tokens_mask"]]
        if located:
            numbers = [
                [
                    -1 if mark else number
                    for mark, number in zip(
                        special, span_words(text, spans, words_of(text)).tolist(), strict=True
                    )
                ]
                for text, spans, special in zip(known, found["offset_mapping"], marks, strict=True)
            ]
        else:
            numbers = [[-1] * len(row) for row in marks]
        ids = [list(row) for row in found["input_ids"]]
        end = tokenizer.eos_token_id if self.causal else None
        if end is not None:
            for row, special, places in zip(ids, marks, numbers, strict=True):
                if not row or row[-1] != end:
                    for values, last in ((row, end), (special, True), (places, -1)):
                        values[self.max_tokens - 1 :] = [last]  # type: ignore[list-item]
        return pad_tokens(ids, marks, numbers, pad=self.pad_id)

    def count_cut(self, texts: Sequence[str]) -> int:
        """How many of `texts` have more than `max_tokens` tokens, special ones included."""
        # No text has more tokens than bytes: most need not be looked at.
        doubtful = [text for text in texts if 2 + len(text.encode()) > self.max_tokens]
        doubtful = [text[: _CHARACTERS_PER_TOKEN * self.max_tokens + 1] for text in doubtful]
        more = 1 if self.causal and self.tokenizer.eos_token_id is not None else 0
        cut = 0
        for first in range(0, len(doubtful), 1000):
            found = self._encoded(doubtful[first : first + 1000], most=None, located=False)
            cut += sum(len(row) + more > self.max_tokens for row in found["input_ids"])
        return cut

    def readable(self, text: str) -> str:
        """As much of a text as is ever read; the rest lies beyond `max_tokens`."""
        return text[: _CHARACTERS_PER_TOKEN * self.max_tokens]

    def _encoded(self, texts: list[str], *, most: int | None, located: bool) -> Any:
        return self.tokenizer(
            texts,
            # What looks like a special token in a text is text.
            split_special_tokens=True,
            truncation=most is not None,
            max_length=most,
            return_special_tokens_mask=True,
            return_offsets_mapping=located,
            # Texts longer than the model reads are counted here, not warned about.
            verbose=False,
        )

    def states(self, tokens: Tokens, *, attention: Tensor | None = None) -> tuple[Tensor, ...]:
        """The states of every layer, each (N, L, D), indexed by layer; rubbish at padding.

        Args:
            tokens: on the model's device.
            attention: (N, L, L) bool, True where the token of the row may see that of the column;
                None lets each see all (a decoder: all before it). Padding is never seen, and a
                decoder never sees ahead, whatever it says.

        Raises:
            ValueError: `attention` leaves a real token without anything to see.
        """
        return self._run(tokens, attention, None)

    def states_of(self, embedded: Tensor, tokens: Tokens) -> tuple[Tensor, ...]:
        """As `states`, of input embeddings (N, L, D) in place of those of `tokens.ids`."""
        return self._run(tokens, None, embedded)

    def _run(
        self, tokens: Tokens, attention: Tensor | None, embedded: Tensor | None
    ) -> tuple[Tensor, ...]:
        part = cast("Any", text_part(self.model))
        mask = tokens.real.long() if attention is None else self._mask(tokens, attention)
        depth = len(self.blocks)
        options: dict[str, Any] = {"use_cache": False} if self.causal else {}
        if embedded is None:
            options["input_ids"] = tokens.ids
        else:
            options["inputs_embeds"] = embedded
        with captured(self.blocks, range(depth + 1)) as inner:
            final = part(attention_mask=mask, **options).last_hidden_state
        n, length = tokens.ids.shape
        self._count(
            tokens,
            n * length * (2.0 * self._weights + 4.0 * depth * length * self.width),
            learns=final.requires_grad,
        )
        return (*(inner[layer] for layer in range(depth + 1)), final)

    def logits(self, states: Tensor) -> Tensor:
        """(..., V) logits of (..., D) states, which are those of the last layer.

        Raises:
            IsoglossError: the model has no language-model head.
        """
        parts = self._head()
        found = states
        for module in parts:
            found = module(found)
        cap = getattr(cast("Any", self.model).config, "final_logit_softcapping", None)
        if cap:
            found = cap * torch.tanh(found / cap)
        factor = 3.0 if found.requires_grad else 1.0
        self.spent["flops"] += factor * 2.0 * found.numel() * self.width
        return found

    @property
    def has_head(self) -> bool:
        """Whether `logits` works."""
        model = cast("Any", self.model)
        if model.config.is_encoder_decoder:
            return False
        return any(all(hasattr(model, name) for name in names) for names in _HEADS)

    def ordinary_ids(self) -> Tensor:
        """(K,) ids of the vocabulary that are no special tokens, on the model's device."""
        rows = self.input_embedding()
        special = [i for i in self.tokenizer.all_special_ids if i < len(rows)]
        kept = torch.ones(min(len(rows), len(self.tokenizer)), dtype=torch.bool)
        kept[[i for i in special if i < len(kept)]] = False
        return kept.nonzero().flatten().to(rows.device)

    def input_embedding(self) -> Tensor:
        """(V, D) embeddings of the vocabulary, the parameter itself."""
        return cast("Tensor", cast("Any", self.model).get_input_embeddings().weight)

    def output_embedding(self) -> Tensor:
        """(V, D) weights of the output layer; the input embeddings where there is none."""
        layer = cast("Any", self.model).get_output_embeddings()
        return self.input_embedding() if layer is None else cast("Tensor", layer.weight)

    def frozen_copy(self) -> TextModel:
        """A copy with the present weights that does not learn and counts into the same `spent`."""
        copied = TextModel(
            copy.deepcopy(self.model), self.tokenizer, max_tokens=self.max_tokens, frozen=True
        )
        copied.spent = self.spent
        return copied

    def save(self, folder: Path) -> None:
        """Write model and tokenizer as transformers does, so that 'hf:FOLDER' loads them."""
        from transformers.utils import logging

        shown = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()
        try:
            cast("Any", self.model).save_pretrained(folder)
        finally:
            if shown:
                logging.enable_progress_bar()
        self.tokenizer.save_pretrained(folder)

    def _head(self) -> list[nn.Module]:
        if self.has_head:
            for names in _HEADS:
                if all(hasattr(self.model, name) for name in names):
                    return [getattr(self.model, name) for name in names]
        raise IsoglossError(
            f"{type(self.model).__name__} has no head that predicts tokens, which this objective "
            "needs; start from a checkpoint with one, or leave the objective out"
        )

    def _mask(self, tokens: Tokens, attention: Tensor) -> Tensor:
        """(N, 1, L, L) added to the attention's scores: 0 where seen, the lowest number elsewhere.

        The lowest number and not -inf: a row of padding sees nothing, and must not become NaN.
        """
        n, length = tokens.ids.shape
        if tuple(attention.shape) != (n, length, length):
            raise ValueError(
                f"attention must be {(n, length, length)}, got {tuple(attention.shape)}"
            )
        seen = attention & tokens.real[:, None, :]
        if self.causal:
            ahead = torch.ones(length, length, dtype=torch.bool, device=seen.device).tril()
            seen = seen & ahead
        blind = tokens.real & ~seen.any(dim=2)
        if bool(blind.any()):
            row, column = blind.nonzero()[0].tolist()
            raise ValueError(
                f"attention lets token {column} of row {row} see nothing; let it see itself at "
                "least"
            )
        kind = next(self.model.parameters()).dtype
        added = torch.zeros(n, 1, length, length, dtype=kind, device=seen.device)
        return added.masked_fill(~seen[:, None], torch.finfo(kind).min)

    def _count(self, tokens: Tokens, flops: float, *, learns: bool) -> None:
        self.spent["passes"] += 1
        self.spent["tokens"] += float(tokens.real.sum())
        self.spent["flops"] += (3.0 if learns else 1.0) * flops


def _is_causal(model: nn.Module) -> bool:
    config = cast("Any", model).config
    if config.is_encoder_decoder:
        return False
    try:
        from transformers.models.auto.modeling_auto import (
            MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
            MODEL_FOR_MASKED_LM_MAPPING_NAMES,
        )
    except ImportError as error:
        raise MissingExtra("text", "transformers") from error
    kind = config.model_type
    if kind in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        return bool(getattr(config, "is_decoder", False))
    return kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
