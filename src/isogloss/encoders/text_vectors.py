"""Texts to one vector each by a frozen text model of transformers; used by `training.teachers`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from isogloss.corpora.progress import with_progress
from isogloss.encoders.hf_text import load
from isogloss.encoders.pool import mean_pool
from isogloss.types import Item

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.types import FloatArray

__all__ = ["text_model_vectors"]

_TEXTS_AT_ONCE = 64


def text_model_vectors(
    name: str, texts: Sequence[str], *, device: str = "cpu", progress: bool = True
) -> FloatArray:
    """(N, D) float32 vectors of length 1: the mean of the final states of each text's tokens.

    Neither padding nor special tokens enter the mean, so a text's vector is the same in every
    batch; a text longer than the model's window is read in several (`HfTextEncoder`).

    Args:
        name: folder or hub name of a text model with its tokenizer.
        texts: at least one.
        device: where the model runs.
        progress: show a bar on stderr.

    Raises:
        ValueError: there is no text.
        TextError: a text is blank; 'text 3' is the fourth.
        MissingExtra: transformers is not installed.
        IsoglossError: the model cannot be loaded, or its checkpoint lacks some of its weights.
    """
    if not texts:
        raise ValueError("there is no text to make vectors of")
    encoder = load(name, device=device)
    items = [Item(f"text {number}", "und", text=text) for number, text in enumerate(texts)]
    starts = range(0, len(items), _TEXTS_AT_ONCE)
    rows: list[FloatArray] = []
    for start in with_progress(starts, "text vectors", total=len(starts)) if progress else starts:
        part = mean_pool(encoder.encode(items[start : start + _TEXTS_AT_ONCE])).values
        norms = np.linalg.norm(part.astype(np.float64), axis=1, keepdims=True)
        rows.append((part / np.maximum(norms, 1e-12)).astype(np.float32))
    return np.concatenate(rows)
