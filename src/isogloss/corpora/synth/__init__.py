"""Synthetic parallel speech of Sinitic varieties, and step sequences with planted translations."""

from __future__ import annotations

from isogloss.corpora.synth.make import SynthConfig, make_corpus
from isogloss.corpora.synth.sequences import (
    StructuredSequences,
    StructuredSettings,
    sequence_blocks,
    sequence_queries,
    structured_sequences,
)

__all__ = [
    "StructuredSequences",
    "StructuredSettings",
    "SynthConfig",
    "make_corpus",
    "sequence_blocks",
    "sequence_queries",
    "structured_sequences",
]
