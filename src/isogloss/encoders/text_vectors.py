"""Texts to one vector each by a frozen text model of transformers; used by `training.teachers`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from isogloss.corpora.progress import with_progress
from isogloss.errors import IsoglossError, MissingExtra

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.types import FloatArray

__all__ = ["text_model_vectors"]

_BATCH = 32
_MOST_TOKENS = 512


def text_model_vectors(
    name: str, texts: Sequence[str], *, device: str = "cpu", progress: bool = True
) -> FloatArray:
    """(N, D) float32 vectors of length 1: the mean of the last hidden states of each text.

    Padding does not enter the mean, so that a text's vector is the same in every batch; texts
    beyond 512 tokens are cut there.

    Args:
        name: folder or hub name of a model with a tokenizer and safetensors weights.
        texts: at least one.
        device: where the model runs.
        progress: show a bar on stderr.

    Raises:
        ValueError: there is no text, or the tokenizer cannot pad.
        MissingExtra: transformers is not installed.
        IsoglossError: the model cannot be loaded, or its checkpoint lacks some of its weights.
    """
    if not texts:
        raise ValueError("there is no text to make vectors of")
    import torch

    try:
        from safetensors import SafetensorError
        from transformers import AutoModel, AutoTokenizer
    except ImportError as error:
        raise MissingExtra("hf", "transformers") from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
        model, loaded = AutoModel.from_pretrained(
            name, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise IsoglossError(f"text model {name} cannot be loaded: {first}") from error
    # transformers would go on with random numbers. The pooler's play no part here.
    absent = sorted(key for key in loaded["missing_keys"] if "pooler" not in key)
    if absent:
        raise IsoglossError(
            f"text model {name}: {len(absent)} tensors are missing from its weights, first "
            f"'{absent[0]}'; the checkpoint is incomplete or of another model than its config.json"
        )
    model = model.to(device).eval()
    starts = range(0, len(texts), _BATCH)
    rows: list[FloatArray] = []
    for start in with_progress(starts, "text vectors", total=len(starts)) if progress else starts:
        batch = tokenizer(
            list(texts[start : start + _BATCH]),
            padding=True,
            truncation=True,
            max_length=_MOST_TOKENS,
            return_tensors="pt",
        ).to(device)
        with torch.inference_mode():
            states = model(**batch).last_hidden_state.float()
        is_real = batch["attention_mask"].unsqueeze(-1).float()
        mean = (states * is_real).sum(dim=1) / is_real.sum(dim=1).clamp(min=1)
        rows.append(torch.nn.functional.normalize(mean, dim=-1).cpu().numpy())
    return np.concatenate(rows).astype(np.float32)
