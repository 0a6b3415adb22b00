"""Synthetic parallel speech of Sinitic varieties: lexicon, grammar, voices and the maker."""

from __future__ import annotations

from isogloss.corpora.synth.make import SynthConfig, make_corpus

__all__ = ["SynthConfig", "make_corpus"]
