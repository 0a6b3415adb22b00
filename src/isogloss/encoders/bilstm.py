"""A BiLSTM whose largest state is the vector of a sentence, as an encoder: `laser:FOLDER`.

Trained by `training.laser_training` to translate from that one vector, as LASER is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from isogloss import __version__
from isogloss.encoders.features import needs_device
from isogloss.encoders.item_text import text_of
from isogloss.encoders.layered_text import LayeredText, batches_of, known_layer
from isogloss.encoders.option_values import choice
from isogloss.encoders.own_text_files import read_own_text
from isogloss.encoders.words import item_spans, span_words
from isogloss.errors import IsoglossError, MissingExtra
from isogloss.types import Sequences

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from isogloss.encoders.bilstm_network import Bilstm
    from isogloss.types import FloatArray, Item

__all__ = ["TOKENIZER", "LaserEncoder", "load", "read_tokenizer"]

TOKENIZER = "tokenizer.json"
"""File of the tokenizer in the folder of a model."""

# Tokens of a batch, padding counted in.
_BATCH_TOKENS = 8192


@dataclass(frozen=True, slots=True, eq=False)
class LaserEncoder(LayeredText):
    """States of the BiLSTM, or the largest value of each over the whole text.

    Layer 0 is the embedding, i the output of LSTM layer i; the last is the default. With `token`
    'sentence' the maximum over all tokens, which is what was trained, is the only step; with
    'piece' each token has one, and `pool=max` gives the same vector.
    """

    network: Bilstm
    tokenizer: Any
    name: str
    layer: int
    token: Literal["sentence", "piece"] = "sentence"
    device: str = "cpu"

    @property
    def layers(self) -> tuple[int, ...]:
        """Every layer, from the embedding on."""
        return tuple(range(self.network.shape.layers + 1))

    @property
    def made_by(self) -> str:
        """What changes the values."""
        return f"laser:{self.name};layer={self.layer};token={self.token};isogloss={__version__}"

    def _encode(self, items: Sequence[Item], layers: Sequence[int]) -> list[Sequences]:
        import torch

        from isogloss.encoders.bilstm_network import most_of_each, padded_ids

        texts = [text_of(item) for item in items]
        encodings = self.tokenizer.encode_batch(texts, add_special_tokens=False)
        steps: list[list[FloatArray]] = [
            [np.zeros((0, 0), np.float32)] * len(items) for _ in layers
        ]
        self.network.eval()
        for batch in batches_of([len(encoding.ids) for encoding in encodings], _BATCH_TOKENS):
            ids, lengths = padded_ids([encodings[i].ids for i in batch])
            with torch.inference_mode():
                states = self.network(ids.to(self.device), lengths)
                for place, layer in enumerate(layers):
                    found = states[layer]
                    if self.token == "sentence":
                        found = most_of_each(found, lengths)[:, None]
                    values = found.float().cpu().numpy()
                    for row, index in enumerate(batch):
                        size = 1 if self.token == "sentence" else int(lengths[row])
                        steps[place][index] = values[row, :size].copy()
        words = [
            self._words(item, text, encoding)
            for item, text, encoding in zip(items, texts, encodings, strict=True)
        ]
        return [
            Sequences.from_list(
                [item.id for item in items],
                rows,
                made_by=replace(self, layer=layer).made_by,
                words=words,
            )
            for layer, rows in zip(layers, steps, strict=True)
        ]

    def _words(self, item: Item, text: str, encoding: Any) -> npt.NDArray[np.int64]:
        if self.token == "sentence":
            return np.full(1, -1, dtype=np.int64)
        return span_words(text, encoding.offsets, item_spans(item))


def load(
    argument: str, *, layer: int | None = None, device: str = "cpu", token: str = "sentence"
) -> LaserEncoder:
    """The encoder behind 'laser:FOLDER'.

    Args:
        argument: a folder written by training.
        layer: 0 is the embedding, i the output of LSTM layer i; None is the last.
        device: that the network runs on.
        token: 'sentence' for one step an item, the maximum over its tokens; 'piece' for each token.

    Raises:
        ValueError: no folder is named, no such layer, an option has a wrong value.
        IsoglossError: the folder is absent, damaged or of another kind.
        MissingExtra: torch, tokenizers or safetensors is not installed.
    """
    if not argument:
        raise ValueError(
            "'laser:' needs a folder that 'isogloss text train --kind laser' has written"
        )
    kind: Literal["sentence", "piece"] = (
        "piece" if choice("token", token, ("sentence", "piece")) == "piece" else "sentence"
    )
    needs_device(device)
    import torch

    from isogloss.encoders.bilstm_network import Bilstm, BilstmShape

    model = read_own_text(Path(argument).expanduser(), "laser")
    tokenizer = read_tokenizer(model.folder / TOKENIZER)
    try:
        network = Bilstm(BilstmShape(**model.shape))
        network.load_state_dict({key: torch.from_numpy(v) for key, v in model.tensors.items()})
    except (TypeError, ValueError, RuntimeError) as error:
        first = str(error).partition("\n")[0]
        raise IsoglossError(f"{model.folder}: no model of a BiLSTM: {first}") from error
    if tokenizer.get_vocab_size() > network.shape.vocabulary:
        raise IsoglossError(
            f"{model.folder}: the tokenizer has {tokenizer.get_vocab_size()} tokens, the model "
            f"{network.shape.vocabulary}"
        )
    network = network.to(device).eval()
    return LaserEncoder(
        network,
        tokenizer,
        model.revision[:12],
        known_layer(layer, network.shape.layers),
        kind,
        device,
    )


def read_tokenizer(path: Path) -> Any:
    """The tokenizer in a file of the package tokenizers, neither cutting nor padding.

    Raises:
        IsoglossError: the file is absent or damaged.
        MissingExtra: tokenizers is not installed.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingExtra("text", "tokenizers") from error
    try:
        text = path.read_text(encoding="utf-8")
        tokenizer = Tokenizer.from_str(text)
    except OSError as error:
        raise IsoglossError(f"{path}: cannot be read: {error.strerror}") from error
    # tokenizers raises nothing more exact.
    except Exception as error:
        raise IsoglossError(f"{path}: no tokenizer: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
