"""Models that answer: a prompt in, text out. Beside `encoders` the one rung with transformers."""

from __future__ import annotations

from isogloss.llm.hf_causal import CausalModel, load_causal

__all__ = ["CausalModel", "load_causal"]
