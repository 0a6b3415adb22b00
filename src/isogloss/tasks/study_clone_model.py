"""A model that knows two languages which are the same but for their token ids.

A text that begins with `CLONED` is read as its clone: token t becomes t + V. So one tokenizer cuts
both languages alike, and which token means which is known exactly.

Source: the cloned languages of Schäfer et al. 2024 (arXiv 2404.07982).
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from isogloss.training.objectives.causal_lm import next_token_loss
from isogloss.training.text_learner import ModelLearner, base_objective
from isogloss.training.text_model import TextModel
from isogloss.training.text_parameters import new_model
from isogloss.training.text_start import load_text_model
from isogloss.training.text_tokenizer import kept_tokenizer
from isogloss.variation.clone import clone_ids

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.training.text_batch import Tokens
    from isogloss.training.text_config import Shape, TextTrainConfig
    from isogloss.training.text_data import TextMaterial

__all__ = ["CLONED", "CloneModel", "judge_clones", "make_clone_learner", "random_clone_model"]

CLONED = "\U000f0000"
"""In front of a text that is to be read as its clone; no text holds it, it is for private use."""

_GRADIENT_TEXTS = 8
_RANDOM_SHIFT = 7


class CloneModel(TextModel):
    """A decoder with 2 V embeddings: V of the tokenizer, and V of the clone."""

    @classmethod
    def load(cls, folder: Path, *, max_tokens: int = 128) -> CloneModel:
        """The model in a folder that `random_clone_model` or training wrote."""
        model, tokenizer = load_text_model(folder)
        return cls(model, tokenizer, max_tokens=max_tokens)

    @property
    def size(self) -> int:
        """V."""
        return len(self.tokenizer)

    def tokens(self, texts: Sequence[str], *, words: bool = True) -> Tokens:
        """As `TextModel.tokens`; of texts that begin with `CLONED`, ordinary tokens are shifted."""
        found = super().tokens([text.removeprefix(CLONED) for text in texts], words=words)
        ids = found.ids.clone()
        for row, text in enumerate(texts):
            if text.startswith(CLONED):
                ordinary = found.real[row] & ~found.special[row]
                shifted = clone_ids(ids[row][ordinary].numpy(), vocabulary=self.size)
                ids[row][ordinary] = torch.from_numpy(shifted)
        return replace(found, ids=ids)

    def count_cut(self, texts: Sequence[str]) -> int:
        """As `TextModel.count_cut`, the mark left out."""
        return super().count_cut([text.removeprefix(CLONED) for text in texts])


def random_clone_model(
    folder: Path, texts: Sequence[str], shape: Shape, *, seed: int, max_tokens: int
) -> Path:
    """Write a decoder with random weights and 2 V embeddings to `folder`, once; `folder` comes out.

    Args:
        folder: made whole or not at all.
        texts: what the tokenizer is trained on; the clone has none of its own.
        shape: of a decoder.
        seed: of the weights.
        max_tokens: longer texts are cut.
    """
    if (folder / "config.json").is_file():
        return folder
    half = folder.with_name(f".{folder.name}.half")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    tokenizer = kept_tokenizer(
        half / "tokenizer", texts, pieces=shape.pieces, kind="decoder", max_tokens=max_tokens
    )
    torch.manual_seed(seed)
    made = new_model(shape, tokenizer, max_tokens=max_tokens)
    inner: Any = made.model
    inner.resize_token_embeddings(2 * len(tokenizer), mean_resizing=False)
    made.save(half)
    shutil.rmtree(half / "tokenizer")
    half.rename(folder)
    return folder


def make_clone_learner(
    config: TextTrainConfig, material: TextMaterial, folder: Path
) -> ModelLearner:
    """What `train_text` trains: the clone model of the start."""
    del material, folder
    model = CloneModel.load(Path(str(config.start)), max_tokens=config.max_tokens)
    return ModelLearner(model, config.asked() or (_asked(base_objective(model)),))


def _asked(name: str) -> Any:
    from isogloss.training.objectives.text import Asked

    return Asked(name)


@dataclass(frozen=True, slots=True)
class _Batch:
    original: Tokens
    clone: Tokens


def judge_clones(model: CloneModel, texts: Sequence[str], *, batch: int = 16) -> dict[str, Any]:
    """How a model does on held-out texts and on their clones.

    "loss original" and "loss clone": nats a token, the end token included, which both cut alike.
    "cosine matched" and "cosine random": for each layer, the mean cosine of a token's state with
    that of its clone in the same place, and with that of the clone of another token of the batch.
    "gradient matched" and "gradient random": for each block, the cosine of the gradients of the
    loss on a text and on its clone, and on the clone of another text.

    Raises:
        ValueError: there is no text.
    """
    if not texts:
        raise ValueError("there is no text to judge on")
    model.eval()
    sums = {"original": 0.0, "clone": 0.0}
    count = 0
    matched: list[np.ndarray[Any, Any]] = []
    random: list[np.ndarray[Any, Any]] = []
    for first in range(0, len(texts), batch):
        chosen = texts[first : first + batch]
        both = _Batch(
            model.tokens(chosen, words=False),
            model.tokens([CLONED + text for text in chosen], words=False),
        )
        with torch.no_grad():
            total, n = next_token_loss(model, both.original)
            sums["original"] += float(total)
            sums["clone"] += float(next_token_loss(model, both.clone)[0])
            count += n
            ordinary = both.original.real & ~both.original.special
            if int(ordinary.sum()) > _RANDOM_SHIFT:
                pair = [model.states(side) for side in (both.original, both.clone)]
                rows = [[state[ordinary] for state in states] for states in pair]
                matched.append(_cosines(rows[0], rows[1]))
                random.append(_cosines(rows[0], [r.roll(_RANDOM_SHIFT, 0) for r in rows[1]]))
    if not count or not matched:
        raise ValueError(f"{len(texts)} texts hold too few tokens to judge on")
    gradients = _gradients(model, texts[:_GRADIENT_TEXTS])
    return {
        "loss original": sums["original"] / count,
        "loss clone": sums["clone"] / count,
        "tokens": count,
        "cosine matched": np.mean(matched, axis=0).tolist(),
        "cosine random": np.mean(random, axis=0).tolist(),
        **gradients,
    }


def _cosines(one: Sequence[torch.Tensor], other: Sequence[torch.Tensor]) -> np.ndarray[Any, Any]:
    """(layers,) mean cosine of rows."""
    return np.array(
        [
            float(functional.cosine_similarity(a, b, dim=1).mean())
            for a, b in zip(one, other, strict=True)
        ]
    )


def _gradients(model: CloneModel, texts: Sequence[str]) -> dict[str, list[float]]:
    rows: dict[str, list[list[torch.Tensor]]] = {"original": [], "clone": []}
    for text in texts:
        for kind, shown in (("original", text), ("clone", CLONED + text)):
            model.zero_grad(set_to_none=True)
            total, n = next_token_loss(model, model.tokens([shown], words=False))
            (total / max(n, 1)).backward()  # type: ignore[no-untyped-call]
            rows[kind].append(
                [
                    torch.cat([p.grad.flatten() for p in block.parameters() if p.grad is not None])
                    for block in model.blocks
                ]
            )
    model.zero_grad(set_to_none=True)
    found: dict[str, list[float]] = {}
    for name, shift in (("gradient matched", 0), ("gradient random", 1)):
        others = rows["clone"][shift:] + rows["clone"][:shift]
        if shift and len(texts) < 2:
            continue
        found[name] = [
            float(
                np.mean(
                    [
                        float(functional.cosine_similarity(a[block], b[block], dim=0))
                        for a, b in zip(rows["original"], others, strict=True)
                    ]
                )
            )
            for block in range(len(model.blocks))
        ]
    return found
