"""Outputs of a steered model and the texts they should mean in, R@1 of each way to compare out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss.adapt.model_states import text_states
from isogloss.encoders.hf_blocks import blocks_of
from isogloss.encoders.pool import mean_pool
from isogloss.errors import MissingExtra
from isogloss.measures.retrieval import recall_at_k
from isogloss.scores import cosine
from isogloss.types import Item, Vectors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from isogloss.llm.hf_causal import CausalModel
    from isogloss.tasks.steering import Prompt
    from isogloss.types import Encoder, FloatArray

__all__ = ["MeaningJudge"]


@dataclass(frozen=True, eq=False)
class MeaningJudge:
    """Compares outputs with what they should mean.

    Attributes:
        rows: which prompts have both texts.
        texts: for 'to target' and 'to source' the right text of each of those.
        ways: name of a way to compare, and what turns texts into vectors.
    """

    rows: tuple[int, ...]
    texts: dict[str, tuple[str, ...]]
    ways: dict[str, Callable[[Sequence[str]], FloatArray]]

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def of(
        cls, prompts: Sequence[Prompt], model: CausalModel, encoder: Encoder | None = None
    ) -> MeaningJudge:
        """Ways: character n-grams, the model's own states in the middle, and `encoder` if given.

        Prompts whose translation another prompt has too are left out: either would be right.
        """
        rows, seen = [], set()
        for number, prompt in enumerate(prompts):
            if prompt.source is None or prompt.target is None:
                continue
            if prompt.target in seen or prompt.source in seen:
                continue
            seen |= {prompt.target, prompt.source}
            rows.append(number)
        texts = {
            "to target": tuple(str(prompts[i].target) for i in rows),
            "to source": tuple(str(prompts[i].source) for i in rows),
        }
        ways: dict[str, Callable[[Sequence[str]], FloatArray]] = {}
        if rows:
            ways["n-grams"] = _ngrams([text for side in texts.values() for text in side])
            ways["states"] = _states_of(model)
            if encoder is not None:
                ways["encoder"] = _encoded_by(encoder)
        return cls(tuple(rows), texts, ways)

    def retrieval(self, outputs: Sequence[str]) -> dict[str, float]:
        """R@1 of the outputs, ties against them; empty where there are fewer than 2 to tell apart.

        Outputs and texts are centred each by their own mean, so that a shift that all outputs
        share hides no meaning. An empty output finds nothing.
        """
        if len(self.rows) < 2:
            return {}
        mine = [outputs[i] for i in self.rows]
        found: dict[str, float] = {}
        gold = np.arange(len(mine))
        for name, vectors in self.ways.items():
            queries = _centred(vectors(mine))
            for side, texts in self.texts.items():
                scores = cosine(queries, _centred(vectors(texts)))
                found[f"{name} {side}"] = recall_at_k(scores, gold, resamples=0).value
        return found


def _centred(values: FloatArray) -> Vectors:
    """Less their mean; rows that were zero stay zero, so that they are like nothing."""
    is_zero = ~values.any(axis=1, keepdims=True)
    centred = np.where(is_zero, 0.0, values - values.mean(axis=0)).astype(np.float32)
    return Vectors(tuple(map(str, range(len(values)))), centred)


def _ngrams(texts: Sequence[str]) -> Callable[[Sequence[str]], FloatArray]:
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ImportError as error:
        raise MissingExtra("text", "scikit-learn") from error
    counter: Any = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True)
    counter.fit(texts)

    def vectors(texts: Sequence[str]) -> FloatArray:
        values: FloatArray = counter.transform(list(texts)).toarray().astype(np.float32)
        return values

    return vectors


def _states_of(model: CausalModel) -> Callable[[Sequence[str]], FloatArray]:
    """Means of the states of the block in the middle, without intervention."""
    middle = (len(blocks_of(model.model)) + 1) // 2

    def vectors(texts: Sequence[str]) -> FloatArray:
        written = [i for i, text in enumerate(texts) if model.token_ids(text, start=False)]
        size = int(model.model.config.hidden_size)
        values = np.zeros((len(texts), size), dtype=np.float32)
        if written:
            states = text_states(model, [texts[i] for i in written], [(middle, "residual")])
            values[written] = mean_pool(states[middle, "residual"]).values
        return values

    return vectors


def _encoded_by(encoder: Encoder) -> Callable[[Sequence[str]], FloatArray]:
    def vectors(texts: Sequence[str]) -> FloatArray:
        # An encoder has no vector for nothing.
        written = [i for i, text in enumerate(texts) if text.strip()]
        items = [Item(str(i), "und", text=texts[i]) for i in written]
        if not items:
            return np.zeros((len(texts), 1), dtype=np.float32)
        found = mean_pool(encoder.encode(items)).values
        values = np.zeros((len(texts), found.shape[1]), dtype=np.float32)
        values[written] = found
        return values

    return vectors
