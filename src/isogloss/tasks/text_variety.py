"""Texts of known variety in, a classifier of varieties out, with its accuracy on texts held out.

Used by `steering` to say which variety an output is in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["VarietyClassifier", "fit_variety_classifier"]


@dataclass(frozen=True, eq=False)
class VarietyClassifier:
    """Naive Bayes over character 1- to 3-grams, all varieties equally likely beforehand.

    Attributes:
        pipeline: of scikit-learn.
        varieties: that it knows, sorted.
        accuracy: share of held-out texts that it names right, each variety weighing the same.
        held_out: how many texts that is.
    """

    pipeline: Any
    varieties: tuple[str, ...]
    accuracy: float
    held_out: int

    def name(self, texts: Sequence[str]) -> list[str | None]:
        """The likeliest variety of each text; None for one without a letter."""
        found = self.pipeline.predict(list(texts)) if texts else []
        return [
            str(variety) if any(map(str.isalpha, text)) else None
            for variety, text in zip(found, texts, strict=True)
        ]


def fit_variety_classifier(
    texts: Sequence[str],
    varieties: Sequence[str],
    held_out_texts: Sequence[str],
    held_out_varieties: Sequence[str],
) -> VarietyClassifier:
    """A classifier learnt from `texts` and judged on the held-out ones, none of which it has seen.

    Held-out texts that are among `texts` letter by letter are left out of the judgement.

    Raises:
        ValueError: fewer than two varieties, or nothing held out of one of them.
        MissingExtra: scikit-learn is not installed.
    """
    try:
        from sklearn.feature_extraction.text import CountVectorizer
        from sklearn.naive_bayes import MultinomialNB
        from sklearn.pipeline import make_pipeline
    except ImportError as error:
        raise MissingExtra("text", "scikit-learn") from error
    names = tuple(sorted(set(varieties)))
    if len(names) < 2:
        raise ValueError(f"a classifier needs two varieties, there is {', '.join(names) or 'none'}")
    pipeline = make_pipeline(
        CountVectorizer(analyzer="char_wb", ngram_range=(1, 3), lowercase=True),
        MultinomialNB(alpha=0.1, fit_prior=False),
    )
    pipeline.fit(list(texts), list(varieties))
    seen = set(texts)
    judged = [
        (text, variety)
        for text, variety in zip(held_out_texts, held_out_varieties, strict=True)
        if text not in seen and variety in names
    ]
    missing = sorted(set(names) - {variety for _, variety in judged})
    if missing:
        raise ValueError(
            f"no text of '{missing[0]}' is held out to judge the classifier on; give the corpus "
            "more texts of it, or a split dev"
        )
    found = pipeline.predict([text for text, _ in judged])
    right = np.array([a == b for a, (_, b) in zip(found, judged, strict=True)])
    truth = np.array([variety for _, variety in judged])
    accuracy = float(np.mean([right[truth == name].mean() for name in names]))
    return VarietyClassifier(pipeline, names, accuracy, len(judged))
