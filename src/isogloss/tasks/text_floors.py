"""Sentences in, what spelling alone makes of them out: the floors beside every number on text.

Two of them, asked in the same way as an encoder: TF-IDF of character n-grams fitted on the whole
pool, and normalised edit distance. Related varieties share spellings, so a high recall may ride on
them; nothing here knows what a word means.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from isogloss.corpora.script import normalise_script
from isogloss.encoders.ngram import InverseFrequency
from isogloss.errors import UnknownName
from isogloss.scores import edit_similarity
from isogloss.tasks.ngram_floor import ngram_matrix

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from isogloss.types import FloatArray

__all__ = ["FLOORS", "Floor", "NgramFloor", "check_floors", "edit_floor", "floors_signed", "plain"]

Floor = Literal["tfidf", "edit"]

FLOORS: tuple[Floor, ...] = ("tfidf", "edit")
"""What a task may show beside the encoder."""

LONGEST = 300
"""Characters of a sentence that edit distance looks at; its cost grows with their square."""

_NGRAMS = (1, 3)


def check_floors(floors: Sequence[str]) -> None:
    """Refuse floors that are not there.

    Raises:
        UnknownName: one is unknown; near matches are offered.
        ValueError: one comes twice.
    """
    for name in floors:
        if name not in FLOORS:
            raise UnknownName("floor", name, FLOORS)
    if len(set(floors)) < len(floors):
        raise ValueError(f"a floor comes twice: {', '.join(floors)}")


def floors_signed(floors: Sequence[str], queries: int, script: str | None) -> str:
    """What the floors compare, for a signature."""
    low, high = _NGRAMS
    told = {
        "tfidf": f"tfidf: character {low}- to {high}-grams, TF-IDF fitted on the whole pool, "
        "cosine",
        "edit": f"edit: Levenshtein over the first {LONGEST} characters, over the longer, of at "
        f"most {queries} queries",
    }
    parts = [told[name] for name in floors]
    written = f"in {script}" if script else "as written"
    return "; ".join([*parts, f"texts NFKC, lower case, {written}"]) if parts else "none"


def plain(text: str, script: str | None = None) -> str:
    """`text` as floors compare it: NFKC, lower case, one blank for each run of white space.

    Args:
        text: any.
        script: 'Hans' or 'Hant' puts Chinese characters into one script first.
    """
    if script is not None:
        text = normalise_script(text, script)
    return " ".join(unicodedata.normalize("NFKC", text).lower().split())


def edit_floor(queries: Sequence[str], targets: Sequence[str]) -> FloatArray:
    """Edit similarity of every query with every target, (N, M) float32 in [0, 1].

    Args:
        queries: as `plain` gives them; what is beyond the first `LONGEST` characters does not
            count.
        targets: likewise.
    """
    return edit_similarity([q[:LONGEST] for q in queries], [t[:LONGEST] for t in targets])


class NgramFloor:
    """TF-IDF of character n-grams: weights fitted on the texts that it is made with.

    Args:
        texts: by name, as `plain` gives them; those that are fitted on and compared.
        fit_on: names of those that weights are counted over; all by default.

    Raises:
        ValueError: there is no text to fit on.
        MissingExtra: scipy is not installed.

    Source: `tasks.ngram_floor`, here with the whole pool as documents.
    """

    def __init__(self, texts: Mapping[str, str], fit_on: Sequence[str] | None = None) -> None:
        low, high = _NGRAMS
        fitted = list(texts.values()) if fit_on is None else [texts[name] for name in fit_on]
        rarity = InverseFrequency.of(fitted, low, high)
        self._row = {name: i for i, name in enumerate(texts)}
        self._values: Any = ngram_matrix(list(texts.values()), rarity, low, high)

    def similarity(self, queries: Sequence[str], targets: Sequence[str]) -> FloatArray:
        """Cosine of every query with every target, by their names: (N, M) float32 in [0, 1]."""
        a, b = self._chosen(queries), self._chosen(targets)
        found: FloatArray = np.asarray((a @ b.T).toarray(), dtype=np.float32)
        # Rounding may carry a cosine beyond 1.
        return np.clip(found, 0, 1)

    def _chosen(self, names: Sequence[str]) -> Any:
        return self._values[[self._row[name] for name in names]]
