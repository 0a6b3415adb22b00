"""A public text model of transformers as an encoder: texts in, steps of any layer and site out.

Called through `load_encoder("hf:NAME_OR_PATH")`. A step is a token of the text; special tokens,
prompts and padding are none.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from isogloss import __version__
from isogloss.encoders.features import needs_device
from isogloss.encoders.hf_blocks import SITES, captured, output_states, site_point
from isogloss.encoders.hf_text_load import load_text_model
from isogloss.encoders.hf_text_tokens import pieces_of, windows_of
from isogloss.encoders.item_text import text_of
from isogloss.encoders.option_values import whole_number
from isogloss.encoders.options import truth
from isogloss.encoders.words import item_spans, span_words
from isogloss.errors import IsoglossError, TextError, UnknownName
from isogloss.types import Sequences

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt
    from torch import Tensor

    from isogloss.encoders.hf_text_load import TextModel
    from isogloss.encoders.hf_text_tokens import Pieces
    from isogloss.types import FloatArray, Item

__all__ = ["HfTextEncoder", "load"]

TOKENS = ("text", "cls", "eos")
"""What becomes steps: the text's tokens, or one special token before or behind them alone."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """One window of one item: its token numbers, and the places in it that become steps."""

    item: int
    ids: tuple[int, ...]
    places: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class HfTextEncoder:
    """The encoder of a public text checkpoint.

    An item's steps are the same alone as in any batch (within 1e-5, with float32 weights): padding
    stands behind a text and is masked, or, where a model looks at it all the same, texts of equal
    length alone share a batch. A text longer than the model's window is read in windows that share
    a quarter of their tokens; each token is taken from the window in which it is farther from the
    edge, so a text of any length has a step for each of its tokens.

    Attributes:
        text_model: model, blocks and tokenizer.
        layer: at site 'residual' 0 is the input of the first block, i the output of block i, None
            or the last number what the model returns: after its last norm, where it has one. At
            the other sites 1 to the number of blocks, None the last block.
        site: 'residual', 'mlp' (input of the FFN's down projection) or 'attention' (output of
            the attention's output projection).
        token: 'text' for the tokens of the text; 'cls' or 'eos' for the special token before or
            behind it, as the only step of the item (of its first window, of its last).
        prompt: read before every text; its tokens are no steps.
        pool_prompt: they are steps as well, belonging to no word.
        max_tokens: most tokens of a window, special tokens included; None takes the model's own.
        batch_tokens: tokens in one batch, padding included; a longer window is alone.
    """

    text_model: TextModel
    layer: int | None = None
    site: str = "residual"
    token: str = "text"
    prompt: str = ""
    pool_prompt: bool = False
    max_tokens: int | None = None
    batch_tokens: int = 4096
    takes_text = True

    def __post_init__(self) -> None:
        if self.site not in SITES:
            raise UnknownName("site", self.site, SITES)
        if self.token not in TOKENS:
            raise UnknownName("token", self.token, TOKENS)
        if self.layer is not None and self.layer not in self.layers:
            raise ValueError(
                f"layer must be one of {self.layers[0]} to {self.layers[-1]} at site {self.site} "
                f"({len(self.blocks)} blocks), got {self.layer}"
            )
        if self.layer == self.layers[-1]:
            object.__setattr__(self, "layer", None)
        if self.site != "residual":
            site_point(self.blocks[0], self.site)
        if self.pool_prompt and not self.prompt:
            raise ValueError("pool_prompt is for encoders with a prompt; there is none")
        if self.max_tokens is not None and not 4 <= self.max_tokens <= self.text_model.window:
            raise ValueError(
                f"max_tokens must be 4 to {self.text_model.window}, what the model reads at once; "
                f"got {self.max_tokens}"
            )
        if self.token == "cls" and self.text_model.tokenizer.cls_token_id is None:
            raise ValueError(f"{self.text_model.name} has no class token; use token=text or eos")

    @property
    def blocks(self) -> tuple[Any, ...]:
        """The model's blocks, first to last: torch modules."""
        return self.text_model.blocks

    @property
    def layers(self) -> tuple[int, ...]:
        """Every layer that can be asked for at this site; the last is the default."""
        count = len(self.blocks)
        return tuple(range(count + 2)) if self.site == "residual" else tuple(range(1, count + 1))

    @property
    def window(self) -> int:
        """Tokens read at once, special tokens included."""
        return self.text_model.window if self.max_tokens is None else self.max_tokens

    @property
    def made_by(self) -> str:
        """Checksum of weights and tokenizer, site, layer, prompt, window, versions."""
        import transformers

        model = self.text_model
        parts = [f"hf:{model.name}", f"sha={model.revision[:16]}"]
        parts.append(f"transformers={transformers.__version__}")
        if model.dtype != "float32":
            parts.append(f"dtype={model.dtype}")
        if self.site != "residual":
            parts.append(f"site={self.site}")
        if self.token != "text":
            parts.append(f"token={self.token}")
        if self.prompt:
            # In JSON, so that no prompt can look like another part.
            parts.append(f"prompt={json.dumps(self.prompt)}")
            if self.pool_prompt:
                parts.append("pool_prompt")
        if self.window != model.window:
            parts.append(f"max_tokens={self.window}")
        parts.append(f"layer={'final' if self.layer is None else self.layer}")
        return ";".join([*parts, f"isogloss={__version__}"])

    def with_layer(self, layer: int | None) -> HfTextEncoder:
        """The same model giving another layer; nothing is loaded again."""
        return replace(self, layer=layer)

    def with_site(self, site: str) -> HfTextEncoder:
        """The same model at another site, its last layer; nothing is loaded again."""
        return replace(self, site=site, layer=None)

    def encode(self, items: Sequence[Item]) -> Sequences:
        """Steps of each item at this encoder's layer and site, in order; `words` are known.

        Raises:
            TextError: an item has no text, or the tokenizer leaves nothing of it.
            IsoglossError: the tokenizer gives a token that the model does not have.
            ValueError: there is no item.
        """
        return self._encode(items, (self.layers[-1] if self.layer is None else self.layer,))[0]

    def encode_layers(self, items: Sequence[Item]) -> list[Sequences]:
        """Steps of every layer of `layers` from one pass, in their order.

        Errors as `encode`.
        """
        return self._encode(items, self.layers)

    def _encode(self, items: Sequence[Item], layers: tuple[int, ...]) -> list[Sequences]:
        if not items:
            raise ValueError("there is no item to encode")
        texts = [text_of(item) for item in items]
        tokenised = pieces_of(self.text_model.tokenizer, texts, prompt=self.prompt)
        pieces: list[_Piece] = []
        words: list[npt.NDArray[np.int64]] = []
        for number, (item, found) in enumerate(zip(items, tokenised, strict=True)):
            own = self._windows(number, item, found)
            pieces += own
            words.append(self._words(item, found, sum(len(one.places) for one in own)))
        joined = self._joined(pieces, layers, len(items))
        ids = [item.id for item in items]
        return [
            Sequences.from_list(ids, arrays, made_by=self.with_layer(layer).made_by, words=words)
            for layer, arrays in zip(layers, joined, strict=True)
        ]

    def _windows(self, number: int, item: Item, found: Pieces) -> list[_Piece]:
        rows = self.text_model.rows
        wrong = [one for one in found.ids if rows is not None and one >= rows]
        if wrong:
            raise IsoglossError(
                f"item '{item.id}': the tokenizer of {self.text_model.name} gives token "
                f"{wrong[0]}, the model has embeddings for {rows}; the tokenizer is another model's"
            )
        is_step = np.array(found.is_step, dtype=bool)
        if not is_step.any():
            raise TextError(
                item.id, f"the tokenizer of {self.text_model.name} leaves nothing of its text"
            )
        windows = windows_of(found, self.window)
        if self.token == "cls":
            place = self._place_of_cls(found, item)
            return [_Piece(number, windows[0].ids, np.array([place], dtype=np.int64))]
        if self.token == "eos":
            if not found.behind:
                raise ValueError(
                    f"{self.text_model.name} puts no token behind a text; use token=text"
                )
            last = windows[-1].ids
            return [_Piece(number, last, np.array([len(last) - 1], dtype=np.int64))]
        pieces = []
        for window in windows:
            kept = np.arange(window.keep_from, window.keep_to)
            places = window.first + kept[is_step[kept]] - window.start
            if self.pool_prompt and window.start == 0:
                before = len(found.before)
                places = np.concatenate([np.arange(before, before + found.prompt), places])
            pieces.append(_Piece(number, window.ids, places.astype(np.int64)))
        return pieces

    def _place_of_cls(self, found: Pieces, item: Item) -> int:
        wanted = self.text_model.tokenizer.cls_token_id
        if wanted not in found.before:
            raise ValueError(
                f"item '{item.id}': {self.text_model.name} puts no class token before a text; "
                "use token=text or eos"
            )
        return found.before.index(wanted)

    def _words(self, item: Item, found: Pieces, steps: int) -> npt.NDArray[np.int64]:
        if self.token != "text":
            return np.full(steps, -1, dtype=np.int64)
        kept = [span for span, real in zip(found.spans, found.is_step, strict=True) if real]
        own = span_words(text_of(item), kept, item_spans(item))
        return np.concatenate([np.full(steps - len(own), -1, dtype=np.int64), own])

    def _joined(
        self, pieces: Sequence[_Piece], layers: tuple[int, ...], count: int
    ) -> list[list[FloatArray]]:
        """For each layer the steps of each of `count` items, their windows joined."""
        found: list[list[FloatArray | None]] = [[None] * len(pieces) for _ in layers]
        for batch in self._batches(pieces):
            states = self._states([pieces[i].ids for i in batch], layers)
            for column, values in zip(found, states, strict=True):
                for row, i in zip(values, batch, strict=True):
                    places = self._rows_of(pieces[i].places, len(row), len(pieces[i].ids))
                    column[i] = row[places].float().cpu().numpy()
        joined: list[list[FloatArray]] = []
        for column in found:
            by_item: list[list[FloatArray]] = [[] for _ in range(count)]
            for piece, steps in zip(pieces, column, strict=True):
                by_item[piece.item].append(cast("FloatArray", steps))
            joined.append([np.concatenate(parts) for parts in by_item])
        return joined

    def _rows_of(
        self, places: npt.NDArray[np.int64], rows: int, length: int
    ) -> npt.NDArray[np.int64]:
        """The rows of states that stand for tokens at `places` of a window."""
        rate = self.text_model.downsampling
        if rate == 1 or rows >= length:
            return places
        # CANINE: row 0 is the class token's, row j what is left of tokens (j - 1) * 4 and on.
        return np.where(places == 0, 0, np.minimum(1 + places // rate, rows - 1))

    def _batches(self, pieces: Sequence[_Piece]) -> Iterator[list[int]]:
        """Numbers of pieces that share a batch: neighbours in length, no more than fit."""
        order = sorted(range(len(pieces)), key=lambda i: len(pieces[i].ids))
        batch: list[int] = []
        for i in order:
            length = len(pieces[i].ids)
            too_large = (len(batch) + 1) * length > self.batch_tokens
            unlike = not self.text_model.pads and batch and length != len(pieces[batch[0]].ids)
            if batch and (too_large or unlike):
                yield batch
                batch = []
            batch.append(i)
        if batch:
            yield batch

    def _states(self, rows: Sequence[tuple[int, ...]], layers: tuple[int, ...]) -> list[Tensor]:
        """(N, L, D) states of each of `layers`, L the longest row; what is padding is in them."""
        import torch

        longest = max(self.text_model.least, *(len(row) for row in rows))
        ids = torch.full((len(rows), longest), self.text_model.pad_id, dtype=torch.long)
        is_real = torch.zeros((len(rows), longest), dtype=torch.long)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = torch.tensor(row)
            is_real[number, : len(row)] = 1
        return self.states_of(ids, is_real, layers)

    def states_of(self, ids: Tensor, is_real: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """States of a batch at this site: (N, L, D) for each of `layers`, padding included.

        Args:
            ids: (N, L) int64 token numbers.
            is_real: (N, L) int64 or bool, 1 for tokens, 0 for padding, which must stand behind.
            layers: of `layers`.
        """
        import torch

        ids, is_real = ids.to(self.text_model.device), is_real.to(self.text_model.device).long()
        final = len(self.blocks) + 1
        with (
            torch.inference_mode(),
            captured(self.text_model.blocks, layers, self.site) as states,
        ):
            output = self.text_model.model(input_ids=ids, attention_mask=is_real)
        found = []
        for layer in layers:
            values = output_states(output[0]) if layer == final else states[layer]
            # OPT's FFN works on all tokens of a batch in one row.
            found.append(values.reshape(len(ids), -1, values.shape[-1]))
        return found


def load(
    argument: str,
    *,
    layer: int | None = None,
    device: str = "cpu",
    site: str = "residual",
    token: str = "text",
    prompt: str = "",
    pool_prompt: str = "false",
    max_tokens: str = "",
    batch_tokens: str = "4096",
    language: str = "",
    dtype: str = "float32",
) -> HfTextEncoder:
    """The encoder behind 'hf:NAME_OR_PATH' where the checkpoint is a text model's.

    Options are written behind the name, such as 'hf:PATH?site=mlp&prompt=query: '. `language` is
    the source language's code for tokenizers that put one to a text (NLLB, M2M100, mBART), `dtype`
    one of float32, bfloat16 and float16; for the others see `HfTextEncoder`.

    Raises:
        ValueError: nothing follows the colon, there is no such layer or device, or an option has a
            wrong value.
        UnknownName: no such site or token.
        IsoglossError, MissingExtra: as `load_text_model`.
    """
    if not argument:
        raise ValueError("'hf:' needs a folder or a name, such as hf:xlm-roberta-base")
    needs_device(device)
    with_prompt = truth("pool_prompt", pool_prompt)
    longest = whole_number("max_tokens", max_tokens, least=4) if max_tokens else None
    in_batch = whole_number("batch_tokens", batch_tokens, least=1)
    loaded = load_text_model(argument, device=device, dtype=dtype, language=language or None)
    return HfTextEncoder(loaded, layer, site, token, prompt, with_prompt, longest, in_batch)
