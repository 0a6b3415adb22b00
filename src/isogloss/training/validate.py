"""A model and utterances in, its texts and their CER out; used by the loop and by `evaluate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from isogloss.measures.transcription import cer
from isogloss.speech.decode import greedy_batch
from isogloss.training.batches import make_batch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.speech.ctc import CtcModel
    from isogloss.speech.tokens import Tokenizer
    from isogloss.training.examples import Example
    from isogloss.training.store import FeatureStore
    from isogloss.types import Measurement

__all__ = ["greedy_texts", "measure_cer"]

_BATCH = 16


def greedy_texts(
    model: CtcModel, tokenizer: Tokenizer, examples: Sequence[Example], store: FeatureStore
) -> list[str]:
    """What the first head reads in each utterance, by the best path; `model` keeps its mode."""
    device = next(model.parameters()).device
    order = sorted(range(len(examples)), key=lambda i: examples[i].seconds)
    texts = [""] * len(examples)
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            for start in range(0, len(order), _BATCH):
                chosen = order[start : start + _BATCH]
                batch = make_batch([examples[i] for i in chosen], store).to(device)
                log_probs, lengths = model(batch.features, batch.lengths)
                read = greedy_batch(log_probs.cpu().numpy(), lengths.cpu().numpy(), tokenizer)
                for i, hypothesis in zip(chosen, read, strict=True):
                    texts[i] = hypothesis.text
    finally:
        model.train(was_training)
    return texts


def measure_cer(
    model: CtcModel,
    tokenizer: Tokenizer,
    examples: Sequence[Example],
    texts: Sequence[str],
    store: FeatureStore,
) -> Measurement:
    """CER of the first head against `texts`, without an interval."""
    return cer(texts, greedy_texts(model, tokenizer, examples, store), resamples=0)
