"""A text model with a loss and parallel items in; do translations pull its blocks alike, out.

Called by `alignment` for models of transformers. The gradient of each item's language-model loss
with respect to the weights of each block is kept as a random sketch, so that a hundred items of a
large model fit in memory.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from isogloss.corpora.progress import with_progress
from isogloss.encoders.item_text import text_of
from isogloss.encoders.registry import EncoderName
from isogloss.errors import IsoglossError
from isogloss.measures.rows import unit_rows
from isogloss.measures.separation import separation_of_table
from isogloss.tasks.alignment_pairs import Estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.types import FloatArray, Item

__all__ = ["GradientOptions", "block_gradients", "gradient_estimates", "gradient_model_folder"]

Doubles = npt.NDArray[np.float64]

# What the names of architectures with a language-model head hold.
_WITH_HEAD = ("MaskedLM", "CausalLM", "LMHead", "ForPreTraining")


@dataclass(frozen=True, slots=True)
class GradientOptions:
    """How gradients are taken.

    Attributes:
        meanings: parallel items of each variety; a gradient costs about three encodings.
        masked: share of the tokens that a masked model must guess.
        sketch: numbers kept of a block's gradient; cosines are off by about 1 / sqrt(sketch). A
            smaller block is kept whole.
        max_tokens: longer texts are cut.
        seed: of masks and sketches.
    """

    meanings: int = 24
    masked: float = 0.15
    sketch: int = 16_384
    max_tokens: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        if self.meanings < 2 or self.sketch < 2 or self.max_tokens < 2:
            raise ValueError(
                "gradients need at least 2 meanings, 2 numbers of a sketch and 2 tokens, got "
                f"{self.meanings}, {self.sketch}, {self.max_tokens}"
            )
        if not 0 < self.masked < 1:
            raise ValueError(f"masked must be between 0 and 1, got {self.masked}")


def gradient_model_folder(name: str) -> Path:
    """The folder of an encoder 'hf:FOLDER' whose model can have a loss.

    Raises:
        ValueError: the encoder is of another kind, or no folder.
    """
    parts = EncoderName.of(name)
    if parts.kind != "hf":
        raise ValueError(
            f"'{name}' has no language-model loss; gradients need a text model as hf:FOLDER"
        )
    if not Path(parts.argument).is_dir():
        raise ValueError(f"'{parts.argument}' is no folder; gradients need a local checkpoint")
    return Path(parts.argument)


def block_gradients(
    folder: Path,
    items: Sequence[Item],
    *,
    options: GradientOptions | None = None,
    progress: bool = False,
) -> dict[int, FloatArray]:
    """Gradients of each item's loss with respect to each block: {block from 1: (N, K) float32}.

    The loss is the model's own: the mean cross-entropy of the next token for a decoder, of masked
    tokens for an encoder. Which tokens are masked depends on the text and the seed alone.

    Raises:
        IsoglossError: the folder holds no text model, or the model has no head that predicts
            tokens (in the checkpoint: one with new weights would say nothing).
        ValueError: an item has no token that could be guessed, or a gradient is not finite.
        MissingExtra: torch or transformers is not installed.
    """
    import torch

    from isogloss.training.text_model import TextModel

    chosen = options or GradientOptions()
    _refuse_headless(folder)
    model = TextModel.load(folder, max_tokens=chosen.max_tokens)
    if not model.has_head:
        raise IsoglossError(f"{folder} has no head that predicts tokens, so no loss")
    if not model.causal and model.mask_id is None:
        raise IsoglossError(f"{folder} has no mask token, so no masked loss")
    model.eval()
    positions = getattr(model.model.config, "max_position_embeddings", None)
    if positions is not None:
        # RoBERTa's positions begin at 2.
        model.max_tokens = min(model.max_tokens, int(positions) - 2)
    blocks = list(model.blocks)
    # Embeddings and head are the largest weights of a small model, and no gradient of them is kept.
    model.requires_grad_(False)
    for block in blocks:
        block.requires_grad_(True)
    found: dict[int, list[FloatArray]] = {number: [] for number in range(1, len(blocks) + 1)}
    signs: dict[int, Any] = {}
    bar = with_progress(items, "gradients", total=len(items)) if progress else items
    for item in bar:
        model.zero_grad(set_to_none=True)
        loss = _loss(model, text_of(item), item.id, chosen)
        loss.backward()
        for number, block in enumerate(blocks, 1):
            flat = torch.cat(
                [
                    torch.zeros(p.numel()) if p.grad is None else p.grad.detach().flatten()
                    for p in block.parameters()
                ]
            )
            if not bool(torch.isfinite(flat).all()):
                raise ValueError(f"the gradient of item '{item.id}' is not finite")
            found[number].append(_sketched(flat, number, chosen, signs))
    model.zero_grad(set_to_none=True)
    return {number: np.stack(rows) for number, rows in found.items()}


def _refuse_headless(folder: Path) -> None:
    """A head that is not in the checkpoint would be made anew: its gradients are of chance."""
    path = folder / "config.json"
    if not path.is_file():
        raise IsoglossError(f"{folder} has no config.json; gradients need a model of transformers")
    try:
        named = json.loads(path.read_text(encoding="utf-8")).get("architectures") or [""]
    except (ValueError, AttributeError) as error:
        raise IsoglossError(f"{path}: {error}") from error
    if not any(part in str(named[0]) for part in _WITH_HEAD):
        raise IsoglossError(
            f"{folder} holds {named[0] or 'no named architecture'}, without a head that predicts "
            "tokens, so there is no loss to take gradients of"
        )


def _loss(model: Any, text: str, item_id: str, options: GradientOptions) -> Any:
    import torch
    from torch.nn.functional import cross_entropy

    tokens = model.tokens([text], words=False)
    if model.causal:
        inputs, labels = tokens, tokens.ids[0, 1:]
        if not len(labels):
            raise ValueError(f"item '{item_id}' has a single token: nothing to predict")
        return cross_entropy(model.logits(model.states(inputs)[-1])[0, :-1], labels)
    content = torch.nonzero(tokens.content[0]).flatten()
    if not len(content):
        raise ValueError(f"item '{item_id}' has no token that could be masked")
    # By the text, so that an item has the same masks in every corpus.
    draw = np.random.default_rng([options.seed, zlib.crc32(text.encode(errors="replace"))])
    count = max(1, round(options.masked * len(content)))
    places = content[torch.as_tensor(np.sort(draw.permutation(len(content))[:count]))]
    labels = tokens.ids[0, places].clone()
    ids = tokens.ids.clone()
    ids[0, places] = model.mask_id
    hidden = type(tokens)(ids, tokens.real, tokens.special, tokens.words)
    return cross_entropy(model.logits(model.states(hidden)[-1][0, places]), labels)


def _sketched(
    flat: Any, number: int, options: GradientOptions, signs: dict[int, Any]
) -> FloatArray:
    """Sums of randomly signed entries over stretches of `sketch`: dot products keep their mean."""
    import torch

    size = options.sketch
    if len(flat) <= size:
        whole: FloatArray = flat.numpy().astype(np.float32)
        return whole
    if number not in signs:
        generator = torch.Generator().manual_seed(options.seed * 1009 + number)
        drawn = torch.randint(0, 2, (len(flat),), generator=generator, dtype=torch.int8)
        signs[number] = drawn.bool()
    signed = torch.where(signs[number], flat, -flat)
    short = -len(signed) % size
    padded = torch.cat([signed, torch.zeros(short)])
    summed: FloatArray = padded.reshape(-1, size).sum(dim=0).numpy().astype(np.float32)
    return summed


def gradient_estimates(
    x: FloatArray, y: FloatArray, *, resamples: int = 200, seed: int = 0
) -> list[Estimate]:
    """Cosine of the gradients of translations, and of items that are none, over one block.

    Args:
        x: (N, K) gradients of one variety, N at least 2.
        y: (N, K) of the other, row i the translation.
        resamples: of the intervals over items.
        seed: of the draw.
    """
    apart = separation_of_table(unit_rows(x) @ unit_rows(y).T)
    n = len(x)
    drawn = np.random.default_rng(seed).integers(0, n, (resamples, n))
    return [
        Estimate(
            "gradient cosine matched", apart.matched, apart.matched_items[drawn].mean(axis=1), n
        ),
        Estimate(
            "gradient cosine random", apart.random, apart.random_items[drawn].mean(axis=1), n,
            rises=False,
        ),
    ]  # fmt: skip
