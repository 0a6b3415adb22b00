"""Tiny causal language models with random weights, heads included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import text_checkpoints

if TYPE_CHECKING:
    from pathlib import Path


def make_causal(architecture: str, folder: Path, **values: Any) -> Path:
    """A checkpoint of 'llama', 'qwen2' or 'gpt2' with its language model's head, in `folder`."""
    if architecture != "gpt2":
        return text_checkpoints.make(architecture, folder, head=True, **values)
    import transformers

    text_checkpoints.make(architecture, folder, **values)
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config.from_pretrained(folder))
    body = transformers.GPT2Model.from_pretrained(folder)
    model.transformer.load_state_dict(body.state_dict())
    model.save_pretrained(folder)
    return folder
